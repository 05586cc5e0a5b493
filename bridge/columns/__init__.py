"""OTLP bytes -> one Arrow table a batch, without a Python loop over items.

Rows come in the order of the records and of the items in them, and depend on nothing but the records: the same range
of the log gives the same table for as long as `CODEC` is the same. It is part of the deduplication token.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pyarrow as pa

from bridge.columns.canonical import canonical
from bridge.columns.ledger import ledger_table
from bridge.columns.logs import logs_table
from bridge.columns.spans import spans_table
from bridge.errors import Malformed
from bridge.model import Record, Signal

# Raise it with any change that alters rows, their order or the settings that cut them into blocks.
CODEC: Final = 2


def to_table(signal: Signal, records: Sequence[Record]) -> pa.Table:
    """The records' items as rows of `schema.SPANS`, `schema.LOGS` or `ledger.LEDGER`. Raises `Malformed`.

    Records hold what the sender encoded. What upb has accepted and the fast decoder does not, or reads with two
    meanings, is written again by upb first.
    """
    if signal is Signal.LEDGER:
        return ledger_table(records)
    make = spans_table if signal is Signal.TRACES else logs_table
    try:
        return make(records)
    except Malformed:
        return make([replace(record, value=canonical(signal, record.value)) for record in records])
