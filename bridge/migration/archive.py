"""Snapshots of the indices into a registered repository, and whether one holds what it should: checked, not believed.

What an index was (uuid, documents, last write) is noted before its snapshot begins, so the snapshot has at least that.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from bridge.migration.indices import Index
from bridge.migration.refusal import Refusal
from bridge.migration.state import Event
from bridge.opensearch import OpenSearch, Refused

Json = dict[str, Any]
POLL_SECONDS: Final = 1.0
FIRST_POLL_SECONDS: Final = 0.05
IN_PROGRESS: Final = ("IN_PROGRESS", "STARTED")


@dataclass(frozen=True, slots=True)
class Kept:
    """An index as it was when its snapshot began. `shards` is 0 until the snapshot was verified."""

    name: str
    uuid: str
    documents: int
    bytes: int
    last_write: int
    shards: int = 0

    def holds(self, index: Index) -> bool:
        """Whether all that is in the index now was in it then."""
        is_same = (self.name, self.uuid, self.last_write) == (index.name, index.uuid, index.last_write)
        return is_same and self.documents >= index.documents


@dataclass(frozen=True, slots=True)
class Archive:
    """`snapshot` is the snapshot's uuid, empty until it was verified; another one of the same name is another one.

    `is_failed`: its snapshot has ended and is not whole.
    """

    name: str
    repository: str
    cluster: str
    indices: tuple[Kept, ...]
    snapshot: str = ""
    is_failed: bool = False

    @property
    def is_verified(self) -> bool:
        return bool(self.snapshot)

    def kept(self, name: str) -> Kept | None:
        return next((each for each in self.indices if each.name == name), None)

    def value(self) -> Json:
        """As it is kept, under `name`."""
        columns = ("name", "uuid", "documents", "bytes", "last_write", "shards")
        return {
            "state": "verified" if self.is_verified else "failed" if self.is_failed else "started",
            "repository": self.repository,
            "cluster": self.cluster,
            "snapshot": self.snapshot,
            "indices": [{column: getattr(each, column) for column in columns} for each in self.indices],
        }

    @classmethod
    def of(cls, event: Event) -> Self:
        """From what is kept."""
        value = event.value
        indices = tuple(Kept(**each) for each in value["indices"])
        is_failed = value["state"] == "failed"
        return cls(event.key, value["repository"], value["cluster"], indices, value["snapshot"], is_failed)


def planned(name: str, repository: str, cluster: str, indices: Sequence[Index]) -> Archive:
    """Of these indices as they are now."""
    kept = (Kept(each.name, each.uuid, each.documents, each.bytes, each.last_write) for each in indices)
    return Archive(name, repository, cluster, tuple(kept))


async def check_repository(opensearch: OpenSearch, repository: str) -> None:
    """Return when every node can write to it. Raises `Refusal` with the command that registers it."""
    try:
        await opensearch.call("POST", f"/_snapshot/{repository}/_verify")
    except Refused as error:
        if error.status == 404:
            raise Refusal(
                f"the snapshot repository {repository} (migration.snapshot_repository) is not registered; do:\n"
                f"  curl -X PUT \"$OPENSEARCH/_snapshot/{repository}\" -H 'Content-Type: application/json'"
                ' -d \'{"type": "fs", "settings": {"location": "<below path.repo of every node>"}}\'\n'
                'or with "type": "s3" and the bucket (https://docs.opensearch.org, Register a snapshot repository)'
            ) from error
        raise Refusal(f"the snapshot repository {repository} cannot be used: {error}") from error


async def begin(opensearch: OpenSearch, archive: Archive) -> None:
    """Return when the snapshot was accepted; it is made in the background."""
    body: Json = {
        "indices": [each.name for each in archive.indices],
        "include_global_state": False,
        "partial": False,
        "metadata": {"taken_by": "headrace migrate archive"},
    }
    await opensearch.call("PUT", _path(archive), body, params={"wait_for_completion": "false"})


async def snapshot_of(opensearch: OpenSearch, archive: Archive) -> Json | None:
    """What the repository says of the snapshot now; None: there is none of that name."""
    try:
        answer = await opensearch.call("GET", _path(archive))
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return dict(answer["snapshots"][0])


async def ended(
    opensearch: OpenSearch, archive: Archive, tell: Callable[[int, int], None], poll_seconds: float = POLL_SECONDS
) -> Json | None:
    """The snapshot when it is not in progress any more; `tell` is told shards done and all shards meanwhile."""
    pause_seconds = min(FIRST_POLL_SECONDS, poll_seconds)
    while True:
        snapshot = await snapshot_of(opensearch, archive)
        if snapshot is None or snapshot["state"] not in IN_PROGRESS:
            return snapshot
        stats = (await _status(opensearch, archive))["shards_stats"]
        tell(int(stats["done"]), int(stats["total"]))
        await asyncio.sleep(pause_seconds)
        pause_seconds = min(2 * pause_seconds, poll_seconds)


async def verified(opensearch: OpenSearch, archive: Archive, snapshot: Json | None) -> tuple[Archive, list[str]]:
    """The archive with its shards, and what is wrong with its snapshot; nothing: it holds all its indices, whole."""
    if snapshot is None:
        return archive, [f"there is no snapshot {archive.name} in the repository {archive.repository}"]
    status: Json = {}
    if snapshot["state"] == "SUCCESS":
        status = (await _status(opensearch, archive))["indices"]
    problems = problems_of(archive, snapshot, status)
    if problems:
        return archive, problems
    done = {name: int(told["shards_stats"]["done"]) for name, told in status.items()}
    kept = tuple(replace(each, shards=done[each.name]) for each in archive.indices)
    return replace(archive, indices=kept, snapshot=str(snapshot["uuid"]), is_failed=False), []


def problems_of(archive: Archive, snapshot: Json, status: Mapping[str, Any]) -> list[str]:
    """What speaks against this snapshot, by the repository's own answers. Pure."""
    state, shards = snapshot["state"], snapshot.get("shards", {})
    if state != "SUCCESS":
        reasons = [str(each.get("reason", each))[:200] for each in snapshot.get("failures", [])]
        return [f"its state is {state}, not SUCCESS", *reasons]
    problems = []
    if shards.get("failed") != 0 or shards.get("successful") != shards.get("total"):
        problems.append(f"of {shards.get('total')} shards {shards.get('failed')} failed")
    if archive.snapshot and archive.snapshot != snapshot["uuid"]:
        problems.append(f"it is another snapshot ({snapshot['uuid']}) than was verified ({archive.snapshot})")
    for each in archive.indices:
        stats = status.get(each.name, {}).get("shards_stats", {})
        if each.name not in snapshot["indices"] or not stats:
            problems.append(f"{each.name} is not in it")
        elif stats["failed"] or stats["done"] != stats["total"] or not stats["total"]:
            problems.append(f"{each.name}: {stats['done']} of {stats['total']} shards are in it")
    return problems


def changed(archive: Archive, now: Mapping[str, Index]) -> list[str]:
    """Indices that are not the ones any more that the snapshot was told to take. Pure."""
    return [
        f"{each.name} is gone or was made anew while it was archived (uuid {each.uuid})"
        for each in archive.indices
        if each.name not in now or now[each.name].uuid != each.uuid
    ]


async def _status(opensearch: OpenSearch, archive: Archive) -> Json:
    answer = await opensearch.call("GET", f"{_path(archive)}/_status")
    return dict(answer["snapshots"][0])


def _path(archive: Archive) -> str:
    return f"/_snapshot/{archive.repository}/{archive.name}"
