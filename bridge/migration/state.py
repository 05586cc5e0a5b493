"""What the migration has done, machine-readable, in ClickHouse (`headrace_migration`): events, the last one counts.

Every process of the migration is told apart from what it left behind by nothing but these events, so that a command
that was killed goes on where it was when it is given again.
"""

import json
import os
import socket
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sinks.clickhouse import Connection

Json = dict[str, Any]


class Kind(StrEnum):
    """What an event is about, and its key."""

    SHADOW = "shadow"  # "opensearch": started, stopped
    SLICE = "slice"  # a part of a backfill that is done and verified
    CUTS = "cuts"  # how a backfill has cut an index (or a day of a table) into slices
    REPORT = "report"  # a validation's verdict, by its id
    ARCHIVE = "archive"  # a snapshot, by its name
    BACKUP = "backup"  # a ClickHouse backup that somebody vouches for, by its name
    ROUTE = "route"  # the store that answers an organisation, by its id, `EVERYONE` for all others
    TEARDOWN = "teardown"  # an index that was deleted


@dataclass(frozen=True, slots=True)
class Event:
    at_unix_nano: int
    kind: Kind
    key: str
    value: Json
    by: str


class State:
    """Calls block: from a loop, in a thread. All raise `SinkUnavailable`, also while the schema is not applied."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._table = f"{connection.settings.database}.headrace_migration"

    def put(self, kind: Kind, key: str, value: Json) -> Event:
        """Return when the event is stored. It is later than the key's last one, whoever's clock that was told by."""
        at = max(time.time_ns() // 1000 * 1000, self._last_unix_nano(kind, key) + 1000)
        event = Event(at, kind, key, value, who())
        row = {
            "At": f"{event.at_unix_nano // 10**9}.{event.at_unix_nano % 10**9 // 1000:06d}",
            "Kind": kind,
            "Key": key,
            "Value": json.dumps(value, sort_keys=True),
            "By": event.by,
        }
        # one line of JSON cannot hold a line break, so nothing in it can end the statement
        self._connection.run(f"INSERT INTO {self._table} FORMAT JSONEachRow\n{json.dumps(row)}")
        return event

    def _last_unix_nano(self, kind: Kind, key: str) -> int:
        """0 without an event."""
        rows = self._connection.rows(
            f"SELECT toUnixTimestamp64Nano(toDateTime64(max(At), 9)) FROM {self._table}"  # noqa: S608
            f" WHERE Kind = '{kind}' AND Key = unhex('{key.encode().hex()}')"
        )
        return int(str(rows[0][0]))

    def latest(self, kind: Kind) -> dict[str, Event]:
        """The last event of each key."""
        return {event.key: event for event in self.events(kind)}

    def events(self, kind: Kind) -> list[Event]:
        """All of them, oldest first."""
        rows = self._connection.rows(
            f"SELECT toUnixTimestamp64Nano(toDateTime64(At, 9)), Key, Value, By FROM {self._table}"  # noqa: S608
            f" WHERE Kind = '{kind}' ORDER BY At"
        )
        return [Event(int(str(at)), kind, str(key), json.loads(str(value)), str(by)) for at, key, value, by in rows]


def who() -> str:
    """Who did it, for the record."""
    return f"{os.environ.get('USER') or os.getuid()}@{socket.gethostname()}:{os.getpid()}"
