"""`headrace migrate teardown`: says what it would delete and what is missing for it; with --yes-delete, deletes it."""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bridge.migration.archive import Archive
    from bridge.migration.indices import Index
    from bridge.migration.preconditions import Facts, Unmet
    from bridge.migration.state import State
    from bridge.migration.teardown import Chosen
    from bridge.opensearch import OpenSearch
    from bridge.settings import Settings
    from sinks.clickhouse import Connection


def add_teardown(phases: Any, common: argparse.ArgumentParser) -> None:
    """`teardown`."""
    part = phases.add_parser("teardown", parents=[common], help="delete what was migrated; a dry run unless told")
    part.add_argument("--yes-delete", action="store_true", help="delete, if nothing is missing for it")
    part.add_argument(
        "--index", action="append", default=[], metavar="NAME", help="only this one, by its exact name; repeatable"
    )
    part.set_defaults(command=_teardown)


def _teardown(settings: "Settings", arguments: argparse.Namespace) -> int:
    return asyncio.run(_run(settings, arguments.index, is_confirmed=arguments.yes_delete))


async def _run(settings: "Settings", names: list[str], *, is_confirmed: bool) -> int:
    from bridge.assembly_opensearch import opensearch_layout
    from bridge.cli.migrate_stores import now, open_cluster, open_connection
    from bridge.migration.preconditions import unmet
    from bridge.migration.state import Kind, State
    from bridge.migration.teardown import choose, settled

    with open_connection(settings) as connection:
        async with open_cluster(settings) as opensearch:
            state, wanted = State(connection), opensearch_layout(settings)
            before = await asyncio.to_thread(state.latest, Kind.TEARDOWN)
            if is_confirmed:
                for name in await settled(opensearch, wanted, state, before):
                    print(f"{name}: an earlier run has deleted it")
            chosen = await choose(opensearch, wanted, names, now())
            facts = await _facts(settings, connection, opensearch, chosen, is_confirmed=is_confirmed)
            missing = unmet(facts, now())
            _print_plan(settings, facts, chosen)
            if not chosen.indices and not chosen.refused:
                print("there is nothing to delete")
                return 0
            _print_missing(missing)
            if [each for each in missing if each.rule != "flag"]:
                print("nothing was deleted")
                return 1
            if not is_confirmed:
                print("nothing was deleted; all else is met: the same with --yes-delete deletes exactly these")
                return 0
            return await _delete(settings, opensearch, state, facts)


async def _facts(
    settings: "Settings",
    connection: "Connection",
    opensearch: "OpenSearch",
    chosen: "Chosen",
    *,
    is_confirmed: bool,
) -> "Facts":
    """All that the preconditions are about, asked now."""
    from bridge.cli.migrate_stores import proofs
    from bridge.migration.archive import Archive
    from bridge.migration.indices import cluster_of
    from bridge.migration.preconditions import Facts
    from bridge.migration.routes import routes_of
    from bridge.migration.safety import Backup, checked, retentions
    from bridge.migration.shadow import KEY, Shadow
    from bridge.migration.state import Kind, State
    from bridge.migration.teardown import sound, unproven

    state = State(connection)
    events = {kind: await asyncio.to_thread(state.latest, kind) for kind in Kind}
    names = {index.name for index in chosen.indices}
    archives = [Archive.of(event) for event in events[Kind.ARCHIVE].values()]
    wanted = [each for each in archives if each.is_verified and names & {kept.name for kept in each.indices}]
    good, bad = await sound(opensearch, wanted)
    backups = [Backup.of(event) for event in events[Kind.BACKUP].values()]
    return Facts(
        is_confirmed=is_confirmed,
        cluster=await cluster_of(opensearch),
        shadow=Shadow.of(events[Kind.SHADOW].get(KEY)),
        proofs=await asyncio.to_thread(proofs, settings, state),
        routes=routes_of(events[Kind.ROUTE]),
        indices=chosen.indices,
        refused=chosen.refused,
        archives=good,
        broken_archives=bad,
        retention_days=await asyncio.to_thread(retentions, connection),
        backups=[await asyncio.to_thread(checked, connection, each) for each in backups],
        last_slice_unix_nano=max((event.at_unix_nano for event in events[Kind.SLICE].values()), default=0),
        is_still_read=settings.query.dual is not None or settings.query.storage != "clickhouse",
        unproven=await unproven(opensearch, chosen.indices),
    )


async def _delete(settings: "Settings", opensearch: "OpenSearch", state: "State", facts: "Facts") -> int:
    from bridge.assembly_opensearch import opensearch_layout
    from bridge.migration.indices import total
    from bridge.migration.teardown import delete

    gone: list[Index] = []
    async for index in delete(opensearch, opensearch_layout(settings), state, facts.indices, facts.archives):
        gone.append(index)
        print(f"deleted {index.name} ({index.uuid})", flush=True)
    documents, size = total(gone)
    print(f"deleted {len(gone)} indices, {documents:,} documents, {size:,} bytes; the archives stay")
    return 0


def _print_plan(settings: "Settings", facts: "Facts", chosen: "Chosen") -> None:
    from bridge.migration.indices import total

    print(f"cluster {facts.cluster} at {', '.join(settings.opensearch.hosts)}; to be deleted:")
    print(f"  {'index':<36}{'uuid':<24}{'documents':>14}{'bytes':>16}  archive")
    for index in facts.indices:
        print(
            f"  {index.name:<36}{index.uuid:<24}{index.documents:>14,}{index.bytes:>16,}"
            f"  {_archive_of(index, facts.archives)}"
        )
    documents, size = total(facts.indices)
    print(f"  {len(facts.indices)} indices, {documents:,} documents, {size:,} bytes")
    for name, why in chosen.left.items():
        print(f"left alone: {name}: {why}")
    _print_notes(facts)


def _archive_of(index: "Index", archives: "Sequence[Archive]") -> str:
    from bridge.migration.preconditions import archived

    found = archived(index, archives)
    return "NOT ARCHIVED" if found is None else f"{found.repository}/{found.name}"


def _print_notes(facts: "Facts") -> None:
    """What counts as met, and by whose word only."""
    if facts.shadow is not None and facts.shadow.is_given:
        print("note: the shadow's start was given with --at, not observed")
    for backup in facts.backups:
        if not backup.status:
            print(
                f"note: the backup {backup.name} ({backup.reference}) is the word of {backup.by}: the server knows none"
            )


def _print_missing(missing: "Sequence[Unmet]") -> None:
    if missing:
        print(f"not met ({len(missing)}):")
    for each in missing:
        print(f"  {each.rule}: {each.why}\n      -> {each.what_to_do}")
