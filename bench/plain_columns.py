"""The baseline of the column bench: upb messages and a plain Python loop, without Arrow tricks.

Resources and scopes are converted once, rows are appended to a list per column, and Arrow arrays are built at the end.
"""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.columns.schema import LOGS, SPANS, TENANT
from bridge.model import Record, Signal

KINDS = ["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"]
CODES = ["Unset", "Ok", "Error"]
Columns = dict[str, list[Any]]


def plain_table(signal: Signal, records: Sequence[Record]) -> pa.Table:
    """The table that `to_table` makes of ordinary telemetry, made row by row."""
    schema, fill = (SPANS, _spans) if signal is Signal.TRACES else (LOGS, _logs)
    columns: Columns = {name: [] for name in schema.names}
    for record in records:
        before = len(columns["Timestamp"])
        fill(record.value, columns)
        received_at_unix_milli = record.received_at_unix_nano // 1_000_000
        columns["ReceivedAt"] += [received_at_unix_milli] * (len(columns["Timestamp"]) - before)
    arrays = [_array(columns[name], kind) for name, kind in zip(schema.names, schema.types, strict=True)]
    return pa.table(arrays, schema)


def _array(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, pa.string()).dictionary_encode()
    return pa.array(values, kind)


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        text: str = value.string_value
        return text
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind == "double_value":
        return f"{value.double_value:.15g}"
    return "" if kind is None else str(getattr(value, kind))


def _map(pairs: Any) -> list[tuple[str, str]]:
    return sorted({pair.key: _text(pair.value) for pair in pairs}.items())


def _resource(entry: Any) -> list[tuple[str, Any]]:
    attributes = _map(entry.resource.attributes)
    found = dict(attributes)
    tenant = [(name, found.get(key, "")) for name, key in TENANT.items()]
    return [("ResourceAttributes", attributes), ("ServiceName", found.get("service.name", "")), *tenant]


def _spans(value: bytes, columns: Columns) -> None:
    add = {name: values.append for name, values in columns.items()}
    for entry in ExportTraceServiceRequest.FromString(value).resource_spans:
        resource = _resource(entry)
        for scope in entry.scope_spans:
            name, version = scope.scope.name, scope.scope.version
            for span in scope.spans:
                for column, shared in resource:
                    add[column](shared)
                start = span.start_time_unix_nano
                add["Timestamp"](start)
                add["TraceId"](span.trace_id.hex())
                add["SpanId"](span.span_id.hex())
                add["ParentSpanId"](span.parent_span_id.hex())
                add["TraceState"](span.trace_state)
                add["SpanName"](span.name)
                add["SpanKind"](KINDS[span.kind])
                add["ScopeName"](name)
                add["ScopeVersion"](version)
                add["SpanAttributes"](_map(span.attributes))
                add["Duration"](span.end_time_unix_nano - start)
                add["StatusCode"](CODES[span.status.code])
                add["StatusMessage"](span.status.message)
                events, links = span.events, span.links
                add["Events.Timestamp"]([event.time_unix_nano for event in events])
                add["Events.Name"]([event.name for event in events])
                add["Events.Attributes"]([_map(event.attributes) for event in events])
                add["Links.TraceId"]([link.trace_id.hex() for link in links])
                add["Links.SpanId"]([link.span_id.hex() for link in links])
                add["Links.TraceState"]([link.trace_state for link in links])
                add["Links.Attributes"]([_map(link.attributes) for link in links])


def _logs(value: bytes, columns: Columns) -> None:
    add = {name: values.append for name, values in columns.items()}
    for entry in ExportLogsServiceRequest.FromString(value).resource_logs:
        resource = _resource(entry)
        for scope in entry.scope_logs:
            name, version, attributes = scope.scope.name, scope.scope.version, _map(scope.scope.attributes)
            for record in scope.log_records:
                for column, shared in resource:
                    add[column](shared)
                add["Timestamp"](record.time_unix_nano)
                add["TraceId"](record.trace_id.hex())
                add["SpanId"](record.span_id.hex())
                add["TraceFlags"](record.flags & 0xFF)
                add["SeverityText"](record.severity_text)
                add["SeverityNumber"](record.severity_number)
                add["Body"](_text(record.body))
                add["ResourceSchemaUrl"](entry.schema_url)
                add["ScopeSchemaUrl"](scope.schema_url)
                add["ScopeName"](name)
                add["ScopeVersion"](version)
                add["ScopeAttributes"](attributes)
                add["LogAttributes"](_map(record.attributes))
                add["EventName"](record.event_name)
