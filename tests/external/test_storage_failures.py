"""What a storage answers while its server is down, stopped, too slow, or gone in the middle; and how it recovers."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api.asking import Question
from query_api.clickhouse import ClickHouseStorage, ReadLimits
from query_api.clickhouse_server import ServerAsker, open_servers
from query_api.errors import AnswerTooLarge, QueryError, QueryTimeout, StoreUnavailable
from query_api.storage import LogQuery
from query_api.tenant import EVERYTHING, Tenant
from tests.clickhouse_storage import LIMITS, OpenedStorage, opened_server, read_settings
from tests.program import free_port
from tests.services import ClickHouseServer, start_clickhouse
from tests.stored import NOON, Stored, place
from tests.waiting import eventually

pytestmark = pytest.mark.external
PROMISED_SECONDS: Final = 2.0
SLOW: Final = "SELECT count() FROM numbers(10000000000000) WHERE NOT ignore(sipHash64(number))"


def question(sql: str, **others: Any) -> Question:
    return replace(Question(sql, {}, "", "", 20.0, 0, 1 << 30, 0), **others)


async def failed(call: Awaitable[object]) -> tuple[QueryError, float]:
    """How a call failed, and after how long."""
    started = time.monotonic()
    with pytest.raises(QueryError) as caught:
        await call
    return caught.value, time.monotonic() - started


@pytest.fixture
def server() -> Iterator[ClickHouseServer]:
    """One of a test's own, to be killed."""
    with start_clickhouse() as server:
        yield server


@asynccontextmanager
async def filled(server: ClickHouseServer) -> AsyncIterator[OpenedStorage]:
    async with opened_server(server.http_port) as opened:
        stored = Stored()
        for number in range(10):
            stored.log(str(number), NOON, place("acme"))
        await opened.write(stored)
        yield opened


async def logs(storage: ClickHouseStorage) -> int:
    return (await storage.logs(EVERYTHING, LogQuery())).total


async def running(opened: OpenedStorage, asker: ServerAsker | None = None) -> asyncio.Task[Any]:
    """A long question that the server is busy with."""
    task = asyncio.create_task((asker or opened.asker).rows(question(SLOW)))
    await eventually(lambda: is_busy(opened))
    return task


def is_busy(opened: OpenedStorage) -> bool:
    sql = (
        "SELECT count() FROM system.processes WHERE query LIKE '%sipHash64(number))%' AND query NOT LIKE '%processes%'"
    )
    return opened.connection.rows(sql) == [[1]]


async def test_a_killed_server_is_unavailable_and_comes_back(server: ClickHouseServer) -> None:
    """Questions under way and new ones end within two seconds; the same storage answers when the server is back."""
    async with filled(server) as opened:
        task = await running(opened)
        server.kill()
        for call in (task, logs(opened.storage), opened.storage.ping()):
            error, seconds = await failed(call)
            assert isinstance(error, StoreUnavailable)
            assert error.reason == "connection"
            assert seconds < PROMISED_SECONDS
        server.start()
        await back(opened.storage)
        assert await logs(opened.storage) == 10


async def drain(blocks: AsyncIterator[object], then: Callable[[], object]) -> None:
    """Read to the end; `then` happens after the first block."""
    await anext(blocks)
    then()
    async for _ in blocks:
        pass


async def back(storage: ClickHouseStorage) -> None:
    """Return when the store answers again."""
    async with asyncio.timeout(10):
        while True:
            try:
                await storage.ping()
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


async def test_a_stopped_server_is_unavailable_and_comes_back(server: ClickHouseServer) -> None:
    """The kernel still takes connections for it, and nothing is ever closed: two seconds all the same."""
    async with filled(server) as opened:
        assert await logs(opened.storage) == 10
        task = await running(opened)
        server.pause()
        try:
            ends = await asyncio.gather(failed(task), failed(logs(opened.storage)), failed(opened.storage.ping()))
            later = await failed(logs(opened.storage))
        finally:
            server.resume()
        for error, seconds in (*ends, later):
            assert isinstance(error, StoreUnavailable)
            assert seconds < PROMISED_SECONDS
        await back(opened.storage)
        assert await logs(opened.storage) == 10


async def test_a_slow_question_times_out_and_a_wide_one_too(clickhouse: ClickHouseServer) -> None:
    """Over the time or the rows it may take: the caller is told to narrow it."""
    async with filled(clickhouse) as opened:
        error, seconds = await failed(opened.asker.rows(question(SLOW, max_execution_seconds=0.3)))
        assert isinstance(error, QueryTimeout)
        assert seconds < PROMISED_SECONDS
        error, _ = await failed(logs(opened.limited(ReadLimits(max_rows_to_read=3))))
        assert isinstance(error, QueryTimeout)


