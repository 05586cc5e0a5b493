"""The embedded log on the event loop: when it acknowledges, what it refuses, how it opens and closes."""

import asyncio
import threading
from pathlib import Path

import pytest

from bridge.errors import LogFull, LogUnavailable, SettingsInvalid
from bridge.log.embedded import open_embedded_log
from bridge.log.frames import frame_bytes
from bridge.model import Committed, Signal
from tests.contracts.log_ends import MIB, Listener, take, values
from tests.unit.log_files import EIO, LINES, SPANS, FailingDisk, record


async def test_nothing_is_acknowledged_or_seen_before_the_sync(tmp_path: Path) -> None:
    """While fdatasync runs, the append waits, the record is not readable, and the loop is free; then both happen."""
    failing, synced, go = FailingDisk(), threading.Event(), threading.Event()
    async with open_embedded_log(tmp_path, max_bytes=MIB, disk=failing.disk()) as log:
        await log.subscribe(Listener())

        def block() -> None:
            synced.set()
            assert go.wait(20)

        failing.before_sync = block
        appending = asyncio.ensure_future(log.append([record(b"value")]))
        assert await asyncio.to_thread(synced.wait, 20)
        assert await log.read(SPANS, 0, MIB, 0.0) == ()
        assert log.lag()[0].end == 0
        assert not appending.done()
        go.set()
        await appending
        assert len(await log.read(SPANS, 0, MIB, 0.0)) == 1


async def test_concurrent_appends_share_a_sync(tmp_path: Path) -> None:
    """50 appends at once cost one sync of their file, not 50."""
    counting = FailingDisk()
    async with open_embedded_log(tmp_path, max_bytes=MIB, disk=counting.disk()) as log:
        await log.append([record(b"first")])
        counting.synced_inodes.clear()
        await asyncio.gather(*(log.append([record(b"%d" % number)]) for number in range(50)))
        assert len(counting.synced_inodes) == 1


async def test_a_full_log_refuses_until_something_is_committed(tmp_path: Path) -> None:
    """At its size limit the log refuses with a hint and writes nothing; what is committed makes room."""
    async with open_embedded_log(tmp_path, max_bytes=20_000, segment_bytes=2_000) as log:
        listener = Listener()
        await log.subscribe(listener)
        size = frame_bytes(record(b"   0" * 250))
        room = 20_000 // size
        for number in range(room):
            await log.append([record(b"%4d" % number * 250)])
        with pytest.raises(LogFull) as raised:
            await log.append([record(b"refused!" * 125)])
        assert raised.value.reason == "log_full"
        assert raised.value.retry_after_seconds == 5.0
        assert log.size_bytes == room * size == await asyncio.to_thread(_stored_bytes, tmp_path)
        assert log.lag()[0].records == room
        await log.commit(Committed(SPANS, 4))
        await log.append([record(b"%4d" % room * 250)])
        listener.assigned = {SPANS: Committed(SPANS, 4)}
        assert values(await take(log, listener, room - 3)) == [b"%4d" % number * 250 for number in range(4, room + 1)]


async def test_appends_under_way_count(tmp_path: Path) -> None:
    """Appends that come together do not each find the same room: what is under way counts as taken."""
    async with open_embedded_log(tmp_path, max_bytes=10_000) as log:
        sending = (log.append([record(b"x" * 3_000)]) for _ in range(10))
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 3 + [LogFull] * 7
        assert log.size_bytes == await asyncio.to_thread(_stored_bytes, tmp_path)


async def test_an_emptied_log_takes_again(tmp_path: Path) -> None:
    """A log that was filled by one segment takes appends again once all of it is committed."""
    async with open_embedded_log(tmp_path, max_bytes=10_000) as log:
        await log.subscribe(Listener())
        for number in range(5):
            await log.append([record(b"x" * 9_000)])
            with pytest.raises(LogFull):
                await log.append([record(b"x" * 9_000)])
            await log.commit(Committed(SPANS, number + 1))


async def test_a_failed_append_takes_no_room(tmp_path: Path) -> None:
    """What a failing disk refused is not counted as held."""
    failing = FailingDisk()
    async with open_embedded_log(tmp_path, max_bytes=10_000, disk=failing.disk()) as log:
        for _ in range(5):
            failing.write_errors = [EIO]
            with pytest.raises(LogUnavailable, match="Input/output error"):
                await log.append([record(b"x" * 9_000)])
        assert log.size_bytes == 0
        await log.append([record(b"x" * 9_000)])


