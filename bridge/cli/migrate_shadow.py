"""`headrace migrate shadow start|status|stop`: since when both stores are written, kept for the phases that need it.

It starts and stops no process: the shadow is `headrace deliver --sink opensearch`.
"""

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.migration.days import Day
    from bridge.migration.shadow import Shadow
    from bridge.settings import Settings


def add_shadow(phases: Any, common: argparse.ArgumentParser) -> None:
    """`shadow` with its actions."""
    shadow = phases.add_parser("shadow", help="since when OpenSearch is written beside ClickHouse")
    actions = shadow.add_subparsers(required=True, metavar="ACTION")
    start = actions.add_parser("start", parents=[common], help="keep the start time; starting again changes nothing")
    start.add_argument("--at", metavar="TIME", help="when it was started (default now), as 2026-01-31T12:00:00Z")
    start.set_defaults(command=_start)
    status = actions.add_parser("status", parents=[common], help="since when, how far behind, and both stores by day")
    status.add_argument("--days", type=int, default=7, help="how many days to count (default 7)")
    status.set_defaults(command=_status)
    stop = actions.add_parser("stop", parents=[common], help="keep that it has ended; deletes nothing")
    stop.set_defaults(command=_stop)


def _start(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import now, open_cluster, open_state
    from bridge.cli.moments import parse_moment
    from bridge.errors import SettingsInvalid
    from bridge.migration.indices import cluster_of
    from bridge.migration.shadow import KEY, Shadow, started
    from bridge.migration.state import Kind

    async def cluster() -> str:
        async with open_cluster(settings) as opensearch:
            return await cluster_of(opensearch)

    try:
        at = parse_moment(arguments.at) if arguments.at else now()
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error
    with open_state(settings) as state:
        kept = Shadow.of(state.latest(Kind.SHADOW).get(KEY))
        wanted = Shadow(at, asyncio.run(cluster()), settings.opensearch.family, is_given=bool(arguments.at))
        shadow = started(kept, wanted, now())
        if shadow is kept:
            print("the shadow runs already; nothing was changed")
        else:
            state.put(Kind.SHADOW, KEY, shadow.value())
    _print_shadow(shadow)
    print(f"keep this running beside the primary's: headrace deliver --sink opensearch (group {_group(settings)})")
    return 0


def _stop(settings: "Settings", _: argparse.Namespace) -> int:
    from dataclasses import replace

    from bridge.cli.migrate_stores import now, open_state
    from bridge.migration.shadow import KEY, Shadow
    from bridge.migration.state import Kind

    with open_state(settings) as state:
        kept = Shadow.of(state.latest(Kind.SHADOW).get(KEY))
        if kept is None:
            print("the shadow was never started")
            return 1
        if not kept.is_running:
            print("the shadow was stopped already; nothing was changed")
        else:
            kept = replace(kept, stopped_at_unix_nano=now())
            state.put(Kind.SHADOW, KEY, kept.value())
    _print_shadow(kept)
    print(
        f"nothing was deleted. Stop the processes `headrace deliver --sink opensearch` (group {_group(settings)});"
        " while their group is in Kafka, they go on where they were when they are started again"
    )
    return 0


def _status(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import open_state
    from bridge.migration.shadow import KEY, Shadow
    from bridge.migration.state import Kind

    with open_state(settings) as state:
        shadow = Shadow.of(state.latest(Kind.SHADOW).get(KEY))
    if shadow is None:
        print("the shadow was never started: headrace migrate shadow start")
        return 1
    _print_shadow(shadow)
    print(asyncio.run(_lag(settings)))
    _print_days(asyncio.run(_days(settings, max(1, arguments.days))))
    return 0


async def _lag(settings: "Settings") -> str:
    """How far the shadow's group is behind, or why that is not known, in one line."""
    from bridge.assembly import kafka_settings
    from bridge.errors import LogUnavailable, SettingsInvalid
    from bridge.log.kafka_lag import group_lag

    group = _group(settings)
    try:
        lag = await group_lag(kafka_settings(settings), group)
    except (LogUnavailable, SettingsInvalid) as error:
        return f"lag of the group {group}: not known ({error})"
    if all(records is None for records in lag.values()):
        return f"lag of the group {group}: it has not delivered anything yet"
    told = ", ".join(
        f"{signal} {'nothing delivered' if records is None else records}" for signal, records in lag.items()
    )
    return f"lag of the group {group}, in records: {told}"


async def _days(settings: "Settings", count: int) -> list["Day"]:
    from bridge.assembly_opensearch import opensearch_layout
    from bridge.cli.migrate_stores import now, open_cluster, open_connection
    from bridge.migration.days import documents_by_day, last_days, rows_by_day, side_by_side
    from bridge.model import OTLP_SIGNALS

    days, lines = last_days(count, now()), []
    async with open_cluster(settings) as opensearch:
        with open_connection(settings) as connection:
            for signal in OTLP_SIGNALS:
                documents = await documents_by_day(opensearch, opensearch_layout(settings), signal, days[0])
                rows = await asyncio.to_thread(rows_by_day, connection, signal, days[0])
                lines += side_by_side(signal, days, documents, rows)
    return lines


def _print_shadow(shadow: "Shadow") -> None:
    from bridge.cli.migrate_stores import now
    from bridge.rfc3339 import format_time

    since = format_time(shadow.started_at_unix_nano)
    days = shadow.ran_seconds(now()) / 86_400
    given = " (the time was given, not observed)" if shadow.is_given else ""
    end = shadow.stopped_at_unix_nano
    until = "" if end is None else f", stopped at {format_time(end)}"
    print(f"shadow of cluster {shadow.cluster}, family {shadow.family}: since {since}{given}{until}, {days:.1f} days")


def _print_days(days: list["Day"]) -> None:
    print(f"{'signal':<8}{'day':<12}{'OpenSearch':>14}{'ClickHouse':>14}{'difference':>14}")
    for each in days:
        difference = each.rows - each.documents
        print(f"{each.signal:<8}{each.day!s:<12}{each.documents:>14,}{each.rows:>14,}{difference:>+14,}")


def _group(settings: "Settings") -> str:
    return settings.opensearch.group_id
