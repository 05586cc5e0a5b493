"""X-Complete-Until is never later than the truth: what was received before it is in the answer that says it."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bridge.cli.moments import parse_moment
from tests.program import Program, free_port, running
from tests.services import ClickHouseServer, start_clickhouse
from tests.waiting import eventually_sync

pytestmark = [pytest.mark.external, pytest.mark.timeout(180)]
RESOURCE = {
    "attributes": [
        {"key": f"openchoreo.dev/{name}", "value": {"stringValue": value}}
        for name, value in (("namespace", "acme"), ("project", "shop"), ("component", "api"))
    ]
}


@pytest.fixture
def server() -> Iterator[ClickHouseServer]:
    """One of our own, to be paused."""
    with start_clickhouse() as server:
        yield server


async def send(session: aiohttp.ClientSession, program: Program, number: int) -> int:
    """One record; unix nanoseconds when it was acknowledged, so received before."""
    record = {"timeUnixNano": str(time.time_ns()), "body": {"stringValue": f"INFO row {number}"}}
    body = {"resourceLogs": [{"resource": RESOURCE, "scopeLogs": [{"logRecords": [record]}]}]}
    async with session.post(f"http://127.0.0.1:{program.http_port}/v1/logs", json=body) as response:
        assert response.status == 200
    return time.time_ns()


async def test_what_was_received_before_the_header_is_in_the_answer(server: ClickHouseServer, tmp_path: Path) -> None:
    """Under load, the store frozen for a while: in every answer, until the header is past that."""
    port = free_port()
    settings = {
        "clickhouse__interface": "http",
        "clickhouse__port": str(server.http_port),
        "query__listen": f"127.0.0.1:{port}",
        "deliver__max_age_seconds": "0.2",
    }
    with running(tmp_path, **settings) as program:
        eventually_sync(lambda: "ready" in program.output(), 20)
        acknowledged: list[int] = []
        ended = asyncio.Event()
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            load = group.create_task(keep_sending(session, program, acknowledged, ended))
            resumed_at, checked, last = 0, 0, 0
            deadline = time.monotonic() + 120
            while not (resumed_at and last > resumed_at):
                assert time.monotonic() < deadline, (checked, last, resumed_at)
                answer = await ask(session, port)
                if answer is None:
                    continue
                until, total = answer
                due = sum(at <= until for at in acknowledged)
                assert total >= due, f"{due - total} rows received before X-Complete-Until are not in the answer"
                assert until >= last, "it went back"
                checked, last = checked + (until > 0 and due > 0), until
                if checked >= 20 and not resumed_at:
                    server.pause()
                    await asyncio.sleep(3)  # how long the store is frozen is the test's input, not a wait
                    server.resume()
                    resumed_at = time.time_ns()
            ended.set()
            await load
    assert checked > 20
    assert len(acknowledged) > 100


async def keep_sending(
    session: aiohttp.ClientSession, program: Program, acknowledged: list[int], ended: asyncio.Event
) -> None:
    while not ended.is_set():
        acknowledged.append(await send(session, program, len(acknowledged)))


async def ask(session: aiohttp.ClientSession, port: int) -> tuple[int, int] | None:
    """What the header says as unix nanoseconds (0: nothing), and how many rows there are; None: no answer now."""
    url = f"http://127.0.0.1:{port}/api/logs/org/acme"
    async with session.post(url, json={"limit": 1}) as response:
        if response.status != 200:
            return None
        told, total = response.headers.get("X-Complete-Until"), json.loads(await response.read())["totalCount"]
        return (parse_moment(told) if told else 0), total
