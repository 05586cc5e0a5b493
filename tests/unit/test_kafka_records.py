"""Records as Kafka messages: ours come back as they were, others' are told apart, and commits carry the intent."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.assembly import load_identities
from bridge.assembly_deliver import build_foreign
from bridge.columns import to_table
from bridge.errors import PermissionDenied
from bridge.log.kafka_records import committed_of, headers_of, key_of, metadata_of, record_of
from bridge.model import Committed, Intent, Origin, Partition, Record, Signal
from bridge.settings import Settings
from bridge.telemetry import Metrics

OURS = Record(Signal.LOGS, "acme", "eu-1", 1_700_000_000_123_456_789, 7, b"value")
AT = Partition("otlp_logs", 3)
RECORDED = json.loads(Path(__file__).with_name("collector_kafka.json").read_text())


@pytest.mark.parametrize("letter", ["", "otlp_logs:3:17:2@abc"])
def test_our_record_comes_back_as_it_was(letter: str) -> None:
    """Every field, through its headers."""
    record = replace(OURS, dead_letter=letter)
    assert record_of(Signal.LOGS, headers_of(record), record.value, 0) == record


@pytest.mark.parametrize(
    "changed",
    [{"v": b"2"}, {"items": b"many"}, {"received_at": b"-1"}, {"signal": b"traces"}, {"org": b"\xff"}, {"plane": None}],
)
def test_headers_that_cannot_be_read_are_told_apart(changed: dict[str, bytes | None]) -> None:
    """The bytes are kept; nothing raises."""
    told = {**dict(headers_of(OURS)), **changed}
    headers = [(name, value) for name, value in told.items() if value is not None]
    found = record_of(Signal.LOGS, headers, b"value", 5)
    assert (found.origin, found.value, found.received_at_unix_nano) == (Origin.UNREADABLE, b"value", 5_000_000)


@given(st.lists(st.tuples(st.text(max_size=12), st.binary(max_size=20)), max_size=8), st.binary() | st.none())
def test_no_message_raises(headers: list[tuple[str, bytes]], value: bytes | None) -> None:
    """Whatever somebody puts into the topic."""
    record_of(Signal.TRACES, headers, value, -1)


def test_the_key_is_the_organisation_or_spreads_it() -> None:
    """By trace only if told so and there is one."""
    record = replace(OURS, spread_by=bytes(range(16)))
    assert key_of(record, by_trace=False) == b"acme"
    assert key_of(record, by_trace=True) == b"acme|000102030405060708090a0b0c0d0e0f"
    assert key_of(OURS, by_trace=True) == b"acme"


@pytest.mark.parametrize("intent", [None, Intent(5, 9, 2), Intent(5, 9, 2, (3, 8))])
def test_a_commit_carries_its_intent(intent: Intent | None) -> None:
    """There and back; short enough for a broker's limit of 4096 bytes."""
    metadata = metadata_of(intent)
    assert committed_of(AT, 5, metadata) == Committed(AT, 5, intent)
    assert len(metadata) < 200


@pytest.mark.parametrize("metadata", ["hello", "{}", "[]", '{"next":[4,9],"codec":1}', '{"next":[5,9],"codec":"x"}'])
def test_metadata_of_others_is_no_intent(metadata: str) -> None:
    """As after offsets were reset by hand with another tool."""
    assert committed_of(AT, 5, metadata) == Committed(AT, 5)


@pytest.mark.parametrize("number", range(len(RECORDED["records"])))
def test_records_of_the_collectors_exporter_are_delivered(number: int) -> None:
    """As recorded from the kafka exporter 0.155: adopted by the local plane, rows under their own claims."""
    recorded = RECORDED["records"][number]
    signal = Signal.TRACES if recorded["topic"] == "otlp_spans" else Signal.LOGS
    headers = [(name, bytes.fromhex(value)) for name, value in recorded["headers"]]
    record = record_of(signal, headers, bytes.fromhex(recorded["value"]), recorded["timestamp"])
    assert record.origin is Origin.FOREIGN
    settings = Settings()
    adopted = build_foreign(settings, load_identities(settings), Metrics())(record)
    table = to_table(signal, adopted)
    assert table.num_rows == sum(each.items for each in adopted) > 0
    assert set(table.column("OrgId").to_pylist()) <= {"acme", "globex", "default"}


def test_records_of_others_need_a_data_plane_where_there_is_a_catalog(tmp_path: Path) -> None:
    """Nobody writes as an organisation by having access to the topic alone."""
    file = tmp_path / "catalog.toml"
    file.write_text('[[organizations]]\nname = "acme"\n[[data_planes]]\nid = "p"\norganizations = ["acme"]\n')
    settings = Settings.model_validate({"catalog": {"file": file}})
    accept = build_foreign(settings, load_identities(settings), Metrics())
    with pytest.raises(PermissionDenied, match="foreign_data_plane"):
        accept(replace(OURS, origin=Origin.FOREIGN))
