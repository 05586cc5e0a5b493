"""Every dictionary anywhere in a table has distinct values and no null; slices survive the sink's encoding."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.columns import to_table
from bridge.model import OTLP_SIGNALS, Signal
from sinks.clickhouse import arrow_stream
from tests import oracle
from tests.otlp_strategies import records
from tests.properties.test_columns import read, slow


def dictionaries(a: Any) -> Iterator[Any]:
    if isinstance(a, pa.DictionaryArray):
        yield a
    elif isinstance(a, pa.MapArray):
        yield from dictionaries(a.keys)
        yield from dictionaries(a.items)
    elif isinstance(a, pa.ListArray):
        yield from dictionaries(a.values)


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@settings(slow, max_examples=60)
@given(data=st.data())
def test_dictionaries_are_distinct_and_slices_survive_encoding(signal: Signal, data: st.DataObject) -> None:
    """ClickHouse refuses a dictionary with a value twice, and a refused batch is sent in slices."""
    batch = data.draw(records(signal))
    table = to_table(signal, batch)
    want = oracle.rows(signal, batch)
    rows = table.num_rows
    cuts = [(0, rows)] if rows else []
    if rows:
        first = data.draw(st.integers(0, rows - 1))
        cuts.append((first, data.draw(st.integers(first + 1, rows))))
    for a, b in cuts:
        back = pa.ipc.open_stream(arrow_stream(table.slice(a, b - a), "lz4")).read_all()
        assert read(back) == want[a:b]
        for column in back.columns:
            for each in dictionaries(column.combine_chunks()):
                assert each.null_count == 0
                assert each.dictionary.null_count == 0
                assert pc.count_distinct(each.dictionary).as_py() == len(each.dictionary)
