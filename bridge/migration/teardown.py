"""Deleting indices that may be deleted, one by one, each looked at once more right before.

OpenSearch deletes by name only. An index that is made anew between that look and the DELETE, a round trip later, would
go with it; nothing but another writer of the same day's index can do that, and its day is over.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.documents import Layout
from bridge.migration.archive import Archive, snapshot_of, verified
from bridge.migration.days import TIME_FIELDS
from bridge.migration.indices import (
    Index,
    all_indices,
    cluster_of,
    day_end_unix_nano,
    day_start_unix_nano,
    find,
    is_exact,
    named,
    problem_of,
)
from bridge.migration.preconditions import archived
from bridge.migration.refusal import Refusal
from bridge.migration.state import Event, Kind, State
from bridge.opensearch import NotReached, OpenSearch, Refused

MILLI: Final = 1_000_000
INTENT: Final = "intent"
DONE: Final = "done"


@dataclass(frozen=True, slots=True)
class Chosen:
    """`indices` are to be deleted; `left` are others of these prefixes, with the reason; `refused` were given."""

    indices: list[Index]
    left: dict[str, str]
    refused: dict[str, str]


async def choose(opensearch: OpenSearch, layout: Layout, names: Sequence[str], ended_before_unix_nano: int) -> Chosen:
    """By their names, or without any: every index of a day that is over. Raises the client's errors."""
    if names:
        found = {name: await named(opensearch, layout, name) for name in dict.fromkeys(names)}
        indices = [index for index in found.values() if isinstance(index, Index)]
        return Chosen(indices, {}, {name: why for name, why in found.items() if isinstance(why, str)})
    indices, left = [], {}
    for index in await all_indices(opensearch, layout):
        problem = problem_of(layout, index)
        if not problem and not is_over(index, ended_before_unix_nano):
            problem = "its day is not over"
        if problem:
            left[index.name] = problem
        else:
            indices.append(index)
    return Chosen(indices, left, {})


def is_over(index: Index, now_unix_nano: int) -> bool:
    """Whether the whole UTC day of the index is before now."""
    return index.day is not None and day_end_unix_nano(index.day) <= now_unix_nano


async def sound(opensearch: OpenSearch, archives: Sequence[Archive]) -> tuple[list[Archive], dict[str, str]]:
    """Of archives that were verified: those that still are, asked of the repository now, and what is wrong with others.

    Raises the client's errors.
    """
    good, bad = [], {}
    for archive in archives:
        try:
            _, problems = await verified(opensearch, archive, await snapshot_of(opensearch, archive))
        except Refused as error:
            problems = [str(error)]
        if problems:
            bad[archive.name] = "; ".join(problems)
        else:
            good.append(archive)
    return good, bad


async def unproven(opensearch: OpenSearch, indices: Sequence[Index]) -> dict[str, int]:
    """Documents without a time or of another day than their index's, of those indices that have any."""
    found: dict[str, int] = {}
    for index in indices:
        if index.day is None or not is_exact(index.name):
            continue
        bounds = {"gte": day_start_unix_nano(index.day) // MILLI, "lt": day_end_unix_nano(index.day) // MILLI}
        day = {"range": {TIME_FIELDS[index.signal]: {**bounds, "format": "epoch_millis"}}}
        counted = await opensearch.call("POST", f"/{index.name}/_count", {"query": {"bool": {"must_not": [day]}}})
        if counted["count"]:
            found[index.name] = int(counted["count"])
    return found


async def delete(
    opensearch: OpenSearch, layout: Layout, state: State, indices: Sequence[Index], archives: Sequence[Archive]
) -> AsyncIterator[Index]:
    """Yield each index when it is gone and that is kept. Raises `Refusal` before one that is not what was looked at."""
    for index in indices:
        archive = await _looked_at_again(opensearch, layout, index, archives)
        value = _value(index, archive)
        await asyncio.to_thread(state.put, Kind.TEARDOWN, index.name, {**value, "state": INTENT})
        try:
            await opensearch.call("DELETE", f"/{index.name}")
        except NotReached:
            # it may be gone or not: that can be seen
            if await find(opensearch, layout, index.name):
                raise
        await asyncio.to_thread(state.put, Kind.TEARDOWN, index.name, {**value, "state": DONE})
        yield index


async def _looked_at_again(
    opensearch: OpenSearch, layout: Layout, index: Index, archives: Sequence[Archive]
) -> Archive:
    now = await named(opensearch, layout, index.name) if is_exact(index.name) else "is no exact name"
    if isinstance(now, str):
        raise Refusal(f"{index.name} {now}: not deleted, nor what comes after it")
    archive = archived(now, archives)
    if now.uuid != index.uuid or archive is None:
        raise Refusal(f"{index.name} was made anew or written to meanwhile: not deleted, nor what comes after it")
    return archive


async def settled(opensearch: OpenSearch, layout: Layout, state: State, events: Mapping[str, Event]) -> list[str]:
    """Names of indices that an earlier run, which was killed, has deleted without having said so; now it is kept."""
    gone, cluster = [], await cluster_of(opensearch)
    for name, event in events.items():
        # of an index of another cluster this one knows nothing
        if event.value.get("state") != INTENT or event.value.get("cluster", cluster) != cluster:
            continue
        there = {index.uuid for index in await find(opensearch, layout, name)}
        if event.value["uuid"] not in there:
            await asyncio.to_thread(state.put, Kind.TEARDOWN, name, {**event.value, "state": DONE})
            gone.append(name)
    return gone


def _value(index: Index, archive: Archive) -> dict[str, Any]:
    return {
        "uuid": index.uuid,
        "documents": index.documents,
        "bytes": index.bytes,
        "cluster": archive.cluster,
        "archive": archive.name,
        "repository": archive.repository,
    }
