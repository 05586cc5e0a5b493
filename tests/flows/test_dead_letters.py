"""Batches the store refuses: the poison is found and kept, the rest is written once, with crashes and replays."""

import asyncio
import random
from dataclasses import replace

import pytest

from bridge.cli.dlq import record_of, replay
from bridge.columns import to_table
from bridge.deliver import Deliver
from bridge.errors import LogUnavailable, RejectedBySink
from bridge.letters import LetterLimit, LetterState
from bridge.log.letters_memory import MemoryLetters
from bridge.log.memory import Hang as LogHang
from bridge.log.memory import open_memory_log
from bridge.model import Encoded, Origin, Signal
from bridge.telemetry import Metrics
from sinks.memory import MemorySink
from tests.delivering import POLICY, delivering, everything, exit_of, ids, records, until_drained
from tests.load import Book
from tests.waiting import eventually


class PickySink(MemorySink):
    """Refuses every batch that holds one of these span ids, as a store does whose column takes no such value."""

    def __init__(self, poison: set[str]) -> None:
        super().__init__()
        self.poison = poison

    async def write(self, encoded: Encoded) -> None:
        if encoded.signal is not Signal.LEDGER and self.poison & set(encoded.body.column("SpanId").to_pylist()):
            self.writes.append(encoded.token)
            raise RejectedBySink("TYPE_MISMATCH (53): in column Duration", 53)
        await super().write(encoded)


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
