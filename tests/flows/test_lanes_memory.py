"""What lanes hold in memory while their store is down: within what may be pending, and nothing that was made of it."""

import asyncio
import gc
import weakref
from dataclasses import replace

from bridge.batch import BatchPolicy
from bridge.deliver import DeliverPolicy
from bridge.errors import SinkUnavailable
from bridge.log.memory import open_memory_log
from bridge.model import Batch, Encoded, Record, Signal
from sinks.memory import MemorySink
from tests.delivering import delivering, records
from tests.load import Book
from tests.waiting import eventually


def spread(book: Book, count: int) -> list[Record]:
    return [replace(each, org=f"org-{n % 97}") for n, each in enumerate(records(book, count))]


async def test_all_lanes_together_keep_within_the_pending_bytes() -> None:
    """A backlog in 12 partitions and a store that is down: half as much again as the limit, and a batch."""
    book, sink = Book(), MemorySink()
    sink.script(*[SinkUnavailable("down")] * 100_000)
    made = spread(book, 6000)
    total = sum(len(each.value) for each in made)
    batch_bytes = total // 24
    policy = DeliverPolicy(BatchPolicy(10**6, batch_bytes, 0.02), 4 * batch_bytes, 0.01, 0.05)
    async with open_memory_log(partitions_per_topic=12) as log:
        await log.append(made)
        async with delivering(log.reader(), sink, policy=policy) as deliver:
            await eventually(lambda: len(deliver._lanes) == 12 * len(Signal))
            lanes = [lane for partition, lane in deliver._lanes.items() if partition.signal is Signal.TRACES]
            most = 1.5 * policy.max_pending_bytes + batch_bytes
            for _ in range(50):
                await asyncio.sleep(0.01)
                assert sum(lane.pending_bytes for lane in lanes) <= most
            assert sum(lane.pending_bytes > 0 for lane in lanes) == 12, "every partition has its batch at hand"


class Body:
    """What a batch was encoded as."""


class Watched(MemorySink):
    """Bodies that can be counted."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: weakref.WeakSet[Body] = weakref.WeakSet()
        self.attempts = 0

    def encode(self, batch: Batch) -> Encoded:
        body = Body()
        self.bodies.add(body)
        return Encoded(batch.signal, batch.token, batch.table.num_rows, (), body)

    async def write(self, encoded: Encoded) -> None:
        self.attempts += 1
        raise SinkUnavailable("down")


async def test_a_lane_that_waits_for_the_store_holds_no_batch() -> None:
    """Neither columns nor their encoding: slots are 2, so at most 2 are alive while 12 lanes wait."""
    book, sink = Book(), Watched()
    policy = DeliverPolicy(BatchPolicy(10**6, 1 << 20, 0.01), 64 << 20, 60.0, 60.0)
    async with open_memory_log(partitions_per_topic=12) as log:
        await log.append(spread(book, 300))
        async with delivering(log.reader(), sink, policy=policy):
            lanes = sum(1 for each in log.committed() if each.partition.signal is Signal.TRACES)
            await eventually(lambda: sink.attempts >= lanes - 1, 5)
            await asyncio.sleep(0.1)
            gc.collect()
            alive = len(sink.bodies)
            assert alive <= 2
