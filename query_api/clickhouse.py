"""The storage on ClickHouse: questions to statements, rows to values. How they are sent is `asking.py`'s.

Every read goes three steps: look up which places the question means within the tenant (a small table), ask the large
table for exactly those, and, only if the page is full, count. The tenant is in each statement, in a filter that the
server adds to each table (`guard.py`), and in Python (`scoping.py`).
"""

import json
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final

from query_api.asking import Asker, Question
from query_api.errors import AnswerTooLarge, InvalidRequest
from query_api.guard import table_filters
from query_api.log_statement import log_filters, storable
from query_api.scoping import Asked, Scope, Values, asked_of, lookup, scope_of, tenant_values
from query_api.sides import ANOTHER_STORE, OPENSEARCH_BLOCK
from query_api.statements import statement
from query_api.storage import (
    Freshness,
    LogPage,
    LogQuery,
    LogRow,
    Place,
    Position,
    QueryUse,
    Span,
    SpanPage,
    SpanQuery,
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    TraceSummary,
    Usage,
)
from query_api.tenant import EVERYTHING, Tenant
from query_api.usage import shared_out, stored_of

MAX_PLACES: Final = 20_000
Row = list[Any]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """Of one question. `total_cap`: rows counted at most; `max_result_bytes`: of a page, as the server counts them."""

    total_cap: int = 1_000_000
    max_execution_seconds: float = 10.0
    export_seconds: float = 60.0
    max_rows_to_read: int = 2_000_000_000
    max_memory_bytes: int = 2 << 30
    max_result_bytes: int = 32 << 20


