"""What `headrace migrate` asks of ClickHouse. Calls block; all raise `SinkUnavailable`."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import orjson
import pyarrow as pa

from bridge.columns.schema import ATTRIBUTES, LOGS, SPANS, TIME
from bridge.migration.identity import identity_sql
from bridge.migration.slices import Slice, clamped
from bridge.model import Signal
from sinks.clickhouse import TABLES, Connection

Row = dict[str, Any]
_SCHEMAS: Final = {Signal.TRACES: SPANS, Signal.LOGS: LOGS}
_PLAIN: Final = "SETTINGS output_format_json_quote_64bit_integers = 0"


class Rows:
    """The rows of both signals' tables. Times are Unix milliseconds, ranges [start, end)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._database = connection.settings.database

    def days(self, signal: Signal) -> dict[str, tuple[int, int]]:
        """Rows and bytes on disk by UTC day, as `2026-01-31`."""
        found = self._connection.rows(
            "SELECT partition, sum(rows), sum(bytes_on_disk) FROM system.parts"
            f" WHERE database = '{self._database}' AND table = '{TABLES[signal]}' AND active"
            " GROUP BY partition ORDER BY partition"
        )
        return {str(day): (int(str(rows)), int(str(size))) for day, rows, size in found}

    def bounds(self, signal: Signal, until: int) -> tuple[int, int] | None:
        """First and last time before `until`; None without rows."""
        found = self._connection.rows(
            "SELECT count(), toUnixTimestamp64Milli(min(Timestamp)), toUnixTimestamp64Milli(max(Timestamp))"
            f" FROM {self._table(signal)} WHERE {_within(0, until)}"
        )
        rows, first, last = (int(str(value)) for value in found[0])
        return (first, last) if rows else None

    def count(self, signal: Signal, start: int, end: int) -> int:
        found = self._connection.rows(f"SELECT count() FROM {self._table(signal)} WHERE {_within(start, end)}")
        return int(str(found[0][0]))

    def steps(self, signal: Signal, start: int, end: int, step: int) -> list[Slice]:
        """As `slices.Steps`, blocking."""
        found = self._connection.rows(
            f"SELECT intDiv(toUnixTimestamp64Milli(Timestamp), {step}) * {step} AS at, count()"
            f" FROM {self._table(signal)} WHERE {_within(start, end)} GROUP BY at ORDER BY at"
        )
        return [clamped(int(str(at)), int(str(count)), step, (start, end)) for at, count in found]

    def identities(self, signal: Signal, start: int, end: int, orgs: Iterable[str]) -> Counter[int]:
        """How often each row (`identity.py`) of these organisations is there."""
        wanted = ", ".join(sorted(map(quoted, orgs)))
        found = self._connection.rows(
            f"SELECT {identity_sql(signal)} AS identity, count() FROM {self._table(signal)}"
            f" WHERE {_within(start, end)} AND OrgId IN ({wanted}) GROUP BY identity"
        )
        return Counter({int(str(name)): int(str(count)) for name, count in found})

    def minutes(self, signal: Signal, start: int, end: int, condition: str = "1") -> dict[tuple[str, int], int]:
        """Rows by organisation and minute, in Unix seconds. `condition` is SQL without literals of others."""
        found = self._connection.rows(
            f"SELECT OrgId, toUnixTimestamp(toStartOfMinute(Timestamp)) AS minute, count()"
            f" FROM {self._table(signal)} WHERE {_within(start, end)} AND ({condition}) GROUP BY OrgId, minute"
        )
        return {(str(org), int(str(minute))): int(str(count)) for org, minute, count in found}

    def rows(self, signal: Signal, start: int, end: int, condition: str = "1") -> list[Row]:
        """Whole rows, as `sinks.opensearch_documents.rows_of` gives them, ordered by time and content."""
        schema = _SCHEMAS[signal]
        answer = self._connection.json_rows(
            f"SELECT {', '.join(map(_column, schema))} FROM {self._table(signal)}"
            f" WHERE {_within(start, end)} AND ({condition}) ORDER BY Timestamp {_PLAIN}"
        )
        found = [_row(schema, orjson.loads(line)) for line in answer.splitlines()]
        return sorted(found, key=lambda row: (row["Timestamp"], orjson.dumps(row)))

    def _table(self, signal: Signal) -> str:
        return f"{self._database}.{TABLES[signal]}"


def _within(start: int, end: int) -> str:
    first, last = (f"fromUnixTimestamp64Milli(toInt64({at}), 'UTC')" for at in (start, end))
    return f"Timestamp >= {first} AND Timestamp < {last}"


def _column(at: pa.Field) -> str:
    name = f"`{at.name}`"
    if at.type == TIME:
        return f"toUnixTimestamp64Nano({name})"
    if pa.types.is_timestamp(at.type):
        return f"toUnixTimestamp64Milli({name}) * 1000000"
    if at.type == pa.list_(TIME):
        return f"arrayMap(at -> toUnixTimestamp64Nano(at), {name})"
    return name


def _row(schema: pa.Schema, values: list[Any]) -> Row:
    row = dict(zip(schema.names, values, strict=True))
    for at in schema:
        if at.type == pa.list_(ATTRIBUTES):
            row[at.name] = [list(each.items()) for each in row[at.name]]
    return row


def quoted(text: str) -> str:
    """As a literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
