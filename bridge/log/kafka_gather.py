"""Messages of many appends, put together into one batch a partition: what Kafka charges for is requests, not records.

    send -> waits here -> after `linger_seconds`, or at once after a quiet time: one task a partition -> batches -> acks

aiokafka's own way in, one message at a time, costs 2-3 times as much a record (docs/performance.md).
"""

import asyncio
import copy
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

# (topic, key, value, headers)
Message = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
Place = tuple[str, int]
# Keys whose partition is remembered: aiokafka hashes them in Python. They are organisations, or else as good as random.
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
        self._gathered: list[_Sent] = []
        self._flushed_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._partitioner = DefaultPartitioner()
        self._places: dict[tuple[str, bytes, int], int] = {}

    async def send(self, messages: Sequence[Message], timeout_seconds: float) -> None:
        """Return when all are acknowledged. Raises aiokafka's errors, and `TimeoutError`: they may still get there."""
        if not messages:
            return
        for topic in {message[0] for message in messages}:
            if self._producer.client.cluster.partitions_for_topic(topic) is None:
                await self._producer.partitions_for(topic)
        done: asyncio.Future[None] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_at(self._flushed_at + self._linger_seconds, self._flush)
        waiting = _Waiting(len(messages), done)
        self._gathered += [_Sent(message, waiting) for message in messages]
        clock = self._loop.call_later(timeout_seconds, _too_late, done)
        try:
            await done
        finally:
            clock.cancel()

    async def drain(self) -> None:
        """Return when everything gathered has been answered."""
        self._flush()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _flush(self) -> None:
        """Start a task for each partition that has messages now."""
        gathered, self._gathered = self._gathered, []
        places: dict[Place, list[_Sent]] = {}
        for sent in gathered:
            topic, key, *_ = sent.message
            places.setdefault((topic, self._partition(topic, key)), []).append(sent)
        for place, each in places.items():
            task = self._loop.create_task(self._send(place, each), name="kafka batch")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._flushed_at = self._loop.time()

    def _partition(self, topic: str, key: bytes) -> int:
        numbers = self._producer.client.cluster.partitions_for_topic(topic) or {0}  # known: `send` has asked
        known = self._places.get((topic, key, len(numbers)))
        if known is None:
            if len(self._places) >= MAX_REMEMBERED_KEYS:
                self._places.clear()
            every = sorted(numbers)
            known = self._places[topic, key, len(numbers)] = self._partitioner(key, every, every)
        return known

    async def _send(self, place: Place, gathered: Sequence[_Sent]) -> None:
        """As many batches as it takes, one after the other, so that they keep this order."""
        topic, partition = place
        while gathered:
            batch = self._producer.create_batch()
            taken = _fill(batch, gathered)
            error: BaseException | None = None
            try:
                await (await self._producer.send_batch(batch, topic, partition=partition))
            except Exception as failed:  # whatever it is, who waits must hear of it
                error = failed
            for sent in gathered[:taken]:
                sent.waiting.answered(error)
            gathered = gathered[taken:]


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
