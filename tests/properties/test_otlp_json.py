"""OTLP/JSON means the same as protobuf, and whatever else arrives is Malformed."""

import base64
import math
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.errors import Malformed, TooLarge
from bridge.model import OTLP_SIGNALS, Signal
from bridge.otlp import json as otlp_json
from tests.otlp_strategies import REQUESTS

slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
IDS = {"trace_id", "span_id", "parent_span_id"}


def encode(message: Any, style: int) -> dict[str, Any]:
    """A message in OTLP/JSON, written from the specification; `style` varies names, numbers and absent fields."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        name = field.name if style % 2 else field.json_name
        is_list = field.is_repeated
        values = [_value(field, each, style) for each in (value if is_list else [value])]
        found[name] = values if is_list else values[0]
    if style % 3 == 0:
        found["someFutureField"] = {"nested": [1]}
    return found


def _value(field: Any, value: Any, style: int) -> Any:
    if field.message_type is not None:
        return encode(value, style)
    if field.name in IDS:
        return value.hex().upper() if style % 2 else value.hex()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, int) and not isinstance(value, bool) and field.enum_type is None and style % 5:
        return str(value)
    return value


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data(), style=st.integers(0, 29))
def test_json_and_protobuf_are_the_same_request(signal: Signal, data: st.DataObject, style: int) -> None:
    """camelCase or snake_case, ids in either case of hex, 64-bit numbers as text or number, unknown fields ignored."""
    message = data.draw(REQUESTS[signal])
    body = orjson.dumps(encode(message, style))
    parsed = otlp_json.parse(signal, body)
    assert str(parsed) == str(message)  # as text: NaNs have many encodings


@slow
@given(data=st.data())
def test_mutated_json_is_a_request_or_malformed(data: st.DataObject) -> None:
    """Nothing but the two defined outcomes."""
    body = bytearray(orjson.dumps(encode(data.draw(REQUESTS[Signal.TRACES]), data.draw(st.integers(0, 5)))))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = otlp_json.parse(Signal.TRACES, bytes(body[: data.draw(st.integers(0, len(body)))]))
    except Malformed:
        return
    assert isinstance(found, ExportTraceServiceRequest)


@slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["resourceSpans", "scopeSpans", "spans", "traceId", "attributes", "value", "kind", "x"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=12,
    )
)
def test_json_of_any_shape_is_a_request_or_malformed(tree: Any) -> None:
    """Known names with values of the wrong type, everywhere."""
    try:
        found = otlp_json.parse(Signal.TRACES, orjson.dumps(tree))
    except Malformed:
        return
    assert isinstance(found, ExportTraceServiceRequest)


@pytest.mark.parametrize(
    "text",
    [
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"k","value":%s}]}]}]}]}'
        % ('{"arrayValue":{"values":[' * 300 + "{}" + "]}}" * 300),
        "[" * 100_000,
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":1e400}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"startTimeUnixNano":"-1"}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"\\ud800"}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":99999999999}]}]}]}',
        '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"abc"}]}]}]}',
        '{"resourceSpans":[NaN]}',
        '"text"',
        "\x00",
    ],
)
def test_json_that_cannot_be_a_request_is_malformed(text: str) -> None:
    """Over-nested, out of range, lone surrogates, odd hex, NaN literals, other top levels."""
    with pytest.raises(Malformed) as caught:
        otlp_json.parse(Signal.TRACES, text.encode())
    assert len(str(caught.value)) < 500


def test_null_fields_are_absent_and_null_links_harmless() -> None:
    """JSON writers spell absent as null."""
    text = b'{"resourceSpans":[{"resource":null,"scopeSpans":[{"spans":[{"traceId":null,"links":null,"name":"n"}]}]}]}'
    span = otlp_json.parse(Signal.TRACES, text).resource_spans[0].scope_spans[0].spans[0]
    assert (span.name, span.trace_id) == ("n", b"")


def test_large_json_is_refused_before_it_is_read() -> None:
    """JSON takes many times its size in memory."""
    with pytest.raises(TooLarge):
        otlp_json.parse(Signal.LOGS, b" " * (5 << 20))
