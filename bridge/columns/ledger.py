"""Ledger records -> the rows of ingest_ledger."""

import json
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from bridge.errors import Malformed
from bridge.model import Record

LEDGER: Final = pa.schema(
    [
        ("minute", pa.timestamp("s", "UTC")),
        ("org", pa.string()),
        ("signal", pa.string()),
        ("role", pa.string()),
        ("instance", pa.string()),
        ("partition", pa.int32()),
        *[(n, pa.uint64()) for n in ("received", "refused", "rejected", "appended", "written", "dead_lettered")],
        ("started_at", pa.timestamp("s", "UTC")),
        ("heard_at", pa.timestamp("s", "UTC")),
        ("is_last", pa.uint8()),
        ("complete_until", pa.timestamp("ms", "UTC")),
    ]
)


def ledger_table(records: Sequence[Record]) -> pa.Table:
    """One row an entry, in order (`LEDGER`). Raises `Malformed` if a record is not what `bridge/ledger.py` writes."""
    try:
        rows = [row for record in records for row in json.loads(record.value)]
        return pa.Table.from_pylist(rows, schema=LEDGER)
    except (ValueError, TypeError, pa.ArrowException) as error:
        raise Malformed(f"a record is not a ledger entry: {error}") from error
