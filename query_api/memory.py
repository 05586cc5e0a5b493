"""The storage in this process's memory: what the contract means, in Python. For tests, and for trying the API."""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from query_api.matching import is_within, log_matches
from query_api.scoping import Asked, asked_of
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
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    TraceSummary,
    Usage,
)
from query_api.tenant import Tenant

NAME_KEYS = ("organization.name", "project.name", "component.name", "environment.name")
Item = LogRow | Span
DAY_NANO: Final = 86_400_000_000_000


@dataclass(slots=True)
class MemoryStorage:
    """As `StorageProvider`, over the rows it holds. `total_cap` as in `clickhouse.ReadLimits`."""

    log_rows: list[LogRow] = field(default_factory=list)
    span_rows: list[Span] = field(default_factory=list)
    until: dict[str, int] = field(default_factory=dict)
    total_cap: int = 1_000_000

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        places = self._places(tenant, asked_of(query))
        readable = [row for row in self.log_rows if _may_read(tenant, row) and places.have(row)]
        found = [row for row in readable if log_matches(row, query)]
        found.sort(key=lambda row: row.position, reverse=query.is_descending)
        rows, cursor = found, query.cursor
        if cursor is not None:
            rows = [row for row in found if (row.position < cursor if query.is_descending else row.position > cursor)]
        return LogPage(rows[: query.limit], *self._counted(len(found), query.limit))

    async def export_logs(
        self, tenant: Tenant, query: LogQuery, max_rows: int
    ) -> AsyncGenerator[Sequence[LogRow], None]:
        page = await self.logs(tenant, replace(query, is_descending=False, limit=max_rows, cursor=None))
        if page.rows:
            yield page.rows

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        found = [
            replace(span, attributes={}, resource={})
            for span in self._readable_spans(tenant)
            if span.service == query.service and query.start_unix_nano <= span.start_unix_nano <= query.end_unix_nano
        ]
        return self._span_page(found, query.limit, is_descending=query.is_descending)

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        places = self._places(tenant, asked_of(query))
        found = [
            span
            for span in self._readable_spans(tenant)
            if span.trace_id == query.trace_id
            and places.have(span)
            and is_within(span.start_unix_nano, query.start_unix_nano, query.end_unix_nano)
        ]
        return self._span_page(found, query.limit, is_descending=query.is_descending)

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        spans = self._readable_spans(tenant)
        return next((span for span in spans if (span.trace_id, span.span_id) == (trace_id, span_id)), None)

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        places = self._places(tenant, asked_of(query))
        readable = [span for span in self._readable_spans(tenant) if span.trace_id and span.org in places.orgs]
        start, end = query.start_unix_nano, query.end_unix_nano
        touched: dict[str, list[int]] = {}
        for span in readable:
            if places.have(span) and start <= span.start_unix_nano <= end:
                touched.setdefault(span.trace_id, []).append(span.start_unix_nano)
        edge: Callable[[list[int]], int] = max if query.is_descending else min
        order = sorted(touched, key=lambda name: (edge(touched[name]), name), reverse=query.is_descending)
        near = [span for span in readable if start - DAY_NANO <= span.start_unix_nano <= end + DAY_NANO]
        found = [_summary([span for span in near if span.trace_id == name]) for name in order[: query.limit]]
        found.sort(key=lambda trace: (trace.start_unix_nano, trace.trace_id), reverse=query.is_descending)
        return TracePage(found, *self._counted(len(order), query.limit))

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        found = {}
        for row in self._readable(tenant):  # the names that came last
            place = _place(row)
            found[place.org, place.project, place.component, place.environment, place.service] = place
        return sorted(found.values())

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        found: dict[tuple[str, str, str], Usage] = {}
        for row in self._readable(tenant):
            if not start_unix_nano <= _time(row) < end_unix_nano:
                continue
            key = (row.org, row.project, row.component)
            before = found.get(key, Usage(*key))
            if isinstance(row, LogRow):
                characters, size = len(row.body), len(row.body.encode())
                found[key] = replace(
                    before,
                    logs=before.logs + 1,
                    log_characters=before.log_characters + characters,
                    log_bytes=before.log_bytes + size,
                )
            else:
                found[key] = replace(before, spans=before.spans + 1)
        return [found[key] for key in sorted(found)]

    async def query_use(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[QueryUse]:
        return []

    async def freshness(self, tenant: Tenant) -> Sequence[Freshness]:
        orgs = {(row.org, "logs" if isinstance(row, LogRow) else "traces") for row in self._readable(tenant)}
        return [Freshness(org, signal, self.until.get(signal)) for org, signal in sorted(orgs)]

    async def complete_until(self) -> Mapping[str, int]:
        return self.until

    async def ping(self) -> None:
        return

    def _readable_spans(self, tenant: Tenant) -> list[Span]:
        return [span for span in self.span_rows if _may_read(tenant, span)]

    def _readable(self, tenant: Tenant) -> Iterable[Item]:
        rows: list[Item] = [*self.log_rows, *self.span_rows]
        return [row for row in rows if _may_read(tenant, row)]

    def _places(self, tenant: Tenant, asked: Asked) -> "_Places":
        rows = [row for row in self._readable(tenant) if _is_named(row, asked)]
        return _Places(
            asked,
            {row.org for row in rows},
            {(row.org, row.project) for row in rows},
            {(row.org, row.project, row.component) for row in rows},
            {(row.org, row.environment) for row in rows},
        )

    def _span_page(self, found: list[Span], limit: int, *, is_descending: bool) -> SpanPage:
        found.sort(key=lambda span: (span.start_unix_nano, span.trace_id, span.span_id), reverse=is_descending)
        return SpanPage(found[:limit], *self._counted(len(found), limit))

    def _counted(self, found: int, limit: int) -> tuple[int, bool]:
        total = max(min(found, self.total_cap), min(found, limit))
        return total, found > total


@dataclass(frozen=True, slots=True)
class _Places:
    """The ids that names stand for, each among those of its organisation; a row need not bear the name itself."""

    asked: Asked
    orgs: set[str]
    projects: set[tuple[str, str]]
    components: set[tuple[str, str, str]]
    environments: set[tuple[str, str]]

    def have(self, row: Item) -> bool:
        return (
            row.org in self.orgs
            and (not self.asked.project or (row.org, row.project) in self.projects)
            and (not self.asked.components or (row.org, row.project, row.component) in self.components)
            and (not self.asked.environment or (row.org, row.environment) in self.environments)
        )


def _may_read(tenant: Tenant, row: Item) -> bool:
    return tenant.covers(row.org, row.project, row.component)


def _time(row: Item) -> int:
    return row.position.time_unix_nano if isinstance(row, LogRow) else row.start_unix_nano


def _is_named(row: Item, asked: Asked) -> bool:
    """Names and ids are both taken; what is empty is not asked for."""
    wanted = ((asked.organization,), (asked.project,), asked.components, (asked.environment,))
    ids = (row.org, row.project, row.component, row.environment)
    names = [row.resource.get(key, "") for key in NAME_KEYS]
    return all(
        not any(want) or known in want or name in want for want, known, name in zip(wanted, ids, names, strict=True)
    )


def _place(row: Item) -> Place:
    ids = (row.org, row.project, row.component, row.environment)
    org, project, component, environment = (
        row.resource.get(key) or known for key, known in zip(NAME_KEYS, ids, strict=True)
    )
    service = row.resource.get("service.name", "") if isinstance(row, LogRow) else row.service
    return Place(*ids, service, org, project, component, environment)


def _summary(spans: Sequence[Span]) -> TraceSummary:
    root = min(spans, key=lambda span: (span.parent_span_id != "", span.start_unix_nano, span.span_id))
    return TraceSummary(
        root.trace_id,
        len(spans),
        root.span_id,
        root.name,
        root.kind,
        root.service,
        min(span.start_unix_nano for span in spans),
        max(span.start_unix_nano + span.duration_nano for span in spans),
        any(span.status == "Error" for span in spans),
    )
