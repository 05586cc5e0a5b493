"""What the tables take on disk, shared out to the places whose rows they hold. Pure.

Bodies are shared by their bytes, all other columns by rows: both totals are known of all tenants together without
reading anybody's rows (`system.parts_columns`), so a tenant's share is the same whoever asks for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query_api.storage import Usage

LOGS: Final = "otel_logs"
SPANS: Final = "otel_traces"
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """Of one table in the month: rows, compressed bytes of bodies and of the rest, and bodies as they came."""

    rows: int = 0
    body_compressed_bytes: int = 0
    body_bytes: int = 0
    other_compressed_bytes: int = 0


def stored_of(sizes: Sequence[Row], totals: Sequence[Row]) -> dict[str, Stored]:
    """From rows (table, is it the body, compressed, uncompressed bytes) and (table, rows)."""
    rows = {str(table): int(count) for table, count in totals}
    found = {}
    for table, count in rows.items():
        body = next((row for row in sizes if row[0] == table and row[1]), (table, 1, 0, 0))
        other = sum(int(row[2]) for row in sizes if row[0] == table and not row[1])
        found[table] = Stored(count, int(body[2]), int(body[3]), other)
    return found


def shared_out(logs: Sequence[Row], spans: Sequence[Row], stored: Mapping[str, Stored]) -> list[Usage]:
    """One usage for each place with logs (org, project, component, rows, characters, bytes) or spans (..., rows,
    bytes), sorted."""
    of_logs = {(row[0], row[1], row[2]): [int(value) for value in row[3:]] for row in logs}
    of_spans = {(row[0], row[1], row[2]): [int(value) for value in row[3:]] for row in spans}
    found = []
    for place in sorted(of_logs.keys() | of_spans.keys()):
        log_rows, characters, log_bytes = of_logs.get(place, [0, 0, 0])
        span_rows, span_bytes = of_spans.get(place, [0, 0])
        found.append(
            Usage(
                *place,
                logs=log_rows,
                log_characters=characters,
                log_bytes=log_bytes,
                log_compressed_bytes=_share(stored.get(LOGS, Stored()), log_rows, log_bytes),
                spans=span_rows,
                span_bytes=span_bytes,
                span_compressed_bytes=_share(stored.get(SPANS, Stored()), span_rows, 0),
            )
        )
    return found


def _share(stored: Stored, rows: int, body_bytes: int) -> int:
    other = stored.other_compressed_bytes * rows / stored.rows if stored.rows else 0.0
    # a stored text has its length before it, a byte or two
    bodies = stored.body_compressed_bytes * (body_bytes + rows) / stored.body_bytes if stored.body_bytes else 0.0
    return round(other + min(bodies, stored.body_compressed_bytes))
