"""A row goes into a document of OpenSearch and comes back as it was."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.columns import to_table
from bridge.columns.schema import LOGS, SPANS
from bridge.documents import Family, is_own, layout_of
from bridge.model import OTLP_SIGNALS, Batch, Signal
from sinks.opensearch_documents import Documents, rows_of
from sinks.opensearch_rows_back import row_of, table_of
from tests.otlp_strategies import records


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@given(data=st.data())
def test_rows_made_back_of_documents_are_the_table(family: Family, signal: Signal, data: st.DataObject) -> None:
    """The same schema and the same values in every column, for all that OTLP can say, in both families."""
    table = to_table(signal, data.draw(records(signal)))
    makes, batch = Documents(layout_of(family)), Batch(signal, "token", table)
    made = list(makes.of(batch))
    assert {item.index for item in made} == makes.indices(batch)
    documents = [orjson.loads(item.source) for item in made]
    assert all(is_own(document) for document in documents)
    rows = [row_of(document) for document in documents]
    assert rows == list(rows_of(table))
    again = table_of(rows, signal)
    assert again.schema == (LOGS if signal is Signal.LOGS else SPANS)
    assert again.to_pydict() == table.to_pydict()
    again.validate(full=True)


def test_a_document_of_others_has_no_row() -> None:
    """Nothing is made up for it."""
    with pytest.raises(KeyError):
        row_of({"@timestamp": "2026-01-01T00:00:00Z", "log": "hello"})
