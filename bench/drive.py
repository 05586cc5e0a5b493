"""The load generator: a process of its own, closed loop, so many callers; it counts what was acknowledged.

python -m bench.drive grpc|http PORT SIGNAL ITEMS_PER_REQUEST CALLERS SECONDS
"""

import asyncio
import json
import sys
import time
from typing import Any

import aiohttp
import uvloop
from grpc import aio

from bench.generate import requests_of
from bridge.model import Signal

PATH = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs"}
METHOD = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}


async def drive(transport: str, port: int, signal: Signal, items: int, callers: int, seconds: float) -> dict[str, Any]:
    bodies = requests_of(signal, max(20, 2000 // items), items)
    waits: list[float] = []
    refused = 0
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
        aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call: Any = channel.unary_unary(METHOD[signal])
        url, headers = f"http://127.0.0.1:{port}{PATH[signal]}", {"Content-Type": "application/x-protobuf"}

        async def one(body: bytes) -> bool:
            if transport == "grpc":
                try:
                    await call(body, timeout=30)
                except aio.AioRpcError:
                    return False
                return True
            async with session.post(url, data=body, headers=headers) as answer:
                await answer.read()
                return answer.status == 200

        async def caller(number: int, ends: float) -> None:
            nonlocal refused
            turn = number
            while time.perf_counter() < ends:
                before = time.perf_counter()
                if await one(bodies[turn % len(bodies)]):
                    waits.append(time.perf_counter() - before)
                else:
                    refused += 1
                    await asyncio.sleep(0.05)
                turn += callers

        await one(bodies[0])
        started = time.perf_counter()
        await asyncio.gather(*(caller(number, started + seconds) for number in range(callers)))
        elapsed = time.perf_counter() - started
    waits.sort()
    return {
        "requests": len(waits) + 1,
        "refused": refused,
        "seconds": elapsed,
        "ack_p50_seconds": waits[len(waits) // 2] if waits else None,
        "ack_p99_seconds": waits[int(len(waits) * 0.99)] if waits else None,
    }


if __name__ == "__main__":
    transport_, port_, signal_, items_, callers_, seconds_ = sys.argv[1:]
    outcome = uvloop.run(drive(transport_, int(port_), Signal(signal_), int(items_), int(callers_), float(seconds_)))
    sys.stdout.write(json.dumps(outcome) + "\n")
