"""What `headrace migrate` asks of OpenSearch: its indices, how full each stretch of time is, and all documents of one.

Documents of a range are read at one point in time, in pages ordered by time. A page that is full ends somewhere inside
a millisecond, so its last millisecond is read again with the next page; `_id` cannot be sorted by without loading it
into memory, and sequence numbers repeat between shards. A millisecond with more documents than a page is read in
slices of the point in time.
"""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from bridge.documents import OWN, Document, Layout
from bridge.migration.slices import Slice, clamped
from bridge.model import OTLP_SIGNALS, Signal
from bridge.opensearch import Json, OpenSearch, Refused

PAGE_DOCUMENTS: Final = 10_000  # index.max_result_window
PAGE_BYTES: Final = 16 << 20
MIN_PAGE_DOCUMENTS: Final = 10
SAMPLED_DOCUMENTS: Final = 30
KEEP_ALIVE: Final = "5m"
OWN_TIME: Final = f"{OWN}.time_unix_nano"
TIME_FIELD: Final[Mapping[Signal, str]] = {Signal.LOGS: "@timestamp", Signal.TRACES: "startTime"}


@dataclass(frozen=True, slots=True)
class Index:
    """`day` by its name, in UTC. `documents` of everybody, `size_bytes` of its primaries and replicas.

    A closed one (`is_open`) does not say what is in it.
    """

    name: str
    uuid: str
    signal: Signal
    day: date | None
    documents: int
    size_bytes: int
    is_open: bool = True

    @property
    def document_bytes(self) -> int:
        """What a document takes on disk, about; at least 1."""
        return max(1, self.size_bytes // max(1, self.documents))


@dataclass(frozen=True, slots=True)
class Hit:
    """A document. `at_unix_milli` is what it is sorted by; 0 for one without a time."""

    index: str
    id: str
    at_unix_milli: int
    source: Document


@dataclass(frozen=True, slots=True)
class Source:
    """One signal's indices. `is_own_read`: also documents that Headrace has written. All raise `OpenSearchError`."""

    client: OpenSearch
    layout: Layout
    signal: Signal
    is_own_read: bool = False
    page_documents: int = PAGE_DOCUMENTS

    @property
    def time(self) -> str:
        return TIME_FIELD[self.signal]

    async def count(self, index: str, start: int | None = None, end: int | None = None) -> int:
        """Documents with a time, in Unix milliseconds [start, end)."""
        answer = await self._search(index, {"size": 0, "query": self._query(start, end), "track_total_hits": True})
        return int(answer["hits"]["total"]["value"])

    async def bounds(self, index: str, until: int | None = None) -> tuple[int, int] | None:
        """First and last time in Unix milliseconds, before `until`; None without documents."""
        aggs = {name: {name: {"field": self.time}} for name in ("min", "max")}
        answer = await self._search(index, {"size": 0, "query": self._query(None, until), "aggs": aggs})
        first, last = (_aggregation(answer, name).get("value") for name in ("min", "max"))
        return None if first is None or last is None else (int(first), int(last))

    async def steps(self, index: str, start: int, end: int, step: int) -> list[Slice]:
        """As `slices.Steps`, of one index."""
        histogram = {"field": self.time, "fixed_interval": f"{step}ms", "min_doc_count": 1}
        body: Json = {"size": 0, "query": self._query(start, end), "aggs": {"steps": {"date_histogram": histogram}}}
        answer = await self._search(index, body)
        buckets = _aggregation(answer, "steps").get("buckets", ())
        return [clamped(int(each["key"]), each["doc_count"], step, (start, end)) for each in buckets]

    async def composite(
        self, indices: str, start: int, end: int, fields: Sequence[str], interval: str
    ) -> AsyncIterator[tuple[Json, int]]:
        """Documents by the values of these fields and stretches of time, whose key is `time` in Unix milliseconds."""
        sources: list[Json] = [{"time": {"date_histogram": {"field": self.time, "fixed_interval": interval}}}]
        sources += [{name: {"terms": {"field": name, "missing_bucket": True}}} for name in fields]
        composite: Json = {"size": PAGE_DOCUMENTS, "sources": sources}
        while True:
            body = {"size": 0, "query": self._query(start, end), "aggs": {"all": {"composite": composite}}}
            answer = _aggregation(await self._search(indices, body), "all")
            for bucket in answer.get("buckets", ()):
                yield bucket["key"], int(bucket["doc_count"])
            if "after_key" not in answer:
                return
            composite["after"] = answer["after_key"]

    async def document_bytes(self, index: str) -> int:
        """What a document is as JSON, about: of some at random; at least 1. On disk it may be a hundredth of that."""
        chance = {"function_score": {"query": {"match_all": {}}, "random_score": {}, "boost_mode": "replace"}}
        answer = await self._search(index, {"size": SAMPLED_DOCUMENTS, "query": chance})
        sizes = [len(json.dumps(hit.get("_source"))) for hit in answer["hits"]["hits"]]
        return max(1, sum(sizes) // max(1, len(sizes)))

    async def untimed(self, index: str) -> list[Hit]:
        """Documents of others without a time, at most a page of them, without their source."""
        absent = {"bool": {"must_not": [{"exists": {"field": self.time}}, {"exists": {"field": OWN_TIME}}]}}
        answer = await self._search(index, {"size": self.page_documents, "query": absent, "_source": False})
        return [Hit(hit["_index"], hit["_id"], 0, {}) for hit in answer["hits"]["hits"]]

    async def read(self, index: str, start: int, end: int) -> list[Hit]:
        """All documents of Unix milliseconds [start, end), ordered by time and `_id`. `index` may be several names."""
        async with self._point_in_time(index) as pit:
            if pit is None:
                return []
            found: list[Hit] = []
            at = start
            while at < end:
                page = await self._page(pit, at, end)
                if len(page) < self.page_documents:
                    found += page
                    break
                last = page[-1].at_unix_milli
                if page[0].at_unix_milli == last:
                    found += await self._millisecond(pit, last)
                    at = last + 1
                else:
                    found += [hit for hit in page if hit.at_unix_milli < last]
                    at = last
        return sorted(found, key=lambda hit: (hit.at_unix_milli, hit.index, hit.id))

    async def _millisecond(self, pit: str, at: int) -> list[Hit]:
        """All of one that fills more than a page."""
        parts = 2
        while True:
            pages = [await self._page(pit, at, at + 1, {"slice": {"id": part, "max": parts}}) for part in range(parts)]
            if all(len(page) < self.page_documents for page in pages):
                return [hit for page in pages for hit in page]
            parts *= 2

    async def _page(self, pit: str, start: int, end: int, more: Json | None = None) -> list[Hit]:
        body: Json = {
            "size": self.page_documents,
            "query": self._query(start, end),
            # without `missing` rows of one time are lost over several shards (seen on 2.19.1)
            "sort": [{self.time: {"order": "asc", "numeric_type": "date", "missing": 0}}],
            "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
            "track_total_hits": False,
            **(more or {}),
        }
        answer = await self.client.call("POST", "/_search", body)
        if answer["_shards"]["failed"]:
            raise Refused(503, "shards_failed", f"{answer['_shards']['failed']} shards did not answer")
        return [
            Hit(hit["_index"], hit["_id"], int(hit["sort"][0]), hit.get("_source") or {})
            for hit in answer["hits"]["hits"]
        ]

    @asynccontextmanager
    async def _point_in_time(self, index: str) -> AsyncIterator[str | None]:
        """None if there is no such index."""
        path = f"/{index}/_search/point_in_time"
        params = {"keep_alive": KEEP_ALIVE, "ignore_unavailable": "true", "allow_partial_pit_creation": "false"}
        try:
            pit = (await self.client.call("POST", path, params=params)).get("pit_id")
        except Refused:
            # of a pattern without an index it says "invalid id: [null]"
            if (await self._search(index, {"size": 0}))["_shards"]["total"]:
                raise
            pit = None
        try:
            yield pit
        finally:
            if pit is not None:
                await self.client.call("DELETE", "/_search/point_in_time", {"pit_id": [pit]})

    async def _search(self, index: str, body: Json) -> Json:
        params = {"ignore_unavailable": "true", "allow_partial_search_results": "false"}
        return await self.client.call("POST", f"/{index}/_search", body, params=params)

    def _query(self, start: int | None, end: int | None) -> Json:
        bounds = {"gte": start, "lt": end}
        wanted = {name: value for name, value in bounds.items() if value is not None} | {"format": "epoch_millis"}
        others = [] if self.is_own_read else [{"exists": {"field": OWN_TIME}}]
        timed = {"range": {self.time: wanted}} if len(wanted) > 1 else {"exists": {"field": self.time}}
        return {"bool": {"filter": [timed], "must_not": others}}


def _aggregation(answer: Json, name: str) -> Json:
    """Empty if no index was there to be asked."""
    found: Json = answer.get("aggregations", {}).get(name, {})
    return found


def page_of(document_bytes: int) -> int:
    """How many documents of this size may be asked for at once."""
    return max(MIN_PAGE_DOCUMENTS, min(PAGE_DOCUMENTS, PAGE_BYTES // document_bytes))


async def indices_of(client: OpenSearch, layout: Layout) -> tuple[list[Index], list[str]]:
    """The indices of both signals by name, and the names of all others that are not hidden."""
    shown = "index,uuid,status,docs.count,store.size"
    params = {"format": "json", "bytes": "b", "h": shown, "expand_wildcards": "open,closed"}
    answer = await client.call("GET", "/_cat/indices", params=params)
    known: list[Index] = []
    others: list[str] = []
    for row in sorted(answer["answer"], key=lambda row: str(row["index"])):
        name = str(row["index"])
        signal = next((each for each in OTLP_SIGNALS if name.startswith(layout.prefix(each))), None)
        if signal is None:
            others += [] if name.startswith(".") else [name]
            continue
        size_bytes, documents = (int(row[key] or 0) for key in ("store.size", "docs.count"))
        day, is_open = layout.day_of(signal, name), row["status"] != "close"
        known.append(Index(name, str(row["uuid"]), signal, day, documents, size_bytes, is_open))
    return known, others


async def time_kinds(client: OpenSearch, index: str, field: str) -> set[str]:
    """The types that a field has in an index; empty: it is not mapped."""
    answer = await client.call("GET", f"/{index}/_field_caps", params={"fields": field})
    return set(answer["fields"].get(field, {}))


async def cluster_uuid(client: OpenSearch) -> str:
    return str((await client.call("GET", "/"))["cluster_uuid"])


async def org_fields(client: OpenSearch, indices: str, candidates: Sequence[str]) -> list[str]:
    """Which of these fields can be counted by in every index that has them: keywords, also those below a text."""
    names = [name for each in candidates for name in (f"{each}.keyword", each)]
    params = {"fields": ",".join(names), "ignore_unavailable": "true"}
    answer = await client.call("GET", f"/{indices}/_field_caps", params=params)
    found: dict[str, Any] = answer["fields"]
    kinds = {name: found.get(name, {}).values() for name in names}
    # in an index where it is a text, counting by it would be an error
    return [name for name in names if kinds[name] and all(kind.get("aggregatable") for kind in kinds[name])]
