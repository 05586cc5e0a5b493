"""What every log keeps, as tests. A log joins by subclassing `LogContract` and saying how it is opened.

Nothing here assumes where offsets begin, that they have no gaps, or how many partitions a topic has.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bridge.errors import LogUnavailable, Revoked
from bridge.model import OTLP_SIGNALS, Committed, Intent, Partition, Signal
from tests.contracts.log_ends import MIB, PATIENCE_SECONDS, Ends, Listener, record, take, values
from tests.waiting import eventually


class LogContract:
    """Subclass, override `open`, and turn off only what the log does not have by design."""

    survives_reopen = True
    shares_partitions = True

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        """The log of this folder, opened; a second time after a close, the same log."""
        raise NotImplementedError

    async def test_append_then_read(self, tmp_path: Path) -> None:
        """A record comes back with every field as it was appended, under its signal's topic."""
        sent = [record(b"spans", Signal.TRACES, "acme"), record(b"lines", Signal.LOGS, "ünïcode")]
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append(sent)
            found = await take(log.reader, listener, 2)
            assert {each.partition.signal: each.read.record for each in found} == {each.signal: each for each in sent}

    async def test_order_per_partition(self, tmp_path: Path) -> None:
        """One organisation's records are read in the order of their appends, with growing offsets."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            for number in range(0, 30, 3):
                await log.appender.append([record(b"%d" % (number + i)) for i in range(3)])
            found = await take(log.reader, listener, 30)
            assert values(found) == [b"%d" % number for number in range(30)]
            offsets = [each.read.offset for each in found]
            assert offsets == sorted(set(offsets))

    async def test_appending_nothing(self, tmp_path: Path) -> None:
        """An append without records returns and leaves nothing to read."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([])
            for start in listener.assigned.values():
                assert not await log.reader.read(start.partition, start.position, MIB, 0.0)

    async def test_read_keeps_to_max_bytes(self, tmp_path: Path) -> None:
        """A read returns as many records as fit `max_bytes` by value, and one if not even the first does."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(b"x" * 100) for _ in range(10)])
            first = (await take(log.reader, listener, 10))[0]

            async def count(max_bytes: int) -> int:
                return len(await log.reader.read(first.partition, first.read.offset, max_bytes, PATIENCE_SECONDS))

            assert [await count(limit) for limit in (1, 100, 350, 400)] == [1, 1, 3, 4]

    async def test_empty_read_waits(self, tmp_path: Path) -> None:
        """A read at the end of a partition waits as long as it may, then returns nothing."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            start = next(iter(listener.assigned.values()))
            began = asyncio.get_running_loop().time()
            assert not await log.reader.read(start.partition, start.position, MIB, 0.05)
            assert asyncio.get_running_loop().time() - began >= 0.05

    async def test_append_wakes_a_read(self, tmp_path: Path) -> None:
        """A read that waits returns once a record is durable, long before its time is up."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            waiting = asyncio.ensure_future(take(log.reader, listener, 1))
            await asyncio.sleep(0)
            await log.appender.append([record(b"at last")])
            async with asyncio.timeout(PATIENCE_SECONDS / 2):
                assert values(await waiting) == [b"at last"]

    async def test_uncommitted_is_read_again(self, tmp_path: Path) -> None:
        """The next subscription starts behind what was committed, not behind what was read."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(b"%d" % number) for number in range(5)])
            found = await take(log.reader, listener, 5)
            await log.reader.commit(Committed(found[1].partition, found[1].next_offset))
            await log.reader.unsubscribe()
            await log.reader.subscribe(listener)
            assert values(await take(log.reader, listener, 3)) == [b"2", b"3", b"4"]

    async def test_intent_is_handed_on(self, tmp_path: Path) -> None:
        """Who gets a partition is told of the range that its last owner meant to deliver, until that is committed."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(b"%d" % number) for number in range(5)])
            found = await take(log.reader, listener, 5)
            at, first, last = found[0].partition, found[0].read.offset, found[2].read.offset
            for committed in (Committed(at, first, Intent(first, last, 7)), Committed(at, last + 1)):
                await log.reader.commit(committed)
                await log.reader.unsubscribe()
                await log.reader.subscribe(listener)
                assert listener.assigned[at] == committed

    async def test_commit_survives_reopen(self, tmp_path: Path) -> None:
        """A committed position is there after a reopen, and the records behind it, and nothing before it."""
        self._needs(self.survives_reopen, "what it holds is gone with it")
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(b"%d" % number) for number in range(5)])
            found = await take(log.reader, listener, 5)
            await log.reader.commit(Committed(found[2].partition, found[2].next_offset))
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            assert listener.assigned[found[2].partition] == Committed(found[2].partition, found[2].next_offset)
            assert [each.read for each in await take(log.reader, listener, 2)] == [each.read for each in found[3:]]

    async def test_intent_survives_reopen(self, tmp_path: Path) -> None:
        """An intended range is there after a reopen, under the same log id, with the same records in it."""
        self._needs(self.survives_reopen, "what it holds is gone with it")
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(b"%d" % number) for number in range(4)])
            found = await take(log.reader, listener, 4)
            at, first, last = found[1].partition, found[1].read.offset, found[2].read.offset
            intended = Committed(at, first, Intent(first, last, 1))
            await log.reader.commit(intended)
            log_id = log.reader.log_id
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            assert (listener.assigned[at], log.reader.log_id) == (intended, log_id)
            assert [each.read for each in await take(log.reader, listener, 3)] == [each.read for each in found[1:]]

    async def test_offsets_go_on_after_reopen(self, tmp_path: Path) -> None:
        """Records appended after a reopen follow those before it, with higher offsets."""
        self._needs(self.survives_reopen, "what it holds is gone with it")
        for number in range(3):
            async with self.open(tmp_path) as log:
                await log.appender.append([record(b"%d" % number)])
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            found = await take(log.reader, listener, 3)
        assert values(found) == [b"0", b"1", b"2"]
        assert found[0].read.offset < found[1].read.offset < found[2].read.offset

    async def test_two_logs_have_two_ids(self, tmp_path: Path) -> None:
        """Logs that share no records share no id, so that their offsets cannot be taken for one another."""
        async with self.open(tmp_path / "one") as one, self.open(tmp_path / "two") as two:
            assert one.reader.log_id != two.reader.log_id

    async def test_readers_split_partitions(self, tmp_path: Path) -> None:
        """Two readers have every partition between them and none twice, and one gets all when the other leaves."""
        self._needs(self.shares_partitions, "it has a single reader")
        async with self.open(tmp_path) as log:
            assert log.another_reader is not None
            first, second, other = Listener(), Listener(), log.another_reader()
            await log.reader.subscribe(first)
            everything = set(first.assigned)
            await other.subscribe(second)
            # a group may settle more than once: with all of them at one for a moment, on a busy machine
            both = (first, second)
            await eventually(lambda: set(first.assigned) | set(second.assigned) == everything and all(map(_owns, both)))
            assert not set(first.assigned) & set(second.assigned)
            await other.unsubscribe()
            await eventually(lambda: set(first.assigned) == everything)

    async def test_revoke_is_awaited_before_assign(self, tmp_path: Path) -> None:
        """The old owner may read and commit until its `on_revoked` returns, and the new one starts from there."""
        self._needs(self.shares_partitions, "it has a single reader")
        async with self.open(tmp_path) as log:
            assert log.another_reader is not None
            first, second, other = Listener(), Listener(), log.another_reader()
            await log.reader.subscribe(first)
            for signal in OTLP_SIGNALS:
                await log.appender.append([record(signal=signal, org=f"org-{number}") for number in range(20)])
            found = await take(log.reader, first, 20 * len(OTLP_SIGNALS))
            last = {each.partition: each for each in found}

            async def finish(partitions: Sequence[Partition]) -> None:
                assert not set(partitions) & set(second.assigned)
                for partition in set(partitions) & set(last):
                    await log.reader.commit(Committed(partition, last[partition].next_offset))

            first.before_release = finish
            await other.subscribe(second)
            moved = {at: committed.position for at, committed in second.assigned.items() if at in last}
            assert moved
            assert moved == {partition: last[partition].next_offset for partition in moved}
            for partition, position in moved.items():
                with pytest.raises(Revoked):
                    await log.reader.commit(Committed(partition, position))
                with pytest.raises(Revoked):
                    await log.reader.read(partition, position, MIB, 0.0)

    async def test_only_assigned_partitions_are_ours(self, tmp_path: Path) -> None:
        """Reading or committing a partition before it is assigned, or after it was given back, raises `Revoked`."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            start = next(iter(listener.assigned.values()))
            await log.reader.unsubscribe()
            assert start.partition in listener.revoked
            with pytest.raises(Revoked):
                await log.reader.read(start.partition, start.position, MIB, PATIENCE_SECONDS)
            with pytest.raises(Revoked):
                await log.reader.commit(start)
            assert not log.reader.lag()

    async def test_commit_while_giving_back(self, tmp_path: Path) -> None:
        """`on_revoked` of an unsubscribe can still commit the batch at hand."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record()])
            (found,) = await take(log.reader, listener, 1)
            done = Committed(found.partition, found.next_offset)
            listener.before_release = lambda _: log.reader.commit(done)
            await log.reader.unsubscribe()
            listener.before_release = None
            await log.reader.subscribe(listener)
            assert listener.assigned[found.partition] == done

    async def test_unsubscribe_without_subscription(self, tmp_path: Path) -> None:
        """Unsubscribing is harmless when there is no subscription, and a reader may subscribe again after it."""
        async with self.open(tmp_path) as log:
            await log.reader.unsubscribe()
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.reader.unsubscribe()
            await log.reader.unsubscribe()
            assert len(listener.revoked) == len(set(listener.revoked))

    async def test_close_twice(self, tmp_path: Path) -> None:
        """Closing again is harmless, and so is leaving the block of a closed log."""
        async with self.open(tmp_path) as log:
            await log.close()
            await log.close()

    async def test_use_after_close(self, tmp_path: Path) -> None:
        """Whatever is asked of a closed log raises `LogUnavailable`."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            start = next(iter(listener.assigned.values()))
            await log.close()
            with pytest.raises(LogUnavailable):
                await log.appender.append([record()])
            with pytest.raises(LogUnavailable):
                await log.reader.read(start.partition, start.position, MIB, PATIENCE_SECONDS)
            with pytest.raises(LogUnavailable):
                await log.reader.commit(start)

    async def test_close_ends_a_waiting_read(self, tmp_path: Path) -> None:
        """A read that waits when the log is closed raises `LogUnavailable` then."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            start = next(iter(listener.assigned.values()))
            waiting = asyncio.ensure_future(log.reader.read(start.partition, start.position, MIB, 2 * PATIENCE_SECONDS))
            await asyncio.sleep(0)
            await log.close()
            async with asyncio.timeout(PATIENCE_SECONDS):
                with pytest.raises(LogUnavailable):
                    await waiting

    async def test_cancelled_append(self, tmp_path: Path) -> None:
        """After a cancelled append the log works on; the cancelled record is there once or not at all."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            for number in range(10):
                doomed = asyncio.ensure_future(log.appender.append([record(b"doomed %d" % number)]))
                for _ in range(number):
                    await asyncio.sleep(0)
                doomed.cancel()
                await asyncio.wait((doomed,))
            await log.appender.append([record(b"last")])
            found = values(await take(log.reader, listener, 1))
            while found[-1] != b"last":
                found = values(await take(log.reader, listener, len(found) + 1))
            assert found == sorted(set(found))

    async def test_cancelled_read(self, tmp_path: Path) -> None:
        """After a cancelled read, waiting or under way, the same offset can be read again."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            start = next(start for at, start in listener.assigned.items() if at.signal is Signal.TRACES)
            for turns in range(10):
                reading = asyncio.ensure_future(log.reader.read(start.partition, start.position, MIB, 30.0))
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait((reading,))
                assert reading.cancelled()
            await log.appender.append([record(b"%d" % number) for number in range(3)])
            assert values(await take(log.reader, listener, 3)) == [b"0", b"1", b"2"]

    async def test_concurrent_appends(self, tmp_path: Path) -> None:
        """What 50 tasks append at the same time is there exactly once, each task's records in its own order."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)

            async def send(task: int) -> None:
                for number in range(10):
                    await log.appender.append([record(b"%d.%d" % (task, number), org=f"org-{task}")])

            await asyncio.gather(*map(send, range(50)))
            found = values(await take(log.reader, listener, 500))
            assert sorted(found) == sorted(b"%d.%d" % (task, number) for task in range(50) for number in range(10))
            for task in range(50):
                own = [value for value in found if value.startswith(b"%d." % task)]
                assert own == [b"%d.%d" % (task, number) for number in range(10)]

    async def test_lag(self, tmp_path: Path) -> None:
        """Lag counts what is appended and not committed, per assigned partition."""
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            assert {lag.partition: lag.records for lag in log.reader.lag()} == dict.fromkeys(listener.assigned, 0)
            await log.appender.append([record(b"%d" % number) for number in range(5)])
            found = await take(log.reader, listener, 5)
            at = found[0].partition
            assert {lag.partition: lag.records for lag in log.reader.lag()} == dict.fromkeys(listener.assigned, 0) | {
                at: 5
            }
            await log.reader.commit(Committed(at, found[1].next_offset))
            (lag,) = (lag for lag in log.reader.lag() if lag.partition == at)
            assert (lag.position, lag.end, lag.records) == (found[1].next_offset, found[4].next_offset, 3)

    @pytest.mark.parametrize("size", [0, 8 * MIB], ids=["empty", "8 MiB"])
    async def test_extreme_values(self, tmp_path: Path, size: int) -> None:
        """An empty value and one of 8 MiB are read as they were appended, with their neighbours."""
        sent = [b"before", bytes(range(256)) * (size // 256), b"after"]
        async with self.open(tmp_path) as log:
            listener = Listener()
            await log.reader.subscribe(listener)
            await log.appender.append([record(value) for value in sent])
            assert values(await take(log.reader, listener, 3)) == sent

    def _needs(self, has_it: bool, why_not: str) -> None:
        if not has_it:
            pytest.skip(f"not part of this log: {why_not}")


def _owns(listener: Listener) -> bool:
    return bool(listener.assigned)
