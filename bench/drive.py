"""The load generator: a process of its own, outside the box. It counts what was acknowledged, and when.

    python -m bench.drive grpc|http PORT SIGNAL ITEMS_PER_REQUEST CALLERS SECONDS [--rate ITEMS_PER_SECOND] [--gzip]

Closed loop: so many callers, each sends its next request when the last is answered. Open loop (`--rate`): requests
start at fixed times, whoever is still waiting. No two requests are the same (`bench/vary.py`).
"""

import argparse
import asyncio
import gzip
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import numpy as np
import uvloop
from grpc import aio

from bench.vary import Varied, varied
from bridge.model import Signal

PATH = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs"}
METHOD = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
# So many items in the bodies that requests are varied from.
DISTINCT_ITEMS = 20_000
REST_SECONDS = 0.05
Send = Callable[[bytes], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Bodies:
    """What requests are varied from, in rotation."""

    made: list[Varied]
    dice: np.random.Generator
    is_gzip: bool

    def take(self, turn: int) -> bytes:
        body = self.made[turn % len(self.made)].fresh(self.dice)
        return gzip.compress(body, 6) if self.is_gzip else body


@dataclass(slots=True)
class Tally:
    """Acknowledged requests: how long each took, and when it was answered (Unix seconds)."""

    waits: list[float] = field(default_factory=list)
    answered_at: list[float] = field(default_factory=list)
    refused: int = 0

    async def one(self, send: Send, body: bytes) -> None:
        before = time.perf_counter()
        if await send(body):
            self.waits.append(time.perf_counter() - before)
            self.answered_at.append(time.time())
        else:
            self.refused += 1
            await asyncio.sleep(REST_SECONDS)


def sender(channel: aio.Channel, session: aiohttp.ClientSession, arguments: argparse.Namespace) -> Send:
    signal = Signal(arguments.signal)
    packing = grpc.Compression.Gzip if arguments.gzip else None
    call: Any = channel.unary_unary(METHOD[signal])
    url = f"http://127.0.0.1:{arguments.port}{PATH[signal]}"
    headers = {"Content-Type": "application/x-protobuf"} | ({"Content-Encoding": "gzip"} if arguments.gzip else {})

    async def over_grpc(body: bytes) -> bool:
        try:
            await call(body, timeout=30, compression=packing)
        except aio.AioRpcError:
            return False
        return True

    async def over_http(body: bytes) -> bool:
        try:
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    return over_grpc if arguments.transport == "grpc" else over_http


async def closed_loop(send: Send, bodies: Bodies, tally: Tally, arguments: argparse.Namespace) -> None:
    ends = time.perf_counter() + arguments.seconds

    async def caller(turn: int) -> None:
        while time.perf_counter() < ends:
            await tally.one(send, bodies.take(turn))
            turn += arguments.callers

    await asyncio.gather(*(caller(number) for number in range(arguments.callers)))


async def open_loop(send: Send, bodies: Bodies, tally: Tally, arguments: argparse.Namespace) -> None:
    started, every_seconds = time.perf_counter(), arguments.items / arguments.rate
    async with asyncio.TaskGroup() as group:
        for number in range(int(arguments.seconds / every_seconds)):
            await asyncio.sleep(max(0.0, started + number * every_seconds - time.perf_counter()))
            group.create_task(tally.one(send, bodies.take(number)))


async def drive(arguments: argparse.Namespace) -> dict[str, Any]:
    made = varied(Signal(arguments.signal), max(20, DISTINCT_ITEMS // arguments.items), arguments.items)
    is_gzip = arguments.gzip and arguments.transport == "http"  # grpc compresses by itself
    bodies = Bodies(made, np.random.default_rng(), is_gzip)
    tally = Tally()
    options = [("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50)]
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        aio.insecure_channel(f"127.0.0.1:{arguments.port}", options=options) as channel,
    ):
        send = sender(channel, session, arguments)
        print("ready", flush=True)  # whoever measures starts now: making the bodies took a while
        await asyncio.to_thread(sys.stdin.readline)
        started = time.perf_counter()
        await (open_loop if arguments.rate else closed_loop)(send, bodies, tally, arguments)
        elapsed = time.perf_counter() - started
    waits = sorted(tally.waits)
    return {
        "requests": len(waits),
        "refused": tally.refused,
        "seconds": elapsed,
        "request_bytes": sum(len(each.body) for each in made) / len(made),
        "ack_p50_seconds": waits[len(waits) // 2] if waits else None,
        "ack_p99_seconds": waits[int(len(waits) * 0.99)] if waits else None,
        "answered_at": tally.answered_at,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.drive", description=__doc__)
    parser.add_argument("transport", choices=["grpc", "http"])
    parser.add_argument("port", type=int)
    parser.add_argument("signal", choices=["traces", "logs"])
    parser.add_argument("items", type=int)
    parser.add_argument("callers", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--rate", type=float, default=0.0, help="items per second, open loop")
    parser.add_argument("--gzip", action="store_true")
    print(json.dumps(uvloop.run(drive(parser.parse_args()))), flush=True)


if __name__ == "__main__":
    main()
