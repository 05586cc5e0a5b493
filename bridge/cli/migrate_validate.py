"""`headrace migrate validate`: do both stores hold the same? The verdict is kept in the migration's state, sealed."""

import argparse
import asyncio
import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bridge.errors import SettingsInvalid
from bridge.settings import Settings
from bridge.settings_dual import Dual

MILLI = 1_000_000
MINUTE_MILLI = 60_000
SHOWN = 40


def add_validate(phases: Any, common: argparse.ArgumentParser) -> None:
    part = phases.add_parser("validate", parents=[common], help="compare both stores over a closed window")
    part.add_argument("--from", dest="since", required=True, metavar="TIME", help="first minute, as 2026-01-31T12:00Z")
    part.add_argument("--to", dest="last", required=True, metavar="TIME", help="the minute behind the last")
    part.add_argument("--signal", choices=["logs", "traces"], help="only these (default: both)")
    part.add_argument("--sample", type=int, default=200, metavar="N", help="minutes compared row by row (default 200)")
    part.add_argument("--seed", type=int, help="which minutes are chosen (default: other ones each time)")
    part.add_argument("--json", action="store_true", help="the report as JSON")
    part.set_defaults(command=_validate)


def _validate(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 the stores agree, 1 they do not."""
    from bridge.cli.migrate_open import reported

    return asyncio.run(reported(lambda: _run(settings, arguments)))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.assembly_opensearch import sampling
    from bridge.cli.migrate_open import moment, open_stores, signals
    from bridge.cli.migrate_stores import signing_key
    from bridge.migration.report import sealed
    from bridge.migration.state import Kind
    from bridge.migration.validate import Validation, Window

    start, end = (moment(text) // MILLI // MINUTE_MILLI * MINUTE_MILLI for text in (arguments.since, arguments.last))
    dual = settings.query.dual or Dual()
    _check(start, end, dual.settle_seconds)
    key = signing_key(settings)
    seed = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    window = Window(start, end, signals(arguments.signal), arguments.sample, seed)
    async with open_stores(settings) as stores:
        validation = Validation(
            stores.opensearch,
            stores.layout,
            stores.rows,
            stores.converter,
            sampling(settings),
            settings.migration.slice_documents,
        )
        report = sealed(await validation.run(window), key)
        await asyncio.to_thread(stores.state.put, Kind.REPORT, report["id"], report)
    if arguments.json:
        print(json.dumps(report, sort_keys=True))
    else:
        _show(report)
    return 0 if report["passed"] else 1


def _check(start: int, end: int, settle_seconds: float) -> None:
    """Raises `SettingsInvalid` for a window that is empty or not closed."""
    if start >= end:
        raise SettingsInvalid("--to must be at least a minute behind --from")
    if end / 1000 > time.time() - settle_seconds:
        raise SettingsInvalid(
            f"--to must be at least {settle_seconds:g} s ago (query.dual.settle_seconds): rows of then may still come"
        )


def _show(report: Mapping[str, Any]) -> None:
    if report["differences"]:
        print(f"{'signal':<8}{'minute':<22}{'organisation':<32}{'opensearch':>12}{'clickhouse':>12}")
    for each in report["differences"][:SHOWN]:
        counts = f"{each['opensearch']:>12}{each['clickhouse']:>12}"
        print(f"{each['signal']:<8}{_minute(each['minute']):<22}{each['org'] or '-':<32}{counts}")
    if (left := report["differing_cells"] - SHOWN) > 0:
        print(f"... and {left} more")
    for each in report["failed_samples"][:SHOWN]:
        fields = ", ".join(f"{name} ({count})" for name, count in each["fields"].items())
        print(
            f"sample {each['signal']} {_minute(each['minute'])} {each['org'] or '-'}: only in OpenSearch"
            f" {each['only_opensearch']}, only in ClickHouse {each['only_clickhouse']}, changed {each['changed']}"
            f"{': ' + fields if fields else ''}"
        )
    print(
        f"{report['opensearch_rows']} rows in OpenSearch, {report['clickhouse_rows']} in ClickHouse, drift"
        f" {report['drift_ratio']:.3%}; {report['sampled_rows']} rows of {report['sampled_minutes']} minutes compared"
        f" (seed {report['seed']})"
    )
    for fault in report["faults"]:
        print(f"FAILED: {fault}")
    print(f"report {report['id']}: {'the stores agree' if report['passed'] else 'the stores do not agree'}")


def _minute(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%MZ")
