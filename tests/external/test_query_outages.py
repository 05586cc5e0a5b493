"""`headrace query` while its store is gone, frozen or slow, and while its own callers misbehave."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from sinks.clickhouse import Connection
from tests.clickhouse_storage import opened_server
from tests.program import Program
from tests.query_program import BODY, PATH, answers_again, asked, database, querying, wait_until_ready
from tests.query_server import Served
from tests.services import ClickHouseServer, start_clickhouse
from tests.stored import NOON, Stored, place
from tests.waiting import eventually_sync

pytestmark = [pytest.mark.external, pytest.mark.timeout(180)]
SLOW = {"limit": 10000, "searchPhrase": "\u00e9 " * 30}
UNAVAILABLE = {"error": "serviceUnavailable", "code": "OBS-L-26"}
WITHIN_SECONDS = 2.0
TIMES = "startTime=2025-11-14T00:00:00Z&endTime=2025-11-15T00:00:00Z&organizationId=acme"


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    """One of our own, to be killed."""
    with start_clickhouse() as server:
        yield server


@pytest.fixture(scope="module")
def large(server: ClickHouseServer) -> Iterator[Connection]:
    """A database with two million rows of one component, a millisecond apart, made by the store itself."""
    with database(server) as connection:
        connection.run(
            f"INSERT INTO {connection.settings.database}.otel_logs"
            " (Timestamp, Body, OrgId, ProjectId, ComponentId, EnvironmentId, ResourceAttributes)"
            f" SELECT fromUnixTimestamp64Nano({NOON} + number * 1000000),"
            " concat('=SUM(', number, ') ', repeat('x', 200)), 'acme', 'shop', 'api', 'dev',"
            " map('k8s.pod.uid', 'pod-1') FROM numbers(2000000)"
        )
        yield connection


def running(connection: Connection) -> int:
    """Questions with a wide phrase that the store works on now."""
    query = (
        "SELECT count() FROM system.processes WHERE query LIKE '%UTF8(Body%' AND query NOT LIKE '%system.processes%'"
    )
    return int(str(next(iter(connection.rows(query)))[0]))


async def until_running(connection: Connection, wanted: int) -> None:
    deadline = time.monotonic() + 20
    while await asyncio.to_thread(running, connection) != wanted:
        assert time.monotonic() < deadline


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[Served]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Served(session, url)


@pytest.mark.parametrize("how", ["killed", "paused"])
async def test_a_store_that_is_gone_is_told_within_two_seconds_and_comes_back_by_itself(
    server: ClickHouseServer, tmp_path: Path, how: str
) -> None:
    """503 with body and Retry-After, on every kind of route; /livez stays green, /readyz says it; no restart needed."""
    with database(server) as connection, querying(tmp_path, server, connection.settings.database) as (program, url):
        wait_until_ready(program)
        async with talking(url) as served:
            assert (await asked(served))[0] == 200
            server.kill() if how == "killed" else server.pause()
            for _ in range(4):
                answers = await asyncio.gather(*(asked(served) for _ in range(5)))
                for status, body, seconds in answers:
                    assert (status, body["error"], body["code"]) == (503, *UNAVAILABLE.values()), body
                    assert seconds < WITHIN_SECONDS, (how, seconds)
                assert program.get("/livez")[0] == 200
            assert (await served.post(PATH, BODY)).headers["Retry-After"] == "2"
            for path in ("/health", "/api/places", "/api/costs/export", f"/api/logs/export/csv?{TIMES}"):
                assert (await served.get(path)).status == 503, path
            eventually_sync(lambda: program.ready()[0] == 503, 10)
            assert program.ready("query")[1]["query"]["status"] == "the store does not answer"
            server.start() if how == "killed" else server.resume()
            await answers_again(served)
            assert program.get("/livez")[0] == 200
            eventually_sync(lambda: program.ready()[0] == 200, 10)
            assert program.metric("telemetry_clickstack_connection_errors_total") > 0


async def test_it_starts_while_the_store_is_down(server: ClickHouseServer, tmp_path: Path) -> None:
    """Alive, not ready, 503; then all well without a restart."""
    with database(server) as connection:
        name = connection.settings.database
    server.kill()
    with querying(tmp_path, server, name) as (program, url):
        async with talking(url) as served:
            status, body, seconds = await asked(served)
            assert (status, body["error"]) == (503, "serviceUnavailable")
            assert seconds < WITHIN_SECONDS
            assert (program.get("/livez")[0], program.ready()[0]) == (200, 503)
            server.start()
            await answers_again(served)
        wait_until_ready(program)


async def test_a_slow_question_is_given_up_with_advice(
    server: ClickHouseServer, large: Connection, tmp_path: Path
) -> None:
    """504 at its limit, which the store keeps; the process is alive and ready all the while."""
    settings = {"query__max_execution_seconds": "0.02"}
    with querying(tmp_path, server, large.settings.database, **settings) as (program, url):
        wait_until_ready(program)
        async with talking(url) as served:
            status, told, seconds = await asked(served, body=SLOW)
            assert (status, told["error"], told["code"]) == (504, "queryTimeout", "OBS-L-27"), told
            assert "tighten the time range" in told["message"]
            assert seconds < 3
            assert (program.get("/livez")[0], program.ready()[0]) == (200, 200)
            assert (await served.get("/health")).status == 200


async def test_fifty_callers_at_once_are_all_answered(server: ClickHouseServer, tmp_path: Path) -> None:
    """No error, with questions of several kinds, four rounds each."""
    async with opened_server(server.http_port) as store:
        stored = Stored()
        for number in range(2000):
            stored.log(f"INFO line {number}", NOON + number, place("acme"))
        await store.write(stored)
        with querying(tmp_path, server, store.database) as (program, url):
            wait_until_ready(program)
            async with talking(url) as served:

                async def caller(number: int) -> list[int]:
                    body = {**BODY, "limit": 100, "searchPhrase": f"line {number}"}
                    return [(await asked(served, body=body))[0] for _ in range(4)]

                statuses = await asyncio.gather(*(caller(number) for number in range(50)))
            assert {status for each in statuses for status in each} == {200}
            assert (
                program.metric("clickstack_query_duration_seconds_count", route="component logs", outcome="200") == 200
            )


async def test_a_client_that_hangs_up_takes_its_question_with_it(
    server: ClickHouseServer, large: Connection, tmp_path: Path
) -> None:
    """The store stops working on it, and its place is free again."""
    settings = {"query__max_execution_seconds": "60", "query__max_concurrent_queries": "1"}
    with querying(tmp_path, server, large.settings.database, **settings) as (program, url):
        wait_until_ready(program)
        async with talking(url) as served:
            slow = asyncio.create_task(asked(served, body=SLOW))
            await until_running(large, 1)
            slow.cancel()
            with pytest.raises(asyncio.CancelledError):
                await slow
            await until_running(large, 0)
            status, body, _ = await asked(served)
            assert status == 200, body
            cancelled = {"route": "component logs", "outcome": "cancelled"}
            assert program.metric("clickstack_query_duration_seconds_count", **cancelled) == 1


async def test_a_stop_finishes_what_is_under_way(server: ClickHouseServer, large: Connection, tmp_path: Path) -> None:
    """SIGTERM during a question: its answer comes whole, then the process ends with 0."""
    settings = {"query__max_execution_seconds": "60"}
    with querying(tmp_path, server, large.settings.database, **settings) as (program, url):
        wait_until_ready(program)
        async with talking(url) as served:
            slow = asyncio.create_task(asked(served, body=SLOW))
            await until_running(large, 1)
            ended = asyncio.create_task(asyncio.to_thread(program.stop))
            status, body, _ = await slow
            assert (status, body["logs"]) == (200, [])
            assert await ended == 0


class TestExport:
    """The CSV export of many rows."""

    ROWS = 100_000

    @pytest.fixture
    async def export(
        self, server: ClickHouseServer, large: Connection, tmp_path: Path
    ) -> AsyncIterator[tuple[Program, Served, str]]:
        with querying(tmp_path, server, large.settings.database) as (program, url):
            wait_until_ready(program)
            async with talking(url) as served:
                yield program, served, f"{url}/api/logs/export/csv?{TIMES}"

    async def test_a_hundred_thousand_rows_do_not_pass_through_memory(
        self, export: tuple[Program, Served, str]
    ) -> None:
        """Anonymous memory grows by far less than the export has; it stops at the cap; formulas are texts."""
        program, served, url = export
        await served.get("/api/logs/export/csv?" + TIMES + "&componentIds=nobody")
        before = program._memory_bytes()["RssAnon"]
        size, lines = 0, 0
        with program.watching_memory() as peak:
            async with served.session.get(url) as response:
                assert response.status == 200
                assert response.headers["Content-Type"] == "text/csv"
                assert response.headers["X-Row-Limit"] == str(self.ROWS)
                first = b""
                async for chunk in response.content.iter_any():
                    first = first or chunk
                    size, lines = size + len(chunk), lines + chunk.count(b"\n")
        assert lines == self.ROWS + 1
        header, row = first.split(b"\n")[:2]
        assert header.startswith(b"Timestamp,LogLevel,")
        assert row == b"2025-11-14T10:00:00Z,INFO,api,dev,shop,,pod-1,,'=SUM(0) " + b"x" * 200
        assert size > 20_000_000
        assert peak() - before < 16 << 20, f"{(peak() - before) >> 20} MiB for {size >> 20} MiB"

    async def test_a_store_that_dies_under_way_leaves_no_clean_end(
        self, export: tuple[Program, Served, str], server: ClickHouseServer
    ) -> None:
        """The connection is reset, so nobody takes a part for the whole."""
        program, served, url = export
        try:
            async with served.session.get(url) as response:
                assert response.status == 200
                await response.content.readany()
                server.kill()
                with pytest.raises(aiohttp.ClientError):
                    await response.read()
        finally:
            server.start()
        broken = {"route": "log export", "outcome": "serviceUnavailable"}
        eventually_sync(lambda: program.metric("clickstack_query_duration_seconds_count", **broken) == 1)
        await answers_again(served)
