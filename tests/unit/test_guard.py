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


LIMIT = 1_000_000


def cut(body: bytes, max_bytes: int = LIMIT) -> list[bytes | bytearray | guard.Oversized]:
    return list(guard.pieces(body, max_bytes))


def test_megabytes_of_empty_spans_are_refused() -> None:
    """4 MiB of two-byte spans would take 350 MB once parsed."""
    with pytest.raises(TooLarge, match="empty messages"):
        cut(spans(b"", 4 << 20))


def test_too_many_short_items_are_refused() -> None:
    """Items that are not empty but many are counted before they are parsed."""
    body = spans(framed(0x2A, b"a-short-name"), 8 << 20)
    with pytest.raises(TooLarge, match="items in one request"):
        cut(body)


def test_too_many_items_are_refused_before_there_is_a_view_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The view of 1.5 million items takes 48 MB more than the body; they are counted without it."""
    monkeypatch.setattr(guard, "_parse", lambda _: pytest.fail("the view was made"))
    with pytest.raises(TooLarge, match="items in one request"):
        cut(spans(framed(0x2A, b"seven-b"), 16 << 20))


@pytest.mark.parametrize("length", [b"\xff" * (2 << 20), b"\xff" * 9 + b"\x7f", b"\x80" * 3])
def test_a_length_that_never_ends_is_malformed_and_costs_nothing(length: bytes) -> None:
    """The count walks over lengths, and a length of megabytes would be a number of megabytes."""
    with pytest.raises(Malformed):
        cut(b"\x0a" + length + b"x" * (2 << 20))


def test_many_items_in_few_bytes_come_in_pieces_of_bounded_items() -> None:
    """80,000 short spans fit a record's bytes but not a batch's rows."""
    found = cut(spans(framed(0x2A, b"n" * 6), 800_000))
    counts = [len(ExportTraceServiceRequest.FromString(p).resource_spans[0].scope_spans[0].spans) for p in pure(found)]
    assert counts == [20_000, 20_000, 20_000, 20_000]


def pure(found: list[bytes | bytearray | guard.Oversized]) -> list[bytes]:
    assert not any(isinstance(piece, guard.Oversized) for piece in found)
    return [bytes(piece) for piece in found if not isinstance(piece, guard.Oversized)]


@pytest.mark.parametrize("max_bytes", [5_000, 100_000, 1_000_000, 10_000_000])
def test_the_pieces_hold_everything_in_order(max_bytes: int) -> None:
    """Resources, scopes, schema urls and items of a large request, put together again, are the request."""
    request = ExportTraceServiceRequest()
    for resource in range(3):
        entry = request.resource_spans.add(schema_url=f"r{resource}")
        if resource:
            entry.resource.attributes.add(key="service.name").value.string_value = f"s{resource}"
        for scope in range(2):
            part = entry.scope_spans.add(schema_url=f"s{scope}")
            part.scope.name = f"scope {scope}"
            for index in range(400):
                part.spans.add(name=f"{resource}-{scope}-{index}".ljust(400), trace_id=bytes(16))
    body = request.SerializeToString()
    assert len(body) > guard.SMALL_BYTES
    found = pure(cut(body, max_bytes))
    assert all(len(piece) <= max_bytes + 5_000 for piece in found)
    assert len(found) == 1 or len(found) >= len(body) // max_bytes

    def flat(parts: list[bytes]) -> list[tuple[object, ...]]:
        return [
            (entry.schema_url, str(entry.resource), scope.schema_url, scope.scope.name, str(span))
            for part in parts
            for entry in ExportTraceServiceRequest.FromString(part).resource_spans
            for scope in entry.scope_spans
            for span in scope.spans
        ]

    assert flat(found) == flat([body])


def test_what_no_record_can_hold_is_named_and_the_rest_kept() -> None:
    """One huge span among others, and a resource that leaves no room for any item."""
    body = spans(framed(0x2A, b"n" * 2_000_000), 2_000_100) + spans(framed(0x2A, b"small"), 20)
    found = cut(body)
    assert found[0] == guard.Oversized(1)
    assert len(pure(found[1:])) == 1
    huge = framed(0x0A, framed(0x0A, framed(0x0A, b"a" * 2_000_000)) + framed(0x12, framed(0x12, b"") * 3))
    assert cut(huge) == [guard.Oversized(3)]


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
    assert len(body) > 2 * guard.SMALL_BYTES
    assert len(pure(cut(body))) >= 2


def test_a_large_body_that_is_not_protobuf_is_malformed() -> None:
    """The view meets broken bytes before the parser does."""
    with pytest.raises(Malformed):
        cut(b"\xff" * (2 << 20))


def test_json_is_bounded_in_bytes_and_objects() -> None:
    """JSON unpacks to many times its size, so less of it is taken."""
    with pytest.raises(TooLarge, match="JSON is taken up to"):
        guard.check_json(b" " * (guard.MAX_JSON_BYTES + 1))
    with pytest.raises(TooLarge, match="JSON objects"):
        guard.check_json(b"[" + b"{}," * (guard.MAX_JSON_OBJECTS + 1) + b"{}]")
    guard.check_json(b'{"resourceSpans":[]}')
