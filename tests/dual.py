"""Two stores for tests of the dual read: the same rows in both, faults on request, and routes that are kept nowhere."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from bridge.settings_dual import Dual
from bridge.telemetry import Metrics
from query_api.dual_role import DualRead, open_dual_read
from query_api.memory import MemoryStorage
from query_api.sides import Route, Side
from query_api.storage import (
    LogPage,
    LogQuery,
    LogRow,
    Place,
    Span,
    SpanPage,
    SpanQuery,
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    Usage,
)
from query_api.tenant import Tenant
from tests.stored import NOON, SECOND, Stored, place

TRACES: Final = tuple(f"{number:032x}" for number in range(1, 6))
A = TypeVar("A")
Change = Callable[[Any], Any]


def telemetry(org: str = "acme") -> Stored:
    """Six log records and five traces of two spans, seconds apart, of one component."""
    stored, resource = Stored(), place(org, service__name="api", organization__name=f"{org} inc")
    for number in range(6):
        at = NOON + number * SECOND
        stored.log(f"INFO line {number}", at, resource, attributes={"code": str(number)}, severity="INFO", number=9)
    for number, trace_id in enumerate(TRACES):
        at = NOON + number * SECOND
        stored.span(f"GET /{number}", (trace_id, f"{2 * number + 1:016x}"), at, resource, attributes={"code": "200"})
        child = f"{2 * number + 2:016x}"
        stored.span(
            "query", (trace_id, child), at + 2_000_000, resource, parent=f"{2 * number + 1:016x}", kind="Client"
        )
    return stored


@dataclass(slots=True)
class Odd(MemoryStorage):
    """Answers of the named methods are changed on their way; `hangs`, `fails`: instead of any answer."""

    changes: dict[str, Change] = field(default_factory=dict)
    hangs: asyncio.Event | None = None
    fails: Callable[[], Exception] | None = None
    asked: list[str] = field(default_factory=list)

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        return await self._odd("logs", await MemoryStorage.logs(self, tenant, query))

    async def export_logs(
        self, tenant: Tenant, query: LogQuery, max_rows: int
    ) -> AsyncGenerator[Sequence[LogRow], None]:
        page = await MemoryStorage.logs(self, tenant, replace(query, is_descending=False, limit=max_rows, cursor=None))
        rows = await self._odd("export_logs", list(page.rows))
        for first in range(0, len(rows), 2):
            yield rows[first : first + 2]

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        return await self._odd("spans", await MemoryStorage.spans(self, tenant, query))

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        return await self._odd("traces", await MemoryStorage.traces(self, tenant, query))

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        return await self._odd("trace", await MemoryStorage.trace(self, tenant, query))

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        return await self._odd("span", await MemoryStorage.span(self, tenant, trace_id, span_id))

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        return await self._odd("places", await MemoryStorage.places(self, tenant))

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        return await self._odd("usage", await MemoryStorage.usage(self, tenant, start_unix_nano, end_unix_nano))

    async def complete_until(self) -> Mapping[str, int]:
        await self.ping()
        return self.until

    async def ping(self) -> None:
        if self.fails is not None:
            raise self.fails()

    async def _odd(self, method: str, answer: A) -> A:
        self.asked.append(method)
        if self.hangs is not None:
            await self.hangs.wait()
        if self.fails is not None:
            raise self.fails()
        changed: A = self.changes[method](answer) if method in self.changes else answer
        return changed


def odd(*stored: Stored) -> Odd:
    """A store with these rows."""
    store = Odd()
    for each in stored:
        each.to_memory(store)
    return store


@dataclass(slots=True)
class Kept:
    """Routes as the migration's state keeps them, in this process; `is_away`: it cannot be reached."""

    routes: dict[str, Route] = field(default_factory=dict)
    is_away: bool = False
    is_way_back_gone: bool = False
    written: list[Route] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, org: str, primary: Side, percent: int = 100, *, by: str = "operator") -> None:
        """As `headrace migrate cutover` does."""
        at = max((route.since_unix_nano for route in self.routes.values()), default=0) + 1
        self.routes[org] = Route(org, primary, percent, "cutover", by=by, since_unix_nano=at)

    def read(self) -> Mapping[str, Route]:
        if self.is_away:
            raise ConnectionError("the state is away")
        with self._lock:
            return dict(self.routes)

    def has_way_back(self) -> bool:
        return not self.is_way_back_gone

    def write(self, route: Route) -> Route:
        if self.is_away:
            raise ConnectionError("the state is away")
        with self._lock:
            kept = replace(route, by="query", since_unix_nano=route.since_unix_nano + 1)
            self.routes[route.org] = kept
            self.written.append(kept)
        return kept


@dataclass(slots=True)
class Clock:
    """Monotonic seconds that go on when they are told to."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(slots=True)
class Two:
    """Both stores, open as one; everything is compared unless `dual` says otherwise."""

    clickhouse: Odd
    opensearch: Odd
    kept: Kept
    clock: Clock
    metrics: Metrics
    read: DualRead

    async def compared(self) -> None:
        """Return when every comparison under way has ended."""
        while self.read.comparer.tasks:
            await asyncio.wait(set(self.read.comparer.tasks))

    def number(self, name: str, **labels: str) -> float:
        """The value of a metric, 0 where it has none."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def two(
    clickhouse: Odd,
    opensearch: Odd,
    *,
    default: Side = Side.CLICKHOUSE,
    kept: Kept | None = None,
    draw: Callable[[], float] = lambda: 0.0,
    resolve: Callable[[str], str] = str,
    **dual: Any,
) -> AsyncIterator[Two]:
    """Opened. The loops beside it do nothing by themselves: tests take their steps."""
    settings = Dual.model_validate({"sample_rate": 1.0, "reload_seconds": 3600.0, **dual})
    kept, clock, metrics = kept or Kept(), Clock(), Metrics()
    sides = {Side.CLICKHOUSE: clickhouse, Side.OPENSEARCH: opensearch}
    async with open_dual_read(
        sides, default, settings, kept, metrics, resolve=resolve, now_seconds=clock, draw=draw
    ) as read:
        yield Two(clickhouse, opensearch, kept, clock, metrics, read)
