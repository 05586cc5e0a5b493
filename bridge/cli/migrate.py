"""`headrace migrate ...`: the phases of docs/migration.md, a module each, which adds its own arguments.

Those modules import what they work with inside their commands: this is loaded whatever command is given.
"""

import argparse
from collections.abc import Callable
from typing import Any, Final

from bridge.cli.migrate_archive import add_archive
from bridge.cli.migrate_backfill import add_backfill
from bridge.cli.migrate_backup import add_backup
from bridge.cli.migrate_plan import add_plan
from bridge.cli.migrate_routes import add_routes
from bridge.cli.migrate_shadow import add_shadow
from bridge.cli.migrate_status import add_status
from bridge.cli.migrate_teardown import add_teardown
from bridge.cli.migrate_validate import add_validate

Add = Callable[[Any, argparse.ArgumentParser], None]
PHASES: Final[tuple[Add, ...]] = (
    add_plan,
    add_shadow,
    add_backfill,
    add_validate,
    add_routes,
    add_archive,
    add_backup,
    add_status,
    add_teardown,
)


def add_migrate_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """`migrate` with its phases, each with `command` set to what runs it."""
    parser = commands.add_parser("migrate", help="from OpenSearch to ClickHouse with proof, and back")
    phases = parser.add_subparsers(required=True, metavar="PHASE")
    for add in PHASES:
        add(phases, common)
