"""Whatever arrives on either listener has a defined answer, is counted by reason, and leaves the listener serving."""

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import grpc
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from bridge.errors import LogFull
from bridge.model import Signal
from bridge.settings import Settings
from bridge.settings_receive import Receive
from tests.listeners import METHOD, Listening, listening, one_span, unary

pytestmark = pytest.mark.usefixtures("grpc_engine")

GOOD = one_span().SerializeToString()
SMALL = Settings(receive=Receive(max_request_bytes=64 << 10, max_in_flight_bytes=128 << 10, read_timeout_seconds=0.3))


async def still_serves(server: Listening) -> None:
    """A good request goes through on both listeners."""
    assert (await server.post(GOOD)).code == 200
    assert (await server.call(GOOD)).code == "OK"


def bodies() -> dict[str, bytes]:
    """Bodies that are not OTLP."""
    deep = b""
    for _ in range(200):
        deep = b"\x32" + _length(deep) + deep if deep else b"\x32\x00"
    nested = b"\x0a\x01x"
    for _ in range(120):
        nested = b"\x2a" + _length(b"\x0a" + _length(nested) + nested) + b"\x0a" + _length(nested) + nested
    span = b"\x4a" + _length(b"\x12" + _length(nested) + nested) + b"\x12" + _length(nested) + nested
    over_nested = b"\x12" + _length(span) + span
    over_nested = b"\x12" + _length(over_nested) + over_nested
    return {
        "truncated": GOOD[:-3],
        "invalid_utf8": GOOD.replace(b"GET /", b"\xff\xfe\xfd\xfc\xfb"),
        "mistyped": b"\x08\x01\x0d\x00",
        "over_nested": b"\x0a" + _length(over_nested) + over_nested,
        "garbage": b"\xff" * 100,
        "text": b"hello, this is not protobuf",
    }


def _length(body: bytes) -> bytes:
    size, out = len(body), bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])


@pytest.mark.parametrize("name", bodies())
async def test_a_body_that_is_not_otlp_is_malformed(name: str) -> None:
    """400 and INVALID_ARGUMENT without a retry hint, counted, nothing in the log."""
    async with listening() as server:
        for reply, code in (
            (await server.post(bodies()[name]), 400),
            (await server.call(bodies()[name]), "INVALID_ARGUMENT"),
        ):
            assert reply.code == code
            assert reply.retry_after_seconds is None
            assert "OTLP" in reply.message
        for transport in ("http", "grpc"):
            assert (
                server.count(
                    "bridge_receiver_requests_total", signal="traces", transport=transport, outcome="malformed"
                )
                == 1
            )
        await still_serves(server)


async def test_mutated_requests_are_answered_whatever_they_are() -> None:
    """Flipped and cut bytes give success or a defined refusal, on both listeners, never a failure of ours."""
    dice = random.Random(1)
    async with listening() as server, aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        async with aiohttp.ClientSession() as session:
            for _ in range(300):
                body = bytearray(GOOD)
                for _ in range(dice.randint(1, 4)):
                    body[dice.randrange(len(body))] = dice.randrange(256)
                mutant = bytes(body[: dice.randint(1, len(body))])
                reply = await unary(channel, METHOD[Signal.TRACES], mutant)
                assert reply.code in ("OK", "INVALID_ARGUMENT")
                headers = {"Content-Type": "application/x-protobuf"}
                async with session.post(f"{server.http}/v1/traces", data=mutant, headers=headers) as answer:
                    assert answer.status in (200, 400)
        assert (
            server.count("bridge_receiver_requests_total", signal="traces", transport="grpc", outcome="internal") == 0
        )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 400),
        ("", 400),
        ("[]", 400),
        ('{"resourceSpans": "x"}', 400),
        ('{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"zz"}]}]}]}', 400),
        ("[" * 5000, 400),
        ('{"resourceSpans":[' + '{"a":' * 3000, 400),
        ('{"unknown": 1}', 200),
    ],
)
async def test_json_is_held_to_the_mapping(text: str, code: int) -> None:
    """Broken, mistyped or over-nested JSON is 400 with an answer in JSON; unknown fields are ignored."""
    async with listening() as server:
        reply = await server.post(text.encode(), Content_Type="application/json")
        assert reply.code == code
        assert json.loads(reply.body or b"{}") is not None
        await still_serves(server)


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", ""])
async def test_another_content_type_is_refused(content_type: str) -> None:
    """415 names what is spoken."""
    async with listening() as server:
        reply = await server.post(GOOD, Content_Type=content_type)
        assert reply.code == 415
        assert "application/x-protobuf" in reply.message


