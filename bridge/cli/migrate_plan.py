"""`headrace migrate plan`: what is there, what ClickHouse has of it, how long the rest takes, what is in the way."""

import argparse
import asyncio
import json
from collections.abc import Mapping
from typing import Any

from bridge.settings import Settings


def add_plan(phases: Any, common: argparse.ArgumentParser) -> None:
    part = phases.add_parser("plan", parents=[common], help="what is in OpenSearch, and what moving it takes")
    part.add_argument("--json", action="store_true", help="all of it as one JSON object")
    part.set_defaults(command=_plan)


def _plan(settings: Settings, arguments: argparse.Namespace) -> int:
    """0 nothing is in the way, 1 something is."""
    from bridge.cli.migrate_open import reported

    return asyncio.run(reported(lambda: _run(settings, arguments)))


async def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_open import open_stores, shadow_start_unix_nano
    from bridge.migration.plan import Planner

    async with open_stores(settings) as stores:
        planner = Planner(stores.opensearch, stores.layout, stores.rows, stores.converter)
        started = await asyncio.to_thread(shadow_start_unix_nano, stores.state)
        plan = await planner.plan(started)
    if arguments.json:
        print(json.dumps(plan, sort_keys=True))
    else:
        _show(plan)
    return 1 if plan["blocks"] else 0


def _show(plan: Mapping[str, Any]) -> None:
    print(f"{'index':<40}{'day':<12}{'documents':>12}{'own':>10}{'MB':>8}  in ClickHouse  organisations")
    for each in plan["indices"]:
        orgs = ", ".join(f"{org or '(refused)'} {count}" for org, count in each["orgs"].items())
        print(
            f"{each['index']:<40}{each['day'] or '-':<12}{each['documents']:>12}{each['own_documents']:>10}"
            f"{each['size_bytes'] / 1e6:>8.1f}  {each['clickhouse_rows']:>13}  {orgs}"
        )
    for name in plan["unknown_indices"]:
        print(f"{name}: neither logs nor traces of this family: not moved")
    estimate = plan["estimate"]
    if estimate["documents_per_second"]:
        print(
            f"{estimate['documents']} documents at {estimate['documents_per_second']:.0f}/s (read and converted, tried"
            f" with {estimate['probed_documents']}): about {estimate['seconds']:.0f} s; about"
            f" {estimate['clickhouse_bytes'] / 1e6:.1f} MB in ClickHouse"
        )
    for note in plan["notes"]:
        print(f"note: {note}")
    for block in plan["blocks"]:
        print(f"IN THE WAY: {block}")
