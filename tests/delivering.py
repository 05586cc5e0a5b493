"""What tests of deliver share: records with known ids, a deliver on fakes, and what came out of it."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.errors import Malformed
from bridge.letters import LetterLimit
from bridge.log.letters_memory import MemoryLetters
from bridge.log.memory import MemoryLog, MemoryReader
from bridge.model import OTLP_SIGNALS, Partition, Record, Signal
from bridge.telemetry import Metrics
from bridge.writer import Exit
from sinks.memory import MemorySink
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
