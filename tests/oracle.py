"""The slow, plain decoder that the fast one is held against: upb messages, Python loops, one dict a row.

Written from the rules (field notes 2.5, docstrings of bridge/columns), not from the fast decoder.
"""

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import orjson
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.model import Record, Signal

Row = dict[str, Any]
KINDS = {1: "Internal", 2: "Server", 3: "Client", 4: "Producer", 5: "Consumer"}
CODES = {1: "Ok", 2: "Error"}
LATEST = 4_000_000_000 * 10**9


def rows(signal: Signal, records: Sequence[Record]) -> list[Row]:
    """What the table of these records must hold."""
    if signal is Signal.TRACES:
        return [row for record in records for row in span_rows(record)]
    return [row for record in records for row in log_rows(record)]


def span_rows(record: Record) -> Iterator[Row]:
    request = ExportTraceServiceRequest.FromString(record.value)
    for entry in request.resource_spans:
        resource = resource_row(entry.resource.attributes)
        for scope in entry.scope_spans:
            for span in scope.spans:
                start, end = time_of(span.start_time_unix_nano), time_of(span.end_time_unix_nano)
                yield {
                    **resource,
                    "ReceivedAt": record.received_at_unix_nano // 1_000_000,
                    "Timestamp": start or record.received_at_unix_nano,
                    "TraceId": id_of(span.trace_id, 16),
                    "SpanId": id_of(span.span_id, 8),
                    "ParentSpanId": id_of(span.parent_span_id, 8),
                    "TraceState": span.trace_state,
                    "SpanName": span.name,
                    "SpanKind": KINDS.get(span.kind, "Unspecified"),
                    "ScopeName": scope.scope.name,
                    "ScopeVersion": scope.scope.version,
                    "SpanAttributes": attributes(span.attributes),
                    "Duration": end - start if start and end > start else 0,
                    "StatusCode": CODES.get(span.status.code, "Unset"),
                    "StatusMessage": span.status.message,
                    "Events.Timestamp": [time_of(event.time_unix_nano) for event in span.events],
                    "Events.Name": [event.name for event in span.events],
                    "Events.Attributes": [attributes(event.attributes) for event in span.events],
                    "Links.TraceId": [id_of(link.trace_id, 16) for link in span.links],
                    "Links.SpanId": [id_of(link.span_id, 8) for link in span.links],
                    "Links.TraceState": [link.trace_state for link in span.links],
                    "Links.Attributes": [attributes(link.attributes) for link in span.links],
                }


def log_rows(record: Record) -> Iterator[Row]:
    request = ExportLogsServiceRequest.FromString(record.value)
    for entry in request.resource_logs:
        resource = resource_row(entry.resource.attributes)
        for scope in entry.scope_logs:
            for log in scope.log_records:
                times = (log.time_unix_nano, log.observed_time_unix_nano, record.received_at_unix_nano)
                yield {
                    **resource,
                    "ReceivedAt": record.received_at_unix_nano // 1_000_000,
                    "Timestamp": next((time for time in map(time_of, times) if time), 0),
                    "TraceId": id_of(log.trace_id, 16),
                    "SpanId": id_of(log.span_id, 8),
                    "TraceFlags": log.flags % 256,
                    "SeverityText": log.severity_text,
                    "SeverityNumber": log.severity_number if 0 <= log.severity_number <= 24 else 0,
                    "Body": text(log.body),
                    "ResourceSchemaUrl": entry.schema_url,
                    "ScopeSchemaUrl": scope.schema_url,
                    "ScopeName": scope.scope.name,
                    "ScopeVersion": scope.scope.version,
                    "ScopeAttributes": attributes(scope.scope.attributes),
                    "LogAttributes": attributes(log.attributes),
                    "EventName": log.event_name,
                }


def resource_row(pairs: Iterable[Any]) -> Row:
    found = dict(attributes(pairs))
    return {
        "ResourceAttributes": list(found.items()),
        "ServiceName": found.get("service.name", ""),
        "OrgId": found.get("organization.id", ""),
        "ProjectId": found.get("project.id", ""),
        "ComponentId": found.get("component.id", ""),
        "EnvironmentId": found.get("environment.id", ""),
        "DataPlaneId": found.get("data_plane.id", ""),
    }


def time_of(nanoseconds: int) -> int:
    return nanoseconds if nanoseconds <= LATEST else 0


def id_of(raw: bytes, size: int) -> str:
    return "" if raw == bytes(size) else raw.hex()


def attributes(pairs: Iterable[Any]) -> list[tuple[str, str]]:
    """As an Arrow map reads back: pairs sorted by the key's bytes, of duplicates the last."""
    last = {pair.key: text(pair.value) for pair in pairs}
    return sorted(last.items(), key=lambda item: item[0].encode())


def text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "double_value":
        return number_text(value.double_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind in ("array_value", "kvlist_value"):
        return orjson.dumps(nested(value)).decode()
    return str(nested(value))


def nested(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [nested(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: nested(pair.value) for pair in value.kvlist_value.values}
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "double_value" and not math.isfinite(value.double_value):
        return number_text(value.double_value)
    return None if kind is None else getattr(value, kind)


def number_text(number: float) -> str:
    """Shortest digits that read back equal; decimal from 1e-6 up to below 1e10, else with an exponent."""
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    sign, digits, exponent = Decimal(repr(number)).as_tuple()
    assert isinstance(exponent, int)
    figures = "".join(map(str, digits)).lstrip("0")
    minus = "-" if sign else ""
    if not figures:
        return f"{minus}0"
    stripped = figures.rstrip("0")
    exponent += len(figures) - len(stripped)
    point = len(stripped) + exponent  # digits before the decimal point
    if -6 < point <= 10:
        if point <= 0:
            return f"{minus}0.{'0' * -point}{stripped}"
        if exponent >= 0:
            return f"{minus}{stripped}{'0' * exponent}"
        return f"{minus}{stripped[:point]}.{stripped[point:]}"
    fraction = f".{stripped[1:]}" if len(stripped) > 1 else ""
    return f"{minus}{stripped[0]}{fraction}e{point - 1:+d}"
