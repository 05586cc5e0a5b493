"""The storage on OpenSearch: our documents and those of others, in the indices of one family.

A question is a filter (`opensearch_query.py`, with the tenant and the places of `opensearch_scope.py`), read in blocks
(`opensearch_scan.py`), and every row is looked at again in Python (`opensearch_readable.py`). docs/query-api.md,
"OpenSearch", has what differs from ClickHouse.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final

from bridge.documents import CONCEPTS, Layout
from bridge.model import OTLP_SIGNALS, Signal
from bridge.opensearch import OpenSearch
from query_api.errors import AnswerTooLarge, StoreFailed
from query_api.opensearch_asking import Asker
from query_api.opensearch_clauses import DAY_NANO, EVERYTHING, Clause, Part, all_of, bounds, none_of, one_of
from query_api.opensearch_clauses import OWN_MARK as OURS
from query_api.opensearch_places import (
    BUCKETS,
    OWN_NEWEST,
    OWN_USAGE,
    Group,
    buckets_of,
    bytes_per_document,
    newest_of,
    others_newest,
    others_place,
    own_and_others,
    own_place,
    summed,
    usage_of,
)
from query_api.opensearch_query import (
    from_order,
    indices,
    is_empty_window,
    log_sort,
    order_of,
    others_logs,
    own_logs,
    service_fields,
    span_sort,
    times,
    together,
)
from query_api.opensearch_readable import Readable
from query_api.opensearch_scan import FIRST_BLOCK_ROWS, Deadline, Each, Most, Scan, blocks, counted, first_rows
from query_api.opensearch_scope import (
    both,
    composite,
    granted,
    lookup,
    lookup_fields,
    named,
    others,
    own,
    rows_of,
    scoped,
    wanted,
)
from query_api.opensearch_traces import (
    AT_ONCE,
    COUNTED_TRACES,
    how_many,
    ids_of,
    summaries,
    summaries_of,
    total_of,
    which,
)
from query_api.scoping import Asked, asked_of, depth_of, scope_of
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

MAX_PLACES: Final = 20_000
# Where the store cannot count exactly, so many documents are looked at for it; then the total is capped.
COUNTED_DOCUMENTS: Final = 10_000
MAX_TRACES: Final = 10_000
MANY_ROLES: Final = "this caller has too many roles on single components: give it roles on projects"


@dataclass(frozen=True, slots=True)
class OpenSearchLimits:
    """Of one question. `total_cap`: rows counted at most; `max_result_bytes`: of the rows of a page."""

    total_cap: int = 1_000_000
    max_execution_seconds: float = 10.0
    export_seconds: float = 60.0
    max_result_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Within:
    """Where a question may read: clauses for our documents and for others', and the check in Python."""

    ours: Part
    theirs: Part
    readable: Readable


@dataclass(frozen=True, slots=True)
class SpansAsked:
    """Spans of these places, of a clause for ours and one for others', that start within the window."""

    places: Asked
    clauses: tuple[Clause, Clause]
    window: tuple[int | None, int | None] = (None, None)
    limit: int = 100
    is_descending: bool = False


