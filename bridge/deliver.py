"""Flow 2: the log -> columns -> the sink, each accepted item once.

One `Lane` per partition, each a straight line: replay what was intended, then read, cut a batch, commit the intent,
write (`writer.py`: convert, insert until it is durable, dead-letter what never will be), commit the position. Lanes do
not wait for each other except for the slots of batches held as columns. A batch is never re-cut: a retry is the same
range under the same token.

A store that is down makes a lane wait with back-off, for ever: the log holds the data. A stop or a revoke lets the
batch at hand finish if the store takes it now; otherwise its intent stays and the next owner replays it.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from bridge import offsets
from bridge.batch import BatchPolicy, Pending
from bridge.columns import CODEC
from bridge.errors import LogUnavailable, Revoked
from bridge.ledger import MAX_ORGS
from bridge.log import LogReader
from bridge.model import Committed, Partition, ReadRecord
from bridge.patience import LaneHealth, Patience, Stopped, pause, unless_stopped
from bridge.retry import backoff_seconds
from bridge.writer import Exit, Writer

logger = logging.getLogger(__name__)

# A batch that is not full is topped up this often, not at every append: reading costs, a tenth of its age does not.
TOP_UP_SHARE = 0.1
# Of one read: what a lane that waited for records may get beyond its share.
READ_BYTES = 1 << 20
# An announced range is in the log already; this long it may take to be read before it counts as lost.
REPLAY_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DeliverPolicy:
    """`max_pending_bytes` bounds the record values that all lanes together have read and not yet written."""

    batch: BatchPolicy
    max_pending_bytes: int
    retry_initial_seconds: float
    retry_max_seconds: float


class Deliver:
    """All lanes of this process; told by the log's reader which partitions are ours."""

    def __init__(self, reader: LogReader, out: Exit, policy: DeliverPolicy) -> None:
        self._reader, self._out, self._policy = reader, out, policy
        self._lanes: dict[Partition, Lane] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then finish the batches at hand and give the partitions back."""
        async with asyncio.TaskGroup() as self._group:
            await self._subscribe(stop)
            await stop.wait()
            await self._reader.unsubscribe()

    async def _subscribe(self, stop: asyncio.Event) -> None:
        """Return when subscribed, however long the log takes, or when a stop comes first."""
        attempt = 0
        while not stop.is_set():
            try:
                await unless_stopped(stop, self._reader.subscribe(self))
            except LogUnavailable as error:
                attempt += 1
                logger.warning("cannot subscribe yet: %s", error, extra={"fields": {"attempt": attempt}})
            else:
                return
            initial_seconds, max_seconds = self._policy.retry_initial_seconds, self._policy.retry_max_seconds
            await pause(stop, backoff_seconds(attempt, initial_seconds, max_seconds, 1.0))

    async def on_assigned(self, committed: Sequence[Committed]) -> None:
        assert self._group is not None, "the reader assigns only between subscribe and unsubscribe"  # noqa: S101
        for start in committed:
            lane = Lane(start, self._reader, self._out, self._policy, self._share)
            lane.task = self._group.create_task(lane.run(), name=f"deliver {start.partition}")
            self._lanes[start.partition] = lane

    async def on_revoked(self, partitions: Sequence[Partition]) -> None:
        leaving = [self._lanes.pop(partition) for partition in partitions if partition in self._lanes]
        for lane in leaving:
            lane.stop.set()
        await asyncio.gather(*(lane.task for lane in leaving if lane.task is not None))

    def health(self) -> list[LaneHealth]:
        return [lane.health for lane in self._lanes.values()]

    def _share(self, of: "Lane") -> BatchPolicy:
        """The batch limits that keep all lanes together within the bytes that may be pending.

        Who comes first gets whole batches; the least that every lane may hold, whatever the others do, adds up to half
        as much again. Most lanes have nothing most of the time: fixed shares would make small batches of everything.
        """
        batch, limit_bytes = self._policy.batch, self._policy.max_pending_bytes
        others_bytes = sum(lane.pending_bytes for lane in self._lanes.values() if lane is not of)
        least_bytes = limit_bytes // (2 * max(1, len(self._lanes)))
        return replace(batch, max_bytes=max(1, min(batch.max_bytes, max(least_bytes, limit_bytes - others_bytes))))


class Lane:
    """One partition's way into the sink."""

    def __init__(
        self,
        start: Committed,
        reader: LogReader,
        out: Exit,
        policy: DeliverPolicy,
        share: Callable[["Lane"], BatchPolicy],
    ) -> None:
        self._committed, self._reader = start, reader
        self._share = partial(share, self)
        self.pending_bytes = 0
        self._partition, self._metrics = start.partition, out.metrics
        self.health = LaneHealth(start.partition)
        self._patience = Patience(self.health, policy.retry_initial_seconds, policy.retry_max_seconds, out.metrics)
        self._writer = Writer(reader.log_id, out, self._patience, self._commit)
        self.stop = self._patience.stop
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until stopped or the partition is taken away. Only a bug raises."""
        try:
            await self._replay()
            pending = Pending()
            while not self.stop.is_set():
                pending = await self._top_up(pending)
                self.pending_bytes = pending.value_bytes
                records, pending = pending.cut(self._share(), time.monotonic())
                if records:
                    await self._deliver(records)
                self.pending_bytes = pending.value_bytes
            while pending.records:
                records, pending = pending.cut(replace(self._share(), max_age_seconds=0.0), time.monotonic())
                await self._deliver(records)
        except Stopped:
            logger.info("stopped with a batch not yet written; it stays in the log", extra=self._patience.fields())
        except Revoked:
            logger.info("the partition went to another reader", extra=self._patience.fields())

    async def _replay(self) -> None:
        """Write the range that an earlier owner had announced, if any, before anything else."""
        intent = self._committed.intent
        if intent is None:
            return
        records: list[ReadRecord] = []
        while not records or records[-1].offset < intent.last:
            offset = records[-1].offset + 1 if records else intent.first
            read = await self._read(offset, self._share().max_bytes, REPLAY_WAIT_SECONDS)
            found = offsets.within(intent, read)
            if not found:
                break
            records += found
        if self.stop.is_set():
            raise Stopped
        self.pending_bytes = sum(len(read.record.value) for read in records)
        await self._checked_replay(records)
        self.pending_bytes = 0

    async def _checked_replay(self, records: list[ReadRecord]) -> None:
        begun, fields = self._committed, self._patience.fields
        assert begun.intent is not None  # noqa: S101 - only called with one
        try:
            offsets.check_replay(begun.intent, records)
        except LogUnavailable as error:
            self._patience.waits_for(error, 1)
            await self.stop.wait()
            raise Stopped from error
        logger.info("writing an announced range again", extra=fields(first=begun.intent.first, last=begun.intent.last))
        self._metrics.replayed_batches.labels(self._partition.topic).inc()
        await self._write_and_finish(begun, records)

    async def _top_up(self, pending: Pending) -> Pending:
        """Wait for records, at most until the batch is due."""
        policy, now = self._share(), time.monotonic()
        offset = pending.records[-1].offset + 1 if pending.records else self._committed.position
        wait_seconds, has_more = pending.seconds_left(policy, now), self._has_more(offset)
        if pending.records and not has_more:
            await self._patience.pause(min(wait_seconds, policy.max_age_seconds * TOP_UP_SHARE))
            wait_seconds = 0.0
        room_bytes = min(pending.room_bytes(policy), READ_BYTES)
        if has_more:  # taken before it is read: others ask meanwhile
            self.pending_bytes = pending.value_bytes + room_bytes
        found = await self._read(offset, room_bytes, wait_seconds)
        self.health.ticked_at = time.monotonic()
        if not found:
            return pending
        pending = pending.add(found, self.health.ticked_at)
        self._sees(pending.records)
        return pending

    def _has_more(self, offset: int) -> bool:
        """Whether the log holds records from `offset` on, so that the batch ends for its size and not for its age."""
        return any(lag.end > offset for lag in self._reader.lag() if lag.partition == self._partition)

    async def _read(self, offset: int, max_bytes: int, wait_seconds: float) -> Sequence[ReadRecord]:
        """What the log has from `offset` on; nothing if a stop came first."""

        async def read() -> Sequence[ReadRecord]:
            reading = self._reader.read(self._partition, offset, max_bytes, wait_seconds)
            return await unless_stopped(self.stop, reading) or ()

        return await self._patience.until_done(read)

    async def _deliver(self, records: Sequence[ReadRecord]) -> None:
        """Announce the range, then write it."""
        begun = offsets.begin(self._committed, records, CODEC)
        await self._commit(begun)
        await self._write_and_finish(begun, records)

    async def _write_and_finish(self, begun: Committed, records: Sequence[ReadRecord]) -> None:
        self._sees(records)
        await self._writer.write(begun, records)
        await self._commit(offsets.finish(begun))
        health = self.health
        health.oldest_received_at_unix_nano = health.waiting_since = None
        health.oldest_by_org = {}
        health.progressed_at = time.monotonic()

    async def _commit(self, committed: Committed) -> None:
        async def commit() -> None:
            await self._reader.commit(committed)

        await self._patience.until_done(commit)
        self._committed = committed

    def _sees(self, records: Sequence[ReadRecord]) -> None:
        health, times = self.health, [read.record.received_at_unix_nano for read in records]
        health.oldest_received_at_unix_nano, health.newest_received_at_unix_nano = min(times), max(times)
        oldest: dict[str, int] = {}
        for read in records:
            org, at = read.record.org, read.record.received_at_unix_nano
            oldest[org] = min(at, oldest.get(org, at))
        health.oldest_by_org = oldest
        if len(health.orgs) < MAX_ORGS:
            health.orgs |= oldest.keys() - {""}
        if health.waiting_since is None:
            health.waiting_since = time.monotonic()
