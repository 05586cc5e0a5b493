"""Messages of many appends, put together into one batch a partition: what Kafka charges for is requests, not records.

    send -> waits with others for its partition -> one batch at a time -> acknowledged -> the next takes all that waits

No clock: a partition that is idle sends at once, a busy one gathers for as long as its last batch takes. aiokafka's own
way in, one message at a time, costs twice as much a record (docs/performance.md).
"""

import asyncio
import copy
import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, ProducerClosed, UnknownTopicOrPartitionError
from aiokafka.partitioner import DefaultPartitioner

logger = logging.getLogger(__name__)

# (topic, key, value, headers)
Message = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
Place = tuple[str, int]
# Keys whose partition is remembered: aiokafka hashes them in Python. They are organisations, or as good as random.
MAX_REMEMBERED_KEYS: Final = 10_000


class _Waiting:
    """One `send`: how many of its messages have no answer yet."""

    __slots__ = ("done", "left")

    def __init__(self, messages: int, done: "asyncio.Future[None]") -> None:
        self.left, self.done = messages, done

    def answered(self, error: BaseException | None) -> None:
        self.left -= 1
        if self.done.done():  # failed already, or nobody waits any more
            return
        if error is not None:
            self.done.set_exception(copy.copy(error))  # each waiter's own traceback
        elif self.left == 0:
            self.done.set_result(None)


class _Sent(NamedTuple):
    message: Message
    waiting: _Waiting


class Gatherer:
    """In front of one producer, which it does not own."""

    def __init__(self, producer: AIOKafkaProducer, linger_seconds: float) -> None:
        self._producer, self._linger_seconds = producer, linger_seconds
        self._loop = asyncio.get_running_loop()
        self._gathered: dict[Place, list[_Sent]] = {}
        self._sending: dict[Place, asyncio.Task[None]] = {}
        self._partitioner = DefaultPartitioner()
        self._numbers: dict[tuple[str, bytes, int], int] = {}

    async def send(self, messages: Sequence[Message], timeout_seconds: float) -> None:
        """Return when all are acknowledged. Raises `KafkaError` and `TimeoutError`: those in a batch may get there yet.

        What is in no batch when the call ends, however it ends, is forgotten: nobody waits for it, and during an outage
        it would be all that was ever refused.
        """
        if not messages:
            return
        await self._know_topics({message[0] for message in messages}, timeout_seconds)
        done: asyncio.Future[None] = self._loop.create_future()
        waiting = _Waiting(len(messages), done)
        places = [(topic, self._partition(topic, key)) for topic, key, *_ in messages]
        for place, message in zip(places, messages, strict=True):
            self._gathered.setdefault(place, []).append(_Sent(message, waiting))
            if place not in self._sending:
                self._sending[place] = self._loop.create_task(self._send(place), name="kafka batches")
        clock = self._loop.call_later(timeout_seconds, _too_late, done)
        try:
            await done
        except BaseException:
            self._forget(waiting, set(places))
            raise
        finally:
            clock.cancel()

    async def close(self, seconds: float) -> None:
        """Return when all that was gathered has been answered, after `seconds` with `ProducerClosed`."""
        if self._sending:
            await asyncio.wait(self._sending.values(), timeout=seconds)
        left = list(self._sending.values())
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _know_topics(self, topics: Iterable[str], timeout_seconds: float) -> None:
        """Return when their partitions are known, as nearly always they are. Raises as `send` does."""
        for topic in topics:
            if self._producer.client.cluster.partitions_for_topic(topic) is None:
                async with asyncio.timeout(timeout_seconds):
                    await self._producer.partitions_for(topic)

    def _partition(self, topic: str, key: bytes) -> int:
        numbers = self._producer.client.cluster.partitions_for_topic(topic)
        if numbers is None:  # gone again while another topic was asked for
            raise UnknownTopicOrPartitionError(topic)
        known = self._numbers.get((topic, key, len(numbers)))
        if known is None:
            if len(self._numbers) >= MAX_REMEMBERED_KEYS:
                self._numbers.clear()
            every = sorted(numbers)
            known = self._numbers[topic, key, len(numbers)] = self._partitioner(key, every, every)
        return known

    def _forget(self, waiting: _Waiting, places: Iterable[Place]) -> None:
        for place in places:
            gathered = self._gathered.get(place)
            if gathered is not None:
                gathered[:] = [sent for sent in gathered if sent.waiting is not waiting]

    async def _send(self, place: Place) -> None:
        """Batch after batch of what waits for a partition, until nothing does."""
        taken: list[_Waiting] = []
        error: BaseException | None = ProducerClosed()
        try:
            if self._linger_seconds:
                await asyncio.sleep(self._linger_seconds)
            while gathered := self._gathered.get(place):
                batch = self._producer.create_batch()
                taken = [sent.waiting for sent in gathered[: _fill(batch, gathered)]]
                del gathered[: len(taken)]
                error = await self._outcome(batch, place)
                _answer(taken, error)
                taken, error = [], ProducerClosed()
        finally:
            del self._sending[place]
            left = self._gathered.pop(place, [])
            _answer([*taken, *(sent.waiting for sent in left)], error)

    async def _outcome(self, batch: Any, place: Place) -> BaseException | None:
        """What went wrong with a batch, whatever it is: who waits must hear of it."""
        topic, partition = place
        try:
            await (await self._producer.send_batch(batch, topic, partition=partition))
        except KafkaError as error:
            return cast("BaseException", error)  # aiokafka has no types
        except Exception as bug:  # as an assertion of aiokafka's that a partition is there
            logger.exception("a batch could not be sent", extra={"fields": {"topic": topic, "partition": partition}})
            return cast("BaseException", KafkaError(f"{type(bug).__name__}: {bug}"))
        return None


def _answer(waiting: Iterable[_Waiting], error: BaseException | None) -> None:
    for each in waiting:
        each.answered(error)


def _fill(batch: Any, gathered: Sequence[_Sent]) -> int:
    """Into the batch while they fit, the first in any case; how many."""
    taken = 0
    for sent in gathered:
        _, key, value, headers = sent.message
        if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
            break
        taken += 1
    batch.close()
    return taken


def _too_late(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_exception(TimeoutError())
