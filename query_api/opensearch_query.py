"""Questions to filters and orders of OpenSearch. Pure.

A filter finds every document that answers a question, and may find others: what it cannot say exactly (`is_exact`) is
looked at again in Python, row by row (`matching.py`), as everything is that it finds.
"""

from typing import Any, Final

from bridge.documents import MAX_TERM_CHARACTERS, OWN, Family, Layout
from bridge.model import LABEL_PREFIXES, Signal
from bridge.rfc3339 import format_time
from query_api.errors import InvalidRequest
from query_api.matching import member
from query_api.opensearch_clauses import (
    EVERYTHING,
    MAX_INT,
    Clause,
    Part,
    all_of,
    any_of,
    bounds,
    case_free,
    is_exact_pattern,
    is_exact_word,
    may_be_level,
    one_of,
    storable,
    substring,
    words_of,
)
from query_api.opensearch_scope import label_fields, own
from query_api.sides import ANOTHER_STORE, OPENSEARCH_BLOCK
from query_api.storage import LogQuery, Position

MILLI: Final = 1_000_000
# Every order that starts with a time says what a document without one has: unless it does, OpenSearch 2.19 leaves out
# a shard whose first time is no better than the last one found, though the next key is (rows of one time are lost).
NO_TIME: Final = 0
SUBSTRING: Final = "log.substring"
# In `Position.block`: a document of others, which has no sequence; below it a number made of its `_id`.
OTHERS_BLOCK: Final = 1 << 62
SEQUENCE_BITS: Final = 60
SortValues = list[Any]
Order = tuple[int, int, int, int, int]


def together(parts: list[Part]) -> Part:
    return Part(all_of(*(part.clause for part in parts)), all(part.is_exact for part in parts))


def own_logs(query: LogQuery) -> Part:
    """Of our documents, places aside."""
    parts = [Part(bounds(f"{OWN}.time_unix_nano", query.start_unix_nano, query.end_unix_nano))]
    if query.levels:
        parts.append(Part(own("level", query.levels)))
    if query.phrase:
        parts.append(Part(substring(SUBSTRING, query.phrase), is_exact_pattern(query.phrase)))
    fields = {"namespace": query.namespace, "build_id": query.build_id, "build_uuid": query.build_uuid}
    parts += [Part(own(name, [value])) for name, value in fields.items() if value]
    if query.is_build:
        parts.append(Part(case_free(f"{OWN}.target", "build")))
    if query.versions or query.version_ids:
        versions = (("version", query.versions), ("version_id", query.version_ids))
        parts.append(Part(any_of(own(name, values) for name, values in versions if values)))
    for key, value in query.labels:
        parts.append(Part(_own_label(key, value), f"{key}{value}".count("=") == 0))
    return together([*parts, *_own_gateway(query)])


def _own_label(key: str, value: str) -> Clause:
    pairs = [f"{prefix}{key}={value}"[:MAX_TERM_CHARACTERS] for prefix in LABEL_PREFIXES]
    return {"terms": {f"{OWN}.labels": pairs}}


def _own_gateway(query: LogQuery) -> list[Part]:
    parts = []
    if query.vhosts:
        lines = [substring(SUBSTRING, member("gwHost", host)) for host in query.vhosts]
        parts.append(Part(any_of([own("vhost", query.vhosts), *lines]), is_exact=False))
    if query.apis:
        fields = [
            all_of(own("api_id", [api]), own("api_version", [version]) if version else EVERYTHING)
            for api, version in query.apis
        ]
        lines = [substring(SUBSTRING, member("apiUuid", api)) for api, _ in query.apis]
        parts.append(Part(any_of([*fields, *lines]), is_exact=False))
    return parts


