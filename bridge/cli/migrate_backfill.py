"""`headrace migrate backfill`: what is in one store and not in the other, slice by slice, exactly once, verified."""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from bridge.errors import SettingsInvalid
from bridge.model import Signal
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.cli.migrate_open import Stores
    from bridge.migration.backfill import Job, Outcome, Span

DAY_MILLI = 86_400_000
MILLI = 1_000_000
SHOWN_REFUSALS = 50
EXIT_INTERRUPTED = 130


def add_backfill(phases: Any, common: argparse.ArgumentParser) -> None:
    part = phases.add_parser("backfill", parents=[common], help="bring one store's past over to the other")
    part.add_argument("--direction", choices=["to-clickhouse", "to-opensearch"], default="to-clickhouse")
    part.add_argument("--from", dest="since", metavar="DAY", help="first UTC day, as 2026-01-31 (default: all)")
    part.add_argument("--to", dest="last", metavar="DAY", help="last UTC day (default: all)")
    part.add_argument("--signal", choices=["logs", "traces"], help="only these (default: both)")
    part.add_argument("--index", action="append", metavar="NAME", help="only this index; can be given several times")
    part.add_argument("--until", metavar="TIME", help="only what is older (default: the shadow's start)")
    part.add_argument("--include-own", action="store_true", help="also documents that Headrace has written: a restore")
    part.add_argument("--skip-refused", action="store_true", help="documents that cannot become rows are no failure")
    again = "also slices that are recorded as moved: what the other store has lost of them since is written again"
    part.add_argument("--again", action="store_true", help=again)
    part.add_argument("--yes", action="store_true", help="do it; without this, only say what would be moved")
    part.set_defaults(command=_backfill)


