"""Whatever bytes arrive, the process stays up inside 256 MiB: the whole bad-input list thrown at a real process.

What counts is anonymous memory (numbers.md: below 200 MiB of it). Pages of libraries are 45 to 90 MiB of what is
resident, as many as the page cache happens to hold (seen: 123 or 157 MiB in all for the same idle process), and a
cgroup at its limit drops them before it kills anybody.
"""

import asyncio
import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.model import Signal
from tests.load import METHOD, Book
from tests.program import Program, free_port, running

pytestmark = pytest.mark.timeout(180)

BUDGET_BYTES = 200 << 20
MIB = 1 << 20


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """`headrace run` without chDB; its store is never there, so that what is measured is receiving."""
    settings = {"clickhouse__interface": "http", "clickhouse__port": str(free_port()), "log__max_bytes": str(256 * MIB)}
    settings["receive__max_grpc_message_bytes"] = str(16 * MIB)  # the worst that can be set: by default 4 MiB
    with running(tmp_path, **settings) as started:
        yield started


@pytest.fixture
def peak_bytes(program: Program) -> Iterator[Callable[[], int]]:
    """Tells the most anonymous memory the program had so far."""
    with program.watching_memory() as told:
        yield told


def framed(tag: int, body: bytes) -> bytes:
    length, out = len(body), bytearray([tag])
    while length > 127:
        out.append(length & 127 | 128)
        length >>= 7
    return bytes([*out, length]) + body


def under_a_scope(items: bytes) -> bytes:
    return framed(0x0A, framed(0x12, items))


def attacks() -> dict[str, bytes]:
    """Bodies that are small to send and large to hold; each just under the limit that would refuse it."""
    crowded = ExportTraceServiceRequest()
    entry = crowded.resource_spans.add()
    entry.scope_spans.add().spans.add(name="n")
    for number in range(100_000):
        entry.resource.attributes.add(key=f"k{number}").value.int_value = number
    return {
        "100,000 attributes": crowded.SerializeToString(),
        "a million empty spans under 1 MiB": under_a_scope(framed(0x12, b"") * (MIB // 2 - 20)),
        "16 MiB of empty spans": under_a_scope(framed(0x12, b"") * (8 * MIB - 20)),
        "16 MiB of short spans": under_a_scope(framed(0x12, framed(0x2A, b"seven-b")) * (16 * MIB // 11 - 20)),
        "200,000 spans of 80 bytes": under_a_scope(framed(0x12, framed(0x2A, b"n" * 76)) * 199_000),
        "16 MiB of short events": under_a_scope(
            framed(0x12, framed(0x5A, framed(0x12, b"eight-by")) * (16 * MIB // 12 - 20))
        ),
        "16 MiB of short attributes": under_a_scope(
            framed(0x12, framed(0x4A, framed(0x0A, b"eight-by")) * (16 * MIB // 12 - 20))
        ),
        "one string of 16 MiB": under_a_scope(framed(0x12, framed(0x2A, b"x" * (16 * MIB - 100)))),
        "garbage": random.Random(1).randbytes(16 * MIB),
    }


def json_attacks() -> dict[str, bytes]:
    return {
        "4 MiB of lists": b'{"resourceSpans":' + b"[" + b"[],[[]]," * (MIB // 2 - 10) + b"[]]}",
        "2 MiB of numbers": b'{"resourceSpans":' + b"[" + b"1," * (MIB - 20) + b"1]}",
        "50,000 objects": b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b"{}," * 49_000 + b"{}]}]}]}",
        "deep": b"[" * MIB,
    }


async def post(session: aiohttp.ClientSession, url: str, body: bytes, **headers: str) -> int:
    async def chunks() -> Any:
        for start in range(0, len(body), 1 << 16):
            yield body[start : start + (1 << 16)]

    try:
        async with session.post(url, data=chunks(), headers=headers) as answer:
            return answer.status
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        return 0  # answered and closed before the body was through


async def call(channel: aio.Channel, body: bytes) -> str:
    unary: Any = channel.unary_unary(METHOD[Signal.TRACES])
    try:
        await unary(body, timeout=60)
    except aio.AioRpcError as error:
        return error.code().name
    return "OK"


DEFINED = {200, 400, 413, 415, 503, 0}
DEFINED_GRPC = {"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}


async def test_the_bad_input_list_stays_inside_the_budget(program: Program, peak_bytes: Callable[[], int]) -> None:
    """Every attack four times at once on both listeners, gzip bombs among them; then good requests go through."""
    url = f"http://127.0.0.1:{program.http_port}/v1/traces"
    bomb = gzip.compress(bytes(64 * MIB), 9) * 16
    options = [("grpc.max_send_message_length", -1)]
    async with (
        aiohttp.ClientSession() as session,
        aio.insecure_channel(f"127.0.0.1:{program.grpc_port}", options=options) as channel,
    ):
        for name, body in (attacks() | {"gzip bomb of 1 GiB": bomb}).items():
            packing = {"Content-Encoding": "gzip"} if name.startswith("gzip") else {}
            headers = {"Content-Type": "application/x-protobuf"} | packing
            statuses = await asyncio.gather(*(post(session, url, body, **headers) for _ in range(4)))
            codes = await asyncio.gather(*(call(channel, body) for _ in range(4)))
            assert set(statuses) <= DEFINED, name
            assert set(codes) <= DEFINED_GRPC, name
            assert peak_bytes() < BUDGET_BYTES, f"{name}: {peak_bytes() / MIB:.0f} MiB"
        for name, body in json_attacks().items():
            statuses = await asyncio.gather(
                *(post(session, url, body, **{"Content-Type": "application/json"}) for _ in range(4))
            )
            assert set(statuses) <= DEFINED, name
            assert peak_bytes() < BUDGET_BYTES, f"{name}: {peak_bytes() / MIB:.0f} MiB"
        body, _ = Book().request(Signal.TRACES, 10, random.Random(1))
        assert await post(session, url, body, **{"Content-Type": "application/x-protobuf"}) == 200
        assert await call(channel, body) == "OK"


async def test_64_large_calls_at_once_stay_inside_the_budget(program: Program, peak_bytes: Callable[[], int]) -> None:
    """grpc core buffers what nobody reads; 64 callers with 3.7 MB each are served or refused, within the budget."""
    request = ExportTraceServiceRequest()
    scope = request.resource_spans.add().scope_spans.add()
    for number in range(10_000):
        scope.spans.add(name="n" * 300, span_id=number.to_bytes(8, "big"), start_time_unix_nano=number + 1)
    body = request.SerializeToString()
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    channels = [aio.insecure_channel(f"127.0.0.1:{program.grpc_port}", options=options) for _ in range(16)]
    url = f"http://127.0.0.1:{program.http_port}/v1/traces"
    async with aiohttp.ClientSession() as session:
        headers = {"Content-Type": "application/x-protobuf"}
        answers = await asyncio.gather(
            *(call(channels[number % 16], body) for number in range(64)),
            *(post(session, url, body, **headers) for _ in range(16)),
        )
    assert set(answers) <= DEFINED_GRPC | DEFINED
    assert any(answer in ("OK", 200) for answer in answers)
    assert peak_bytes() < BUDGET_BYTES, f"{peak_bytes() / MIB:.0f} MiB"
    for channel in channels:
        await channel.close()
