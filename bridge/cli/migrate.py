"""`headrace migrate ...`: the phases of docs/migration.md, a module each, which adds its own arguments.

Those modules import what they work with inside their commands: this is loaded whatever command is given.
"""

import argparse
from collections.abc import Callable
from typing import Any, Final

Add = Callable[[Any, argparse.ArgumentParser], None]
PHASES: Final[tuple[Add, ...]] = ()


def add_migrate_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """`migrate` with its phases, each with `command` set to what runs it."""
    parser = commands.add_parser("migrate", help="from OpenSearch to ClickHouse with proof, and back")
    phases = parser.add_subparsers(required=True, metavar="PHASE")
    for add in PHASES:
        add(phases, common)
