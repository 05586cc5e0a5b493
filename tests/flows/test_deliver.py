"""From the log into a sink, each item once, whatever fails between the steps: on the shipped fakes."""

import asyncio

import pytest

from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.errors import BridgeError, LogUnavailable, SinkUnavailable
from bridge.log import PartitionListener
from bridge.log.memory import Hang as LogHang
from bridge.log.memory import MemoryReader, Point, open_memory_log
from bridge.model import Signal
from bridge.telemetry import Metrics
from sinks.memory import Hang, MemorySink
from tests.delivering import POLICY, SPANS, delivering, everything, exit_of, ids, records, until_drained
from tests.load import Book
from tests.waiting import eventually


async def test_what_is_in_the_log_gets_into_the_sink_once() -> None:
    """Both signals, before and while delivering."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 20))
        async with delivering(log, sink):
            await log.append([*records(book, 20, Signal.LOGS), *records(book, 5)])
            await until_drained(log)
    assert ids(sink) == everything(book)


@pytest.mark.parametrize("point", ["commit", "committed", "read"])
async def test_a_log_that_fails_for_a_while_costs_nothing(point: Point) -> None:
    """Before and after a commit took hold, and in a read: the step is repeated, nothing is lost or doubled."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 30))
        log.script(point, *[LogUnavailable("away")] * 5)
        async with delivering(log, sink):
            await until_drained(log)
    assert ids(sink) == everything(book)


@pytest.mark.parametrize("error", [SinkUnavailable("down")])
@pytest.mark.parametrize("is_after", [False, True])
async def test_a_sink_that_fails_is_tried_again_with_the_same_batch(error: BridgeError, is_after: bool) -> None:
    """Lost answers included: the token of the repeat is the token of the attempt."""
    book, sink = Book(), MemorySink()
    (sink.script_after if is_after else sink.script)(*[error] * 4)
    async with open_memory_log() as log:
        await log.append(records(book, 10))
        async with delivering(log, sink):
            await until_drained(log)
    assert ids(sink) == everything(book)
    assert len(set(sink.writes)) == len(sink.tables)


@pytest.mark.parametrize("point", ["commit", "committed"])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_crash_around_a_commit_is_replayed_under_the_same_token(point: Point, which: int) -> None:
    """The process vanishes before or after its first (intent) or second (position) commit; another takes over."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 40))
        hang = LogHang()
        log.script(point, *[None] * which, hang)
        reader = log.reader()
        doomed = asyncio.create_task(Deliver(reader, exit_of(sink), POLICY).run(asyncio.Event()))
        await hang.reached.wait()
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        await reader.vanish()
        async with delivering(log.reader(), sink):
            await until_drained(log)
    assert ids(sink) == everything(book)


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_crash_inside_an_insert_is_replayed_under_the_same_token(is_after: bool) -> None:
    """Whether the store had the batch or not, it has it once in the end, in a batch of the same range."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 40))
        hang = Hang()
        (sink.script_after if is_after else sink.script)(hang)
        reader, metrics = log.reader(), Metrics()
        doomed = asyncio.create_task(Deliver(reader, exit_of(sink), POLICY).run(asyncio.Event()))
        await hang.reached.wait()
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        await reader.vanish()
        # with more data and another policy the range would be cut differently, were it not announced
        await log.append(records(book, 10))
        other = DeliverPolicy(BatchPolicy(7, 1 << 20, 0.02), 8 << 20, 0.001, 0.01)
        async with delivering(log.reader(), sink, metrics, other):
            await until_drained(log)
    assert ids(sink) == everything(book)
    assert sink.writes[0] == sink.writes[1]
    assert metrics.registry.get_sample_value("bridge_deliver_replayed_batches_total", {"topic": "otlp_spans"}) == 1


