"""`headrace migrate cutover|rollback|routes`: which store answers an organisation."""

import argparse
import json
from typing import TYPE_CHECKING, Any

from query_api.sides import EVERYONE, PERCENTS, Side

if TYPE_CHECKING:
    from bridge.migration.state import State
    from bridge.settings import Settings
    from query_api.sides import Route


def add_routes(phases: Any, common: argparse.ArgumentParser) -> None:
    """`cutover`, `rollback` and `routes`."""
    cutover = phases.add_parser("cutover", parents=[common], help="let another store answer an organisation, by steps")
    cutover.add_argument("--org", required=True, help="canonical id, or '*': all that have no route of their own")
    steps = ", ".join(str(percent) for percent in PERCENTS)
    cutover.add_argument("--percent", type=int, choices=PERCENTS, help=f"of its questions (default: next of {steps})")
    cutover.add_argument("--to", choices=[str(side) for side in Side], default=str(Side.CLICKHOUSE), help="that store")
    cutover.add_argument("--reason", default="", help="kept with the route")
    cutover.add_argument("--force", action="store_true", help="without a passing report; needs --reason")
    cutover.set_defaults(command=_cutover)
    rollback = phases.add_parser("rollback", parents=[common], help="let OpenSearch answer an organisation again, now")
    rollback.add_argument("--org", required=True, help="canonical id, or '*': all of them, also those with a route")
    rollback.add_argument("--reason", default="", help="kept with the route")
    rollback.set_defaults(command=_rollback)
    routes = phases.add_parser("routes", parents=[common], help="which store answers whom")
    routes.add_argument("--json", action="store_true", help="a JSON object a line")
    routes.set_defaults(command=_routes)


def _cutover(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import now, open_state, proofs
    from bridge.migration.routes import Wanted, cut_over, in_force, kept, routes_of
    from bridge.migration.state import Kind

    wanted = Wanted(arguments.org, Side(arguments.to), arguments.percent, arguments.reason, is_forced=arguments.force)
    with open_state(settings) as state:
        routes, shown = routes_of(state.latest(Kind.ROUTE)), proofs(settings, state)
        before = in_force(routes, wanted.org, Side(settings.query.storage))
        after = cut_over(before, wanted, shown, now())
        _put(state, before, after, kept(after, shown, is_forced=wanted.is_forced))
    others = [org for org in routes if org != EVERYONE]
    if wanted.org == EVERYONE and others:
        print(f"not changed, because they have a route of their own: {', '.join(sorted(others))}")
    _print_obeyed(settings)
    return 0


def _rollback(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import open_state
    from bridge.migration.routes import in_force, rolled_back, routes_of
    from bridge.migration.state import Kind

    with open_state(settings) as state:
        routes = routes_of(state.latest(Kind.ROUTE))
        # all means all: those with a route of their own would stay where they are otherwise
        orgs = [arguments.org]
        if arguments.org == EVERYONE:
            orgs += [org for org, route in routes.items() if org != EVERYONE and not _is_back(route)]
        for org in orgs:
            after = rolled_back(org, arguments.reason)
            _put(state, in_force(routes, org, Side(settings.query.storage)), after, after.value())
    _print_obeyed(settings)
    return 0


def _is_back(route: "Route") -> bool:
    return route.primary is Side.OPENSEARCH and route.percent == 100


def _put(state: "State", before: "Route", after: "Route", value: dict[str, Any]) -> None:
    from bridge.migration.routes import told
    from bridge.migration.state import Kind
    from bridge.rfc3339 import format_time

    event = state.put(Kind.ROUTE, after.org, value)
    via = "" if before.org == after.org and before.since_unix_nano else f" ({_source(before)})"
    print(f"{after.org}: before {told(before)}{via}")
    print(f"{after.org}: now    {told(after)}{f' ({after.reason})' if after.reason else ''}")
    print(f"kept by {event.by} at {format_time(event.at_unix_nano)}")


def _source(before: "Route") -> str:
    return "as everyone without a route" if before.since_unix_nano else "by query.storage, no route was set"


def _print_obeyed(settings: "Settings") -> None:
    dual = settings.query.dual
    if dual is None:
        print("query processes obey routes only with [query.dual] set, and these settings do not set it")
        return
    print(f"query processes obey within {dual.reload_seconds:g} s (query.dual.reload_seconds), without a restart")


def _routes(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import open_state
    from bridge.migration.routes import routes_of, told
    from bridge.migration.state import Kind
    from bridge.rfc3339 import format_time

    with open_state(settings) as state:
        routes = routes_of(state.latest(Kind.ROUTE))
    for org, route in sorted(routes.items()):
        since = format_time(route.since_unix_nano)
        if arguments.json:
            print(json.dumps({"org": org, **route.value(), "since": since, "by": route.by}))
        else:
            reason = f"  {route.reason}" if route.reason else ""
            print(f"{org:<28}{told(route):<60}{since:<32}{route.by}{reason}")
    if not arguments.json and EVERYONE not in routes:
        print(f"all others: 100 % {settings.query.storage} (query.storage)")
    return 0
