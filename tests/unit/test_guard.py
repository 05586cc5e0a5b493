"""Bodies that are small on the wire and huge in memory."""

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge import guard
from bridge.errors import Malformed, TooLarge


def framed(tag: int, body: bytes) -> bytes:
    length, out = len(body), bytearray([tag])
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    return bytes([*out, length]) + body


def spans(item: bytes, size_bytes: int) -> bytes:
    return framed(0x0A, framed(0x12, framed(0x12, item) * (size_bytes // (len(item) + 2))))


def test_megabytes_of_empty_spans_are_refused() -> None:
    """4 MiB of two-byte spans would take 350 MB once parsed."""
    with pytest.raises(TooLarge, match="empty messages"):
        guard.check_protobuf(spans(b"", 4 << 20))


def test_too_many_short_items_are_refused() -> None:
    """Items that are not empty but many are counted before they are parsed."""
    item = framed(0x2A, b"a-short-name")
    body = spans(item, 16 << 20)
    assert len(ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans) > guard.MAX_ITEMS
    with pytest.raises(TooLarge, match="items in one request"):
        guard.check_protobuf(body)


def test_ordinary_large_requests_pass() -> None:
    """A large batch of ordinary spans is not mistaken for an attack."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for index in range(20_000):
        span = scope.spans.add(name="GET /cart", kind=2, start_time_unix_nano=1_700_000_000_000_000_000 + index)
        span.trace_id = index.to_bytes(16, "little")  # mostly zero bytes, as a counting test id would be
        span.attributes.add(key="http.request.method").value.string_value = "GET"
        span.attributes.add(key="http.response.status_code").value.int_value = 200
    body = request.SerializeToString()
    assert len(body) > guard.SMALL_BYTES
    guard.check_protobuf(body)


def test_a_large_body_that_is_not_protobuf_is_malformed() -> None:
    """The count meets broken bytes before the parser does."""
    with pytest.raises(Malformed):
        guard.check_protobuf(b"\xff" * (2 << 20))


def test_json_is_bounded_in_bytes_and_objects() -> None:
    """JSON unpacks to many times its size, so less of it is taken."""
    with pytest.raises(TooLarge, match="JSON is taken up to"):
        guard.check_json(b" " * (guard.MAX_JSON_BYTES + 1))
    with pytest.raises(TooLarge, match="JSON objects"):
        guard.check_json(b"[" + b"{}," * (guard.MAX_JSON_OBJECTS + 1) + b"{}]")
    guard.check_json(b'{"resourceSpans":[]}')