async def test_a_large_answer_is_refused(clickhouse: ClickHouseServer) -> None:
    """Over its bytes: fewer rows work. An export has no such limit."""
    async with filled(clickhouse) as opened:
        stored = Stored()
        for number in range(20):
            stored.log(f"{number}" * 50_000, NOON, place("large"))
        await opened.write(stored)
        storage, large = opened.limited(ReadLimits(max_result_bytes=300_000)), Tenant.of("large")
        error, _ = await failed(storage.logs(large, LogQuery()))
        assert isinstance(error, AnswerTooLarge)
        assert len((await storage.logs(large, LogQuery(limit=1))).rows) == 1
        assert len([row async for block in storage.export_logs(large, LogQuery(), 100) for row in block]) == 20


@pytest.mark.parametrize("is_alive_first", [False, True])
async def test_the_next_host_answers_when_one_does_not(server: ClickHouseServer, is_alive_first: bool) -> None:
    """The first host is dead from the start, or dies between questions."""
    with start_clickhouse() as other:
        async with (
            filled(server) as opened,
            open_servers(read_settings(other.http_port if is_alive_first else free_port(), server.http_port)) as asker,
        ):
            storage = ClickHouseStorage(asker, opened.database, LIMITS)
            if is_alive_first:
                await asker.rows(question("SELECT 1"))
            other.kill()
            for _ in range(5):
                assert await logs(storage) == 10


async def test_a_cancelled_question_ends_on_the_server(server: ClickHouseServer) -> None:
    """Nobody waits for it any more, so nothing is computed for it."""
    async with filled(server) as opened:
        task = await running(opened)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await eventually(lambda: not is_busy(opened))


async def test_a_stream_that_breaks_off_raises(server: ClickHouseServer) -> None:
    """However: the server dies, or finds an error after it has sent rows."""
    endless = "SELECT number, repeat('x', 100) FROM numbers(100000000000)"
    async with filled(server) as opened:
        failing = f"{endless} WHERE throwIf(number = 3000000) = 0"
        seen: list[int] = []
        with pytest.raises(QueryError):
            await drain(opened.asker.blocks(question(failing)), lambda: seen.append(1))
        assert seen
        with pytest.raises(StoreUnavailable):
            await drain(opened.asker.blocks(question(endless)), server.kill)
        server.start()


async def test_a_stream_from_a_stopped_server_ends(server: ClickHouseServer) -> None:
    """What was sent before is given out; then nothing comes, and two seconds later that is an error."""
    async with filled(server) as opened:
        stream = opened.asker.blocks(question("SELECT number, repeat('x', 100) FROM numbers(100000000000)"))
        try:
            error, seconds = await failed(drain(stream, server.pause))
        finally:
            server.resume()
        assert isinstance(error, StoreUnavailable)
        assert seconds < PROMISED_SECONDS + 1  # for the rows that had come
        await back(opened.storage)


async def test_an_export_that_is_left_ends_on_the_server(server: ClickHouseServer) -> None:
    """A caller that goes away in the middle of a stream leaves no question behind."""
    async with filled(server) as opened:
        stream = opened.asker.blocks(question(SLOW.replace("count()", "number")))
        await anext(stream)
        assert is_busy(opened)
        await stream.aclose()
        await eventually(lambda: not is_busy(opened))


async def test_a_queue_of_questions_does_not_make_a_host_lost(clickhouse: ClickHouseServer) -> None:
    """More questions than connections wait for each other; the pulse has a connection of its own."""
    async with filled(clickhouse) as opened:
        many = [opened.asker.rows(question(f"SELECT sleep(2), {number}")) for number in range(12)]
        assert await asyncio.gather(*many) == [[[0, number]] for number in range(12)]


async def test_characters_that_grow_as_json_do_not_pass_the_limit(clickhouse: ClickHouseServer) -> None:
    """The limit on an answer holds for what is read here as well, not only for what the store counts."""
    sql = "SELECT repeat(char(1), 1000 + number % 2) FROM numbers(1000)"
    async with filled(clickhouse) as opened:
        assert len(await opened.asker.rows(question(sql, max_result_bytes=8 << 20))) == 1000
        error, _ = await failed(opened.asker.rows(question(sql, max_result_bytes=2 << 20)))
        assert isinstance(error, AnswerTooLarge)


async def test_giving_up_twice_on_who_is_still_leaving_is_no_error(server: ClickHouseServer) -> None:
    """What waits for a lost host may take its time to end; the pulse that gives it up again goes on."""
    async with filled(server) as opened:
        assert isinstance(opened.asker, ServerAsker)
        host, may_leave, is_leaving = opened.asker._hosts[0], asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            async with host.until_lost():
                try:
                    await asyncio.Event().wait()
                finally:
                    is_leaving.set()
                    await may_leave.wait()

        task = asyncio.create_task(wait())
        await eventually(lambda: bool(host._running))
        host._give_up()
        await is_leaving.wait()
        host._give_up()
        may_leave.set()
        error, _ = await failed(task)
        assert isinstance(error, StoreUnavailable)
