"""One announced range -> the sink, each item once: as one insert, or, if the store refuses it, in ever smaller parts.

    sort out (unreadable records -> dead letters) -> convert -> insert
                                                               |  refused for good
                              commit rows [k, m) -> insert just these -> k = m, or halve, or one row -> a dead letter

Every part is committed as the intent before it is inserted, under a token of its own, so that a crash at any point
leaves the next owner with exactly one part whose outcome is unknown; it repeats that one, and the store drops it if it
was written. A single row carries the token of the letter it would become: whether it was written or buried, a later
replay of the letter is the same insert.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bridge import offsets
from bridge.columns import to_table
from bridge.errors import BridgeError, Malformed, RejectedBySink
from bridge.ledger import Ledger
from bridge.letters import DeadLetter, LetterBox, LetterLimit
from bridge.model import Batch, Committed, Encoded, Origin, ReadRecord, Signal
from bridge.patience import Patience, Stopped
from bridge.poison import AcceptForeign, Sorted, cut, id_of_row, letter_of_row, runs_of, sort_out
from bridge.telemetry import Metrics
from sinks import Sink

Rows = tuple[int, int]
Commit = Callable[[Committed], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Exit:
    """What all lanes of a process share on the way out.

    `slots` bounds the batches that are converted or inserted at once; `converting` lets one of them be columns, which
    are several times what the sink's encoding of them is. `is_shadow`: the sink is beside the store, keeps rows
    by name, and its delay is counted apart.
    """

    sink: Sink
    sink_name: str
    slots: asyncio.Semaphore
    letters: LetterBox
    limit: LetterLimit
    accept_foreign: AcceptForeign
    metrics: Metrics
    ledger: Ledger = field(default_factory=Ledger)
    converting: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_shadow: bool = False


class Writer:
    """The writing half of a lane."""

    def __init__(self, log_id: str, out: Exit, patience: Patience, commit: Commit) -> None:
        self._log_id, self._out, self._patience, self._commit = log_id, out, patience, commit
        self._partition = patience.health.partition
        self._signal = self._partition.signal

    async def write(self, begun: Committed, records: Sequence[ReadRecord]) -> None:
        """Return when every item of the range is written or dead-lettered. Raises `Stopped` or `Revoked`."""
        assert begun.intent is not None  # noqa: S101 - the range was announced
        is_split = begun.intent.rows is not None
        found = await self._sort(records, is_strict=is_split)
        if not is_split:
            try:
                await self._insert(begun, records, found.good, None)
            except Malformed:
                found, is_split = await self._sort(records, is_strict=True), True
            except RejectedBySink:
                is_split = True
        if is_split:
            await self._split(begun, records, found.good)
        for record in found.adopted:  # nobody has counted these when they were received
            self._out.ledger.count(
                record.org, self._signal, record.received_at_unix_nano, received=record.items, appended=record.items
            )

    async def _sort(self, records: Sequence[ReadRecord], *, is_strict: bool) -> Sorted:
        sort = partial(sort_out, self._partition, records, self._out.accept_foreign, is_strict=is_strict)
        if not is_strict and all(read.record.origin is Origin.OURS for read in records):
            return sort()  # as nearly always: nothing is read, and it is not worth a thread
        found = await asyncio.to_thread(sort)
        await self._bury(found.letters)
        return found

    async def _split(self, begun: Committed, records: Sequence[ReadRecord], good: Sequence[ReadRecord]) -> None:
        """Insert the rows in parts, each announced; what is refused alone is buried."""
        assert begun.intent is not None  # noqa: S101 - the range was announced
        count = await asyncio.to_thread(self._count_rows, good)
        first, last = begun.intent.rows or (0, count)
        ends = [count] if last == count else [count, last]
        while first < count:
            last = ends[-1]
            await self._commit(offsets.narrow(begun, (first, last)))
            try:
                await self._insert(begun, records, good, (first, last))
            except RejectedBySink as error:
                if last - first > 1:
                    ends.append(first + (last - first) // 2)
                    continue
                await self._bury([await asyncio.to_thread(letter_of_row, self._partition, good, first, error)])
            first = ends.pop()
            if not ends:
                ends.append(count)

    def _count_rows(self, good: Sequence[ReadRecord]) -> int:
        return int(to_table(self._signal, [read.record for read in good]).num_rows)

    async def _insert(
        self, begun: Committed, records: Sequence[ReadRecord], good: Sequence[ReadRecord], rows: Rows | None
    ) -> None:
        """Raises `RejectedBySink` or `Malformed`; everything else is tried again."""
        if good:
            step = partial(self._attempt, begun, records, good, rows)
            await self._patience.until_done(step, (RejectedBySink, Malformed))

    async def _attempt(
        self, begun: Committed, records: Sequence[ReadRecord], good: Sequence[ReadRecord], rows: Rows | None
    ) -> None:
        """Convert and insert while holding a slot; a failed attempt lets go of the columns, which are made again."""
        out = self._out
        async with out.slots:
            if self._patience.stop.is_set() and self._patience.health.trouble:
                raise Stopped
            try:
                async with out.converting:
                    made = await asyncio.to_thread(self._made, begun, records, good, rows)
                with out.metrics.insert_seconds.labels(out.sink_name, self._signal).time():
                    await out.sink.write(made.encoded)
            except BridgeError as error:
                out.metrics.send_failures.labels(out.sink_name, self._signal, error.reason).inc()
                if error.reason == "connection" and not out.is_shadow:
                    out.metrics.connection_errors.inc()
                raise
        self._count(made, good)

    def _made(
        self, begun: Committed, records: Sequence[ReadRecord], good: Sequence[ReadRecord], rows: Rows | None
    ) -> "_Made":
        table = to_table(self._signal, [read.record for read in good])
        token = offsets.token_of(self._log_id, begun, records)
        runs = runs_of(self._log_id, self._partition, good) if self._out.is_shadow else ()
        if rows is not None:
            runs = cut(runs, *rows)
            table = table.slice(rows[0], rows[1] - rows[0])
            token = f"{token}:{rows[0]}-{rows[1]}"
            if rows[1] - rows[0] == 1:
                token = offsets.token_of_letter(self._log_id, id_of_row(self._partition, good, rows[0]))
        encoded = self._out.sink.encode(Batch(self._signal, token, table, runs))
        return _Made(encoded, None if self._signal is Signal.LEDGER else _tallied(table))

    async def _bury(self, letters: Sequence[DeadLetter]) -> None:
        """Return when the letters are durable; with the limit reached, never."""
        if letters:
            await self._patience.until_done(partial(self._bury_once, letters))

    async def _bury_once(self, letters: Sequence[DeadLetter]) -> None:
        out = self._out
        out.limit.take(len(letters), time.monotonic())
        try:
            await out.letters.put(letters)
        except BridgeError:
            out.limit.give_back(len(letters))
            raise
        for letter in letters:
            out.metrics.dead_letters.labels(letter.signal, letter.reason).inc(max(1, letter.items))
            out.ledger.count(letter.org, letter.signal, letter.received_at_unix_nano, dead_lettered=letter.items)

    def _count(self, made: "_Made", good: Sequence[ReadRecord]) -> None:
        metrics, signal, now_unix_nano = self._out.metrics, self._signal, time.time_ns()
        metrics.sent_items.labels(self._out.sink_name, signal).inc(made.encoded.rows)
        if made.tally is None:
            return
        metrics.batch_rows.labels(signal).observe(made.encoded.rows)
        metrics.batch_bytes.labels(signal).observe(sum(len(read.record.value) for read in good))
        lag_seconds = (now_unix_nano - made.tally.received) / 1e9
        if self._out.is_shadow:
            metrics.shadow_lag.observe((signal,), lag_seconds)
            return
        metrics.ingestion_lag.observe((signal,), lag_seconds)
        metrics.event_lag.observe((signal,), (now_unix_nano - made.tally.events) / 1e9)
        oldest = min(read.record.received_at_unix_nano for read in good)
        for org, rows in made.tally.rows_of_org.items():
            self._out.ledger.count(org, signal, oldest, written=rows)


@dataclass(frozen=True, slots=True)
class _Tally:
    """What is counted of a table once it is written: times in Unix nanoseconds, one a row."""

    received: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    rows_of_org: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Made:
    encoded: Encoded
    tally: _Tally | None


def _tallied(table: pa.Table) -> _Tally:
    counts = pc.value_counts(table.column("OrgId").combine_chunks())
    return _Tally(
        table.column("ReceivedAt").to_numpy().astype("datetime64[ns]").astype(np.int64),
        table.column("Timestamp").to_numpy().astype(np.int64),
        {entry["values"]: entry["counts"] for entry in counts.to_pylist()},
    )
