"""The Kafka log's way out: a consumer group whose commits carry the intent. Offsets are committed by deliver, only.

    join -> on_partitions_assigned -> committed offset + metadata (admin client) -> listener.on_assigned
    leave <- on_partitions_revoked <- listener.on_revoked (finishes, commits) <- rebalance or unsubscribe

aiokafka awaits the revoke before it joins again, and the broker refuses commits of a generation that is over: that is
what stops a process that slept through a rebalance. Nothing is fetched for a partition whose lane does not read, beyond
one fetch of at most `max_partition_fetch_bytes`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    IllegalStateError,
    KafkaError,
    OffsetOutOfRangeError,
)
from aiokafka.structs import OffsetAndMetadata

from bridge.errors import LogUnavailable, Revoked
from bridge.log import PartitionListener
from bridge.log.kafka_client import cluster_id, unavailable
from bridge.log.kafka_consumer import breakdown, new_consumer, refuse_commits_of_nobody, stop_consumer, take_trouble
from bridge.log.kafka_records import committed_of, metadata_of, record_of
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import Committed, Partition, PartitionLag, ReadRecord

logger = logging.getLogger(__name__)

COMMIT_SECONDS = 15.0
WATCH_SECONDS = 5.0
RETRY_SECONDS = 0.5
TOPICS_SECONDS = 30.0
TOPICS_RETRY_SECONDS = 0.1
MAX_RECORDS = 2000


@asynccontextmanager
async def open_kafka_reader(
    settings: KafkaSettings, admin: AIOKafkaAdminClient, on_lost: Callable[[Partition, int], None] | None = None
) -> AsyncIterator["KafkaReader"]:
    """A reader of the group; `on_lost` is told of records that the cluster removed before they were delivered."""
    reader = KafkaReader(settings, admin, f"{await cluster_id(admin)}/{settings.topic_prefix}", on_lost)
    try:
        yield reader
    finally:
        await reader.close()


@dataclass(slots=True)
class _Owned:
    """A partition of ours. `next_offset` is what the next read is expected to ask for, and `ahead` has it first."""

    committed: Committed
    next_offset: int
    end: int
    ahead: deque[ReadRecord] = field(default_factory=deque)
    average_bytes: float = 50_000.0
    scanned_to: int = 0

    def take(self, found: list[ReadRecord], room_bytes: int) -> int:
        """Move what lies ahead to `found` while it fits, and one record in any case; what room is left."""
        while self.ahead and (not found or len(self.ahead[0].record.value) <= room_bytes):
            found.append(self.ahead.popleft())
            self.next_offset = found[-1].offset + 1
            room_bytes -= len(found[-1].record.value)
        return room_bytes


class KafkaReader:
    """A `LogReader`; each subscription is a consumer of its own."""

    def __init__(
        self,
        settings: KafkaSettings,
        admin: AIOKafkaAdminClient,
        log_id: str,
        on_lost: Callable[[Partition, int], None] | None,
    ) -> None:
        self._settings, self._admin, self._log_id, self._on_lost = settings, admin, log_id, on_lost
        self._names = {settings.topic(signal.topic): signal.topic for signal in settings.signals}
        self._owned: dict[Partition, _Owned] = {}
        self._consumer: AIOKafkaConsumer | None = None
        self._listener: PartitionListener | None = None
        self._joined = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def log_id(self) -> str:
        return self._log_id

    async def subscribe(self, listener: PartitionListener) -> None:
        """As `LogReader.subscribe`. Raises `LogUnavailable` if no broker answers, `ValueError` if subscribed."""
        self._check_open()
        if self._listener is not None:
            raise ValueError("this reader is subscribed already")
        self._listener, self._joined = listener, asyncio.Event()
        try:
            await self._join()
        except BaseException:
            self._listener = None
            raise
        self._watching = asyncio.create_task(self._watch(), name="kafka reader")
        await self._joined.wait()

    async def _join(self) -> None:
        """Ask for partitions as a new member of the group. Raises `LogUnavailable` if no broker answers."""
        consumer = self._consumer = new_consumer(self._settings)
        try:
            await consumer.start()
            refuse_commits_of_nobody(consumer)
            async with asyncio.timeout(TOPICS_SECONDS):
                await self._see_topics(consumer)
        except BaseException as error:
            self._consumer = None
            await stop_consumer(consumer)
            if isinstance(error, KafkaError | OSError):  # a TimeoutError is an OSError
                raise unavailable(error, "cannot join the group") from error
            raise
        consumer.subscribe(list(self._names), listener=_Rebalance(self, consumer))

    async def _see_topics(self, consumer: AIOKafkaConsumer) -> None:
        """Return when the brokers tell of all topics.

        One made a moment ago they may not know yet, and a member that joins without it has nothing of it until its
        metadata is read anew.
        """
        while not set(self._names) <= await consumer.topics():  # noqa: ASYNC110 - nobody tells when they do
            await asyncio.sleep(TOPICS_RETRY_SECONDS)

    async def unsubscribe(self) -> None:
        """As `LogReader.unsubscribe`; the group is left, so that others get the partitions at once."""
        if self._listener is None:
            return
        await self._stop_watching()
        try:
            await self.revoke()
        finally:
            await self._leave()

    async def close(self) -> None:
        """Leave without telling the listener; every wait ends with `LogUnavailable`. Harmless when repeated."""
        self._is_closed = True
        await self._stop_watching()
        await self._leave()

    async def _stop_watching(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait((watching,))

    async def _leave(self) -> None:
        consumer = self._consumer
        self._consumer = self._listener = None
        self._owned.clear()
        if consumer is not None:
            await stop_consumer(consumer)

    async def read(
        self, partition: Partition, offset: int, max_bytes: int, max_wait_seconds: float
    ) -> Sequence[ReadRecord]:
        """As `LogReader.read`."""
        owned, consumer = self._ours(partition)
        at = self._at(partition)
        try:
            if owned.next_offset != offset:
                owned.ahead.clear()
                consumer.seek(at, offset)
                owned.next_offset = offset
            await self._fetch(owned, partition, max_bytes, max_wait_seconds)
            found: list[ReadRecord] = []
            room_bytes = owned.take(found, max_bytes)
            while found and not owned.ahead and room_bytes > 0 and await self._fetch(owned, partition, room_bytes, 0.0):
                room_bytes = owned.take(found, room_bytes)
        except OffsetOutOfRangeError:
            await self._tell_lost(partition, consumer, offset)
            return ()
        except (IllegalStateError, ConsumerStoppedError) as error:
            self._check_open()
            raise Revoked(f"{partition} is no longer assigned") from error
        except KafkaError as error:
            raise unavailable(error, f"cannot read {partition}") from error
        self._ours(partition)
        return found

    async def _fetch(self, owned: _Owned, partition: Partition, room_bytes: int, wait_seconds: float) -> bool:
        """Have something lie ahead; false if there is nothing within the time."""
        if owned.ahead:
            return True
        _, consumer = self._ours(partition)
        at = self._at(partition)
        count = max(1, min(MAX_RECORDS, int(room_bytes / owned.average_bytes)))
        fetched = await consumer.getmany(at, timeout_ms=int(wait_seconds * 1000), max_records=count)
        self._keep(owned, partition, fetched.get(at, ()))
        if not owned.ahead and wait_seconds:
            owned.scanned_to = await self._position(consumer, at)
        return bool(owned.ahead)

    def _keep(self, owned: _Owned, partition: Partition, messages: Sequence[Any]) -> None:
        for message in messages:
            headers = message.headers or ()
            record = record_of(partition.signal, headers, message.value, message.timestamp)
            owned.ahead.append(ReadRecord(message.offset, record))
            owned.average_bytes += 0.05 * (max(100, len(record.value)) - owned.average_bytes)

    async def _position(self, consumer: AIOKafkaConsumer, at: TopicPartition) -> int:
        """Where the consumer stands: behind the markers of transactions, which no read returns."""
        try:
            return int(await consumer.position(at))
        except (KafkaError, IllegalStateError):
            return 0

    async def _tell_lost(self, partition: Partition, consumer: AIOKafkaConsumer, offset: int) -> None:
        """The cluster's retention has removed records that were never delivered: say so, and go on behind them.

        An announced range that is gone is left to deliver, which waits for a person.
        """
        owned, _ = self._ours(partition)
        at = self._at(partition)
        first = (await consumer.beginning_offsets([at]))[at]
        if owned.committed.intent is not None or first <= offset:
            raise LogUnavailable(f"{partition} has no offset {offset} (it begins at {first})", reason="offset_gone")
        logger.error(
            "records were removed from the log before they were delivered: raise retention.ms of the topic",
            extra={"fields": {"partition": str(partition), "lost_records": first - offset, "from_offset": offset}},
        )
        if self._on_lost is not None:
            self._on_lost(partition, first - offset)
        owned.ahead.clear()
        owned.next_offset = offset  # the next read asks for it again, and is not to seek back
        consumer.seek(at, first)

    async def commit(self, committed: Committed) -> None:
        """As `LogReader.commit`. The broker refuses it when the group has moved on: `Revoked`."""
        owned, consumer = self._ours(committed.partition)
        metadata = OffsetAndMetadata(committed.position, metadata_of(committed.intent))
        try:
            async with asyncio.timeout(COMMIT_SECONDS):
                await consumer.commit({self._at(committed.partition): metadata})
        except (CommitFailedError, IllegalStateError, ConsumerStoppedError) as error:
            self._check_open()
            raise Revoked(f"{committed.partition} belongs to another reader now: {error}") from error
        except TimeoutError as error:
            raise LogUnavailable("kafka has not taken a commit in time", reason="kafka_timeout") from error
        except KafkaError as error:
            raise unavailable(error, f"cannot commit {committed.partition}") from error
        owned.committed = committed

    def lag(self) -> Sequence[PartitionLag]:
        """As `LogReader.lag`; ends come with every fetch, and every few seconds for partitions that are not read."""
        entries = []
        for partition, owned in self._owned.items():
            position, intent = owned.committed.position, owned.committed.intent
            if intent is None and not owned.ahead and owned.next_offset == position:
                position = max(position, owned.scanned_to)
            high = self._consumer.highwater(self._at(partition)) if self._consumer is not None else None
            entries.append(PartitionLag(partition, position, max(owned.end, high or 0)))
        return entries

    async def assign(self, consumer: AIOKafkaConsumer, found: Collection[TopicPartition]) -> None:
        """Told by the group: these are ours. Asks for their commits until it gets an answer."""
        starts: list[Committed] = []
        while found and not self._is_closed and self.uses(consumer):
            try:
                starts = await self._starts(consumer, sorted(found))
                break
            except (KafkaError, LogUnavailable, OSError) as error:
                logger.warning("cannot read committed offsets yet: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
        if self._listener is not None and self.uses(consumer):
            await self._listener.on_assigned(starts)
        self._joined.set()

    async def _starts(self, consumer: AIOKafkaConsumer, found: Sequence[TopicPartition]) -> list[Committed]:
        group = self._settings.group_id
        committed = await self._admin.list_consumer_group_offsets(group, partitions=list(found))
        if committed.keys() != set(found):  # aiokafka 0.14 does not look at the answer's own error, which names nothing
            raise LogUnavailable(f"the coordinator of {group} does not tell offsets yet", reason="kafka_coordinator")
        begins, ends = await consumer.beginning_offsets(found), await consumer.end_offsets(found)
        if not self.uses(consumer):
            raise LogUnavailable("the group was left meanwhile", reason="kafka_left")
        starts = []
        for at in found:
            partition = Partition(self._names[at.topic], at.partition)
            known = committed[at]
            if known.offset < 0:
                start = Committed(partition, begins[at])
            else:
                start = committed_of(partition, known.offset, known.metadata)
            consumer.seek(at, start.position)
            self._owned[partition] = _Owned(start, start.position, ends[at])
            starts.append(start)
        return starts

    def uses(self, consumer: AIOKafkaConsumer) -> bool:
        """Whether it is this reader's present one; others are on their way out, and decide nothing any more."""
        return consumer is self._consumer

    async def revoke(self) -> None:
        """Told by the group, or by `unsubscribe`: all partitions are away when this returns, in every rebalance.

        What aiokafka names is what it remembers; a lane that it forgot would go on beside the next owner's.
        """
        leaving = list(self._owned)
        try:
            if leaving and self._listener is not None:
                await self._listener.on_revoked(leaving)
        finally:
            for partition in leaving:
                self._owned.pop(partition, None)

    async def _watch(self) -> None:
        """Keep the ends known, and a member in the group: a consumer that has broken down is replaced."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            consumer = self._consumer
            trouble = breakdown(consumer) if consumer is not None else "it could not be started"
            if consumer is None or trouble is not None:
                logger.error("the kafka consumer has broken down and is made anew: %s", trouble)
                await self._replace(consumer)
                continue
            trouble = take_trouble(consumer)
            if trouble is not None:
                logger.warning("kafka: the group is in trouble: %s", trouble)
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(WATCH_SECONDS):
                    await self._refresh_ends(consumer)

    async def _replace(self, broken: AIOKafkaConsumer | None) -> None:
        """Give all partitions back as in a rebalance, and ask for some again; what was under way has its intent."""
        self._consumer = None  # lanes that are not told yet find their partitions revoked
        if broken is not None:
            await self.revoke()
            await stop_consumer(broken)
        try:
            await self._join()
        except LogUnavailable as error:
            logger.warning("cannot join the group yet: %s", error)

    async def _refresh_ends(self, consumer: AIOKafkaConsumer) -> None:
        asked = [self._at(partition) for partition in self._owned]
        if asked:
            for at, end in (await consumer.end_offsets(asked)).items():
                owned = self._owned.get(Partition(self._names[at.topic], at.partition))
                if owned is not None:
                    owned.end = max(owned.end, end)

    def _at(self, partition: Partition) -> TopicPartition:
        return TopicPartition(self._settings.topic(partition.topic), partition.number)

    def _ours(self, partition: Partition) -> tuple[_Owned, AIOKafkaConsumer]:
        self._check_open()
        owned = self._owned.get(partition)
        if owned is None or self._consumer is None:
            raise Revoked(f"{partition} is not assigned to this reader")
        return owned, self._consumer

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogUnavailable("the log is closed", reason="log_closed")


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """aiokafka's callbacks; it logs what they raise and goes on, so they do not raise."""

    def __init__(self, reader: KafkaReader, consumer: AIOKafkaConsumer) -> None:
        self._reader, self._consumer = reader, consumer

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        if self._reader.uses(self._consumer):
            await self._reader.revoke()

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        await self._reader.assign(self._consumer, assigned)
