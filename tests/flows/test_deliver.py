"""From the log into a sink, each item once, whatever fails between the steps: on the shipped fakes."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from bridge.batch import BatchPolicy
from bridge.cli.dlq import record_of, replay
from bridge.columns import to_table
from bridge.deliver import Deliver, DeliverPolicy
from bridge.errors import BridgeError, LogUnavailable, Malformed, RejectedBySink, SinkUnavailable
from bridge.letters import LetterLimit, LetterState
from bridge.log.letters_memory import MemoryLetters
from bridge.log.memory import Hang as LogHang
from bridge.log.memory import MemoryLog, MemoryReader, Point, open_memory_log
from bridge.model import OTLP_SIGNALS, Batch, Origin, Partition, Record, Signal
from bridge.telemetry import Metrics
from bridge.writer import Exit
from sinks.memory import Hang, MemorySink
from tests.load import Book
from tests.waiting import eventually

POLICY = DeliverPolicy(BatchPolicy(50, 1 << 20, 0.02), 8 << 20, 0.001, 0.01)
SPANS = Partition("otlp_spans", 0)


def records(book: Book, count: int, signal: Signal = Signal.TRACES) -> list[Record]:
    made = []
    for number in range(count):
        value, ids = book.request(signal, 3, random.Random(number))
        made.append(Record(signal, f"org-{number % 3}", "p", 1_700_000_000_000_000_000, len(ids), value))
    return made


def exit_of(sink: MemorySink, metrics: Metrics | None = None, letters: MemoryLetters | None = None) -> Exit:
    def nobody(record: Record) -> list[Record]:
        raise Malformed(f"a record of {len(record.value)} bytes that is not ours", reason="foreign_record")

    box, limit = letters or MemoryLetters(), LetterLimit(1000)
    return Exit(sink, "memory", asyncio.Semaphore(2), box, limit, nobody, metrics or Metrics())


@asynccontextmanager
async def delivering(
    reader: MemoryReader,
    sink: MemorySink,
    metrics: Metrics | None = None,
    policy: DeliverPolicy = POLICY,
    letters: MemoryLetters | None = None,
) -> AsyncIterator[Deliver]:
    """A deliver that runs for the block and is stopped softly after it."""
    deliver, stop = Deliver(reader, exit_of(sink, metrics, letters), policy), asyncio.Event()
    task = asyncio.create_task(deliver.run(stop))
    try:
        yield deliver
    finally:
        stop.set()
        await task


async def until_drained(log: MemoryLog) -> None:
    await eventually(lambda: not any(c.intent or c.position < ends(log)[c.partition] for c in log.committed()))


def ends(log: MemoryLog) -> dict[Partition, int]:
    counts = dict.fromkeys((committed.partition for committed in log.committed()), 0)
    for signal in OTLP_SIGNALS:
        partitions = [partition for partition in counts if partition.signal is signal]
        if len(partitions) == 1:
            counts[partitions[0]] = len(log.held(signal))
    return counts


def ids(sink: MemorySink) -> list[str]:
    return sorted(name for table in sink.tables.values() for name in table.column("SpanId").to_pylist())


def everything(book: Book) -> list[str]:
    return sorted(name for names in book.sent.values() for name in names)


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


class PickySink(MemorySink):
    """Refuses every batch that holds one of these span ids, as a store does whose column takes no such value."""

    def __init__(self, poison: set[str]) -> None:
        super().__init__()
        self.poison = poison

    async def write(self, batch: Batch) -> None:
        if batch.signal is not Signal.LEDGER and self.poison & set(batch.table.column("SpanId").to_pylist()):
            self.writes.append(batch.token)
            raise RejectedBySink("TYPE_MISMATCH (53): in column Duration", 53)
        await super().write(batch)


@pytest.mark.parametrize("count", [1, 2, 5, 30])
async def test_only_the_poison_rows_of_a_refused_batch_are_dead_lettered(count: int) -> None:
    """However many there are and wherever they lie, all others are written once and each of them is one letter."""
    book, letters, metrics = Book(), MemoryLetters(), Metrics()
    sent = records(book, 20)
    names = everything(book)
    poison = set(random.Random(count).sample(names, count))
    sink = PickySink(poison)
    async with open_memory_log() as log:
        await log.append(sent)
        async with delivering(log, sink, metrics, letters=letters):
            await until_drained(log)
    assert ids(sink) == sorted(set(names) - poison)
    found = await letters.letters()
    buried = [to_table(each.signal, [record_of(each)]).column("SpanId").to_pylist() for each in found]
    assert sorted(buried) == [[name] for name in sorted(poison)]
    assert {(each.code, each.column, each.reason, each.items) for each in found} == {
        (53, "Duration", "rejected_by_sink", 1)
    }


@pytest.mark.parametrize("after", range(1, 14))
async def test_a_crash_while_a_batch_is_taken_apart_loses_and_doubles_nothing(after: int) -> None:
    """The process vanishes after so many commits; its successor, to whom the poison is none any more, finishes."""
    book, letters = Book(), MemoryLetters()
    sent = records(book, 8)
    names = everything(book)
    poison = set(random.Random(after).sample(names, 3))
    sink = PickySink(poison)
    async with open_memory_log() as log:
        await log.append(sent)
        hang = LogHang()
        log.script("committed", *[None] * after, hang)
        reader = log.reader()
        doomed = asyncio.create_task(Deliver(reader, exit_of(sink, letters=letters), POLICY).run(asyncio.Event()))
        await hang.reached.wait()
        doomed.cancel()
        await asyncio.gather(doomed, return_exceptions=True)
        await reader.vanish()
        sink.poison = set()
        async with delivering(log.reader(), sink, letters=letters):
            await until_drained(log)
            await replay(letters, log, await letters.letters(), lambda *_: None)
            await eventually(lambda: len(ids(sink)) == len(names))
    assert ids(sink) == names


async def test_a_replayed_letter_is_written_once_however_often_it_is_replayed() -> None:
    """The second replay, as after a crash between the append and the note of it, is the same insert."""
    book, letters = Book(), MemoryLetters()
    sent = records(book, 3)
    names = everything(book)
    sink = PickySink({names[4]})
    async with open_memory_log() as log:
        await log.append(sent)
        async with delivering(log, sink, letters=letters):
            await until_drained(log)
            (letter,) = await letters.letters()
            sink.poison = set()
            await replay(letters, log, [letter], lambda *_: None)
            await replay(letters, log, [letter], lambda *_: None)
            await until_drained(log)
    assert ids(sink) == names
    assert [(each.state, each.value) for each in await letters.letters()] == [(LetterState.REPLAYED, b"")]


async def test_a_letter_that_is_still_poison_is_the_same_letter_again() -> None:
    """A replay that the store refuses as well leaves one letter, waiting."""
    book, letters = Book(), MemoryLetters()
    sent = records(book, 2)
    sink = PickySink({everything(book)[1]})
    async with open_memory_log() as log:
        await log.append(sent)
        async with delivering(log, sink, letters=letters):
            await until_drained(log)
            before = await letters.letters()
            await replay(letters, log, before, lambda *_: None)
            await until_drained(log)
    assert [(each.id, each.state) for each in await letters.letters()] == [(before[0].id, LetterState.WAITING)]


async def test_a_record_that_cannot_be_read_stops_nobody() -> None:
    """Not OTLP, unreadable headers, a stranger's record: one letter each, and the rest is written."""
    book, sink, letters = Book(), MemorySink(), MemoryLetters()
    good = records(book, 6)
    bad = [
        replace(good[0], value=b"\xff\xff\xff not protobuf"),
        replace(good[0], origin=Origin.UNREADABLE, org=""),
        replace(good[0], origin=Origin.FOREIGN, org=""),
    ]
    async with open_memory_log() as log:
        await log.append([*good[:2], bad[0], *good[2:4], bad[1], bad[2], *good[4:]])
        async with delivering(log, sink, letters=letters):
            await until_drained(log)
    assert ids(sink) == everything(book)
    found = await letters.letters()
    assert sorted(each.reason for each in found) == ["foreign_record", "malformed", "unreadable_headers"]
    assert {each.value for each in found} == {each.value for each in bad}