async def test_an_append_to_two_signals_fails_as_one(tmp_path: Path) -> None:
    """If the disk refuses one signal's part of an append, the append is refused; others in its group are not."""
    failing = FailingDisk()
    async with open_embedded_log(tmp_path, max_bytes=MIB, disk=failing.disk()) as log:
        failing.sync_errors = [EIO]
        both = log.append([record(b"span", Signal.TRACES), record(b"line", Signal.LOGS)])
        alone = log.append([record(b"alone", Signal.LOGS)])
        outcomes = await asyncio.gather(both, alone, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [LogUnavailable, type(None)]


async def test_damage_is_counted(tmp_path: Path) -> None:
    """Bytes that a read stepped over show in `damaged_bytes`, and the read returns what follows."""
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        await log.append([record(b"one"), record(b"two")])
        size = log.size_bytes // 2
    path = tmp_path / SPANS.topic / f"{0:020d}.segment"
    await asyncio.to_thread(_flip, path, size // 2)
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        listener = Listener()
        await log.subscribe(listener)
        assert log.damaged_bytes == 0
        assert values(await take(log, listener, 1)) == [b"two"]
        assert log.damaged_bytes == size


async def test_a_lost_end_is_not_waited_for(tmp_path: Path) -> None:
    """A read of offsets that damage has taken returns nothing at once, and does not spin until its time is up."""
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        await log.subscribe(Listener())
        await log.append([record(b"lost")])
        await log.append([record(b"line", Signal.LOGS)])
    reads = FailingDisk()
    path = tmp_path / SPANS.topic / f"{0:020d}.segment"
    async with open_embedded_log(tmp_path, max_bytes=MIB, disk=reads.disk()) as log:
        await log.subscribe(Listener())
        await asyncio.to_thread(_flip, path, 20)
        assert await log.read(SPANS, 0, MIB, 0.0) == ()
        reading = asyncio.ensure_future(log.read(SPANS, 0, MIB, 20.0))
        await log.append([record(b"next")])
        assert [read.record.value for read in await reading] == [b"next"]


async def test_close_finishes_what_is_under_way(tmp_path: Path) -> None:
    """Appends accepted before a close are durable when it returns; those after it are refused."""
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        appending = [asyncio.ensure_future(log.append([record(b"%d" % number)])) for number in range(10)]
        await asyncio.sleep(0)
        await log.close()
        with pytest.raises(LogUnavailable, match="closed"):
            await log.append([record(b"late")])
        await asyncio.gather(*appending)
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        listener = Listener()
        await log.subscribe(listener)
        assert values(await take(log, listener, 10)) == [b"%d" % number for number in range(10)]


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    """A closed log leaves no thread and no file descriptor, even if appends, reads and failures went before."""
    before = _held(tmp_path)
    for _ in range(3):
        failing = FailingDisk()
        async with open_embedded_log(tmp_path, max_bytes=MIB, segment_bytes=100, disk=failing.disk()) as log:
            await log.subscribe(Listener())
            for _ in range(5):
                await log.append([record(b"x" * 60), record(b"y", Signal.LOGS)])
                failing.sync_errors = [EIO]
                with pytest.raises(LogUnavailable):
                    await log.append([record(b"x" * 60)])
            await log.read(SPANS, 0, MIB, 0.0)
            await log.read(LINES, 0, MIB, 0.0)
    assert _held(tmp_path) == before


async def test_a_failed_opening_leaves_nothing(tmp_path: Path) -> None:
    """A log that cannot be opened leaves the folder unlocked and nothing open."""
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        before = _held(tmp_path)
        with pytest.raises(SettingsInvalid, match="in use"):
            async with open_embedded_log(tmp_path, max_bytes=MIB):
                pass
        assert _held(tmp_path) == before
        await log.append([record(b"still works")])


async def test_a_cancelled_opening_leaves_nothing(tmp_path: Path) -> None:
    """Cancelled while it opens, whenever that is, the log leaves its folder free for the next."""

    async def open_and_close() -> None:
        async with open_embedded_log(tmp_path, max_bytes=MIB):
            pass

    before = _held(tmp_path)
    for turns in range(6):
        opening = asyncio.ensure_future(open_and_close())
        for _ in range(turns):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait((opening,))
        assert _held(tmp_path) == before
    await open_and_close()


async def test_one_reader(tmp_path: Path) -> None:
    """A second subscription is a mistake of the program, and says so."""
    async with open_embedded_log(tmp_path, max_bytes=MIB) as log:
        await log.subscribe(Listener())
        with pytest.raises(ValueError, match="one reader"):
            await log.subscribe(Listener())


def _held(folder: Path) -> tuple[list[str], list[str]]:
    """What this process holds of a log: its open files, also deleted ones, and its threads."""
    files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    threads = [each.name for each in threading.enumerate() if each.name.startswith(("log-write", "log-read"))]
    return [name for name in files if name.startswith(str(folder))], threads


def _stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*.segment"))


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x20
    path.write_bytes(content)
