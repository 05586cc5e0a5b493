"""The program as its user runs it: real SDK, real curl, a real ClickHouse server, and every field compared."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry._logs import SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from sinks.clickhouse import Connection
from tests.clickhouse import server_settings
from tests.program import Program, running
from tests.services import ClickHouseServer
from tests.waiting import eventually_sync

pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]

START = time.time_ns() // 1_000_000 * 1_000_000 + 123_456  # nanoseconds that no coarser clock has
LABELS = {
    "openchoreo.dev/namespace": "acme",
    "openchoreo.dev/project": "shop",
    "openchoreo.dev/component": "api",
    "openchoreo.dev/environment": "prod",
}
ATTRIBUTES: dict[str, Any] = {
    "text": "g\u00fcnther \u2603",
    "yes": True,
    "no": False,
    "int": -(2**63),
    "float": 0.1,
    "list": ["a", "b"],
    "ints": (1, 2),
}
STORED = {
    "text": "g\u00fcnther \u2603",
    "yes": "true",
    "no": "false",
    "int": "-9223372036854775808",
    "float": "0.1",
    "list": '["a","b"]',
    "ints": "[1,2]",
}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, clickhouse: ClickHouseServer) -> Iterator[Program]:
    settings = {
        "clickhouse__interface": "http",
        "clickhouse__port": str(clickhouse.http_port),
        "clickhouse__database": "e2e",
        "deliver__max_age_seconds": "0.1",
    }
    with running(tmp_path_factory.mktemp("program"), **settings) as started:
        wait_for_schema(started)
        yield started


def wait_for_schema(program: Program) -> None:
    eventually_sync(lambda: "schema is up to date" in program.output(), 20)


@pytest.fixture(scope="module")
def store(clickhouse: ClickHouseServer) -> Iterator[Connection]:
    connection = Connection(server_settings(clickhouse.http_port, "e2e"))
    yield connection
    connection.close()


def row_of(store: Connection, table: str, service: str) -> dict[str, Any]:
    """The one row of a service, once it is there; times as nanoseconds."""

    def rows() -> list[list[object]]:
        sql = f"SELECT * EXCEPT ReceivedAt REPLACE (toUnixTimestamp64Nano(Timestamp) AS Timestamp) FROM e2e.{table}"
        if table == "otel_traces":
            sql = sql.replace(
                " AS Timestamp)",
                " AS Timestamp, arrayMap(t -> toUnixTimestamp64Nano(t), `Events.Timestamp`) AS `Events.Timestamp`)",
            )
        return store.rows(f"{sql} WHERE ServiceName = '{service}'")

    eventually_sync(lambda: len(rows()) >= 1, 20)
    found = rows()
    assert len(found) == 1, f"{len(found)} rows of {service}"
    age = store.rows(f"SELECT now64(3) - ReceivedAt FROM e2e.{table} WHERE ServiceName = '{service}'")
    assert 0 <= float(str(age[0][0])) < 60, "when it was received"
    names = [
        str(name)
        for (name,) in store.rows(
            "SELECT name FROM system.columns WHERE database = 'e2e'"
            f" AND table = '{table}' AND default_kind NOT IN ('ALIAS', 'MATERIALIZED')"
            " AND name != 'ReceivedAt' ORDER BY position"
        )
    ]
    return dict(zip(names, found[0], strict=True))


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_span_of_the_sdk_arrives_with_every_field(program: Program, store: Connection, transport: str) -> None:
    """Times to the nanosecond, all attribute types, events, links, status, scope, and the tenant's columns."""
    exporter = (
        GrpcSpans(f"http://127.0.0.1:{program.grpc_port}", insecure=True)
        if transport == "grpc"
        else HttpSpans(f"http://127.0.0.1:{program.http_port}/v1/traces")
    )
    service = f"spans-{transport}"
    provider = TracerProvider(resource=Resource({"service.name": service, **LABELS}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("scope", "1.2")
    other = SpanContext(0xA1, 0xB2, is_remote=True, trace_flags=TraceFlags(1), trace_state=TraceState([("v", "1")]))
    parent = trace.set_span_in_context(trace.NonRecordingSpan(other))
    span = tracer.start_span(
        "GET /", parent, SpanKind.CLIENT, ATTRIBUTES, [Link(other, {"why": "because"})], start_time=START
    )
    span.add_event("exception", {"exception.type": "E", "n": 1}, START + 7)
    span.set_status(Status(StatusCode.ERROR, "broke"))
    span.end(START + 1_000_000_001)
    provider.shutdown()

    row = row_of(store, "otel_traces", service)
    context = span.get_span_context()
    assert context is not None
    resource = row.pop("ResourceAttributes")
    assert row == {
        "Timestamp": START,
        "TraceId": f"{context.trace_id:032x}",
        "SpanId": f"{context.span_id:016x}",
        "ParentSpanId": "00000000000000b2",
        "TraceState": "v=1",
        "SpanName": "GET /",
        "SpanKind": "Client",
        "ServiceName": service,
        "ScopeName": "scope",
        "ScopeVersion": "1.2",
        "SpanAttributes": STORED,
        "Duration": 1_000_000_001,
        "StatusCode": "Error",
        "StatusMessage": "broke",
        "Events.Timestamp": [START + 7],
        "Events.Name": ["exception"],
        "Events.Attributes": [{"exception.type": "E", "n": "1"}],
        "Links.TraceId": ["000000000000000000000000000000a1"],
        "Links.SpanId": ["00000000000000b2"],
        "Links.TraceState": [""],  # the Python exporter does not send a link's
        "Links.Attributes": [{"why": "because"}],
        **TENANT,
    }
    assert resource == {"service.name": service, **LABELS, **CANONICAL}


TENANT = {
    "OrgId": "acme",
    "ProjectId": "shop",
    "ComponentId": "api",
    "EnvironmentId": "prod",
    "DataPlaneId": "local",
}
CANONICAL = {
    "organization.id": "acme",
    "project.id": "shop",
    "component.id": "api",
    "environment.id": "prod",
    "data_plane.id": "local",
}


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_log_record_of_the_sdk_arrives_with_every_field(program: Program, store: Connection, transport: str) -> None:
    """Body, severity, trace context, scope with attributes, event name."""
    exporter = (
        GrpcLogs(f"http://127.0.0.1:{program.grpc_port}", insecure=True)
        if transport == "grpc"
        else HttpLogs(f"http://127.0.0.1:{program.http_port}/v1/logs")
    )
    service = f"logs-{transport}"
    provider = LoggerProvider(resource=Resource({"service.name": service, **LABELS}, "https://schema/r"))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    context = trace.set_span_in_context(
        trace.NonRecordingSpan(SpanContext(0xA1, 0xB2, is_remote=False, trace_flags=TraceFlags(1)))
    )
    provider.get_logger("scope", "1.2", "https://schema/s", {"in": "scope"}).emit(
        timestamp=START,
        context=context,
        severity_number=SeverityNumber.WARN2,
        severity_text="Warn",
        body={"k": [1, "two"]},
        attributes=ATTRIBUTES,
        event_name="order.placed",
    )
    provider.shutdown()

    row = row_of(store, "otel_logs", service)
    assert row.pop("ResourceAttributes") == {"service.name": service, **LABELS, **CANONICAL}
    assert row == {
        "Timestamp": START,
        "TraceId": "000000000000000000000000000000a1",
        "SpanId": "00000000000000b2",
        "TraceFlags": 1,
        "SeverityText": "Warn",
        "SeverityNumber": 14,
        "ServiceName": service,
        "Body": '{"k":[1,"two"]}',
        "ResourceSchemaUrl": "https://schema/r",
        "ScopeSchemaUrl": "https://schema/s",
        "ScopeName": "scope",
        "ScopeVersion": "1.2",
        "ScopeAttributes": {"in": "scope"},
        "LogAttributes": STORED,
        "EventName": "order.placed",
        **TENANT,
    }


def curl(program: Program, path: str, body: dict[str, Any]) -> tuple[int, str]:
    url = f"http://127.0.0.1:{program.http_port}{path}"
    headers = ["-H", "Content-Type: application/json"]
    command = ["curl", "-sS", "-w", "\n%{http_code}", url, *headers, "-d", json.dumps(body)]
    answer, _, status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.rpartition("\n")
    return int(status), answer


def test_curl_with_json_sends_traces_and_logs(program: Program, store: Connection) -> None:
    """OTLP/JSON by hand: hex ids, 64-bit numbers as text, enums as numbers; answered in JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "by-curl"}}]}
    span = {
        "traceId": "5B8EFFF798038103D269B633813FC60C",
        "spanId": "EEE19B7EC3C1B174",
        "name": "by hand",
        "kind": 2,
        "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 5),
        "attributes": [{"key": "n", "value": {"intValue": "7"}}],
        "status": {"code": 1},
    }
    traces = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [span]}]}]}
    record = {"timeUnixNano": START, "severityNumber": 9, "severityText": "Info", "body": {"stringValue": "hello"}}
    logs = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}
    assert curl(program, "/v1/traces", traces) == (200, "{}")
    assert curl(program, "/v1/logs", logs) == (200, "{}")
    row = row_of(store, "otel_traces", "by-curl")
    assert (row["TraceId"], row["SpanId"]) == ("5b8efff798038103d269b633813fc60c", "eee19b7ec3c1b174")
    assert (row["SpanKind"], row["Duration"], row["StatusCode"]) == ("Server", 5, "Ok")
    assert (row["SpanAttributes"], row["OrgId"]) == ({"n": "7"}, "default")
    row = row_of(store, "otel_logs", "by-curl")
    assert (row["Timestamp"], row["Body"], row["SeverityNumber"]) == (START, "hello", 9)


@pytest.mark.usefixtures("program")
def test_the_tables_have_what_hyperdx_reads(store: Connection) -> None:
    """Field notes 2.6: required columns, nested access to events, the older TimestampTime, attribute items."""
    store.rows(
        "SELECT Timestamp, TimestampTime, Body, SeverityText, TraceId, SpanId, ServiceName, LogAttributes,"
        " ResourceAttributes, LogAttributeItems, `__hdx_materialized_k8s.pod.name` FROM e2e.otel_logs"
        " WHERE hasAllTokens(lower(Body), 'hello') LIMIT 1"
    )
    store.rows(
        "SELECT Timestamp, SpanName, Duration, SpanKind, ParentSpanId, StatusCode, StatusMessage, SampleRate,"
        " `Events.Attributes`[indexOf(`Events.Name`, 'exception')]['exception.type'], `Links.TraceId`,"
        " SpanAttributeItems, TimestampTime FROM e2e.otel_traces LIMIT 1"
    )


def test_a_soft_stop_loses_nothing_and_ends_with_0(tmp_path: Path, clickhouse: ClickHouseServer) -> None:
    """SIGTERM right after the answer: what was acknowledged is in the store or in the log, and the exit is clean."""
    settings = {
        "clickhouse__interface": "http",
        "clickhouse__port": str(clickhouse.http_port),
        "clickhouse__database": "stops",
        "deliver__max_age_seconds": "5",
    }
    span = {"name": "n", "startTimeUnixNano": str(START)}
    with running(tmp_path, **settings) as program:
        wait_for_schema(program)
        assert curl(program, "/v1/traces", {"resourceSpans": [{"scopeSpans": [{"spans": [span] * 10}]}]})[0] == 200
        eventually_sync(lambda: program.metric("bridge_log_oldest_unwritten_seconds") > 0)
        assert program.stop() == 0
    connection = Connection(server_settings(clickhouse.http_port, "stops"))
    assert connection.rows("SELECT count() FROM stops.otel_traces") == [[10]]
    connection.close()
