"""Documents of ours back to rows, and rows to the table of a batch: what `opensearch_documents` does, undone. Pure.

Nothing is lost on the way: the table has the schema of `bridge/columns/schema.py` and the values of the one that was
written. Only the order in which its dictionaries list their values may differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import Any, Final

import pyarrow as pa

from bridge.columns.schema import ATTRIBUTES, LOGS, NAME, SPANS, TIME
from bridge.documents import OWN, Document, body_of
from bridge.model import Signal
from sinks.opensearch_documents import Row

SCHEMAS: Final[Mapping[Signal, pa.Schema]] = {Signal.TRACES: SPANS, Signal.LOGS: LOGS}
_NANOS_OF_MILLI: Final = 1_000_000
_OFFSETS: Final = pa.int32()


def row_of(document: Document) -> Row:
    """The row a document of ours was made of, as `rows_of` gives it: every column, times in Unix nanoseconds.

    Raises `KeyError` for a document that is not ours (`bridge.documents.is_own`).
    """
    own = document[OWN]
    signal = Signal.LOGS if "log" in document else Signal.TRACES
    row: Row = {name: make() for name, make in _ABSENT[signal].items()} | own["row"]
    for name in _LISTS_OF_MAPS[signal]:
        row[name] = [[tuple(pair) for pair in pairs] for pairs in row[name]]
    row["Timestamp"] = own["time_unix_nano"]
    row["ReceivedAt"] = own["received_unix_milli"] * _NANOS_OF_MILLI
    if signal is Signal.LOGS:
        row["Body"] = body_of(document)
    return row


def table_of(rows: Sequence[Row], signal: Signal) -> pa.Table:
    """The rows as a batch's table, in their order. Raises `pa.ArrowException` for values the columns cannot hold."""
    schema = SCHEMAS[signal]
    return pa.table([_column([row[at.name] for row in rows], at.type) for at in schema], schema=schema)


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == ATTRIBUTES:
        return _maps([value.items() for value in values])
    if kind == pa.list_(ATTRIBUTES):
        return pa.ListArray.from_arrays(_offsets(values), _maps(list(chain.from_iterable(values))), type=kind)
    if pa.types.is_timestamp(kind) and kind != TIME:
        return pa.array([value // _NANOS_OF_MILLI for value in values], kind)
    return pa.array(values, kind)


def _maps(values: Sequence[Iterable[tuple[str, str]]]) -> pa.MapArray:
    pairs = [list(value) for value in values]
    flat = list(chain.from_iterable(pairs))
    keys, items = (pa.array([pair[side] for pair in flat], NAME) for side in (0, 1))
    return pa.MapArray.from_arrays(_offsets(pairs), keys, items, type=ATTRIBUTES)


def _offsets(values: Sequence[Sequence[object]]) -> pa.Array:
    return pa.array(accumulate((len(value) for value in values), initial=0), _OFFSETS)


def _absent(kind: pa.DataType) -> type[Any]:
    """What makes the value of a column that a document leaves out."""
    if pa.types.is_map(kind):
        return dict
    if pa.types.is_list(kind):
        return list
    return int if pa.types.is_integer(kind) or pa.types.is_timestamp(kind) else str


_ABSENT: Final = {signal: {at.name: _absent(at.type) for at in schema} for signal, schema in SCHEMAS.items()}
_LISTS_OF_MAPS: Final = {
    signal: [at.name for at in schema if at.type == pa.list_(ATTRIBUTES)] for signal, schema in SCHEMAS.items()
}
