"""`headrace migrate status`: all phases, from the state alone: it works while OpenSearch is down."""

import argparse
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.settings import Settings


def add_status(phases: Any, common: argparse.ArgumentParser) -> None:
    """`status`."""
    part = phases.add_parser("status", parents=[common], help="what is done, when, by whom, and what comes next")
    part.add_argument("--json", action="store_true", help="one JSON object")
    part.set_defaults(command=_status)


def _status(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import now, open_state, signing_key
    from bridge.migration.overview import phases, upcoming
    from bridge.migration.state import Kind
    from bridge.rfc3339 import format_time

    with open_state(settings) as state:
        found = phases({kind: state.latest(kind) for kind in Kind}, signing_key(settings), now())
    following = upcoming(found)
    if arguments.json:
        told = {"phases": [each.told() for each in found], "next": following.next if following is not None else None}
        print(json.dumps(told))
        return 0
    for each in found:
        when = f" [{format_time(each.at_unix_nano // 10**9 * 10**9)} by {each.by}]" if each.at_unix_nano else ""
        print(f"{'done' if each.is_done else '-':<6}{each.name:<10}{each.what}{when}")
    print(f"next: {following.next}" if following is not None else "all phases are done")
    return 0
