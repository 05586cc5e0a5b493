"""Telemetry as the enricher leaves it, for any store: OTLP -> Arrow -> a sink, or rows of the memory storage."""

import itertools
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.columns import to_table
from bridge.levels import level_of
from bridge.model import Batch, Record, Signal
from query_api.memory import MemoryStorage
from query_api.storage import LogRow, Position, Span
from sinks import Sink

SECOND: Final = 1_000_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND
# 2025-11-14T10:00:00.123456789Z, the time of the contract's vectors (section 10)
NOON: Final = 1_763_114_400_123_456_789
KINDS: Final = {"Unspecified": 0, "Internal": 1, "Server": 2, "Client": 3, "Producer": 4, "Consumer": 5}
STATUSES: Final = {"Unset": 0, "Ok": 1, "Error": 2}
_blocks = itertools.count(1)


def place(
    org: str, project: str = "shop", component: str = "api", environment: str = "dev", **others: str
) -> dict[str, str]:
    """Resource attributes as `enrichers/tenancy.py` writes them. `others`: attributes, `__` for the dot
    (`service__name="api"`, `organization__name="Acme"`); those of other spellings are joined with `|`."""
    ids = {"organization.id": org, "project.id": project, "component.id": component, "environment.id": environment}
    found = {key: value for key, value in ids.items() if value}
    return found | {key.replace("__", "."): value for key, value in others.items()}


@dataclass(frozen=True, slots=True)
class StoredLog:
    """One log record; `number` and `severity` are OTLP's severity, ids are hex."""

    body: str
    at: int
    resource: Mapping[str, str]
    severity: str = ""
    number: int = 0
    trace_id: str = ""
    span_id: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span; `kind` and `status` are the table's words, ids are hex."""

    name: str
    trace_id: str
    span_id: str
    at: int
    resource: Mapping[str, str]
    duration: int = 1_000_000
    parent: str = ""
    kind: str = "Server"
    status: str = "Unset"
    status_message: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stored:
    """Items that become one insert a signal. `received_at` is when the bridge had them."""

    logs: list[StoredLog] = field(default_factory=list)
    spans: list[StoredSpan] = field(default_factory=list)
    received_at: int = NOON

    def log(self, body: str, at: int, resource: Mapping[str, str], **others: Any) -> None:
        """As `StoredLog`."""
        self.logs.append(StoredLog(body, at, resource, **others))

    def span(self, name: str, ids: tuple[str, str], at: int, resource: Mapping[str, str], **others: Any) -> None:
        """As `StoredSpan`; `ids` are those of the trace and the span."""
        self.spans.append(StoredSpan(name, *ids, at, resource, **others))

    async def fill(self, sink: Sink) -> None:
        """Write everything: one insert of logs and one of spans, each a part of its own in the store."""
        for signal, request in ((Signal.LOGS, self._logs_request()), (Signal.TRACES, self._spans_request())):
            table = self._table(signal, request)
            if table.num_rows:
                token = f"log:{signal.topic}:0:{uuid.uuid4().hex}:1"
                await sink.write(sink.encode(Batch(signal, token, table)))

    def to_memory(self, memory: MemoryStorage | None = None) -> MemoryStorage:
        """The same rows, of the same Arrow tables, in the memory storage (a new one if none is given)."""
        memory = memory or MemoryStorage()
        block = next(_blocks)
        for number, row in enumerate(rows_of(self._table(Signal.LOGS, self._logs_request()))):
            memory.log_rows.append(_log_row(row, block, number))
        memory.span_rows += [_span(row) for row in rows_of(self._table(Signal.TRACES, self._spans_request()))]
        return memory

    def _table(self, signal: Signal, request: Any) -> pa.Table:
        return to_table(signal, [Record(signal, "o", "p", self.received_at, 0, request.SerializeToString())])

    def _logs_request(self) -> ExportLogsServiceRequest:
        request = ExportLogsServiceRequest()
        for resource, same in itertools.groupby(self.logs, key=lambda log: log.resource):
            entry = request.resource_logs.add()
            _add(entry.resource.attributes, resource)
            scope = entry.scope_logs.add()
            for log in same:
                record = scope.log_records.add(
                    time_unix_nano=log.at,
                    severity_text=log.severity,
                    severity_number=log.number,
                    trace_id=bytes.fromhex(log.trace_id),
                    span_id=bytes.fromhex(log.span_id),
                )
                record.body.string_value = log.body
                _add(record.attributes, log.attributes)
        return request

    def _spans_request(self) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        for resource, same in itertools.groupby(self.spans, key=lambda span: span.resource):
            entry = request.resource_spans.add()
            _add(entry.resource.attributes, resource)
            scope = entry.scope_spans.add()
            for span in same:
                made = scope.spans.add(
                    name=span.name,
                    trace_id=bytes.fromhex(span.trace_id),
                    span_id=bytes.fromhex(span.span_id),
                    parent_span_id=bytes.fromhex(span.parent),
                    kind=KINDS[span.kind],
                    start_time_unix_nano=span.at,
                    end_time_unix_nano=span.at + span.duration,
                )
                made.status.code = STATUSES[span.status]  # type: ignore[assignment]
                made.status.message = span.status_message
                _add(made.attributes, span.attributes)
        return request


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """A table's rows; times as unix nanoseconds, maps as dictionaries."""
    columns = {}
    for name in table.schema.names:
        column = table.column(name).combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        values = column.to_pylist()
        columns[name] = [dict(value) for value in values] if pa.types.is_map(column.type) else values
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _add(attributes: Any, values: Mapping[str, str]) -> None:
    for key, value in values.items():
        attributes.add(key=key).value.string_value = value


def _log_row(row: Mapping[str, Any], block: int, number: int) -> LogRow:
    return LogRow(
        Position(row["Timestamp"], block, number),
        row["Body"],
        level_of(row["SeverityNumber"], row["SeverityText"], row["Body"]),
        *_ids(row),
        row["TraceId"],
        row["SpanId"],
        row["ResourceAttributes"],
        row["LogAttributes"],
    )


def _span(row: Mapping[str, Any]) -> Span:
    return Span(
        row["TraceId"],
        row["SpanId"],
        row["ParentSpanId"],
        row["SpanName"],
        row["SpanKind"],
        row["ServiceName"],
        row["Timestamp"],
        row["Duration"],
        row["StatusCode"],
        row["StatusMessage"],
        *_ids(row),
        row["SpanAttributes"],
        row["ResourceAttributes"],
    )


def _ids(row: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return row["OrgId"], row["ProjectId"], row["ComponentId"], row["EnvironmentId"]