async def test_a_zombie_that_comes_back_writes_nothing_twice() -> None:
    """A writer stalls in an insert, loses its partition, and its insert goes through after its successor's."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 20))
        hang = Hang()
        sink.script(hang)
        zombie_reader = log.reader()
        async with delivering(zombie_reader, sink):
            await hang.reached.wait()
            await zombie_reader.vanish()
            async with delivering(log.reader(), sink):
                await until_drained(log)
                hang.release.set()
                await until_drained(log)
    assert ids(sink) == everything(book)


async def test_partitions_are_handed_over_between_readers() -> None:
    """A second deliver joins and leaves while data flows; a revoke waits for the batch at hand."""
    book, sink = Book(), MemorySink()
    async with open_memory_log(partitions_per_topic=4) as log:
        await log.append(records(book, 30))
        async with delivering(log.reader(), sink):
            for _ in range(3):
                async with delivering(log.reader(), sink):
                    await log.append(records(book, 30))
            await eventually(lambda: len(ids(sink)) >= len(everything(book)))
    assert ids(sink) == everything(book)
    assert all(committed.intent is None for committed in log.committed())


async def test_a_stop_while_the_store_is_down_leaves_the_rest_in_the_log() -> None:
    """Stopping does not wait for a store that does not answer; the next start goes on where this one ended."""
    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 10))
        sink.script(*[SinkUnavailable("down")] * 10_000)
        async with asyncio.timeout(5):
            async with delivering(log, sink) as deliver:
                await eventually(lambda: any(lane.trouble for lane in deliver.health()))
        assert sink.tables == {}
        sink.script_clear()
        async with delivering(log, sink):
            await until_drained(log)
    assert ids(sink) == everything(book)


async def test_a_stop_writes_what_is_at_hand() -> None:
    """Records already read are written before the partition is given back, however young the batch is."""
    book, sink = Book(), MemorySink()
    slow = DeliverPolicy(BatchPolicy(10_000, 1 << 20, 60.0), 8 << 20, 0.001, 0.01)
    async with open_memory_log() as log:
        await log.append(records(book, 10))
        async with asyncio.timeout(5):
            async with delivering(log, sink, policy=slow) as deliver:
                await eventually(lambda: any(lane.waiting_since for lane in deliver.health()))
    assert ids(sink) == everything(book)


async def test_trouble_is_visible_while_it_lasts() -> None:
    """Health, the blocked gauge and the failure counter say what is wrong, and stop saying it afterwards."""
    book, sink, metrics = Book(), MemorySink(), Metrics()
    async with open_memory_log() as log:
        await log.append(records(book, 1))
        hang = Hang()
        sink.script(SinkUnavailable("cannot be stored"), hang)
        async with delivering(log, sink, metrics) as deliver:
            await hang.reached.wait()
            lane = next(lane for lane in deliver.health() if lane.partition == SPANS)
            assert lane.trouble is not None
            assert "cannot be stored" in lane.trouble
            hang.release.set()
            await until_drained(log)
            await eventually(lambda: lane.trouble is None and lane.oldest_received_at_unix_nano is None)
    failures = {"sink": "memory", "signal": "traces", "reason": "sink_unavailable"}
    assert metrics.registry.get_sample_value("bridge_sink_send_failures_total", failures) == 1
    assert (
        metrics.registry.get_sample_value("bridge_sink_sent_items_total", {"sink": "memory", "signal": "traces"}) == 3
    )


async def test_a_log_that_cannot_be_joined_is_tried_again_and_can_be_stopped() -> None:
    """A stop while the group does not answer ends at once, and one that answers late is joined."""

    class LateReader(MemoryReader):
        answers = False

        async def subscribe(self, listener: PartitionListener) -> None:
            if not self.answers:
                raise LogUnavailable("no coordinator")
            await super().subscribe(listener)

    class SilentReader(MemoryReader):
        async def subscribe(self, listener: PartitionListener) -> None:
            await asyncio.Event().wait()

    book, sink = Book(), MemorySink()
    async with open_memory_log() as log:
        await log.append(records(book, 3))
        async with asyncio.timeout(5), delivering(SilentReader(log._broker), sink):
            await asyncio.sleep(0)
        late = LateReader(log._broker)
        async with delivering(late, sink):
            await asyncio.sleep(0.01)
            late.answers = True
            await until_drained(log)
    assert ids(sink) == everything(book)
