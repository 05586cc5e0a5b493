"""What is stored is what the sender said, although its items are passed on as the bytes they came as."""

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge import ingest, wire
from bridge.assembly import Nowhere
from bridge.columns import to_table
from bridge.ingest import Ingest
from bridge.ledger import Ledger
from bridge.messages import SHAPES, parse
from bridge.model import OTLP_SIGNALS, Record, Signal
from bridge.placing import Placing
from bridge.telemetry import Metrics
from enrichers.catalog import Catalog, DataPlane
from enrichers.redaction import RedactionRules
from enrichers.tenancy import place
from tests.otlp_strategies import REQUESTS
from tests.properties.test_columns import read, slow
from tests.strange_encoder import strange

PLANE = DataPlane("p", None, "acme")
METRICS = Metrics()


def ingest_into_nothing() -> Ingest:
    catalog = Catalog()
    return Ingest(
        Nowhere(), lambda: catalog, Placing(place, lambda: catalog), RedactionRules(), 1 << 20, METRICS, Ledger()
    )


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data())
def test_strange_encodings_become_the_rows_that_upb_reads(signal: Signal, data: st.DataObject) -> None:
    """Fields out of order, set twice, two alternatives of a value, long varints, unknown fields and groups."""
    message = data.draw(REQUESTS[signal])
    raw = strange(message, random.Random(data.draw(st.integers(0, 2**32))))
    told = parse(signal, raw).SerializeToString()
    record = Record(signal, "o", "p", 1, 0, raw)
    assert read(to_table(signal, [record])) == read(to_table(signal, [replace(record, value=told)]))


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data())
def test_cut_at_the_resources_or_taken_apart_the_records_are_the_same(signal: Signal, data: st.DataObject) -> None:
    """The quick way and the careful way place, reject and keep the same, whatever is sent however it is encoded."""
    message = data.draw(REQUESTS[signal])
    is_strange = data.draw(st.booleans())
    dice = random.Random(data.draw(st.integers(0, 2**32)))
    raw = strange(message, dice) if is_strange else message.SerializeToString()
    careful, quick = ingest_into_nothing(), ingest_into_nothing()
    expected = ingest.Prepared(signal, [], ingest._Rejections(), "acme")
    careful._add(expected, parse(signal, raw), PLANE, is_redacted=False)
    for _ in range(2):  # the second time from memory
        found = quick.prepare_bytes(signal, raw, PLANE)
        assert [_comparable(each) for each in found.records] == [_comparable(each) for each in expected.records]
        assert found.rejections.items == expected.rejections.items
        assert found.rejections.text(signal) == expected.rejections.text(signal)


def _comparable(record: Record) -> tuple[Any, ...]:
    return record.org, record.plane, record.items, record.spread_by, parse(record.signal, record.value)


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@slow
@given(data=st.data())
def test_what_encoders_write_is_cut_without_being_taken_apart(signal: Signal, data: st.DataObject) -> None:
    """The quick way is the one that is taken, and the entries are what the message holds."""
    message = data.draw(REQUESTS[signal])
    entries = wire.entries_of(message.SerializeToString())
    assert entries is not None
    joined = b"".join(piece for entry in entries for piece in wire.joined(wire.head_of(entry.resource), entry.rest))
    expected = parse(signal, message.SerializeToString())
    for entry in getattr(expected, SHAPES[signal].resources):
        entry.resource.SetInParent()
    assert parse(signal, joined) == expected


def test_a_resource_in_two_pieces_is_one_resource() -> None:
    """Protobuf merges them: reading only the first would let a sender say one organisation here and another there."""
    first = b"\x0a" + bytes([len(_claim("acme"))]) + _claim("acme")
    second = b"\x0a" + bytes([len(_claim("umbrella"))]) + _claim("umbrella")
    assert wire.entries_of(b"\x0a" + bytes([len(first + second)]) + first + second) is None
    assert wire.entries_of(b"\x0a" + bytes([len(first)]) + first) is not None


def _claim(org: str) -> bytes:
    resource = Resource()
    resource.attributes.add(key="organization.id").value.string_value = org
    return resource.SerializeToString()
