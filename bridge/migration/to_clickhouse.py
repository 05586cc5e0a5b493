"""Backfill OpenSearch -> ClickHouse: an index's slice becomes one insert of the rows that are not there yet.

Two things keep it exactly once. ClickHouse is asked what it has of the slice, row by row (`identity.py`), so a repeat
writes nothing twice however long ago the first attempt was; and the insert's token names the slice and the rows, so a
repeat that overtakes an insert still under way is dropped by the server.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain

import pyarrow as pa

from bridge.columns import CODEC
from bridge.errors import SettingsInvalid
from bridge.migration.backfill import Job, Moved, Unverified
from bridge.migration.convert import Converter, Refusal
from bridge.migration.identity import checksum, counted, identities, missing
from bridge.migration.read_clickhouse import Rows
from bridge.migration.read_opensearch import Index, Source, page_of, time_kinds
from bridge.migration.slices import Slice, cut
from bridge.model import Batch, Signal
from sinks import Sink

MILLI = 1_000_000


@dataclass(frozen=True, slots=True)
class ToClickHouse:
    """`until_unix_milli`: what is younger comes over by itself. `slice_bytes` bounds what a slice has of documents.

    `again` makes tokens that the store has not seen yet: rows that it has lost since are not dropped as repeated.
    """

    cluster: str
    rows: Rows
    sink: Sink
    converter: Converter
    until_unix_milli: int
    slice_documents: int
    slice_bytes: int = 32 << 20
    again: str = ""
    _converting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def job(self, source: Source, index: Index) -> Job:
        """Of one index, with how many documents it has to move. Raises `SettingsInvalid` for one without times."""
        until = self.until_unix_milli
        if not index.is_open:
            raise SettingsInvalid(f"{index.name} is closed: open it first, or choose others with --index")
        kinds = await time_kinds(source.client, index.name, source.time)
        if index.documents and (not kinds or kinds - {"date", "date_nanos"}):
            said = ", ".join(sorted(kinds)) or "not mapped"
            raise SettingsInvalid(f"{index.name}: {source.time} is {said}, not a date; choose others with --index")
        bounds = await source.bounds(index.name, until)
        start, end = (0, 0) if bounds is None else (bounds[0], min(until, bounds[1] + 1))
        document_bytes = max(index.document_bytes, await source.document_bytes(index.name))
        limit = max(10, min(self.slice_documents, self.slice_bytes // document_bytes))
        source = replace(source, page_documents=page_of(document_bytes))
        untimed = await source.untimed(index.name)
        return Job(
            key=f"to-clickhouse:{self.cluster}:{index.uuid}",
            title=index.name,
            signal=index.signal,
            documents=await source.count(index.name, None, until),
            cut=lambda: cut(partial(source.steps, index.name), start, end, limit),
            move=partial(self._move, source, index),
            untimed=tuple(Refusal(hit.index, hit.id, f"it has no {source.time}") for hit in untimed),
        )

    async def _move(self, source: Source, index: Index, part: Slice) -> Moved:
        signal = index.signal
        hits = await source.read(index.name, part.start_unix_milli, part.end_unix_milli)
        async with self._converting:
            converted = await asyncio.to_thread(self.converter.convert, signal, hits)
            del hits
            named = await asyncio.to_thread(_named, converted.tables, signal)
        wanted = list(chain.from_iterable(names for _, names in named))
        documents = len(wanted) + len(converted.refused)
        if not wanted:
            return Moved(documents, 0, 0, checksum(()), converted.refused)
        ask = partial(self.rows.identities, signal, *_bounds(converted.tables), _orgs(converted.tables))
        there = await asyncio.to_thread(ask)
        absent = set(missing(wanted, there))
        first = 0
        for table, names in named:
            numbers = [number for number in range(len(names)) if first + number in absent]
            first += len(names)
            token = f"backfill:{self.cluster}:{index.uuid}:{part.name}:{CODEC}:{first}"
            await self._insert(signal, token, table, names, numbers)
        written = counted(wanted[number] for number in absent)
        _check(wanted, await asyncio.to_thread(ask) if absent else there, there, written)
        return Moved(documents, len(absent), len(wanted) - len(absent), checksum(wanted), converted.refused)

    async def _insert(
        self, signal: Signal, token: str, table: pa.Table, names: Sequence[int], numbers: Sequence[int]
    ) -> None:
        if not numbers:
            return
        if len(numbers) < len(names):
            table = table.take(pa.array(numbers, pa.int64()))
        token = f"{token}{self.again}:{checksum(names[number] for number in numbers)}"
        encoded = await asyncio.to_thread(self.sink.encode, Batch(signal, token, table))
        await self.sink.write(encoded)


def _named(tables: Sequence[pa.Table], signal: Signal) -> list[tuple[pa.Table, list[int]]]:
    return [(table, identities(table, signal)) for table in tables]


def _bounds(tables: Sequence[pa.Table]) -> tuple[int, int]:
    times = [at for table in tables for at in table.column("Timestamp").cast(pa.int64()).to_pylist()]
    return min(times) // MILLI, max(times) // MILLI + 1


def _orgs(tables: Sequence[pa.Table]) -> set[str]:
    return {org for table in tables for org in table.column("OrgId").to_pylist()}


def _check(
    wanted: Sequence[int], now: Mapping[int, int], before: Mapping[int, int], written: Mapping[int, int]
) -> None:
    """Raises `Unverified` unless the store has each row as often as it had, and once more where it was written."""
    names = Counter(wanted)
    wrong = {name: now.get(name, 0) - before.get(name, 0) - written.get(name, 0) for name in names}
    lacking, beyond = -sum(n for n in wrong.values() if n < 0), sum(n for n in wrong.values() if n > 0)
    if lacking or beyond:
        found = checksum(name for name, often in names.items() for _ in range(min(often, now.get(name, 0))))
        raise Unverified(
            f"{len(wanted)} rows with checksum {checksum(wanted)} were to be there; {lacking} are not,"
            f" {beyond} are too many, and the store's checksum is {found}"
            + (" (were they deleted there since they were first moved? then give --again)" if lacking else "")
        )
