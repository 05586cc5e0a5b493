"""What the tables take on disk, shared out to the places whose rows they hold. Pure.

Bodies are shared by their bytes, everything else by rows: both totals are known of all tenants together without
reading anybody's rows (`system.parts`, `parts_columns`), so a tenant's share is the same whoever asks for it. All
shares together are what the tables take; where parts are of both kinds, to within a few percent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from query_api.storage import Usage

LOGS: Final = "otel_logs"
SPANS: Final = "otel_traces"
# what ClickHouse counts for a stored text's length, measured on 26.7; before 26 it was a byte or two
LENGTH_BYTES: Final = 8
Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """Of one table in the month: rows, compressed bytes of bodies and of the rest, and bodies as they came."""

    rows: int = 0
    body_compressed_bytes: float = 0.0
    body_bytes: float = 0.0
    other_compressed_bytes: float = 0.0


def stored_of(bodies: Sequence[Row], tables: Sequence[Row]) -> dict[str, Stored]:
    """From rows (table, compressed, uncompressed bytes of bodies in wide parts) and (table, rows, rows in wide parts,
    bytes on disk). Bodies in other parts are taken to be like those; where there are no wide parts, rows share all."""
    known = {str(table): (int(compressed), int(size)) for table, compressed, size in bodies}
    found = {}
    for table, rows, wide_rows, disk_bytes in tables:
        compressed, size = known.get(str(table), (0, 0))
        scale = int(rows) / int(wide_rows) if int(wide_rows) else 0.0
        of_bodies = min(compressed * scale, float(disk_bytes))
        found[str(table)] = Stored(int(rows), of_bodies, size * scale, int(disk_bytes) - of_bodies)
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
    bodies = (
        stored.body_compressed_bytes * (body_bytes + LENGTH_BYTES * rows) / stored.body_bytes
        if stored.body_bytes
        else 0.0
    )
    return round(other + min(bodies, stored.body_compressed_bytes))
