"""Hypothesis strategies for OTLP messages: every value kind, every field absent or strange."""

from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from bridge.model import Record, Signal

# few keys, so that rows share them, repeat them and order them differently; some differ only after UTF-8 encoding
KEYS = st.sampled_from(
    ["a", "b", "ab", "", "service.name", "organization.id", "project.id", "z\u00e9", "z\uffff", "z\U0001f600", "\x00"]
)
TEXT = st.text(max_size=12)
IDS = st.sampled_from([b"", bytes(16), bytes(8), b"\x01" * 16, b"\xfe" * 8, b"odd", b"\xff" * 40])
TIMES = st.sampled_from(
    [
        0,
        1,
        1_700_000_000_123_456_789,
        1_700_000_000_123_456_790,
        4 * 10**18,
        4 * 10**18 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
    ]
)
INT32 = st.integers(-(2**31), 2**31 - 1)


def _some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The field set or absent."""
    return st.none() | strategy


SCALARS = st.one_of(
    st.builds(AnyValue),
    st.builds(AnyValue, string_value=TEXT),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=12)),
)


def _containers(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    pairs = st.lists(st.builds(KeyValue, key=KEYS, value=_some(values)), max_size=4)
    return st.one_of(
        st.builds(AnyValue, array_value=st.builds(ArrayValue, values=st.lists(values, max_size=4))),
        st.builds(AnyValue, kvlist_value=st.builds(KeyValueList, values=pairs)),
    )


VALUES = st.recursive(SCALARS, _containers, max_leaves=6)
ATTRIBUTES = st.lists(st.builds(KeyValue, key=KEYS, value=_some(VALUES)), max_size=6)
RESOURCES = _some(st.builds(Resource, attributes=ATTRIBUTES))
SCOPES = _some(st.builds(InstrumentationScope, name=TEXT, version=TEXT, attributes=ATTRIBUTES))

EVENTS = st.builds(Span.Event, time_unix_nano=TIMES, name=TEXT, attributes=ATTRIBUTES)
LINKS = st.builds(Span.Link, trace_id=IDS, span_id=IDS, trace_state=TEXT, attributes=ATTRIBUTES)
SPANS = st.builds(
    Span,
    trace_id=IDS,
    span_id=IDS,
    trace_state=TEXT,
    parent_span_id=IDS,
    name=TEXT,
    kind=INT32 | st.integers(-1, 7),
    start_time_unix_nano=TIMES,
    end_time_unix_nano=TIMES,
    attributes=ATTRIBUTES,
    dropped_attributes_count=st.integers(0, 5),
    events=st.lists(EVENTS, max_size=3),
    links=st.lists(LINKS, max_size=3),
    status=_some(st.builds(Status, message=TEXT, code=INT32 | st.integers(-1, 4))),
    flags=st.integers(0, 2**32 - 1),
)
LOG_RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES,
    observed_time_unix_nano=TIMES,
    severity_number=INT32 | st.integers(-1, 26),
    severity_text=TEXT,
    body=_some(VALUES),
    attributes=ATTRIBUTES,
    flags=st.integers(0, 2**32 - 1),
    trace_id=IDS,
    span_id=IDS,
    event_name=TEXT,
)

TRACE_REQUESTS = st.builds(
    ExportTraceServiceRequest,
    resource_spans=st.lists(
        st.builds(
            ResourceSpans,
            resource=RESOURCES,
            schema_url=TEXT,
            scope_spans=st.lists(
                st.builds(ScopeSpans, scope=SCOPES, schema_url=TEXT, spans=st.lists(SPANS, max_size=3)), max_size=2
            ),
        ),
        max_size=3,
    ),
)
LOG_REQUESTS = st.builds(
    ExportLogsServiceRequest,
    resource_logs=st.lists(
        st.builds(
            ResourceLogs,
            resource=RESOURCES,
            schema_url=TEXT,
            scope_logs=st.lists(
                st.builds(ScopeLogs, scope=SCOPES, schema_url=TEXT, log_records=st.lists(LOG_RECORDS, max_size=3)),
                max_size=2,
            ),
        ),
        max_size=3,
    ),
)
REQUESTS = {Signal.TRACES: TRACE_REQUESTS, Signal.LOGS: LOG_REQUESTS}


def records(signal: Signal) -> st.SearchStrategy[list[Record]]:
    """Batches of up to three records."""
    made = st.builds(
        lambda message, received: Record(signal, "o", "p", received, 0, message.SerializeToString()),
        REQUESTS[signal],
        st.sampled_from([1_700_000_000_000_000_000, 1_700_000_001_000_000_001]),
    )
    return st.lists(made, max_size=3)