class ClickHouseStorage:
    """As `StorageProvider`, on a server or embedded."""

    def __init__(self, asker: Asker, database: str, limits: ReadLimits) -> None:
        self._asker, self._database, self._limits = asker, database, limits

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        if query.cursor is not None and query.cursor.block & OPENSEARCH_BLOCK:  # behind every row of its time here
            raise InvalidRequest(ANOTHER_STORE)
        scope = await self._scope(tenant, asked_of(query))
        if scope is None:
            return LogPage()
        given, values = log_filters(query, scope)
        order = _order(query, scope)
        question = self._question(tenant, "logs", given | order, {**values, "limit": query.limit})
        rows = await self._asker.rows(replace(question, is_first_rows=scope.is_one_component))
        if query.cursor is None and len(rows) < query.limit:
            return LogPage([_log_row(row) for row in rows], len(rows))
        given, values = log_filters(replace(query, cursor=None), scope)
        total, is_capped = await self._total(tenant, "logs_total", given, values)
        return LogPage([_log_row(row) for row in rows], max(total, len(rows)), is_capped)

    async def export_logs(
        self, tenant: Tenant, query: LogQuery, max_rows: int
    ) -> AsyncGenerator[Sequence[LogRow], None]:
        query = replace(query, is_descending=False, limit=max_rows, cursor=None)
        scope = await self._scope(tenant, asked_of(query))
        if scope is None:
            return
        given, values = log_filters(query, scope)
        question = self._question(tenant, "logs", given | _order(query, scope), {**values, "limit": max_rows})
        export = replace(question, max_result_bytes=0, max_execution_seconds=self._limits.export_seconds)
        async with aclosing(self._asker.blocks(export)) as blocks:
            async for block in blocks:
                yield [_log_row(row) for row in block]

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        scope = await self._scope(tenant, Asked(service=query.service))
        if scope is None:
            return SpanPage()
        given, values = scope.filters()
        given |= {"service", "start", "end"}
        values = {**values, "service": query.service, **_times(query.start_unix_nano, query.end_unix_nano)}
        return await self._span_page(tenant, given, values, query.limit, is_descending=query.is_descending)

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        scope = await self._scope(tenant, asked_of(query))
        if scope is None:
            return SpanPage()
        given, values = scope.filters()
        times = _times(query.start_unix_nano, query.end_unix_nano)
        given |= {"trace_id", "attributes", *times}
        values = {**values, "trace_id": query.trace_id, **times}
        return await self._span_page(tenant, given, values, query.limit, is_descending=query.is_descending)

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        scope = await self._scope(tenant, Asked())
        if scope is None:
            return None
        given, values = scope.filters()
        given |= {"trace_id", "span_id", "attributes", "up"}
        rows = await self._rows(
            tenant, "spans", given, {**values, "trace_id": trace_id, "span_id": span_id, "limit": 1}
        )
        return _span(rows[0]) if rows else None

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        scope = await self._scope(tenant, asked_of(query))
        if scope is None:
            return TracePage()
        given, values = scope.filters()
        given |= {"start", "end"}
        values = {**values, **_times(query.start_unix_nano, query.end_unix_nano)}
        order = {_direction(is_descending=query.is_descending)}
        rows = await self._rows(tenant, "traces", given | order, {**values, "limit": query.limit})
        total, is_capped = len(rows), False
        if len(rows) >= query.limit:
            total, is_capped = await self._total(tenant, "traces_total", given, values)
        return TracePage([_trace(row) for row in rows], total, is_capped)

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        rows = await self._rows(tenant, "places", (), {**tenant_values(tenant), "limit": MAX_PLACES})
        found = [_place(row) for row in rows]
        return [place for place in found if tenant.covers(place.org, place.project, place.component)]

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        span = _times(start_unix_nano, end_unix_nano)
        values = {**tenant_values(tenant), **span}
        logs = [row for row in await self._rows(tenant, "usage_logs", (), values) if tenant.covers(*row[:3])]
        spans = [row for row in await self._rows(tenant, "usage_spans", (), values) if tenant.covers(*row[:3])]
        stored = {"database": self._database, **span}
        sizes = await self._rows(EVERYTHING, "stored_bytes", (), stored)
        totals = await self._rows(EVERYTHING, "stored_rows", (), stored)
        return shared_out(logs, spans, stored_of(sizes, totals))

    async def query_use(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[QueryUse]:
        if not (await self._rows(EVERYTHING, "has_query_log", (), {}))[0][0]:
            return []
        values = {**tenant_values(tenant), **_times(start_unix_nano, end_unix_nano)}
        rows = await self._rows(tenant, "query_use", (), values)
        return [
            QueryUse(org, int(count), float(wall), float(cpu), int(read))
            for org, count, wall, cpu, read in rows
            if tenant.has_part(org)
        ]

    async def freshness(self, tenant: Tenant) -> Sequence[Freshness]:
        until = await self.complete_until()
        rows = await self._rows(tenant, "received", (), tenant_values(tenant))
        return [
            Freshness(org, signal, until.get(signal), int(items)) for org, signal, items in rows if tenant.has_part(org)
        ]

    async def complete_until(self) -> Mapping[str, int]:
        """By signal: everything received before is stored, for all organisations. Nobody's data is in it."""
        return {str(signal): int(at) for signal, at in await self._rows(EVERYTHING, "freshness", (), {})}

    async def ping(self) -> None:
        await self._rows(EVERYTHING, "ping", (), {})

    async def _scope(self, tenant: Tenant, asked: Asked) -> Scope | None:
        given, values = lookup(asked, tenant, MAX_PLACES + 1)
        rows = await self._rows(tenant, "places_of", given, values)
        if len(rows) > MAX_PLACES:
            raise AnswerTooLarge(f"more than {MAX_PLACES} places match; name an organisation, project or component")
        return scope_of(rows, asked, tenant)

    async def _span_page(
        self, tenant: Tenant, given: set[str], values: Values, limit: int, *, is_descending: bool
    ) -> SpanPage:
        order = {_direction(is_descending=is_descending)}
        rows = await self._rows(tenant, "spans", given | order, {**values, "limit": limit})
        spans = [_span(row) for row in rows]
        if len(rows) < limit:
            return SpanPage(spans, len(rows))
        return SpanPage(spans, *await self._total(tenant, "spans_total", given, values))

    async def _total(self, tenant: Tenant, name: str, given: Collection[str], values: Values) -> tuple[int, bool]:
        cap = self._limits.total_cap
        total = int((await self._rows(tenant, name, given, {**values, "cap": cap + 1}))[0][0])
        return min(total, cap), total > cap

    async def _rows(self, tenant: Tenant, name: str, given: Collection[str], values: Values) -> list[Row]:
        return await self._asker.rows(self._question(tenant, name, given, values))

    def _question(self, tenant: Tenant, name: str, given: Collection[str], values: Values) -> Question:
        sql = statement(name, self._database, given)
        question = Question(
            sql=sql,
            parameters=values,
            table_filters=table_filters(tenant, self._database, sql),
            log_comment=json.dumps({"by": "headrace", "statement": name, "org": _charged(tenant, values)}),
            max_execution_seconds=self._limits.max_execution_seconds,
            max_rows_to_read=self._limits.max_rows_to_read,
            max_memory_bytes=self._limits.max_memory_bytes,
            max_result_bytes=self._limits.max_result_bytes,
        )
        question.check()
        return question


def _charged(tenant: Tenant, values: Values) -> str:
    """Whose question it is, for the costs: the one organisation it reads; none where it reads several."""
    orgs = values.get("orgs") or tenant.orgs
    return str(orgs[0]) if isinstance(orgs, list | tuple) and len(orgs) == 1 else ""


def _times(start: int | None, end: int | None) -> dict[str, int]:
    return {name: storable(at) for name, at in (("start", start), ("end", end)) if at is not None}


def _direction(*, is_descending: bool) -> str:
    return "down" if is_descending else "up"


def _order(query: LogQuery, scope: Scope) -> set[str]:
    direction = _direction(is_descending=query.is_descending)
    return {f"component_{direction}" if scope.is_one_component else direction}


def _log_row(row: Row) -> LogRow:
    at, block, offset, body, level, org, project, component, environment, trace_id, span_id, resource, attributes = row
    return LogRow(
        Position(int(at), int(block), int(offset)),
        body,
        level,
        org,
        project,
        component,
        environment,
        trace_id,
        span_id,
        resource,
        attributes,
    )


def _span(row: Row) -> Span:
    trace_id, span_id, parent, name, kind, service, start, duration, status, message, *places = row
    org, project, component, environment, *maps = places
    attributes, resource = maps or ({}, {})
    return Span(
        trace_id,
        span_id,
        parent,
        name,
        kind,
        service,
        int(start),
        int(duration),
        status,
        message,
        org,
        project,
        component,
        environment,
        attributes,
        resource,
    )


def _place(row: Row) -> Place:
    org, project, component, environment, service = row[:5]
    org_name, project_name, component_name, environment_name = (
        name or known for name, known in zip(row[5:9], row[:4], strict=True)
    )
    return Place(
        org,
        project,
        component,
        environment,
        service,
        org_name,
        project_name,
        component_name,
        environment_name,
        int(row[9]),
    )


def _trace(row: Row) -> TraceSummary:
    trace_id, count, (span_id, name, kind, service), start, end, has_errors = row
    return TraceSummary(trace_id, int(count), span_id, name, kind, service, int(start), int(end), bool(has_errors))
