"""The memory log keeps the log contract, and its scripts do what tests rely on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from bridge.errors import LogUnavailable, Revoked
from bridge.log.memory import Hang, MemoryLog, open_memory_log
from bridge.model import Committed, Intent, Partition, Signal
from tests.contracts.log_contract import LogContract
from tests.contracts.log_ends import MIB, Ends, Listener, record, take, values

SPANS = Partition("otlp_spans", 0)


@asynccontextmanager
async def _opened(partitions_per_topic: int) -> AsyncIterator[Ends]:
    async with open_memory_log(partitions_per_topic) as log:
        yield Ends(log, log, log.close, log.reader)


class TestMemoryLog(LogContract):
    survives_reopen = False

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return _opened(1)


class TestMemoryLogWithPartitions(LogContract):
    survives_reopen = False

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return _opened(5)


class TestScript:
    async def _subscribed(self, log: MemoryLog) -> Listener:
        listener = Listener()
        await log.subscribe(listener)
        return listener

    async def test_scripted_refusal(self) -> None:
        """A step before an append keeps the record out; the append after it goes through."""
        async with open_memory_log() as log:
            log.script("append", LogUnavailable("scripted"))
            with pytest.raises(LogUnavailable, match="scripted"):
                await log.append([record(b"refused")])
            await log.append([record(b"taken")])
            assert [held.value for held in log.held(Signal.TRACES)] == [b"taken"]

    async def test_scripted_lost_answer(self) -> None:
        """A step after an append or a commit raises though the log has done what it was asked."""
        async with open_memory_log() as log:
            await self._subscribed(log)
            log.script("appended", LogUnavailable("scripted"))
            with pytest.raises(LogUnavailable):
                await log.append([record(b"in")])
            assert [held.value for held in log.held(Signal.TRACES)] == [b"in"]
            log.script("committed", LogUnavailable("scripted"))
            with pytest.raises(LogUnavailable):
                await log.commit(Committed(SPANS, 1))
            assert Committed(SPANS, 1) in log.committed()

    async def test_scripted_order(self) -> None:
        """Steps are taken one per call, and None lets a call pass."""
        async with open_memory_log() as log:
            listener = await self._subscribed(log)
            await log.append([record(b"there")])
            log.script("read", None, LogUnavailable("scripted"))
            assert len(await log.read(SPANS, 0, MIB, 0.0)) == 1
            with pytest.raises(LogUnavailable):
                await log.read(SPANS, 0, MIB, 0.0)
            assert values(await take(log, listener, 1)) == [b"there"]

    async def test_scripted_hang(self) -> None:
        """A call that hangs says that it has come there, and goes on when it is released."""
        async with open_memory_log() as log:
            hang = Hang()
            log.script("append", hang)
            appending = asyncio.ensure_future(log.append([record(b"held up")]))
            await hang.reached.wait()
            assert not log.held(Signal.TRACES)
            hang.release.set()
            await appending
            assert len(log.held(Signal.TRACES)) == 1

    async def test_vanished_reader(self) -> None:
        """A reader that vanishes is told nothing, loses everything, and leaves its last commit to the next owner."""
        async with open_memory_log() as log:
            first, second, other = await self._subscribed(log), Listener(), log.reader()
            await log.append([record()])
            intended = Committed(SPANS, 0, Intent(0, 0, 1))
            await log.commit(intended)
            await log.vanish()
            assert not first.revoked
            with pytest.raises(Revoked):
                await log.commit(Committed(SPANS, 1))
            await other.subscribe(second)
            assert second.assigned[SPANS] == intended

    @pytest.mark.parametrize(
        "committed",
        [
            Committed(SPANS, 1),
            Committed(SPANS, 4),
            Committed(SPANS, 2, Intent(2, 3, 1)),
            Committed(SPANS, 2, Intent(1, 2, 1)),
        ],
        ids=["backwards", "beyond the end", "an intent beyond the end", "an intent elsewhere"],
    )
    async def test_impossible_commit(self, committed: Committed) -> None:
        """A commit that no correct reader makes is a `ValueError`, and changes nothing."""
        async with open_memory_log() as log:
            await self._subscribed(log)
            await log.append([record(), record(), record()])
            await log.commit(Committed(SPANS, 2))
            with pytest.raises(ValueError, match="otlp_spans"):
                await log.commit(committed)
            assert Committed(SPANS, 2) in log.committed()
