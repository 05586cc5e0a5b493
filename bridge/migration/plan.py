"""What there is to move, measured: indices, whose documents, what the other store has, how long it takes."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from bridge.documents import Layout
from bridge.migration import tenants
from bridge.migration.convert import Converter, Refusal
from bridge.migration.read_clickhouse import Rows
from bridge.migration.read_opensearch import Index, Source, indices_of, page_of, time_kinds
from bridge.migration.slices import cut
from bridge.model import OTLP_SIGNALS
from bridge.opensearch import OpenSearch
from bridge.rfc3339 import format_time

PROBE_DOCUMENTS: Final = 5_000
PROBE_BYTES: Final = 64 << 20
# inserting and looking for the rows on both sides, measured on two cores beside reading and converting
REST: Final = 1.6
SHOWN_REASONS: Final = 5
DATES: Final = frozenset({"date", "date_nanos"})
Json = dict[str, Any]


@dataclass(slots=True)
class _Probe:
    """What reading and converting a few documents took."""

    documents: int = 0
    seconds: float = 0.0
    encoded_bytes: int = 0

    @property
    def rate(self) -> float:
        return self.documents / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Planner:
    client: OpenSearch
    layout: Layout
    rows: Rows
    converter: Converter

    async def plan(self, shadow_start_unix_nano: int | None) -> Json:
        """The plan; `blocks` are what must be mended first. Raises `OpenSearchError`, `SinkUnavailable`."""
        known, unknown = await indices_of(self.client, self.layout)
        days = {signal: await asyncio.to_thread(self.rows.days, signal) for signal in OTLP_SIGNALS}
        blocks: list[str] = []
        notes: list[str] = []
        indices, probe = [], _Probe()
        for index in known:
            rows = days[index.signal].get(str(index.day), (0, 0))[0]
            indices.append({**await self._index(index, blocks), "clickhouse_rows": rows})
            if probe.documents < PROBE_DOCUMENTS and indices[-1]["orgs"]:
                await self._probe(index, probe, blocks)
        if shadow_start_unix_nano is None:
            notes.append("the shadow was not started: backfill needs it, or --until TIME")
        else:
            notes.append(f"the shadow writes since {format_time(shadow_start_unix_nano)}: backfill moves what is older")
        return {
            "family": str(self.layout.family),
            "indices": indices,
            "unknown_indices": unknown,
            "clickhouse_days": {str(signal): {day: rows for day, (rows, _) in days[signal].items()} for signal in days},
            "estimate": _estimate(indices, probe),
            "blocks": blocks,
            "notes": notes,
        }

    async def _index(self, index: Index, blocks: list[str]) -> Json:
        everything = Source(self.client, self.layout, index.signal, is_own_read=True)
        others = Source(self.client, self.layout, index.signal)
        found: Json = {
            "index": index.name,
            "uuid": index.uuid,
            "signal": str(index.signal),
            "day": str(index.day) if index.day else None,
            "size_bytes": index.size_bytes,
            "documents": index.documents,
            "own_documents": 0,
            "orgs": {},
        }
        if not index.is_open:
            blocks.append(f"{index.name} is closed, so nobody can say what is in it: open it first")
        if not index.documents:
            return found
        kinds = await time_kinds(self.client, index.name, others.time)
        if not kinds or kinds - DATES:
            said = ", ".join(sorted(kinds)) or "not mapped"
            blocks.append(f"{index.name}: {others.time} is {said}, not a date: reindex it with a template")
            return found
        bounds = await everything.bounds(index.name)
        total, foreign = await everything.count(index.name), await others.count(index.name)
        if untimed := await others.untimed(index.name):
            blocks.append(f"{index.name}: {len(untimed)} documents have no {others.time} and will be refused")
        orgs: Counter[str] = Counter()
        if bounds is not None:
            span = (bounds[0], bounds[1] + 1)
            by_day = await tenants.counted(everything, self.converter, index.name, *span, interval="1d")
            for (org, _), count in by_day.items():
                orgs[org] += count
        if orgs[""]:
            blocks.append(f"{index.name}: {orgs['']} documents are of organisations that the data plane may not write")
        named = {org: count for org, count in orgs.most_common() if count}
        return found | {"documents": total, "own_documents": total - foreign, "orgs": named}

    async def _probe(self, index: Index, probe: _Probe, blocks: list[str]) -> None:
        """Read and convert some of the index's documents."""
        source = Source(self.client, self.layout, index.signal)
        size = max(index.document_bytes, await source.document_bytes(index.name))
        source = replace(source, page_documents=page_of(size))
        bounds = await source.bounds(index.name)
        if bounds is None:
            return

        async def steps(start: int, end: int, step: int) -> Any:
            return await source.steps(index.name, start, end, step)

        limit = max(10, min(PROBE_DOCUMENTS, PROBE_BYTES // size))
        parts = await cut(steps, bounds[0], bounds[1] + 1, limit)
        began = time.perf_counter()
        hits = await source.read(index.name, parts[0].start_unix_milli, parts[0].end_unix_milli)
        converted = await asyncio.to_thread(self.converter.convert, index.signal, hits)
        probe.seconds += time.perf_counter() - began
        probe.documents += len(hits)
        probe.encoded_bytes += sum(_encoded_bytes(table) for table in converted.tables)
        blocks += _refusals(converted.refused)


def _refusals(refused: tuple[Refusal, ...]) -> list[str]:
    reasons = Counter(each.reason for each in refused)
    return [
        f"{count} of the tried documents are refused: {reason}" for reason, count in reasons.most_common(SHOWN_REASONS)
    ]


def _encoded_bytes(table: pa.Table) -> int:
    """What the columns take when they are compressed: near to what the store makes of them."""
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return int(stream.getvalue().size)


def _estimate(indices: list[Json], probe: _Probe) -> Json:
    documents = sum(each["documents"] - each["own_documents"] for each in indices)
    rate = probe.rate / REST
    size = probe.encoded_bytes / probe.documents if probe.documents else 0.0
    return {
        "documents": documents,
        "probed_documents": probe.documents,
        "documents_per_second": rate,
        "seconds": documents / rate if rate else 0.0,
        "clickhouse_bytes": int(documents * size),
    }
