"""`headrace migrate archive`: a snapshot of the indices in a registered repository, waited for and checked."""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from bridge.migration.archive import Archive
    from bridge.migration.state import State
    from bridge.opensearch import OpenSearch
    from bridge.settings import Settings


def add_archive(phases: Any, common: argparse.ArgumentParser) -> None:
    """`archive`."""
    part = phases.add_parser("archive", parents=[common], help="snapshot the indices, wait for it, check it")
    part.add_argument(
        "--index",
        action="append",
        metavar="PATTERN",
        help="only indices like this, as 'kubernetes-2026.11.*'; repeatable",
    )
    part.add_argument("--name", help="of the snapshot; with a name that is there already, it is checked again")
    part.set_defaults(command=_archive)


def _archive(settings: "Settings", arguments: argparse.Namespace) -> int:
    return asyncio.run(_run(settings, arguments.name, arguments.index or ["*"]))


async def _run(settings: "Settings", name: str | None, patterns: list[str]) -> int:
    from bridge.cli.migrate_stores import open_cluster, open_state
    from bridge.migration.archive import check_repository

    repository = settings.migration.snapshot_repository
    with open_state(settings) as state:
        async with open_cluster(settings) as opensearch:
            await check_repository(opensearch, repository)
            archive = await _begun(settings, state, opensearch, name, patterns)
            return await _finish(settings, state, opensearch, archive)


async def _begun(
    settings: "Settings", state: "State", opensearch: "OpenSearch", name: str | None, patterns: list[str]
) -> "Archive":
    """The archive of this name, or the one that was begun and not finished, or a new one; its snapshot has begun."""
    from bridge.migration.archive import Archive, begin, snapshot_of
    from bridge.migration.indices import cluster_of, is_exact
    from bridge.migration.refusal import Refusal
    from bridge.migration.state import Kind

    if name is not None and not is_exact(name):
        raise Refusal(f"--name {name!r}: a snapshot is named with a-z, 0-9, and . _ - within")
    events = await asyncio.to_thread(state.latest, Kind.ARCHIVE)
    kept = [Archive.of(event) for event in events.values()]
    if name is None:
        archive = next((each for each in reversed(kept) if not each.is_verified and not each.is_failed), None)
        if archive is not None:
            print(f"going on with {archive.name}, which was begun and not finished (another one: --name)")
    else:
        archive = next((each for each in kept if each.name == name), None)
    if archive is not None and archive.cluster != await cluster_of(opensearch):
        raise Refusal(f"the archive {archive.name} is of the cluster {archive.cluster}; choose another --name")
    if archive is None:
        archive = await _planned(settings, opensearch, name, patterns)
        if await snapshot_of(opensearch, archive) is not None:
            raise Refusal(
                f"the repository has a snapshot {archive.name} that was not taken by headrace: nobody knows which"
                " indices it was taken of; choose another --name"
            )
        await asyncio.to_thread(state.put, Kind.ARCHIVE, archive.name, archive.value())
    if not archive.is_verified and await snapshot_of(opensearch, archive) is None:
        await begin(opensearch, archive)
        print(f"snapshot {archive.name} of {len(archive.indices)} indices has begun")
    return archive


async def _planned(settings: "Settings", opensearch: "OpenSearch", name: str | None, patterns: list[str]) -> "Archive":
    from datetime import UTC, datetime
    from fnmatch import fnmatchcase

    from bridge.assembly_opensearch import opensearch_layout
    from bridge.migration.archive import planned
    from bridge.migration.indices import all_indices, cluster_of
    from bridge.migration.refusal import Refusal

    there = await all_indices(opensearch, opensearch_layout(settings))
    taken = [each for each in there if each.is_open and any(fnmatchcase(each.name, like) for like in patterns)]
    for each in there:
        if not each.is_open:
            print(f"left out: {each.name} is closed")
    if not taken:
        raise Refusal(f"no index of these prefixes is like {' or '.join(patterns)}")
    name = name or f"headrace-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    return planned(name, settings.migration.snapshot_repository, await cluster_of(opensearch), taken)


async def _finish(settings: "Settings", state: "State", opensearch: "OpenSearch", archive: "Archive") -> int:
    """Wait for it, check it, keep that it was; 1 if it is not whole, and then that is kept."""
    from dataclasses import replace

    from bridge.assembly_opensearch import opensearch_layout
    from bridge.migration.archive import changed, ended, verified
    from bridge.migration.indices import all_indices
    from bridge.migration.state import Kind

    snapshot = await ended(opensearch, archive, _tell())
    checked, problems = await verified(opensearch, archive, snapshot)
    if not archive.is_verified:
        now = {index.name: index for index in await all_indices(opensearch, opensearch_layout(settings))}
        problems = [*problems, *changed(archive, now)]
    if problems:
        if not archive.is_verified:
            await asyncio.to_thread(state.put, Kind.ARCHIVE, archive.name, replace(archive, is_failed=True).value())
        print(f"snapshot {archive.name} in {archive.repository} is NOT a verified archive:")
        print("\n".join(f"  {problem}" for problem in problems))
        print("it counts for nothing; mend that and take another one: headrace migrate archive --name ANOTHER")
        return 1
    if archive.is_verified:
        print(f"{archive.name} was verified before; it was checked again, and still holds")
    else:
        await asyncio.to_thread(state.put, Kind.ARCHIVE, checked.name, checked.value())
    _print(checked)
    return 0


def _tell() -> "Callable[[int, int], None]":
    """Shards as they are done: one line that is written over on a terminal, else a line when the number has changed."""
    import sys

    from bridge.cli.migrate_stores import progress

    last = [-1]

    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            progress(done, total)
        elif done != last[0]:
            print(f"{done} of {total} shards", flush=True)
        last[0] = done

    return tell


def _print(archive: "Archive") -> None:
    print(f"{'index':<36}{'uuid':<24}{'documents':>14}{'bytes':>16}{'shards':>8}")
    for each in archive.indices:
        print(f"{each.name:<36}{each.uuid:<24}{each.documents:>14,}{each.bytes:>16,}{each.shards:>8}")
    shards = sum(each.shards for each in archive.indices)
    documents, size = (sum(getattr(each, what) for each in archive.indices) for what in ("documents", "bytes"))
    print(
        f"verified: snapshot {archive.name} ({archive.snapshot}) in {archive.repository}:"
        f" {len(archive.indices)} indices, {documents:,} documents, {size:,} bytes, {shards} shards, none failed"
    )