def _backfill(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 all is there and verified, 1 something is not, 130 interrupted."""
    from bridge.cli.migrate_open import reported

    try:
        return asyncio.run(reported(lambda: _run(settings, arguments)))
    except KeyboardInterrupt:
        print("\ninterrupted: the same command goes on from here", file=sys.stderr)
        return EXIT_INTERRUPTED


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_open import open_stores
    from bridge.migration.backfill import Backfill
    from bridge.migration.progress import Progress

    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_stores(settings))
        until = await _until_unix_milli(stores, arguments)
        is_back = arguments.direction == "to-opensearch"
        jobs = await (_jobs_back if is_back else _jobs)(stack, stores, arguments, until)
        span = _span(settings, arguments, is_back=is_back)
        total = sum(job.documents for job in jobs)
        print(f"{arguments.direction}: {total} documents of {len(jobs)} indices or days, older than {_time(until)}")
        for job in jobs:
            print(f"  {job.title:<40}{job.documents:>12}")
        if not arguments.yes:
            print("nothing was moved: give --yes to do it")
            return 0
        backfill = Backfill(stores.state, span, Progress(total), arguments.skip_refused, arguments.again)
        began = time.monotonic()
        outcome = await backfill.run(jobs)
        return _told(outcome, time.monotonic() - began, is_refused_skipped=arguments.skip_refused)


async def _until_unix_milli(stores: "Stores", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_open import moment, shadow_start_unix_nano

    if arguments.until:
        return moment(arguments.until) // MILLI
    started = await asyncio.to_thread(shadow_start_unix_nano, stores.state)
    if started is None:
        raise SettingsInvalid(
            "the shadow was never started, so nothing says where the past ends: what still comes in would be missed."
            " Give `headrace migrate shadow start` first, or --until TIME"
        )
    return started // MILLI


def _span(settings: Settings, arguments: argparse.Namespace, *, is_back: bool) -> "Span":
    from bridge.cli.migrate_open import day
    from bridge.migration.backfill import Span

    since, last = (_milli(day(text)) if text else None for text in (arguments.since, arguments.last))
    store = settings.clickhouse
    today = int(time.time()) * 1000 // DAY_MILLI * DAY_MILLI
    days = {Signal.LOGS: store.logs_ttl_days, Signal.TRACES: store.traces_ttl_days}
    # a day that retention has begun to delete would be gone before it is found again
    kept_from = {} if is_back else {signal: today - (kept - 1) * DAY_MILLI for signal, kept in days.items()}
    return Span(
        since if since is not None else -(1 << 62), last + DAY_MILLI if last is not None else 1 << 62, kept_from
    )


async def _jobs(_: AsyncExitStack, stores: "Stores", arguments: argparse.Namespace, until: int) -> list["Job"]:
    """Of the indices that were asked for and may hold something of those days."""
    from bridge.cli.migrate_open import signals
    from bridge.migration.read_opensearch import Source, cluster_uuid, indices_of
    from bridge.migration.to_clickhouse import ToClickHouse

    cluster = await cluster_uuid(stores.opensearch)
    limit = stores.settings.migration.slice_documents
    again = f":again:{time.time_ns()}" if arguments.again else ""
    mover = ToClickHouse(cluster, stores.rows, stores.clickhouse, stores.converter, until, limit, again=again)
    known, _others = await indices_of(stores.opensearch, stores.layout)
    span, found = _span(stores.settings, arguments, is_back=False), []
    names = arguments.index or [index.name for index in known]
    if unknown := sorted(set(names) - {index.name for index in known}):
        raise SettingsInvalid(f"no index of logs or traces: {', '.join(unknown)}")
    for index in known:
        start = _milli(index.day) if index.day else None
        is_outside = start is not None and (start >= span.end_unix_milli or start + DAY_MILLI <= span.start_unix_milli)
        if index.name not in names or index.signal not in signals(arguments.signal) or is_outside:
            continue
        source = Source(stores.opensearch, stores.layout, index.signal, arguments.include_own)
        found.append(await mover.job(source, index))
    return found


async def _jobs_back(stack: AsyncExitStack, stores: "Stores", arguments: argparse.Namespace, until: int) -> list["Job"]:
    """Of the days of both tables that lie before `until`."""
    from bridge.assembly_opensearch import open_shadow, sampling
    from bridge.cli.migrate_open import day, signals
    from bridge.migration.read_opensearch import Source, cluster_uuid
    from bridge.migration.to_opensearch import ToOpenSearch

    settings = stores.settings
    if arguments.index:
        raise SettingsInvalid("--index names indices of OpenSearch; to-opensearch goes by days")
    sink = await stack.enter_async_context(open_shadow(settings))
    mover = ToOpenSearch(
        await cluster_uuid(stores.opensearch),
        settings.clickhouse.database,
        stores.opensearch,
        stores.rows,
        sink,
        stores.converter,
        until,
        settings.migration.slice_documents,
        sampling(settings).condition,
    )
    span, found = _span(settings, arguments, is_back=True), []
    for signal in signals(arguments.signal):
        source = Source(stores.opensearch, stores.layout, signal, is_own_read=True)
        for name in await asyncio.to_thread(stores.rows.days, signal):
            start = _milli(day(name))
            if span.start_unix_milli <= start < min(span.end_unix_milli, until):
                found.append(await mover.job(source, name, start))
    return found


def _told(outcome: "Outcome", seconds: float, *, is_refused_skipped: bool) -> int:
    """What it came to, and the exit status."""
    rate = outcome.documents / seconds if seconds else 0
    print(
        f"{outcome.documents} documents in {outcome.slices} slices: {outcome.rows} rows written,"
        f" {outcome.already} were there; {outcome.before} documents done by earlier runs"
        f" ({seconds:.1f} s, {rate:.0f} documents/s)"
    )
    if outcome.expired:
        print(f"{outcome.expired} documents are older than ClickHouse keeps them: not moved")
    for refusal in outcome.refused[:SHOWN_REFUSALS]:
        print(f"refused: {refusal.index} {refusal.id}: {refusal.reason}", file=sys.stderr)
    if outcome.refused:
        print(f"{len(outcome.refused)} documents were refused and are in OpenSearch only", file=sys.stderr)
    for problem in outcome.problems:
        print(f"not verified: {problem}", file=sys.stderr)
    return 1 if outcome.problems or (outcome.refused and not is_refused_skipped) else 0


def _milli(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def _time(unix_milli: int) -> str:
    return datetime.fromtimestamp(unix_milli / 1000, UTC).isoformat(timespec="milliseconds")