def others_logs(query: LogQuery, layout: Layout) -> Part:
    """Of others' documents, places aside. Labels that no mapping need have are left to Python."""
    parts = [Part(times("@timestamp", query.start_unix_nano, query.end_unix_nano))]
    if query.levels:
        parts.append(Part(may_be_level("log", query.levels), is_exact=False))
    if query.phrase:
        parts.append(Part(words_of("log", query.phrase), is_exact_word(query.phrase)))
    if query.namespace:
        parts.append(Part(one_of(f"kubernetes.namespace_name{layout.keyword}", [query.namespace])))
    builds = {"build_id": query.build_id, "build_uuid": query.build_uuid}
    parts += [Part(_label(layout, name, (value,))) for name, value in builds.items() if value]
    if query.is_build:
        parts.append(Part(any_of(case_free(field, "build") for field in label_fields(layout, Signal.LOGS, "target"))))
    if query.versions or query.version_ids:
        versions = (("version", query.versions), ("version_id", query.version_ids))
        parts.append(Part(any_of(_label(layout, name, values) for name, values in versions if values)))
    if query.labels:
        parts.append(Part(EVERYTHING, is_exact=False))
    for key, values in (("gwHost", query.vhosts), ("apiUuid", tuple(api for api, _ in query.apis))):
        if values:
            parts.append(Part(any_of(words_of("log", member(key, value)) for value in values), is_exact=False))
    return together(parts)


def _label(layout: Layout, concept: str, values: tuple[str, ...]) -> Clause:
    return any_of(one_of(field, values) for field in label_fields(layout, Signal.LOGS, concept))


def times(field: str, start: int | None, end: int | None) -> Clause:
    """Of a date, to its millisecond, or of a date_nanos, exactly."""
    if end is not None and end < 0:
        return any_of([])
    given = {name: format_time(storable(at)) for name, at in (("gte", start), ("lte", end)) if at is not None}
    return {"range": {field: {**given, "format": "strict_date_optional_time_nanos"}}} if given else EVERYTHING


def is_empty_window(start: int | None, end: int | None) -> bool:
    return start is not None and end is not None and start > end


def indices(layout: Layout, signal: Signal, start: int | None, end: int | None) -> str:
    """Where documents of these times are."""
    first, last = (None if at is None else storable(at) for at in (start, end))
    return layout.indices(signal, first, last)


def log_sort(*, is_descending: bool) -> list[Clause]:
    """By milliseconds first, which is all that every mapping has; then ours by nanoseconds and sequence, then others'
    as they were written."""
    order = "desc" if is_descending else "asc"
    number = {"order": order, "missing": MAX_INT, "unmapped_type": "long"}
    return [
        {"@timestamp": {"order": order, "numeric_type": "date", "unmapped_type": "date", "missing": NO_TIME}},
        {f"{OWN}.time_unix_nano": number},
        {f"{OWN}.sequence": number},
        {"_seq_no": {"order": order}},
    ]


def span_sort(*, is_descending: bool) -> list[Clause]:
    """By start, trace and span."""
    order = "desc" if is_descending else "asc"
    return [
        start_sort("startTime", order),
        {"traceId": {"order": order, "unmapped_type": "keyword"}},
        {"spanId": {"order": order, "unmapped_type": "keyword"}},
        {"_seq_no": {"order": order}},
    ]


def start_sort(field: str, order: str) -> Clause:
    """By nanoseconds, whatever kind of date it is."""
    return {field: {"order": order, "numeric_type": "date_nanos", "unmapped_type": "date_nanos", "missing": NO_TIME}}


def order_of(position: Position) -> Order:
    """What rows are sorted by: the values of `log_sort`, and of others' documents a number, since documents of two
    shards may have one `_seq_no`. Raises `InvalidRequest` for a position of another store."""
    if not position.block & OPENSEARCH_BLOCK:
        raise InvalidRequest(ANOTHER_STORE)
    at, kind = position.time_unix_nano, position.block >> SEQUENCE_BITS & 0b111
    milli, offset = at // MILLI, min(position.offset, MAX_INT)
    number = position.block & ((1 << SEQUENCE_BITS) - 1)
    if kind == OTHERS_BLOCK >> SEQUENCE_BITS:
        return milli, MAX_INT, MAX_INT, offset, number
    return milli, at, number if kind == 0 else MAX_INT, offset, 0


def from_order(order: Order, *, is_descending: bool) -> SortValues:
    """For `search_after`: what comes behind, and what is of the same `_seq_no`, which has to be told apart by row."""
    return behind(list(order[:4]), is_descending=is_descending)


def behind(values: SortValues, *, is_descending: bool) -> SortValues:
    """`search_after` that finds documents with these sort values once more, if there are several."""
    *first, seq_no = values
    return [*first, min(seq_no + 1, MAX_INT) if is_descending else max(seq_no - 1, -1)]


def service_fields(layout: Layout) -> str:
    """Where others' spans have their service."""
    return "serviceName" if layout.family is Family.A else "resource.service.name"
