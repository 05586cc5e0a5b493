"""Traces of OpenSearch: which ones, and what each comes to. Pure.

Which: the first span of each trace in the order asked for (`collapse`), which is exact over shards. What: one bucket a
trace, with its first span, its last and its root whole, since sums of times would lose nanoseconds.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from bridge.documents import Family, Layout
from query_api.opensearch_clauses import Clause, all_of, any_of, case_free, exists, none_of
from query_api.opensearch_query import start_sort
from query_api.storage import Span, TraceSummary

# Up to so many different values a cardinality is counted and not estimated.
COUNTED_TRACES: Final = 40_000
AT_ONCE: Final = 200
HAS_TRACE: Final = all_of(exists("traceId"), none_of({"term": {"traceId": ""}}))


def which(clause: Clause, limit: int, *, is_descending: bool) -> Clause:
    """The body that finds the traces."""
    order = "desc" if is_descending else "asc"
    sort = [start_sort("startTime", order), {"traceId": {"order": order, "unmapped_type": "keyword"}}]
    return {
        "query": all_of(clause, HAS_TRACE),
        "size": limit,
        "sort": sort,
        "collapse": {"field": "traceId"},
        "_source": False,
        "track_total_hits": False,
    }


def ids_of(answer: Clause) -> list[str]:
    return [hit["fields"]["traceId"][0] for hit in answer["hits"]["hits"]]


def how_many(clause: Clause) -> Clause:
    """The body that counts them."""
    counted = {"cardinality": {"field": "traceId", "precision_threshold": COUNTED_TRACES}}
    return {"query": all_of(clause, HAS_TRACE), "size": 0, "track_total_hits": False, "aggs": {"traces": counted}}


def total_of(answer: Clause) -> int:
    return int(answer.get("aggregations", {}).get("traces", {}).get("value", 0))


def summaries(layout: Layout, clause: Clause, trace_ids: Sequence[str]) -> Clause:
    """The body that sums up these traces."""
    code = "status.code"
    failed = {"term": {code: 2}} if layout.family is Family.A else case_free(code, "error")
    parent = "parentSpanId"
    roots = any_of([none_of(exists(parent)), {"term": {parent: ""}}])
    first = [start_sort("startTime", "asc"), {"spanId": {"order": "asc", "unmapped_type": "keyword"}}]
    each: Clause = {
        "first": {"top_hits": {"size": 1, "sort": first}},
        "last": {"top_hits": {"size": 1, "sort": [start_sort("endTime", "desc")]}},
        "roots": {"filter": roots, "aggs": {"first": {"top_hits": {"size": 1, "sort": first}}}},
        "errors": {"filter": failed},
    }
    return {
        "query": all_of(clause, {"terms": {"traceId": list(trace_ids)}}),
        "size": 0,
        "track_total_hits": False,
        "aggs": {"traces": {"terms": {"field": "traceId", "size": len(trace_ids)}, "aggs": each}},
    }


def summaries_of(answer: Clause, span_of: Callable[[Clause], Span | None]) -> Iterator[TraceSummary]:
    """Of the answer; a trace of which a span may not be told is left out."""
    for bucket in answer.get("aggregations", {}).get("traces", {}).get("buckets", []):
        first, last = _top(bucket["first"], span_of), _top(bucket["last"], span_of)
        root = _top(bucket["roots"]["first"], span_of) if bucket["roots"]["doc_count"] else first
        if first is None or last is None or root is None:
            continue
        yield TraceSummary(
            str(bucket["key"]),
            int(bucket["doc_count"]),
            root.span_id,
            root.name,
            root.kind,
            root.service,
            first.start_unix_nano,
            last.start_unix_nano + last.duration_nano,
            bucket["errors"]["doc_count"] > 0,
        )


def _top(top: Any, span_of: Callable[[Clause], Span | None]) -> Span | None:
    hits = top["hits"]["hits"]
    return span_of(hits[0]) if hits else None