async def test_dead_letters_that_cannot_be_kept_are_waited_for() -> None:
    """While the letter box is down the partition waits; no item is dropped."""
    book, letters = Book(), MemoryLetters()
    sent = records(book, 3)
    sink = PickySink({everything(book)[0]})
    letters.fail_with = [LogUnavailable("box down")] * 3
    async with open_memory_log() as log:
        await log.append(sent)
        async with delivering(log, sink, letters=letters):
            await until_drained(log)
    assert len(await letters.letters()) == 1
    assert ids(sink) == everything(book)[1:]


async def test_a_store_that_refuses_everything_stops_deliver_instead_of_filling_the_letter_box() -> None:
    """Over the limit the partition is blocked, says so, and its items stay in the log."""
    book, letters, metrics = Book(), MemoryLetters(), Metrics()
    sent = records(book, 20)
    sink = PickySink(set(everything(book)))
    out = replace(exit_of(sink, metrics, letters), limit=LetterLimit(10))
    async with open_memory_log() as log:
        await log.append(sent)
        deliver, stop = Deliver(log, out, POLICY), asyncio.Event()
        task = asyncio.create_task(deliver.run(stop))
        await eventually(lambda: any("dead letters in a minute" in (lane.trouble or "") for lane in deliver.health()))
        labels = {"topic": "otlp_spans", "partition": "0"}
        assert metrics.registry.get_sample_value("bridge_deliver_blocked", labels) == 1
        stop.set()
        await task
        assert any(committed.position < 20 and committed.intent for committed in log.committed())
    assert len(await letters.letters()) == 10
