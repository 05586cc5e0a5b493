"""`headrace logs --follow` as its user runs it: each row once, through outages, until it is interrupted."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bridge.cli.moments import parse_moment, rfc3339
from tests.observer_server import NOON, QueryServer, entry, failing, listening, rows, serving, started
from tests.program import free_port
from tests.waiting import eventually


@asynccontextmanager
async def following(server: QueryServer, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command with --follow, looking ten times a second; killed if the block did not end it."""
    options = ("--follow", "--interval", "0.1", "--url", server.url)
    command = await started("logs", "component", "c", *options, *arguments)
    try:
        yield command
    finally:
        if command.returncode is None:
            command.kill()
            await command.communicate()


async def read_rows(command: asyncio.subprocess.Process, count: int) -> list[str]:
    assert command.stdout is not None
    lines = [await asyncio.wait_for(command.stdout.readline(), 20) for _ in range(count)]
    return [line.decode().rstrip("\n").split("] ")[1] for line in lines]


async def interrupted(command: asyncio.subprocess.Process) -> tuple[int | None, bytes | None, bytes]:
    command.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(command.communicate(), 20)
    return command.returncode, out, err


async def polled(server: QueryServer, times: int = 2) -> None:
    """So many looks were begun after now: what was there before has been read."""
    before = len(server.asked)
    await eventually(lambda: len(server.asked) >= before + times, 20)


async def test_follow_shows_every_row_once_also_late_and_equal_ones() -> None:
    """Rows as they arrive; one that is older than those shown comes after them; two equal ones are two."""
    start = parse_moment(NOON)
    async with serving(rows=rows(2)) as server, following(server, "--from", "2026-01-31") as command:
        assert await read_rows(command, 2) == ["row 0", "row 1"]
        server.rows += [entry(rfc3339(start + 20 * 10**9), "new")] * 2
        assert await read_rows(command, 2) == ["new", "new"]
        server.rows.append(entry(rfc3339(start + 10 * 10**9), "late"))
        assert await read_rows(command, 1) == ["late"]
        await polled(server)
        assert await interrupted(command) == (130, b"", b"")


async def test_follow_can_begin_with_the_newest_rows() -> None:
    """--tail N before --follow: N rows, also where others have the same time, then what is new."""
    old = [entry(NOON, f"old {number}") for number in range(10)]
    begin = ("--from", "2026-01-31", "--tail", "2")
    async with serving(rows=old, max_page=3) as server, following(server, *begin) as command:
        assert await read_rows(command, 2) == ["old 8", "old 9"]
        server.rows.append(entry(NOON, "new"))
        assert await read_rows(command, 1) == ["new"]
        assert await interrupted(command) == (130, b"", b"")


async def test_follow_into_a_file_with_nothing_old(tmp_path: Path) -> None:
    """--tail 0 shows only what comes from now on; a file as its output is waited beside, not taken for a hang-up."""
    file = tmp_path / "log"
    now = time.time_ns()
    async with serving(rows=[entry(rfc3339(now), "old")]) as server:
        with file.open("wb") as written:
            options = ("-f", "--tail", "0", "--interval", "0.1", "--url", server.url)
            command = await started("logs", "component", "c", *options, stdout=written.fileno())
        await polled(server)
        server.rows.append(entry(rfc3339(now + 1), "new"))
        await eventually(lambda: file.stat().st_size > 0, 20)
        await polled(server)
        assert await interrupted(command) == (130, None, b"")
    assert [line.split("] ")[1] for line in file.read_text().splitlines()] == ["new"]


async def test_follow_tells_when_rows_are_too_many_to_look_back() -> None:
    """Over the rows that are remembered the overlap gets shorter, every row is shown once all the same."""
    begin = ("--from", "2026-01-31")
    async with serving(rows=rows(20_500)) as server, following(server, *begin) as command:
        assert await read_rows(command, 20_500) == [f"row {number}" for number in range(20_500)]
        server.rows += rows(20_501)[-1:]
        assert await read_rows(command, 1) == ["row 20500"]
        assert command.stderr is not None
        told = await asyncio.wait_for(command.stderr.readline(), 20)
        status, out, _ = await interrupted(command)
    assert (status, out) == (130, b"")
    assert b"many rows: those that arrive more than" in told


async def test_follow_survives_what_passes_and_tells_it_once() -> None:
    """503, 504 and 429 are waited out with one line for each kind, and nothing is lost or doubled."""
    async with serving(rows=rows(1)) as server, following(server, "--from", "2026-01-31") as command:
        assert await read_rows(command, 1) == ["row 0"]
        server.fails += [failing(503), failing(503), failing(429, Retry_After="1")]
        server.rows += rows(2)[1:]
        assert await read_rows(command, 1) == ["row 1"]
        assert command.stderr is not None
        told = [await asyncio.wait_for(command.stderr.readline(), 20) for _ in range(3)]
        status, out, err = await interrupted(command)
    lines = (b"".join(told) + err).decode().splitlines()
    assert (status, out) == (130, b"")
    assert ["503" in lines[0], "429" in lines[1], "answers again" in lines[2]] == [True] * 3
    assert len(lines) == 3


async def test_follow_survives_a_server_that_restarts() -> None:
    """The connection is refused for a while; the rows that came meanwhile are shown."""
    server, port = QueryServer(rows=rows(1)), free_port()
    async with listening(server, port):
        command = await started(
            *("logs", "component", "c", "-f", "--interval", "0.1", "--from", "2026-01-31", "--url", server.url)
        )
        assert await read_rows(command, 1) == ["row 0"]
    assert command.stderr is not None
    assert b"cannot be reached" in await asyncio.wait_for(command.stderr.readline(), 20)
    server.rows += rows(2)[1:]
    async with listening(server, port):
        assert await read_rows(command, 1) == ["row 1"]
        assert b"answers again" in await asyncio.wait_for(command.stderr.readline(), 20)
        status, out, _ = await interrupted(command)
    assert (status, out) == (130, b"")


async def test_follow_ends_when_it_will_not_be_answered() -> None:
    """A credential that does not hold any more is no outage."""
    async with serving(rows=rows(1)) as server, following(server, "--from", "2026-01-31") as command:
        assert await read_rows(command, 1) == ["row 0"]
        server.fails.append(failing(401))
        _, err = await asyncio.wait_for(command.communicate(), 20)
    assert (command.returncode, b"401" in err) == (1, True)


async def test_follow_does_not_wait_for_a_server_that_never_was_there() -> None:
    """A wrong url is told at once; a server that is there but busy is waited for from the start."""
    command = await started("logs", "component", "c", "-f", "--url", f"http://127.0.0.1:{free_port()}")
    _, err = await asyncio.wait_for(command.communicate(), 20)
    assert (command.returncode, b"client.url" in err) == (1, True)
    begin = ("--from", "2026-01-31")
    async with serving(rows=rows(1), fails=[failing(503)]) as server, following(server, *begin) as waiting:
        assert await read_rows(waiting, 1) == ["row 0"]


async def test_follow_ends_with_its_reader() -> None:
    """Nobody reads any more: it ends at once and with 0, without waiting for the next row."""
    async with serving(rows=rows(1)) as server:
        reading, writing = os.pipe()
        options = ("--follow", "--interval", "3600", "--from", "2026-01-31", "--url", server.url)
        command = await started("logs", "component", "c", *options, stdout=writing)
        os.close(writing)
        assert await asyncio.to_thread(os.read, reading, 10) == b"2026-01-31"
        os.close(reading)
        _, err = await asyncio.wait_for(command.communicate(), 20)
    assert (command.returncode, err) == (0, b"")
