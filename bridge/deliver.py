"""Flow 2: the log -> columns -> the sink, each accepted item once.

One `Lane` per partition, each a straight line: replay what was intended, then read, cut a batch, commit the intent,
convert, insert until it is durable, commit the position. Lanes do not wait for each other except for the number of
inserts under way at once. A batch is never re-cut: a retry sends the same object under the same token.

A store that is down or refuses makes a lane wait with back-off, for ever: the log holds the data. A stop or a revoke
lets the batch at hand finish if the store takes it now; otherwise its intent stays and the next owner replays it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np

from bridge import offsets
from bridge.batch import BatchPolicy, Pending
from bridge.columns import CODEC, to_table
from bridge.errors import BridgeError, LogUnavailable, Permanent, Revoked
from bridge.log import LogReader
from bridge.model import Batch, Committed, Partition, ReadRecord
from bridge.retry import backoff_seconds
from bridge.telemetry import Metrics
from sinks import Sink

T = TypeVar("T")
logger = logging.getLogger(__name__)

# A batch that is not full is topped up this often, not at every append: reading costs, a tenth of its age does not.
TOP_UP_SHARE = 0.1
# An announced range is in the log already; this long it may take to be read before it counts as lost.
REPLAY_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class DeliverPolicy:
    batch: BatchPolicy
    max_inserts_in_flight: int
    retry_initial_seconds: float
    retry_max_seconds: float
    sink_name: str


@dataclass(slots=True)
class LaneHealth:
    """What the outside may know of a lane: for /readyz, /livez and the lag gauges. Times are monotonic seconds."""

    partition: Partition
    ticked_at: float = field(default_factory=time.monotonic)
    progressed_at: float = field(default_factory=time.monotonic)
    waiting_since: float | None = None
    oldest_received_at_unix_nano: int | None = None
    trouble: str | None = None

    def stuck_seconds(self, now: float) -> float:
        """How long data has been waiting without any of it getting through; 0 when nothing waits."""
        if self.waiting_since is None:
            return 0.0
        return now - max(self.waiting_since, self.progressed_at)


class Deliver:
    """All lanes of this process; told by the log's reader which partitions are ours."""

    def __init__(self, reader: LogReader, sink: Sink, policy: DeliverPolicy, metrics: Metrics) -> None:
        self._reader, self._sink, self._policy, self._metrics = reader, sink, policy, metrics
        self._inserting = asyncio.Semaphore(policy.max_inserts_in_flight)
        self._lanes: dict[Partition, Lane] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`, then finish the batches at hand and give the partitions back."""
        async with asyncio.TaskGroup() as self._group:
            await self._reader.subscribe(self)
            await stop.wait()
            await self._reader.unsubscribe()

    async def on_assigned(self, committed: Sequence[Committed]) -> None:
        assert self._group is not None, "the reader assigns only between subscribe and unsubscribe"  # noqa: S101
        for start in committed:
            lane = Lane(start, self._reader, self._sink, self._policy, self._metrics, self._inserting)
            lane.task = self._group.create_task(lane.run(), name=f"deliver {start.partition}")
            self._lanes[start.partition] = lane

    async def on_revoked(self, partitions: Sequence[Partition]) -> None:
        leaving = [self._lanes.pop(partition) for partition in partitions if partition in self._lanes]
        for lane in leaving:
            lane.stop.set()
        await asyncio.gather(*(lane.task for lane in leaving if lane.task is not None))

    def health(self) -> list[LaneHealth]:
        return [lane.health for lane in self._lanes.values()]


class Lane:
    """One partition's way into the sink."""

    def __init__(
        self,
        start: Committed,
        reader: LogReader,
        sink: Sink,
        policy: DeliverPolicy,
        metrics: Metrics,
        inserting: asyncio.Semaphore,
    ) -> None:
        self._committed, self._reader, self._sink = start, reader, sink
        self._policy, self._metrics, self._inserting = policy, metrics, inserting
        self._partition = start.partition
        self._labels = (start.partition.topic, str(start.partition.number))
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.health = LaneHealth(start.partition)

    async def run(self) -> None:
        """Until stopped or the partition is taken away. Only a bug raises."""
        try:
            await self._replay()
            pending = Pending()
            while not self.stop.is_set():
                pending = await self._top_up(pending)
                records, pending = pending.cut(self._policy.batch, time.monotonic())
                if records:
                    await self._deliver(offsets.begin(self._committed, records, CODEC), records)
            if pending.records:
                await self._deliver(offsets.begin(self._committed, pending.records, CODEC), pending.records)
        except _Stopped:
            logger.info("stopped with a batch not yet written; it stays in the log", extra=self._fields())
        except Revoked:
            logger.info("the partition went to another reader", extra=self._fields())

    async def _replay(self) -> None:
        """Write the range that an earlier owner had announced, if any, before anything else."""
        intent = self._committed.intent
        if intent is None:
            return
        records: list[ReadRecord] = []
        while not records or records[-1].offset < intent.last:
            offset = records[-1].offset + 1 if records else intent.first
            read = await self._read(offset, self._policy.batch.max_bytes, REPLAY_WAIT_SECONDS)
            found = offsets.within(intent, read)
            if not found:
                break
            records += found
        if self.stop.is_set():
            raise _Stopped
        await self._checked_replay(records)

    async def _checked_replay(self, records: list[ReadRecord]) -> None:
        begun = self._committed
        assert begun.intent is not None  # noqa: S101 - only called with one
        try:
            offsets.check_replay(begun.intent, records)
        except LogUnavailable as error:
            self._waits_for(error, 1)
            await self.stop.wait()
            raise _Stopped from error
        logger.info(
            "writing an announced range again", extra=self._fields(first=begun.intent.first, last=begun.intent.last)
        )
        self._metrics.replayed_batches.labels(self._partition.topic).inc()
        await self._write_and_finish(begun, records)

    async def _top_up(self, pending: Pending) -> Pending:
        """Wait for records, at most until the batch is due."""
        policy, now = self._policy.batch, time.monotonic()
        offset = pending.records[-1].offset + 1 if pending.records else self._committed.position
        wait_seconds = pending.seconds_left(policy, now)
        if pending.records:
            if not self._has_more(offset):
                await self._pause(min(wait_seconds, policy.max_age_seconds * TOP_UP_SHARE))
            wait_seconds = 0.0
        found = await self._read(offset, pending.room_bytes(policy), wait_seconds)
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
            return await self._unless_stopped(self._reader.read(self._partition, offset, max_bytes, wait_seconds))

        return await self._until_done(read)

    async def _unless_stopped(self, read: Coroutine[Any, Any, Sequence[ReadRecord]]) -> Sequence[ReadRecord]:
        work = asyncio.ensure_future(read)
        stopping = asyncio.ensure_future(self.stop.wait())
        try:
            await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            work.cancel()
            await asyncio.wait((work,))
        return () if work.cancelled() else work.result()

    async def _deliver(self, begun: Committed, records: Sequence[ReadRecord]) -> None:
        """Announce the range, then write it."""
        await self._commit(begun)
        await self._write_and_finish(begun, records)

    async def _write_and_finish(self, begun: Committed, records: Sequence[ReadRecord]) -> None:
        self._sees(records)
        batch = await self._convert(begun, records)
        await self._until_done(partial(self._insert, batch))
        written_at_unix_nano = time.time_ns()
        await self._commit(offsets.finish(begun))
        self.health.oldest_received_at_unix_nano = self.health.waiting_since = None
        self.health.progressed_at = time.monotonic()
        self._count(batch, records, written_at_unix_nano)

    async def _convert(self, begun: Committed, records: Sequence[ReadRecord]) -> Batch:
        signal = self._partition.signal
        values = [read.record for read in records]
        return Batch(
            signal=signal,
            token=offsets.token_of(self._reader.log_id, begun),
            table=await self._until_done(partial(asyncio.to_thread, to_table, signal, values)),
            value_bytes=sum(len(value.value) for value in values),
            oldest_received_at_unix_nano=min(value.received_at_unix_nano for value in values),
        )

    async def _insert(self, batch: Batch) -> None:
        name = self._policy.sink_name
        try:
            async with self._inserting:
                with self._metrics.insert_seconds.labels(name, batch.signal).time():
                    await self._sink.write(batch)
        except BridgeError as error:
            self._metrics.send_failures.labels(name, batch.signal, error.reason).inc()
            if error.reason == "connection":
                self._metrics.connection_errors.inc()
            raise

    async def _commit(self, committed: Committed) -> None:
        await self._until_done(partial(self._reader.commit, committed))
        self._committed = committed

    async def _until_done(self, step: Callable[[], Awaitable[T]]) -> T:
        """The step's result, however often it must be tried. Raises `_Stopped` or `Revoked`."""
        attempt = 0
        while True:
            try:
                result = await step()
            except Revoked:
                raise
            except BridgeError as error:
                attempt += 1
                await self._back_off(error, attempt)
            else:
                if attempt:
                    self._is_well(attempt)
                return result

    def _is_well(self, attempts: int) -> None:
        logger.info("works again", extra=self._fields(attempts=attempts))
        self.health.trouble = None
        self._metrics.blocked.labels(*self._labels).set(0)

    async def _back_off(self, error: BridgeError, attempt: int) -> None:
        """Wait before the next attempt. Raises `_Stopped` if a stop comes first."""
        self._waits_for(error, attempt)
        spread = random.random()  # noqa: S311 - jitter, not a secret
        await self._pause(
            backoff_seconds(attempt, self._policy.retry_initial_seconds, self._policy.retry_max_seconds, spread)
        )
        self.health.ticked_at = time.monotonic()
        if self.stop.is_set():
            raise _Stopped

    def _waits_for(self, error: BridgeError, attempt: int) -> None:
        """Remember and log the trouble: at the first attempt and then at every power of two."""
        self.health.trouble = f"{error.reason}: {error}"
        if isinstance(error, Permanent):
            self._metrics.blocked.labels(*self._labels).set(1)
        if attempt & (attempt - 1) == 0:
            level = logging.ERROR if isinstance(error, Permanent) else logging.WARNING
            logger.log(level, "waiting: %s", error, extra=self._fields(attempt=attempt, reason=error.reason))

    async def _pause(self, seconds: float) -> None:
        """Sleep that a stop ends early."""
        try:
            async with asyncio.timeout(seconds):
                await self.stop.wait()
        except TimeoutError:
            return

    def _sees(self, records: Sequence[ReadRecord]) -> None:
        self.health.oldest_received_at_unix_nano = min(read.record.received_at_unix_nano for read in records)
        if self.health.waiting_since is None:
            self.health.waiting_since = time.monotonic()

    def _count(self, batch: Batch, records: Sequence[ReadRecord], written_at_unix_nano: int) -> None:
        metrics, signal = self._metrics, batch.signal
        metrics.sent_items.labels(self._policy.sink_name, signal).inc(batch.table.num_rows)
        metrics.batch_rows.labels(signal).observe(batch.table.num_rows)
        metrics.batch_bytes.labels(signal).observe(batch.value_bytes)
        received = np.array([read.record.received_at_unix_nano for read in records], dtype=np.float64)
        items = np.array([read.record.items for read in records], dtype=np.float64)
        metrics.ingestion_lag.observe((signal,), (written_at_unix_nano - received) / 1e9, items)
        events = batch.table.column("Timestamp").to_numpy().astype(np.int64)
        metrics.event_lag.observe((signal,), (written_at_unix_nano - events) / 1e9)

    def _fields(self, **more: object) -> dict[str, dict[str, object]]:
        return {"fields": {"partition": str(self._partition), **more}}


class _Stopped(Exception):
    """A stop came while a batch was waiting for the store."""