@pytest.mark.parametrize(("encoding", "code"), [("gzip", 400), ("zstd", 400), ("deflate", 400), ("br", 415)])
async def test_a_wrong_encoding_header_is_refused(encoding: str, code: int) -> None:
    """A plain body that claims to be packed is malformed; an encoding nobody speaks is told so."""
    async with listening() as server:
        assert (await server.post(GOOD, Content_Encoding=encoding)).code == code
        await still_serves(server)


async def test_packed_requests_are_taken() -> None:
    """gzip and deflate on HTTP, gzip on gRPC."""
    async with listening() as server:
        assert (await server.post(gzip.compress(GOOD), Content_Encoding="gzip")).code == 200
        assert (await server.post(zlib.compress(GOOD), Content_Encoding="deflate")).code == 200
        assert (
            await server.call(one_span("n" * 5000).SerializeToString(), compression=grpc.Compression.Gzip)
        ).code == "OK"
        assert server.count("bridge_receiver_accepted_items_total", signal="traces", transport="http") == 2


async def test_a_gzip_bomb_is_too_large() -> None:
    """1 MiB that would become 1 GiB is 413 and RESOURCE_EXHAUSTED without a hint: do not send it again."""
    bomb = gzip.compress(bytes(64 << 20), 9)
    bomb *= 16  # members one after the other are one body
    async with listening() as server:
        http, call = await server.post(bomb, Content_Encoding="gzip"), await server.call(bomb)
        assert (http.code, call.code) == (413, "RESOURCE_EXHAUSTED")
        assert (http.retry_after_seconds, call.retry_after_seconds) == (None, None)
        assert (
            server.count("bridge_receiver_requests_total", signal="traces", transport="grpc", outcome="too_large") == 1
        )
        await still_serves(server)


async def test_a_body_over_the_limit_is_too_large() -> None:
    """Declared, undeclared (chunked) and on gRPC."""
    big = one_span("n" * (100 << 10)).SerializeToString()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 10_000):
            yield big[start : start + 10_000]

    async with listening(SMALL) as server:
        assert (await server.post(big)).code == 413
        headers = {"Content-Type": "application/x-protobuf"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.http}/v1/traces", data=chunks(), headers=headers) as answer,
        ):
            assert answer.status == 413
        assert (await server.call(big)).code == "RESOURCE_EXHAUSTED"
        await still_serves(server)


