"""The fast columns hold exactly what the plain decoder says, for any input."""

from contextlib import suppress
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf.message import DecodeError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.columns import to_table
from bridge.columns.schema import LOGS, SPANS
from bridge.errors import Malformed
from bridge.messages import SHAPES
from bridge.model import OTLP_SIGNALS, Record, Signal
from tests import oracle
from tests.otlp_strategies import REQUESTS, records

SCHEMAS = {Signal.TRACES: SPANS, Signal.LOGS: LOGS}
slow = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def read(table: pa.Table) -> list[dict[str, Any]]:
    """A table as rows; times as integers."""
    columns = {}
    for name in table.schema.names:
        column = table.column(name).combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.int64())
        elif pa.types.is_list(column.type) and pa.types.is_timestamp(column.type.value_type):
            column = column.cast(pa.list_(pa.int64()))
        columns[name] = column.to_pylist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data())
def test_columns_equal_the_plain_decoder(signal: Signal, data: st.DataObject) -> None:
    """Every value kind, duplicate keys, strange enums, absent messages, several records: the same rows in order."""
    batch = data.draw(records(signal))
    table = to_table(signal, batch)
    table.validate(full=True)
    assert table.schema == SCHEMAS[signal]
    assert read(table) == oracle.rows(signal, batch)


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data())
def test_broken_bytes_are_malformed_or_rows_and_nothing_else(signal: Signal, data: st.DataObject) -> None:
    """Whatever a record holds, conversion ends in a table or in Malformed; what upb takes, re-encoded, is converted."""
    value = bytearray(data.draw(REQUESTS[signal]).SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if value:
            value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    raw = bytes(value[: data.draw(st.integers(0, len(value)))])
    with suppress(Malformed):
        to_table(signal, [Record(signal, "o", "p", 1, 0, raw)]).validate(full=True)
    try:
        normal = SHAPES[signal].request.FromString(raw).SerializeToString()
    except DecodeError:
        return
    record = Record(signal, "o", "p", 1, 0, normal)
    assert read(to_table(signal, [record])) == oracle.rows(signal, [record])
