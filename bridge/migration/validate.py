"""Asks both stores about a closed window and says whether they agree, with figures that can be checked again."""

import asyncio
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import pyarrow as pa

from bridge.documents import Layout
from bridge.migration import compare, tenants
from bridge.migration.convert import Converter
from bridge.migration.identity import identities
from bridge.migration.indices import day_end_unix_nano, day_start_unix_nano
from bridge.migration.read_clickhouse import Rows
from bridge.migration.read_opensearch import Index, Source, indices_of, page_of
from bridge.migration.slices import cut
from bridge.model import Signal
from bridge.opensearch import OpenSearch
from bridge.sampling import Sampling
from sinks.opensearch_documents import rows_of
from sinks.opensearch_rows_back import table_of

MILLI: Final = 1_000_000
MINUTE_MILLI: Final = 60_000
DIFFERENCES_KEPT: Final = 1_000
SAMPLE_BYTES: Final = 128 << 20


@dataclass(frozen=True, slots=True)
class Window:
    """Whole minutes [start, end) in Unix milliseconds, and how many of them are compared row by row."""

    start_unix_milli: int
    end_unix_milli: int
    signals: tuple[Signal, ...]
    sample_minutes: int
    seed: int


@dataclass(frozen=True, slots=True)
class Validation:
    """`sampling`: what a partial shadow holds; the other rows of ClickHouse are not missed."""

    client: OpenSearch
    layout: Layout
    rows: Rows
    converter: Converter
    sampling: Sampling
    slice_documents: int

    async def run(self, window: Window) -> dict[str, Any]:
        """The report, not yet sealed; `passed` is the verdict. Raises `OpenSearchError`, `SinkUnavailable`."""
        ours: dict[compare.Cell, int] = {}
        theirs: dict[compare.Cell, int] = {}
        for signal in window.signals:
            ours |= await self._opensearch_counts(signal, window)
            theirs |= await self._clickhouse_counts(signal, window)
        differing = compare.differences(ours, theirs)
        minutes = compare.chosen({**ours, **theirs}, differing, window.sample_minutes, window.seed)
        samples: list[compare.Sample] = []
        for name, minute in minutes:
            samples += await self._sample(Signal(name), minute)
        drift = compare.overall_drift(ours, theirs)
        faults = [*await self._closed(window), *compare.faults(samples, drift)]
        told = {"drift_ratio": drift, "faults": faults, "is_filtered": not self.sampling.is_everything}
        return _report(window, (ours, theirs), differing, samples, told | {"trace_ratio": self.sampling.trace_ratio})

    async def _closed(self, window: Window) -> list[str]:
        """Indices of the window that do not say what is in them."""
        known, _ = await indices_of(self.client, self.layout)
        return [
            f"{index.name} is closed, so nobody can say what is in it: open it first"
            for index in known
            if not index.is_open and index.signal in window.signals and _is_within(index, window)
        ]

    async def _opensearch_counts(self, signal: Signal, window: Window) -> dict[compare.Cell, int]:
        source, start, end = self._source(signal), window.start_unix_milli, window.end_unix_milli
        indices = self.layout.indices(signal, start * MILLI, end * MILLI - 1)
        found = await tenants.counted(source, self.converter, indices, start, end)
        wanted = self.sampling.organizations
        return {
            (str(signal), org, minute): count for (org, minute), count in found.items() if not wanted or org in wanted
        }

    async def _clickhouse_counts(self, signal: Signal, window: Window) -> dict[compare.Cell, int]:
        start, end, condition = window.start_unix_milli, window.end_unix_milli, self.sampling.condition
        found = await asyncio.to_thread(self.rows.minutes, signal, start, end, condition)
        return {(str(signal), org, minute): count for (org, minute), count in found.items()}

    async def _sample(self, signal: Signal, minute: int) -> list[compare.Sample]:
        """One minute; of a minute with more rows than fit, its first part."""
        start, end = minute * 1000, minute * 1000 + MINUTE_MILLI
        source = self._source(signal)
        indices = self.layout.indices(signal, start * MILLI, end * MILLI - 1)

        async def steps(first: int, last: int, step: int) -> Sequence[Any]:
            return await source.steps(indices, first, last, step)

        size = await source.document_bytes(indices)
        source, limit = replace(source, page_documents=page_of(size)), min(self.slice_documents, SAMPLE_BYTES // size)
        if parts := await cut(steps, start, end, max(1, limit)):
            end = end if len(parts) == 1 else parts[0].end_unix_milli
        hits = await source.read(indices, start, end)
        converted = await asyncio.to_thread(self.converter.convert, signal, hits)
        ours = list(chain.from_iterable(_named(self._held(table), signal) for table in converted.tables))
        rows = await asyncio.to_thread(self.rows.rows, signal, start, end, self.sampling.condition)
        theirs = await asyncio.to_thread(lambda: _named(table_of(rows, signal), signal))
        refused = Counter(each.reason for each in converted.refused)
        samples = compare.sampled((str(signal), minute), ours, theirs)
        if refused:
            samples.append(
                compare.Sample(str(signal), "", minute, refused.total(), 0, refused.total(), 0, 0, dict(refused))
            )
        return samples

    def _source(self, signal: Signal) -> Source:
        return Source(self.client, self.layout, signal, is_own_read=True)

    def _held(self, table: pa.Table) -> pa.Table:
        kept = self.sampling.kept(table)
        return table if kept is None else table.take(pa.array(kept, pa.int64()))


def _is_within(index: Index, window: Window) -> bool:
    if index.day is None:
        return True
    start, end = (edge(index.day) // MILLI for edge in (day_start_unix_nano, day_end_unix_nano))
    return start < window.end_unix_milli and window.start_unix_milli < end


def _named(table: pa.Table, signal: Signal) -> list[compare.Named]:
    return [compare.Named(*each) for each in zip(identities(table, signal), rows_of(table), strict=True)]


def _report(
    window: Window,
    counts: tuple[Mapping[compare.Cell, int], Mapping[compare.Cell, int]],
    differing: Sequence[compare.Difference],
    samples: Sequence[compare.Sample],
    verdict: Mapping[str, Any],
) -> dict[str, Any]:
    cells = counts[0].keys() | counts[1].keys()
    failed = [each for each in samples if each.is_failed]
    return {
        "id": uuid.uuid4().hex[:12],
        "at": _time(datetime.now(UTC).timestamp()),
        "passed": not verdict["faults"],
        **verdict,
        "from": _time(window.start_unix_milli / 1000),
        "to": _time(window.end_unix_milli / 1000),
        "signals": [str(signal) for signal in window.signals],
        "organizations": sorted({org for _, org, _ in cells if org}),
        "opensearch_rows": sum(counts[0].values()),
        "clickhouse_rows": sum(counts[1].values()),
        "compared_cells": len(cells),
        "differing_cells": len(differing),
        "differences": [asdict(each) for each in differing[:DIFFERENCES_KEPT]],
        "sampled_minutes": len({(each.signal, each.minute) for each in samples}),
        "sampled_rows": sum(max(each.opensearch, each.clickhouse) for each in samples),
        "failed_samples": [asdict(each) for each in failed[:DIFFERENCES_KEPT]],
        "seed": window.seed,
    }


def _time(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