async def raw(server: Listening, head: str, body: bytes, is_closing: bool = False) -> bytes:
    """What the HTTP listener answers to these very bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
    writer.write(head.replace("\n", "\r\n").encode() + body)
    if is_closing:
        writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()
    return answer


HEAD = "POST /v1/traces HTTP/1.1\nHost: x\nContent-Type: application/x-protobuf\nConnection: close\n"


async def test_a_body_shorter_than_declared_is_refused_in_time() -> None:
    """A client that stops in the middle gets 408 when the time is up, and holds nothing after that."""
    async with listening(SMALL) as server:
        answer = await raw(server, f"{HEAD}Content-Length: 1000\n\n", GOOD)
        assert b" 408 " in answer.split(b"\r\n")[0]
        assert server.receiver.budget.taken_bytes == 0
        assert (
            server.count("bridge_receiver_requests_total", signal="traces", transport="http", outcome="slow_client")
            == 1
        )
        await still_serves(server)


@pytest.mark.parametrize("head", [HEAD, HEAD.replace("Connection: close\n", "")])
async def test_a_body_longer_than_declared_is_never_taken_for_data(head: str) -> None:
    """Bytes after Content-Length belong to no request: 400, the connection ends, and they are stored nowhere."""
    async with listening(SMALL) as server:
        answer = await raw(server, f"{head}Content-Length: {len(GOOD)}\n\n", GOOD + b"\x00" * 50)
        assert b" 400 " in answer
        stored = server.log.held(Signal.TRACES)
        assert len(stored) == answer.count(b" 200 OK")
        await still_serves(server)


async def test_a_slow_loris_is_let_go() -> None:
    """Connections that never finish their headers, or drip their body, are closed after the read timeout."""
    async with listening(SMALL) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http_port)
        writer.write(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await still_serves(server)


async def test_a_grpc_call_that_never_sends_its_message_is_let_go() -> None:
    """The budget it held while waiting is free again."""
    async with listening(SMALL) as server, aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call: Any = channel.stream_unary(METHOD[Signal.TRACES])()
        with pytest.raises(aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert server.receiver.budget.taken_bytes == 0
        await still_serves(server)


async def test_100_000_attributes_on_one_resource_are_rejected_and_the_rest_is_kept() -> None:
    """partial_success names the reason and the number; the other resource's span is accepted."""
    request = one_span("kept")
    crowded = request.resource_spans.add()
    crowded.scope_spans.add().spans.add(name="rejected")
    for number in range(100_000):
        crowded.resource.attributes.add(key=f"{number:x}").value.bool_value = True
    body = request.SerializeToString()
    async with listening(Settings.model_validate({"log": {"max_record_bytes": 4_000_000}})) as server:
        http, call = await server.post(body), await server.call(body)
        assert (http.code, call.code) == (200, "OK")
        for reply in (http, call):
            partial = ExportTraceServiceResponse.FromString(reply.body).partial_success
            assert partial.rejected_spans == 1
            assert "too_many_attributes" in partial.error_message
        assert server.count("bridge_receiver_rejected_items_total", signal="traces", reason="too_many_attributes") == 2
        assert server.count("bridge_receiver_accepted_items_total", signal="traces", transport="http") == 1


async def test_one_item_over_the_record_limit_is_rejected_and_the_rest_is_split() -> None:
    """Requests larger than a record are cut into several; a single span that does not fit is told by name."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(50):
        scope.spans.add(name=f"{number}".ljust(1000))
    scope.spans.add(name="n" * 30_000)
    settings = Settings.model_validate({"log": {"max_record_bytes": 20_000}})
    async with listening(settings) as server:
        partial = ExportTraceServiceResponse.FromString((await server.post(request.SerializeToString())).body)
        assert partial.partial_success.rejected_spans == 1
        assert "item_too_large" in partial.partial_success.error_message
        assert server.count("bridge_receiver_accepted_items_total", signal="traces", transport="http") == 50


async def test_a_log_that_refuses_is_told_with_a_hint() -> None:
    """503 with Retry-After, UNAVAILABLE with RetryInfo; nothing was acknowledged."""
    async with listening() as server:
        server.log.script("append", LogFull("full", 7.0), LogFull("full", 7.0))
        http, call = await server.post(GOOD), await server.call(GOOD)
        assert (http.code, http.retry_after_seconds) == (503, 7.0)
        assert (call.code, call.retry_after_seconds) == ("UNAVAILABLE", 7.0)
        assert server.count("bridge_receiver_refused_items_total", signal="traces", reason="log_full") == 2
        await still_serves(server)


async def test_unknown_paths_and_methods_are_told_so() -> None:
    """404, 405, and UNIMPLEMENTED on gRPC."""
    async with listening() as server, aiohttp.ClientSession() as session:
        async with session.post(f"{server.http}/v1/nothing", data=b"") as answer:
            assert answer.status == 404
        async with session.get(f"{server.http}/v1/traces") as answer:
            assert answer.status == 405
        async with aio.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            assert (await unary(channel, "/no.Such/Method", b"")).code == "UNIMPLEMENTED"