class OpenSearchStorage:
    """As `StorageProvider`, on a cluster."""

    def __init__(self, client: OpenSearch, layout: Layout, limits: OpenSearchLimits | None = None) -> None:
        self._asker, self._layout, self._limits = Asker(client), layout, limits or OpenSearchLimits()

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        order = None if query.cursor is None else order_of(query.cursor)
        if is_empty_window(query.start_unix_nano, query.end_unix_nano):
            return LogPage()
        deadline, is_down = self._deadline(), query.is_descending
        scan = await self._log_scan(tenant, query, deadline)
        page = scan if order is None else replace(scan, after=from_order(order, is_descending=is_down))
        found = await first_rows(self._asker, page, self._most(query.limit), deadline)
        rows = [(order_of(row.position), row) for row in found.rows]
        if order is not None:
            rows = [(at, row) for at, row in rows if (at < order if is_down else at > order)]
        rows.sort(key=lambda each: each[0], reverse=is_down)
        kept = [row for _, row in rows[: query.limit]]
        if found.is_whole and order is None:
            return LogPage(kept, *self._capped(len(rows), is_capped=False, least=len(kept)))
        total = (found.total, found.is_capped)
        if not found.is_counted:
            total = await counted(self._asker, scan, COUNTED_DOCUMENTS, deadline)
        return LogPage(kept, *self._capped(total[0], is_capped=total[1], least=len(kept)))

    async def export_logs(
        self, tenant: Tenant, query: LogQuery, max_rows: int
    ) -> AsyncGenerator[Sequence[LogRow], None]:
        query, left = replace(query, is_descending=False, cursor=None), max_rows
        if is_empty_window(query.start_unix_nano, query.end_unix_nano):
            return
        scan = await self._log_scan(tenant, query, self._deadline())
        each = Each(self._limits.export_seconds)
        async with self._asker.point_in_time(scan.indices, self._limits.max_execution_seconds) as pit:
            if pit is None:
                return
            stream = blocks(self._asker, replace(scan, pit=pit), FIRST_BLOCK_ROWS, 0, each)
            async with aclosing(stream):
                async for block in stream:
                    rows = sorted(block.rows, key=lambda row: order_of(row.position))[:left]
                    if rows:
                        yield rows
                    left -= len(rows)
                    if left <= 0:
                        return

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        start, end = query.start_unix_nano, query.end_unix_nano
        ours, theirs = own("service", [query.service]), one_of(service_fields(self._layout), [query.service])
        page = await self._span_page(
            tenant, SpansAsked(Asked(), (ours, theirs), (start, end), query.limit, query.is_descending)
        )
        return replace(page, spans=[replace(span, attributes={}, resource={}) for span in page.spans])

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        if not query.trace_id:
            return SpanPage()
        named_trace = one_of("traceId", [query.trace_id])
        within = (query.start_unix_nano, query.end_unix_nano)
        clauses = (named_trace, named_trace)
        return await self._span_page(
            tenant, SpansAsked(asked_of(query), clauses, within, query.limit, query.is_descending)
        )

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        if not trace_id or not span_id:
            return None
        clause = all_of(one_of("traceId", [trace_id]), one_of("spanId", [span_id]))
        page = await self._span_page(tenant, SpansAsked(Asked(), (clause, clause), limit=1))
        return page.spans[0] if page.spans else None

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        start, end, limit = query.start_unix_nano, query.end_unix_nano, min(query.limit, MAX_TRACES)
        if is_empty_window(start, end):
            return TracePage()
        deadline, is_down = self._deadline(), query.is_descending
        within = await self._within(tenant, asked_of(query), Signal.TRACES, deadline)
        if not (within.ours.is_exact and within.theirs.is_exact):
            raise AnswerTooLarge(MANY_ROLES)
        clause = self._span_clause(within, (EVERYTHING, EVERYTHING), start, end)
        where = indices(self._layout, Signal.TRACES, start, end)
        answer = await self._asker.search(where, which(clause, limit, is_descending=is_down), deadline.left_seconds)
        trace_ids = ids_of(answer)
        found = await self._summaries(tenant, within.readable, trace_ids, (start - DAY_NANO, end + DAY_NANO), deadline)
        found.sort(key=lambda trace: (trace.start_unix_nano, trace.trace_id), reverse=is_down)
        if len(trace_ids) < limit:
            return TracePage(found, len(found))
        total = total_of(await self._asker.search(where, how_many(clause), deadline.left_seconds))
        return TracePage(found, *self._capped(total, is_capped=total > COUNTED_TRACES, least=len(found)))

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        found, deadline = [], self._deadline()
        for signal in OTLP_SIGNALS:
            for group in own_and_others(self._layout, signal, (*CONCEPTS, "service")):
                more = OWN_NEWEST if group.is_own else others_newest(signal)
                buckets = await self._buckets(tenant, group, EVERYTHING, more, deadline)
                found += [(own_place if group.is_own else others_place)(group.columns, bucket) for bucket in buckets]
        return newest_of(place for place in found if tenant.covers(place.org, place.project, place.component))

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        found, deadline = [], self._deadline()
        for signal in OTLP_SIGNALS:
            each = await self._bytes_per_document(signal, start_unix_nano, end_unix_nano)
            time = "@timestamp" if signal is Signal.LOGS else "startTime"
            for group in own_and_others(self._layout, signal, CONCEPTS[:3]):
                last = end_unix_nano - 1
                theirs = times(time, start_unix_nano, last)
                clause = bounds("headrace.time_unix_nano", start_unix_nano, last) if group.is_own else theirs
                more = OWN_USAGE if group.is_own and signal is Signal.LOGS else None
                buckets = await self._buckets(tenant, group, clause, more, deadline)
                found += [usage_of(group.columns, signal, bucket, each) for bucket in buckets]
        return summed(use for use in found if tenant.covers(use.org, use.project, use.component))

    async def query_use(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[QueryUse]:
        return []

    async def freshness(self, tenant: Tenant) -> Sequence[Freshness]:
        found, deadline = set(), self._deadline()
        for signal in OTLP_SIGNALS:
            for group in own_and_others(self._layout, signal, ("org",)):
                buckets = await self._buckets(tenant, group, EVERYTHING, None, deadline)
                found |= {(group.columns.text(bucket, "org"), str(signal)) for bucket in buckets}
        return [Freshness(org, signal, None) for org, signal in sorted(found) if tenant.has_part(org)]

    async def complete_until(self) -> Mapping[str, int]:
        """Nothing is known, but that the store answers."""
        await self.ping()
        return {}

    async def ping(self) -> None:
        await self._asker.ping(",".join(self._layout.pattern(signal) for signal in OTLP_SIGNALS))

    def _most(self, limit: int) -> Most:
        return Most(limit, self._limits.total_cap, self._limits.max_result_bytes)

    def _deadline(self) -> Deadline:
        return Deadline.within(self._limits.max_execution_seconds)

    def _capped(self, total: int, *, is_capped: bool, least: int) -> tuple[int, bool]:
        kept = max(min(total, self._limits.total_cap), least)
        return kept, is_capped or total > kept

    async def _log_scan(self, tenant: Tenant, query: LogQuery, deadline: Deadline) -> Scan[LogRow]:
        within = await self._within(tenant, asked_of(query), Signal.LOGS, deadline)
        readable = within.readable
        ours = together([within.ours, own_logs(query)])
        theirs = together([within.theirs, others_logs(query, self._layout)])
        where = indices(self._layout, Signal.LOGS, query.start_unix_nano, query.end_unix_nano)
        is_exact = ours.is_exact and (theirs.is_exact or not await self._is_any(where, theirs.clause, deadline))
        sort = log_sort(is_descending=query.is_descending)
        clause = both(ours.clause, theirs.clause)
        return Scan(where, clause, sort, query.is_descending, lambda hit: readable.log(hit, query), is_exact)

    async def _is_any(self, where: str, clause: Clause, deadline: Deadline) -> bool:
        """Whether there is any document of others that the clause finds."""
        body = {"query": all_of(none_of(OURS), clause), "size": 0, "terminate_after": 1, "track_total_hits": 1}
        answer = await self._asker.search(where, body, deadline.left_seconds)
        return bool(answer["hits"]["total"]["value"])

    async def _within(self, tenant: Tenant, asked: Asked, signal: Signal, deadline: Deadline) -> Within:
        theirs = granted(tenant, others(self._layout, signal))
        if not wanted(asked):
            return Within(granted(tenant, own), theirs, Readable(self._layout, signal, tenant, asked, None))
        depth = depth_of(asked, tenant)
        buckets = await self._all_buckets(signal, lookup(asked, tenant), lookup_fields(depth), None, deadline)
        scope = scope_of(rows_of(buckets), asked, tenant)
        theirs = replace(theirs, clause=all_of(theirs.clause, named(self._layout, signal, asked)))
        return Within(scoped(scope), theirs, Readable(self._layout, signal, tenant, asked, scope))

    def _span_clause(
        self, within: Within, clauses: tuple[Clause, Clause], start: int | None, end: int | None
    ) -> Clause:
        ours = all_of(within.ours.clause, clauses[0], bounds("headrace.time_unix_nano", start, end))
        return both(ours, all_of(within.theirs.clause, clauses[1], times("startTime", start, end)))

    async def _span_page(self, tenant: Tenant, asked: SpansAsked) -> SpanPage:
        window, is_down = asked.window, asked.is_descending
        if is_empty_window(*window):
            return SpanPage()
        deadline = self._deadline()
        within = await self._within(tenant, asked.places, Signal.TRACES, deadline)
        scan = Scan(
            indices(self._layout, Signal.TRACES, *window),
            self._span_clause(within, asked.clauses, *window),
            span_sort(is_descending=is_down),
            is_down,
            lambda hit: within.readable.span(hit, *window),
            within.ours.is_exact and within.theirs.is_exact,
        )
        found = await first_rows(self._asker, scan, self._most(asked.limit), deadline)
        found.rows.sort(key=lambda span: (span.start_unix_nano, span.trace_id, span.span_id), reverse=is_down)
        kept = found.rows[: asked.limit]
        if found.is_whole:
            return SpanPage(kept, *self._capped(len(found.rows), is_capped=False, least=len(kept)))
        total = (found.total, found.is_capped)
        if not found.is_counted:
            total = await counted(self._asker, scan, COUNTED_DOCUMENTS, deadline)
        return SpanPage(kept, *self._capped(total[0], is_capped=total[1], least=len(kept)))

    async def _summaries(
        self, tenant: Tenant, asked: Readable, trace_ids: list[str], window: tuple[int, int], deadline: Deadline
    ) -> list[TraceSummary]:
        """Of all spans that the tenant may read in the organisations that were asked for."""
        signal, scope = Signal.TRACES, asked.scope
        orgs = None if scope is None and not wanted(asked.asked) else {row[0] for row in (scope.rows if scope else ())}
        readable = Readable(self._layout, signal, tenant, Asked(), None)
        theirs = granted(tenant, others(self._layout, signal))
        if asked.asked.organization:
            only = named(self._layout, signal, Asked(organization=asked.asked.organization))
            theirs = replace(theirs, clause=all_of(theirs.clause, only))
        within = Within(granted(tenant, own, orgs), theirs, readable)
        clause = self._span_clause(within, (EVERYTHING, EVERYTHING), *window)
        where, found = indices(self._layout, signal, *window), list[TraceSummary]()
        for first in range(0, len(trace_ids), AT_ONCE):
            body = summaries(self._layout, clause, trace_ids[first : first + AT_ONCE])
            answer = await self._asker.search(where, body, deadline.left_seconds)
            found += summaries_of(answer, readable.span)
        return found

    async def _buckets(
        self, tenant: Tenant, group: Group, clause: Clause, more: Clause | None, deadline: Deadline
    ) -> list[Clause]:
        """Of all that a tenant may read; buckets without an organisation are left out."""
        placed = granted(tenant, own if group.is_own else others(self._layout, group.signal))
        mark = OURS if group.is_own else none_of(OURS)
        asked, fields = all_of(mark, placed.clause, clause), dict(group.columns.fields)
        buckets = await self._all_buckets(group.signal, asked, fields, more, deadline)
        return [bucket for bucket in buckets if group.columns.text(bucket, "org")]

    async def _all_buckets(
        self, signal: Signal, clause: Clause, fields: dict[str, str], more: Clause | None, deadline: Deadline
    ) -> list[Clause]:
        found, after = list[Clause](), None
        while True:
            aggs = composite(fields, BUCKETS, after, more)
            body = {"query": clause, "size": 0, "track_total_hits": False, "aggs": aggs}
            answer = await self._asker.search(self._layout.pattern(signal), body, deadline.left_seconds)
            buckets, after = buckets_of(answer)
            found += buckets
            if len(found) > MAX_PLACES:
                raise AnswerTooLarge(f"more than {MAX_PLACES} places match; name an organisation, project or component")
            if after is None or len(buckets) < BUCKETS:
                return found

    async def _bytes_per_document(self, signal: Signal, start: int, end: int) -> float:
        where, params = indices(self._layout, signal, start, end), {"level": "cluster"}
        path = f"/{where}/_stats/store,docs"
        try:
            stats = await self._asker.call("GET", path, None, params, self._limits.max_execution_seconds)
        except StoreFailed:  # a day without an index
            path = f"/{self._layout.pattern(signal)}/_stats/store,docs"
            stats = await self._asker.call("GET", path, None, params, self._limits.max_execution_seconds)
        return bytes_per_document(stats)
