"""`headrace migrate backup record|check`: a backup of ClickHouse that somebody vouches for, and what is known of it."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.migration.safety import Backup
    from bridge.settings import Settings


def add_backup(phases: Any, common: argparse.ArgumentParser) -> None:
    """`backup` with its actions."""
    backup = phases.add_parser("backup", help="a backup of ClickHouse, which teardown asks for")
    actions = backup.add_subparsers(required=True, metavar="ACTION")
    record = actions.add_parser("record", parents=[common], help="keep that a backup was taken")
    record.add_argument("--name", required=True, help="what it is called here")
    record.add_argument(
        "--reference",
        required=True,
        metavar="R",
        help="where it is: a URL or path, or the name or id in system.backups",
    )
    record.add_argument("--at", metavar="TIME", help="when it was taken (default now), as 2026-01-31T12:00:00Z")
    record.set_defaults(command=_record)
    check = actions.add_parser("check", parents=[common], help="say what ClickHouse knows of the recorded ones")
    check.set_defaults(command=_check)


def _record(settings: "Settings", arguments: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import now, open_connection
    from bridge.cli.moments import parse_moment
    from bridge.errors import SettingsInvalid
    from bridge.migration.safety import Backup, checked
    from bridge.migration.state import Kind, State

    try:
        at = parse_moment(arguments.at) if arguments.at else now()
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error
    if at > now():
        raise SettingsInvalid(f"--at {arguments.at} has not come yet")
    with open_connection(settings) as connection:
        backup = checked(connection, Backup(arguments.name, arguments.reference, at))
        _print(backup)
        if backup.has_failed:
            print("nothing was recorded")
            return 1
        State(connection).put(Kind.BACKUP, backup.name, backup.value())
    print("recorded")
    return 0


def _check(settings: "Settings", _: argparse.Namespace) -> int:
    from bridge.cli.migrate_stores import open_connection
    from bridge.migration.safety import Backup, checked, retentions
    from bridge.migration.state import Kind, State

    with open_connection(settings) as connection:
        backups = [checked(connection, Backup.of(event)) for event in State(connection).latest(Kind.BACKUP).values()]
        kept = retentions(connection)
    for signal, days in kept.items():
        print(f"ClickHouse keeps {signal} {'for ever' if days is None else f'for {days:g} days'}")
    for backup in backups:
        _print(backup)
    if not backups:
        print("no backup is recorded: headrace migrate backup record --name N --reference R")
    return 1 if not backups or any(backup.has_failed for backup in backups) else 0


def _print(backup: "Backup") -> None:
    from bridge.rfc3339 import format_time

    if backup.is_verified:
        verdict = "verified: system.backups says BACKUP_CREATED"
    elif backup.has_failed:
        verdict = f"FAILED: system.backups says {backup.status} {backup.error}".rstrip()
    else:
        verdict = "UNVERIFIED: the server does not know it, it is somebody's word"
    by = f", by {backup.by}" if backup.by else ""
    print(f"backup {backup.name} ({backup.reference}) of {format_time(backup.taken_at_unix_nano)}{by}: {verdict}")
