"""What ClickHouse can say for itself before anything else is deleted: how long it keeps rows, and its backups."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from bridge.errors import SinkUnavailable
from bridge.migration.state import Event
from bridge.model import OTLP_SIGNALS, Signal
from bridge.rfc3339 import format_time, unix_nano_of
from sinks.clickhouse import TABLES, Connection

CREATED: Final = "BACKUP_CREATED"
_DAYS: Final = {
    "second": 1 / 86_400,
    "minute": 1 / 1440,
    "hour": 1 / 24,
    "day": 1,
    "week": 7,
    "month": 28,
    "quarter": 89,
    "year": 365,
}
_UNITS: Final = "|".join(_DAYS)
_INTERVAL: Final = re.compile(rf"toInterval({_UNITS})\((\d+)\)|INTERVAL (\d+) ({_UNITS})\b", re.IGNORECASE)
_TABLE_TTL: Final = re.compile(r" TTL (.*?)(?: SETTINGS |$)", re.DOTALL)
# What a TTL does that does not delete: it moves, recompresses or aggregates.
_KEEPS: Final = re.compile(r" (TO (VOLUME|DISK)|RECOMPRESS|GROUP BY) ", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Backup:
    """`status` is what system.backups says; empty: the server does not know it. `error` only of one that failed."""

    name: str
    reference: str
    taken_at_unix_nano: int
    status: str = ""
    error: str = ""
    by: str = ""

    @property
    def is_verified(self) -> bool:
        return self.status == CREATED

    @property
    def has_failed(self) -> bool:
        return bool(self.status) and self.status != CREATED

    def value(self) -> dict[str, Any]:
        """As it is kept, under `name`."""
        return {
            "reference": self.reference,
            "taken_at": format_time(self.taken_at_unix_nano),
            "status": self.status,
            "verified": self.is_verified,
        }

    @classmethod
    def of(cls, event: Event) -> Self:
        """From what is kept."""
        value = event.value
        taken = unix_nano_of(str(value["taken_at"]))
        return cls(event.key, str(value["reference"]), taken, str(value.get("status", "")), by=event.by)


def checked(connection: Connection, backup: Backup) -> Backup:
    """The backup as ClickHouse knows it now. It forgets backups when it restarts: what it once said then stays."""
    found = [row for row in _backups(connection) if _is_it(row, backup.reference)]
    if not found:
        return backup
    _, _, status, error, started = max(found, key=lambda row: row[4])
    # it holds what was there when it began, whatever somebody says
    return replace(backup, status=status, error=error, taken_at_unix_nano=int(started))


def _backups(connection: Connection) -> list[tuple[str, str, str, str, str]]:
    started = "toString(toUnixTimestamp64Nano(toDateTime64(start_time, 9)))"
    sql = f"SELECT id, name, toString(status), substring(error, 1, 200), {started} FROM system.backups"  # noqa: S608
    try:
        rows = connection.rows(sql)
    except SinkUnavailable as error:
        if error.reason in ("schema", "rights"):  # an older server has no such table, a small user may not read it
            return []
        raise
    return [(str(id_), str(name), str(status), str(told), str(at)) for id_, name, status, told, at in rows]


def _is_it(row: tuple[str, ...], reference: str) -> bool:
    """By its id, its name as `Disk('backups', 'monday')`, or the last part of it."""
    return reference in (row[0], row[1]) or row[1].endswith(f"'{reference}')")


def retention_days(connection: Connection, signal: Signal) -> float | None:
    """After how many days the store deletes a row of this signal, at the earliest; None: it keeps it."""
    database, table = connection.settings.database, TABLES[signal]
    rows = connection.rows(
        f"SELECT engine_full FROM system.tables WHERE database = '{database}' AND name = '{table}'"  # noqa: S608
    )
    if not rows:
        return 0.0  # what is not there keeps nothing
    return ttl_days(str(rows[0][0]))


def retentions(connection: Connection) -> dict[Signal, float | None]:
    """Of both signals."""
    return {signal: retention_days(connection, signal) for signal in OTLP_SIGNALS}


def ttl_days(engine_full: str) -> float | None:
    """The shortest time after which this engine deletes rows; None: never; 0: there is a rule that is not understood.

    Months, quarters and years count as the shortest ones.
    """
    found = _TABLE_TTL.search(engine_full)
    if found is None:
        return None
    days = []
    for rule in _rules(found.group(1)):
        if _KEEPS.search(f" {rule} "):
            continue
        interval = _INTERVAL.search(rule)
        if interval is None:
            return 0.0
        number, unit = interval.group(2) or interval.group(3), interval.group(1) or interval.group(4)
        days.append(int(number) * _DAYS[unit.lower()])
    return min(days, default=None)


def _rules(text: str) -> list[str]:
    """The TTL's rules; a comma within brackets belongs to a rule."""
    rules, depth = [""], 0
    for char in text:
        depth += {"(": 1, ")": -1}.get(char, 0)
        if char == "," and not depth:
            rules.append("")
        else:
            rules[-1] += char
    return [rule.strip() for rule in rules]
