"""What indices are there: exact names, each with the uuid that tells it from another one of the same name."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from bridge.documents import Layout
from bridge.migration.refusal import Refusal
from bridge.model import OTLP_SIGNALS, Signal
from bridge.opensearch import OpenSearch, Refused
from bridge.rfc3339 import SECOND

# An index that is named in a path: nothing that OpenSearch would take for several, for all, or for a part of the path.
EXACT_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
MAX_INDICES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Index:
    """`last_write` is the sum of its shards' sequence numbers: every document that is added, changed or removed moves
    it. `day` is None if the name has none. A closed index has no numbers (`is_open`)."""

    name: str
    uuid: str
    signal: Signal
    day: date | None
    documents: int
    bytes: int
    last_write: int
    is_open: bool = True


def is_exact(name: str) -> bool:
    """Whether the name can be nothing but the name of one index."""
    return EXACT_NAME.fullmatch(name) is not None and name != "_all"


def signal_of(layout: Layout, name: str) -> Signal | None:
    """Whose prefix it has; None: it is no index of ours."""
    found = [signal for signal in OTLP_SIGNALS if name.startswith(layout.prefix(signal))]
    return max(found, key=lambda signal: len(layout.prefix(signal)), default=None)


def day_of(layout: Layout, signal: Signal, name: str) -> date | None:
    """The UTC day, if the name is exactly the one that the day's index has."""
    day = layout.day_of(signal, name)
    return day if day is not None and layout.index(signal, day_start_unix_nano(day)) == name else None


def day_start_unix_nano(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp()) * SECOND


def day_end_unix_nano(day: date) -> int:
    """The first nanosecond that is not in it."""
    return day_start_unix_nano(day + timedelta(days=1))


async def cluster_of(opensearch: OpenSearch) -> str:
    """The cluster's uuid."""
    return str((await opensearch.call("GET", "/"))["cluster_uuid"])


async def all_indices(opensearch: OpenSearch, layout: Layout) -> list[Index]:
    """Of both signals by their names, all documents that were written counted. Raises the client's errors."""
    found: dict[str, Index] = {}
    for signal in OTLP_SIGNALS:
        found |= {index.name: index for index in await find(opensearch, layout, layout.pattern(signal))}
    return sorted(found.values(), key=lambda index: index.name)


async def find(opensearch: OpenSearch, layout: Layout, path: str) -> list[Index]:
    """What the pattern or exact name means now; empty if there is none. An alias gives the indices behind it.

    Raises `Refusal` if shards of one are missing, and the client's errors.
    """
    shown = {"expand_wildcards": "all", "filter_path": "*.settings.index.uuid"}
    try:
        there = await opensearch.call("GET", f"/{path}/_settings", params=shown)
    except Refused as error:
        if error.status == 404:
            return []
        raise
    uuids = {name: str(value["settings"]["index"]["uuid"]) for name, value in there.items()}
    if not uuids:
        return []
    await _check_whole(opensearch, path)
    counted = await _counted(opensearch, path)
    return [_index(layout, name, uuid, counted.get(name)) for name, uuid in sorted(uuids.items())]


async def _check_whole(opensearch: OpenSearch, path: str) -> None:
    """Raises `Refusal` if an index has lost shards: then it cannot be said what is in it, only waited for."""
    health = await opensearch.call("GET", f"/_cluster/health/{path}", params={"level": "indices"})
    red = [name for name, told in health.get("indices", {}).items() if told["status"] == "red"]
    if red:
        raise Refusal(f"shards of {', '.join(sorted(red))} are missing (GET /_cluster/allocation/explain): mend that")


async def _counted(opensearch: OpenSearch, path: str) -> dict[str, tuple[int, int, int]]:
    """Documents (nested ones do not count), bytes of primaries, and last write of every open index."""
    lenient = {"ignore_unavailable": "true", "expand_wildcards": "open,hidden"}
    await opensearch.call("POST", f"/{path}/_refresh", params=lenient)
    asked = {"size": 0, "aggs": {"by": {"terms": {"field": "_index", "size": MAX_INDICES}}}}
    whole = {**lenient, "allow_partial_search_results": "false"}
    answer = await opensearch.call("POST", f"/{path}/_search", asked, params=whole)
    if "aggregations" not in answer:  # none of them is open
        return {}
    documents = {each["key"]: int(each["doc_count"]) for each in answer["aggregations"]["by"]["buckets"]}
    # not lenient about what is closed, and it need not be: a closed index has no shards to ask
    stats = await opensearch.call(
        "GET", f"/{path}/_stats/docs,store", params={"level": "shards", "expand_wildcards": "open,hidden"}
    )
    return {
        name: (documents.get(name, 0), int(told["primaries"]["store"]["size_in_bytes"]), _last_write(told["shards"]))
        for name, told in stats.get("indices", {}).items()
    }


def _last_write(shards: dict[str, list[dict[str, Any]]]) -> int:
    primaries = [copy for copies in shards.values() for copy in copies if copy["routing"]["primary"]]
    return sum(int(copy["seq_no"]["max_seq_no"]) for copy in primaries)


def _index(layout: Layout, name: str, uuid: str, counted: tuple[int, int, int] | None) -> Index:
    signal = signal_of(layout, name)
    day = None if signal is None else day_of(layout, signal, name)
    documents, size, last_write = counted or (0, 0, 0)
    return Index(name, uuid, signal or Signal.LOGS, day, documents, size, last_write, is_open=counted is not None)


async def named(opensearch: OpenSearch, layout: Layout, name: str) -> Index | str:
    """The one index that bears exactly this name, or why it cannot be taken for one."""
    if not is_exact(name):
        return "is no exact name of one index (wildcard, list, or a character that no index has)"
    found = await find(opensearch, layout, name)
    if not found:
        return "does not exist"
    if [index.name for index in found] != [name]:
        return f"is an alias or data stream, of {', '.join(index.name for index in found)[:200]}"
    return problem_of(layout, found[0]) or found[0]


def problem_of(layout: Layout, index: Index) -> str:
    """Why this index is not one of ours of one day, by its name; empty if it is."""
    signal = signal_of(layout, index.name)
    if signal is None or not is_exact(index.name):
        prefixes = " or ".join(layout.prefix(signal) for signal in OTLP_SIGNALS)
        return f"does not begin with {prefixes}"
    if index.day is None:
        return f"its name has no day as {layout.prefix(signal)}{layout.day_format}"
    if not index.is_open:
        return "is closed, so nobody can say what is in it; open it first"
    return ""


def total(indices: Iterable[Index]) -> tuple[int, int]:
    """Documents and bytes."""
    kept = list(indices)
    return sum(index.documents for index in kept), sum(index.bytes for index in kept)
