"""One tenant floods, another sends as always: by how much does the other's acknowledgement slow down?

    python -m bench.fairness [--seconds 15] [--no-quota]

`headrace run` with a ClickHouse server. The polite tenant sends 50 requests of 100 spans a second over HTTP; the
flooding one sends as fast as it can on eight connections, has a quota of 2,000 items a second, and ignores every hint.
Both are processes of their own. Prints p50 and p99 of the polite tenant alone and beside the flood, and their ratio.
"""

import argparse
import asyncio
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import aiohttp
import numpy as np

from bench.generate import requests_of
from bridge.model import Signal
from tests.program import running
from tests.services import start_clickhouse

# as long as the organisation that the generated resources claim
ORGS = ("calm", "rush")
HEADERS = {"Content-Type": "application/x-protobuf"}


def catalog(quota: str) -> str:
    text = ""
    for org in ORGS:
        sha256 = hashlib.sha256(org.encode()).hexdigest()
        text += f'[[organizations]]\nname = "{org}"\n{quota if org == ORGS[1] else ""}\n'
        text += f'[[data_planes]]\nid = "{org}"\ntoken_sha256s = ["{sha256}"]\norganizations = ["{org}"]\n'
        text += f'default_organization = "{org}"\n'
    return text


async def send(org: str, port: int, seconds: float, pause_seconds: float, connections: int) -> dict[str, object]:
    """Send until the time is up; acknowledgement times in ms and statuses."""
    bodies = [body.replace(b"acme", org.encode()) for body in requests_of(Signal.TRACES, 20, 100)]
    times: list[float] = []
    statuses: Counter[int] = Counter()
    ends = time.monotonic() + seconds
    headers = {**HEADERS, "Authorization": f"Bearer {org}"}
    url = f"http://127.0.0.1:{port}/v1/traces"

    async def client(http: aiohttp.ClientSession) -> None:
        turn = 0
        while time.monotonic() < ends:
            began = time.perf_counter()
            try:
                async with http.post(url, data=bodies[turn % 20], headers=headers) as answer:
                    await answer.read()
                    statuses[answer.status] += 1
            except aiohttp.ClientError:
                statuses[0] += 1
            times.append((time.perf_counter() - began) * 1000)
            turn += 1
            if pause_seconds:
                await asyncio.sleep(pause_seconds)

    async with aiohttp.ClientSession() as http:
        await asyncio.gather(*(client(http) for _ in range(connections)))
    p50, p99 = np.percentile(times, [50, 99])
    return {"requests": len(times), "p50_ms": round(p50, 2), "p99_ms": round(p99, 2), "statuses": dict(statuses)}


def spawn(org: str, port: int, seconds: float, pause_seconds: float, connections: int) -> "subprocess.Popen[bytes]":
    arguments = [org, str(port), str(seconds), str(pause_seconds), str(connections)]
    command = [sys.executable, "-m", "bench.fairness", "--send", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE)


def result(process: "subprocess.Popen[bytes]") -> dict[str, object]:
    out, _ = process.communicate()
    found: dict[str, object] = json.loads(out)
    return found


def measure(seconds: float, quota: str) -> tuple[dict[str, object], dict[str, object], dict[str, object]]:
    """The polite tenant alone, the same beside the flood, and the flood."""
    with tempfile.TemporaryDirectory() as folder, start_clickhouse() as server:
        file = Path(folder) / "catalog.toml"
        file.write_text(catalog(quota))
        settings = {
            "clickhouse__interface": "http",
            "clickhouse__port": str(server.http_port),
            "clickhouse__traces_ttl_days": "3650",
            "catalog__file": str(file),
        }
        with running(Path(folder), **settings) as program:
            port = program.http_port
            result(spawn(ORGS[0], port, 3, 0.02, 1))
            alone = result(spawn(ORGS[0], port, seconds, 0.02, 1))
            flooding = spawn(ORGS[1], port, seconds + 4, 0.0, 8)
            time.sleep(2)
            beside = result(spawn(ORGS[0], port, seconds, 0.02, 1))
            return alone, beside, result(flooding)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fairness", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--no-quota", action="store_true")
    parser.add_argument("--send", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        org, port, seconds, pause, connections = arguments.send
        print(json.dumps(asyncio.run(send(org, int(port), float(seconds), float(pause), int(connections)))))
        return 0
    quota = "" if arguments.no_quota else "quota = { items_per_second = 2000, burst_seconds = 1 }"
    alone, beside, flood = measure(arguments.seconds, quota)
    print(f"polite alone:  {alone}\npolite beside: {beside}\nflood:         {flood}")
    p99_alone, p99_beside = float(str(alone["p99_ms"])), float(str(beside["p99_ms"]))
    print(f"p99 beside / alone: {p99_beside / p99_alone:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
