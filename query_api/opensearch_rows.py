"""Documents to rows: ours from the columns they keep, others' from what an Observer's reader finds in them. Pure.

None is a document that says nothing readable, or that says it is ours and is not.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from bridge.documents import (
    OWN,
    Layout,
    body_of,
    is_own,
    log_attributes,
    log_resource,
    place_of,
    span_attributes,
    text_at,
    time_of,
)
from bridge.levels import level_of
from bridge.model import Signal
from query_api.opensearch_query import MILLI, OTHERS_BLOCK, SEQUENCE_BITS
from query_api.sides import OPENSEARCH_BLOCK
from query_api.storage import LogRow, Position, Span

Hit = Mapping[str, Any]
_STATUSES: Final = {"0": "Unset", "1": "Ok", "2": "Error", "ok": "Ok", "error": "Error"}
_NUMBER: Final = (1 << SEQUENCE_BITS) - 1


def log_row(layout: Layout, hit: Hit) -> LogRow | None:
    """The row of a hit that was sorted by `log_sort`."""
    document = hit["_source"]
    if not isinstance(document, Mapping) or not isinstance(document.get("log"), str):
        return None
    if is_own(document):
        return _own_log(layout, document, hit["sort"][3])
    return None if OWN in document else _others_log(layout, document, hit)


def _own_log(layout: Layout, document: Hit, seq_no: int) -> LogRow | None:
    own = document[OWN]
    at, sequence = own.get("time_unix_nano"), own.get("sequence")
    if not isinstance(at, int) or not isinstance(sequence, int):
        return None
    return LogRow(
        Position(at, OPENSEARCH_BLOCK | (sequence & _NUMBER), seq_no),
        body_of(document),
        text_at(own, "level"),
        *place_of(layout, document, Signal.LOGS),
        text_at(own, "trace_id"),
        text_at(own, "span_id"),
        texts_at(own["row"], "ResourceAttributes"),
        texts_at(own["row"], "LogAttributes"),
    )


def _others_log(layout: Layout, document: Hit, hit: Hit) -> LogRow:
    milli, _, _, seq_no = hit["sort"]
    at = time_of(document.get("@timestamp"))
    if at // MILLI != milli:  # a format of the index's own
        at = int(milli or 0) * MILLI
    digest = hashlib.blake2b(f"{hit['_index']}/{hit['_id']}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big") & _NUMBER
    return LogRow(
        Position(at, OPENSEARCH_BLOCK | OTHERS_BLOCK | number, seq_no),
        document["log"],
        level_of(0, "", document["log"]),
        *place_of(layout, document, Signal.LOGS),
        text_at(document, "traceId"),
        text_at(document, "spanId"),
        log_resource(document),
        log_attributes(document),
    )


def span(layout: Layout, hit: Hit) -> Span | None:
    """The span of a hit."""
    document = hit["_source"]
    if not isinstance(document, Mapping):
        return None
    if is_own(document):
        return _own_span(layout, document)
    return None if OWN in document else _others_span(layout, document)


def _own_span(layout: Layout, document: Hit) -> Span | None:
    own, row = document[OWN], document[OWN]["row"]
    at, duration = own.get("time_unix_nano"), row.get("Duration", 0)
    if not isinstance(at, int) or not isinstance(duration, int):
        return None
    return Span(
        text_at(row, "TraceId"),
        text_at(row, "SpanId"),
        text_at(row, "ParentSpanId"),
        text_at(row, "SpanName"),
        text_at(row, "SpanKind"),
        text_at(row, "ServiceName"),
        at,
        duration,
        text_at(row, "StatusCode"),
        text_at(row, "StatusMessage"),
        *place_of(layout, document, Signal.TRACES),
        attributes=texts_at(row, "SpanAttributes"),
        resource=texts_at(row, "ResourceAttributes"),
    )


def _others_span(layout: Layout, document: Hit) -> Span:
    resource, attributes = span_attributes(document)
    start, duration = time_of(document.get("startTime")), document.get("durationInNanos")
    if not isinstance(duration, int):
        duration = max(0, time_of(document.get("endTime")) - start)
    status = document.get("status")
    status = status if isinstance(status, Mapping) else {}
    return Span(
        text_at(document, "traceId"),
        text_at(document, "spanId"),
        text_at(document, "parentSpanId"),
        text_at(document, "name"),
        text_at(document, "kind").removeprefix("SPAN_KIND_").capitalize(),
        resource.get("service.name", ""),
        start,
        duration,
        _STATUSES.get(str(status.get("code", "")).lower(), "Unset"),
        text_at(status, "message"),
        *place_of(layout, document, Signal.TRACES),
        attributes=attributes,
        resource=resource,
    )


def texts_at(row: Hit, name: str) -> dict[str, str]:
    """A map of texts; empty where something else is."""
    value = row.get(name)
    return {str(key): str(text) for key, text in value.items()} if isinstance(value, Mapping) else {}


def size_of(row: LogRow | Span) -> int:
    """About as many bytes as a row takes in an answer."""
    texts = len(row.body) if isinstance(row, LogRow) else len(row.name) + len(row.status_message)
    maps = (row.resource, row.attributes)
    return 200 + texts + sum(len(key) + len(value) for each in maps for key, value in each.items())
