"""Gathering in front of a producer that does what it is told: nothing refused is kept, nobody waits for ever."""

import asyncio
import types
from typing import Any

import pytest
from aiokafka.errors import KafkaError, ProducerClosed

from bridge.log.kafka_gather import Gatherer, Message
from tests.waiting import eventually

FITS = 3


class Batch:
    """Takes three messages."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, value: bytes, **_: Any) -> object | None:
        if len(self.values) == FITS:
            return None
        self.values.append(value)
        return object()

    def close(self) -> None:
        """Nothing to do."""


class Producer:
    """Acknowledges batches once `gate` is open."""

    def __init__(self) -> None:
        self.partitions: set[int] = {0, 1, 2, 3}
        cluster = types.SimpleNamespace(partitions_for_topic=lambda _: self.partitions)
        self.client = types.SimpleNamespace(cluster=cluster)
        self.sent: list[list[bytes]] = []
        self.asked, self.gate = asyncio.Event(), asyncio.Event()

    def create_batch(self) -> Batch:
        return Batch()

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> Any:
        assert partition in self.partitions, "Unrecognized partition"  # as aiokafka 0.14 does
        self.asked.set()
        await self.gate.wait()
        self.sent.append(batch.values)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def message(value: bytes, key: bytes = b"k") -> Message:
    return ("t", key, value, [])


async def test_what_comes_while_a_batch_is_under_way_goes_together_in_order() -> None:
    """One batch at a time for a partition; the next ones take what fits, the rest follows."""
    producer = Producer()
    gatherer = Gatherer(producer, 0)
    sends = [asyncio.create_task(gatherer.send([message(b"first")], 5))]
    await producer.asked.wait()
    sends += [asyncio.create_task(gatherer.send([message(b"%d" % n), message(b"%d'" % n)], 5)) for n in range(2)]
    await asyncio.sleep(0)
    producer.gate.set()
    await asyncio.gather(*sends)
    assert producer.sent == [[b"first"], [b"0", b"0'", b"1"], [b"1'"]]


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_what_was_refused_before_it_was_in_a_batch_is_never_sent(is_cancelled: bool) -> None:
    """An outage does not gather all that was refused in it, and a new append does not wait behind that."""
    producer = Producer()
    gatherer = Gatherer(producer, 0)
    sends = [asyncio.create_task(gatherer.send([message(b"%d" % n)], 5 if is_cancelled else 0.02)) for n in range(100)]
    await producer.asked.wait()
    if is_cancelled:
        for send in sends:
            send.cancel()
    answers = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(each) for each in answers} == {asyncio.CancelledError if is_cancelled else TimeoutError}
    assert not any(gatherer._gathered.values())
    producer.gate.set()
    await gatherer.send([message(b"new")], 5)
    assert producer.sent[-1] == [b"new"]
    assert sum(map(len, producer.sent)) <= FITS + 1


async def test_a_partition_that_is_gone_is_an_error_of_kafka() -> None:
    """Whatever aiokafka raises, an append ends with something that its caller expects."""
    producer = Producer()
    gatherer = Gatherer(producer, 0)
    sends = [asyncio.create_task(gatherer.send([message(b"v", b"k%d" % n)], 5)) for n in range(8)]
    await producer.asked.wait()
    sends += [asyncio.create_task(gatherer.send([message(b"v", b"k%d" % n)], 5)) for n in range(8)]
    await asyncio.sleep(0)
    producer.partitions = {0}
    producer.gate.set()
    answers = await asyncio.gather(*sends, return_exceptions=True)
    assert all(each is None or isinstance(each, KafkaError) for each in answers)
    assert any(isinstance(each, KafkaError) for each in answers)


async def test_closing_answers_whoever_waits_and_leaves_no_task() -> None:
    """A producer that hangs is given its time, no more."""
    producer = Producer()
    gatherer = Gatherer(producer, 0)
    sends = [asyncio.create_task(gatherer.send([message(b"%d" % n)], 60)) for n in range(5)]
    await producer.asked.wait()
    await gatherer.close(0.05)
    answers = await asyncio.gather(*sends, return_exceptions=True)
    assert {type(each) for each in answers} == {ProducerClosed}
    assert not gatherer._sending


async def test_one_failed_batch_refuses_its_appends_and_no_others() -> None:
    """Each append hears of its own messages."""
    producer = Producer()
    gatherer = Gatherer(producer, 0)
    taken = asyncio.create_task(gatherer.send([message(b"a")], 5))
    await producer.asked.wait()
    failing = producer.send_batch

    async def fails(batch: Batch, topic: str, *, partition: int) -> Any:
        raise KafkaError("no")

    producer.send_batch = fails  # type: ignore[method-assign]
    refused = asyncio.create_task(gatherer.send([message(b"b")], 5))
    await asyncio.sleep(0)
    producer.gate.set()
    with pytest.raises(KafkaError, match="no"):
        await refused
    await taken
    producer.send_batch = failing  # type: ignore[method-assign]
    await gatherer.send([message(b"c")], 5)
    assert producer.sent == [[b"a"], [b"c"]]
    await eventually(lambda: not gatherer._sending)
