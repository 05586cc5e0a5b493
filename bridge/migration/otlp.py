"""Documents of others -> OTLP items, as their writers would have sent them. Pure.

What a document has beyond what its family knows becomes attributes, so that nothing of it is lost; pod annotations,
which no reader of either store looks at, are left behind.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bridge.documents import Document, leaves, log_attributes, span_attributes, text_at, time_of

# As bridge/columns/values.py: what is later cannot be stored.
MAX_TIME_UNIX_NANO: Final = 4_000_000_000 * 10**9
_KINDS: Final = {name: number for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT"))} | {
    "PRODUCER": 4,
    "CONSUMER": 5,
}
MILLI: Final = 1_000_000
_STATUSES: Final = {"UNSET": 0, "OK": 1, "ERROR": 2}


class Unconvertible(Exception):
    """A document that cannot become a row; the text says why."""


def resource_of(attributes: Mapping[str, str]) -> bytes:
    """Encoded, with its attributes in order of their keys: the same for the same attributes."""
    resource = Resource()
    for key, value in sorted(attributes.items()):
        resource.attributes.add(key=key).value.string_value = value
    encoded: bytes = resource.SerializeToString(deterministic=True)
    return encoded


def log_record(document: Document, sorted_unix_milli: int = 0) -> LogRecord:
    """`sorted_unix_milli`: what the store sorts it by, 0 if that is not known. Raises `Unconvertible`."""
    record = LogRecord(time_unix_nano=_time(document, "@timestamp", sorted_unix_milli))
    body = document.get("log")
    if body is not None:
        record.body.string_value = body if isinstance(body, str) else orjson.dumps(body).decode()
    if trace_id := text_at(document, "traceId"):
        record.trace_id = _id(trace_id, 16, "traceId")
    if span_id := text_at(document, "spanId"):
        record.span_id = _id(span_id, 8, "spanId")
    record.attributes.extend(_pair(name, text) for name, text in log_attributes(document).items())
    return record


def span_of(document: Document, sorted_unix_milli: int = 0) -> tuple[Span, Mapping[str, str], tuple[str, str]]:
    """The span, its resource's attributes, and its scope's name and version; else as `log_record`."""
    resource, attributes = span_attributes(document)
    start = _time(document, "startTime", sorted_unix_milli)
    end = time_of(document.get("endTime")) or start + _number(document.get("durationInNanos"))
    span = Span(
        trace_id=_id(text_at(document, "traceId"), 16, "traceId"),
        span_id=_id(text_at(document, "spanId"), 8, "spanId"),
        parent_span_id=_id(text_at(document, "parentSpanId"), 8, "parentSpanId"),
        trace_state=text_at(document, "traceState"),
        name=text_at(document, "name"),
        kind=_KINDS.get(text_at(document, "kind").upper().removeprefix("SPAN_KIND_"), 0),  # type: ignore[arg-type]
        start_time_unix_nano=start,
        end_time_unix_nano=min(max(start, end), MAX_TIME_UNIX_NANO),
        attributes=[_pair(key, value) for key, value in attributes.items()],
    )
    status = document.get("status")
    if isinstance(status, Mapping):
        span.status.message = str(status.get("message") or "")
        span.status.code = _status(status.get("code"))  # type: ignore[assignment]
    for event in _objects(document.get("events")):
        at = next((time_of(event[key]) for key in ("time", "@timestamp", "timestamp") if key in event), 0)
        span.events.add(name=text_at(event, "name"), time_unix_nano=max(0, at), attributes=_attributes(event))
    for link in _objects(document.get("links")):
        trace_id, span_id = (_id(text_at(link, key), size, key) for key, size in (("traceId", 16), ("spanId", 8)))
        state = text_at(link, "traceState")
        span.links.add(trace_id=trace_id, span_id=span_id, trace_state=state, attributes=_attributes(link))
    scope = "instrumentationScope"
    return span, resource, (text_at(document, scope, "name"), text_at(document, scope, "version"))


def _time(document: Document, key: str, sorted_unix_milli: int) -> int:
    """As it is written, or, where that is a format of the index's own, as the store has understood it."""
    at = time_of(document.get(key))
    if sorted_unix_milli and at // MILLI != sorted_unix_milli:
        at = sorted_unix_milli * MILLI
    if not 0 < at <= MAX_TIME_UNIX_NANO:
        raise Unconvertible(f"{key} {document.get(key)!r} is no time between 1970 and 2096")
    return at


def _id(text: str, size: int, key: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b"\0"
    if len(found) not in (0, size):
        raise Unconvertible(f"{key} {text[:100]!r} is not {size} bytes in hexadecimal")
    return found


def _number(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _status(code: object) -> int:
    if isinstance(code, int):
        return code if code in (0, 1, 2) else 0
    return _STATUSES.get(str(code or "").upper().removeprefix("STATUS_CODE_"), 0)


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def _attributes(value: Mapping[str, Any]) -> list[KeyValue]:
    inner = value.get("attributes")
    found = inner if isinstance(inner, Mapping) else {}
    return [_pair(key.replace("@", "."), text) for each in found for key, text in leaves(found[each], str(each))]


def _pair(key: str, value: str) -> KeyValue:
    pair = KeyValue(key=key)
    pair.value.string_value = value
    return pair
