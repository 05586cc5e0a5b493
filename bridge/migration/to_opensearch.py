"""Backfill ClickHouse -> OpenSearch: rows of before the shadow become documents, where OpenSearch has not got them.

Documents of others say the same row as the row that was once made of them, so what came from OpenSearch does not go
back there twice. A row is named by its content, so its `_id` is the same whenever it is written, after any merge.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

import orjson
import pyarrow as pa

from bridge.columns import CODEC
from bridge.migration.backfill import Job, Moved, Unverified
from bridge.migration.convert import Converter, Refusal
from bridge.migration.identity import checksum, counted, identities, missing
from bridge.migration.read_clickhouse import Row, Rows
from bridge.migration.read_opensearch import Source
from bridge.migration.slices import Slice, cut
from bridge.model import Batch, Run
from bridge.opensearch import OpenSearch
from sinks import Sink
from sinks.opensearch_rows_back import table_of

DAY_MILLI = 86_400_000
MILLI = 1_000_000


@dataclass(frozen=True, slots=True)
class ToOpenSearch:
    """Writes through the shadow's own sink. `until_unix_milli`: the shadow has what is younger.

    `condition`: what a partial shadow holds, as SQL (`bridge.sampling`).
    """

    cluster: str
    database: str
    client: OpenSearch
    rows: Rows
    sink: Sink
    converter: Converter
    until_unix_milli: int
    slice_documents: int
    condition: str = "1"
    _converting: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def job(self, source: Source, day: str, start_unix_milli: int) -> Job:
        """Of one signal's UTC day; `source` reads also what Headrace has written."""
        end, signal = min(self.until_unix_milli, start_unix_milli + DAY_MILLI), source.signal

        async def steps(start: int, end: int, step: int) -> Sequence[Slice]:
            return await asyncio.to_thread(self.rows.steps, signal, start, end, step)

        return Job(
            key=f"to-opensearch:{self.cluster}:{self.database}:{source.layout.prefix(signal)}:{signal}:{day}",
            title=f"{signal} {day}",
            signal=signal,
            documents=await asyncio.to_thread(self.rows.count, signal, start_unix_milli, end),
            cut=lambda: cut(steps, start_unix_milli, end, self.slice_documents),
            move=partial(self._move, source),
        )

    async def _move(self, source: Source, part: Slice) -> Moved:
        signal = source.signal
        start, end = part.start_unix_milli, part.end_unix_milli
        rows = await asyncio.to_thread(self.rows.rows, signal, start, end, self.condition)
        table = await asyncio.to_thread(table_of, rows, signal)
        wanted = await asyncio.to_thread(identities, table, signal)
        there, refused = await self._there(source, part)
        numbers = missing(wanted, counted(there))
        if numbers:
            token = f"backfill:{self.cluster}:{self.database}:{signal}:{part.name}:{CODEC}"
            runs = await asyncio.to_thread(_runs, rows, numbers)
            batch = Batch(signal, token, table.take(pa.array(numbers, pa.int64())), runs)
            await self.sink.write(await asyncio.to_thread(self.sink.encode, batch))
            await self.client.call("POST", f"/{self._indices(source, part)}/_refresh", params=IGNORE)
            there, refused = await self._there(source, part)
        if lacking := missing(wanted, counted(there)):
            raise Unverified(f"{len(lacking)} of {len(wanted)} rows are not found in OpenSearch")
        return Moved(len(rows), len(numbers), len(rows) - len(numbers), checksum(wanted), refused)

    async def _there(self, source: Source, part: Slice) -> tuple[list[int], tuple[Refusal, ...]]:
        """What OpenSearch has of the slice's time."""
        hits = await source.read(self._indices(source, part), part.start_unix_milli, part.end_unix_milli)
        async with self._converting:
            converted = await asyncio.to_thread(self.converter.convert, source.signal, hits)
        found = [await asyncio.to_thread(identities, table, source.signal) for table in converted.tables]
        return list(chain.from_iterable(found)), converted.refused

    def _indices(self, source: Source, part: Slice) -> str:
        first, last = part.start_unix_milli * MILLI, (part.end_unix_milli - 1) * MILLI
        return source.layout.indices(source.signal, first, last)


IGNORE = {"ignore_unavailable": "true"}


def _runs(rows: Sequence[Row], numbers: Sequence[int]) -> tuple[Run, ...]:
    """A name for each of the rows with these numbers: its content, and which of the slice's equal rows it is."""
    seen: dict[str, int] = {}
    names: list[tuple[str, int]] = []
    for row in rows:
        text = orjson.dumps(row, option=orjson.OPT_SORT_KEYS)
        name = f"backfill:{hashlib.blake2b(text, digest_size=16).hexdigest()}"
        names.append((name, seen.get(name, 0)))
        seen[name] = names[-1][1] + 1
    return tuple(Run(*names[number], rows=1) for number in numbers)
