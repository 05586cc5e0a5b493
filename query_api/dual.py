"""Two stores as one: an organisation's route says who answers, the other is asked afterwards, and compared.

No answer waits for the second store, and no failure of the first is hidden by it: callers get the error that they would
get without the second, until the route is changed (by an operator, or by `dual_watch`).
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

from query_api import request_ids
from query_api.dual_comparer import Comparer, is_store_failure
from query_api.dual_records import Asked, Records
from query_api.errors import QueryError
from query_api.questions import Answer, Export, Held, Method, Period, Question, SpanId
from query_api.routing import Routing, scope_of, side_of
from query_api.sides import Side
from query_api.storage import (
    Freshness,
    LogPage,
    LogQuery,
    LogRow,
    Place,
    QueryUse,
    Span,
    SpanPage,
    SpanQuery,
    StorageProvider,
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    Usage,
)
from query_api.tenant import Tenant

A = TypeVar("A", bound=Answer)


class DualStorage:
    """As `StorageProvider`. `resolve`: an organisation's id by its name, where it is known, else the name as it is."""

    def __init__(
        self,
        sides: Mapping[Side, StorageProvider],
        routing: Routing,
        records: Records,
        comparer: Comparer,
        resolve: Callable[[str], str] = str,
    ) -> None:
        self._sides, self._routing, self._records, self._comparer = sides, routing, records, comparer
        self._resolve = resolve

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        asked = self._asked(Question(Method.LOGS, tenant, query))
        return await self._answered(asked, lambda store: store.logs(tenant, query))

    async def export_logs(
        self, tenant: Tenant, query: LogQuery, max_rows: int
    ) -> AsyncGenerator[Sequence[LogRow], None]:
        """Held for the comparison while it goes by; how long it takes is the client's doing, so it is not counted."""
        asked = self._asked(Question(Method.EXPORT_LOGS, tenant, Export(query, max_rows)))
        held = Held() if self._comparer.claim(asked) else None
        is_whole = False
        try:
            async with aclosing(self._sides[asked.side].export_logs(tenant, query, max_rows)) as blocks:
                async for block in blocks:
                    if held is not None:
                        held.add(block)
                    yield block
            is_whole = True
        except Exception as error:
            self._failed(asked, error)
            raise
        finally:
            if held is not None and not is_whole:
                self._comparer.skip(asked, "broken_off")
        self._records.question(asked, asked.side)
        if held is not None and held.is_too_long:
            self._comparer.skip(asked, "too_long")
        elif held is not None:
            self._comparer.start(asked, held.rows)

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        asked = self._asked(Question(Method.SPANS, tenant, query))
        return await self._answered(asked, lambda store: store.spans(tenant, query))

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        asked = self._asked(Question(Method.TRACES, tenant, query))
        return await self._answered(asked, lambda store: store.traces(tenant, query))

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        asked = self._asked(Question(Method.TRACE, tenant, query))
        return await self._answered(asked, lambda store: store.trace(tenant, query))

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        asked = self._asked(Question(Method.SPAN, tenant, SpanId(trace_id, span_id)))
        return await self._answered(asked, lambda store: store.span(tenant, trace_id, span_id))

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        asked = self._asked(Question(Method.PLACES, tenant))
        return await self._answered(asked, lambda store: store.places(tenant))

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        asked = self._asked(Question(Method.USAGE, tenant, Period(start_unix_nano, end_unix_nano)))
        return await self._answered(asked, lambda store: store.usage(tenant, start_unix_nano, end_unix_nano))

    async def query_use(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[QueryUse]:
        asked = self._asked(Question(Method.QUERY_USE, tenant, Period(start_unix_nano, end_unix_nano)))
        return await self._answered(asked, lambda store: store.query_use(tenant, start_unix_nano, end_unix_nano))

    async def freshness(self, tenant: Tenant) -> Sequence[Freshness]:
        asked = self._asked(Question(Method.FRESHNESS, tenant))
        return await self._answered(asked, lambda store: store.freshness(tenant))

    async def complete_until(self) -> Mapping[str, int]:
        """What holds whoever answers: the least of the stores that do. A signal that one does not tell is left out, and
        all are while one is away. Raises only if no store answers: one organisation's is not everybody's."""
        asked = (self._sides[side].complete_until() for side in sorted(self._routing.answering()))
        told, errors = list[Mapping[str, int]](), list[QueryError]()
        for each in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(each, QueryError):
                errors.append(each)
            elif isinstance(each, BaseException):
                raise each
            else:
                told.append(each)
        if not told:
            raise errors[0]
        known = {} if errors else told[0]
        return {signal: min(each[signal] for each in told) for signal in known if all(signal in each for each in told)}

    async def ping(self) -> None:
        """Return if every store that is somebody's primary answers. Raises `StoreUnavailable`."""
        for side in sorted(self._routing.in_use()):
            await self._sides[side].ping()

    def _asked(self, question: Question) -> Asked:
        scope = scope_of(question.tenant, question.organization, self._resolve, self._is_known)
        cursor = question.cursor
        side = self._routing.pick(scope) if cursor is None else side_of(cursor)
        return Asked(question, scope, side, request_ids.CURRENT.get(), time.time_ns())

    def _is_known(self, org: str) -> bool:
        """Whether an organisation of that id has been met; an unbound caller may name anything."""
        return org in self._records.all() or org in self._routing.routes() or self._resolve(org) != org

    async def _answered(self, asked: Asked, call: Callable[[StorageProvider], Awaitable[A]]) -> A:
        started = time.perf_counter()
        try:
            answer = await call(self._sides[asked.side])
        except Exception as error:
            self._failed(asked, error)
            raise
        self._records.question(asked, asked.side, took_seconds=time.perf_counter() - started)
        if self._comparer.claim(asked):
            self._comparer.start(asked, answer)
        return answer

    def _failed(self, asked: Asked, error: Exception) -> None:
        """A question that no store can answer is nobody's failure."""
        if is_store_failure(error):
            self._records.question(asked, asked.side, is_failure=True)
