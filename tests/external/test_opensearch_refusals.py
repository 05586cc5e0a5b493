"""What a real OpenSearch takes and what not: any row is stored as it is, or refused by the name of a field.

What is wrong with an index is said, and waited for.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.columns.schema import ATTRIBUTES
from bridge.documents import Family, is_own, place_of
from bridge.errors import RejectedBySink, SinkUnavailable
from bridge.model import OTLP_SIGNALS, Batch, Partition, ReadRecord, Record, Signal
from bridge.poison import letter_of_row
from sinks.opensearch import open_opensearch_sink
from sinks.opensearch_documents import Row, rows_of
from sinks.opensearch_rows_back import SCHEMAS, row_of, table_of
from sinks.opensearch_templates import template_name
from tests.contracts.sink_contract import batch_of, expected, write
from tests.opensearch import OpenedOpenSearch, opened_opensearch, own_layout, sink_settings
from tests.opensearch_service import OpenSearchNode

pytestmark = pytest.mark.external

KEYS = st.sampled_from(
    [
        *("", ".", "..", ".x", "x.", "a..b", " ", "a. .b", "\u2003", "a.\x1c", "\x00", "_id", "*", '"', "\\"),
        *("app", "app.kubernetes.io/name", "k8s.pod.label.app", "k8s.pod.label.app.kubernetes.io/name"),
        *("version", "version.x", "organization-name", "k8s.pod.label.version.x", "k8s.pod.label.a..b"),
        *("k8s.pod.label.", "k8s.pod.label. ", "openchoreo", "openchoreo.dev/namespace", "service", "service.name"),
        *("service.name.x", ".".join("abcdefghij" * 3)),
    ]
) | st.text(max_size=6)
TEXT = st.sampled_from(["", "x", "\u00e9\u0130\U0001f600", "\x00", "x" * 40_000]) | st.text(max_size=12)
TIMES = st.sampled_from([0, 1, 1_700_000_000_123_456_789, 1_700_000_000_999_999_999, 2**63 - 1, -1, -(2**63)])
RECEIVED = st.sampled_from([0, 1_000_000, 1_700_000_000_123_000_000])
MAPS = st.dictionaries(KEYS, TEXT, max_size=5)


def _cell(kind: pa.DataType) -> st.SearchStrategy[Any]:
    if kind == ATTRIBUTES:
        return MAPS
    if pa.types.is_integer(kind):
        return st.integers(0, 2**kind.bit_width - 1) | st.just(2**kind.bit_width - 1)
    return TEXT


@st.composite
def rows(draw: st.DrawFn, signal: Signal) -> Row:
    """Any row that the columns can hold."""
    row = {at.name: draw(_cell(at.type)) for at in SCHEMAS[signal] if "." not in at.name}
    row |= {"Timestamp": draw(TIMES), "ReceivedAt": draw(RECEIVED)}
    for group, cells in (("Events.", ("Timestamp", "Name")), ("Links.", ("TraceId", "SpanId", "TraceState"))):
        if f"{group}Attributes" in SCHEMAS[signal].names:
            count = draw(st.integers(0, 2))
            for cell in cells:
                values = TIMES if cell == "Timestamp" else TEXT
                row[f"{group}{cell}"] = [draw(values) for _ in range(count)]
            row[f"{group}Attributes"] = [list(draw(MAPS).items()) for _ in range(count)]
    return row


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@pytest.mark.timeout(240)
def test_any_row_is_stored_as_it_is_or_refused_by_name(
    opensearch: OpenSearchNode, family: Family, signal: Signal
) -> None:
    """Strange keys, large and empty texts, the ends of all numbers: only times before 1970 are refused, by name."""
    started = sink_settings(opensearch.url, own_layout(family))
    numbers = iter(range(1_000_000))

    async def check(opened: OpenedOpenSearch, row: Row) -> None:
        batch = Batch(signal, f"token {next(numbers)}", table_of([row], signal))
        encoded = opened.sink.encode(batch)
        if row["Timestamp"] < 0:
            with pytest.raises(RejectedBySink) as caught:
                await opened.sink.write(encoded)
            assert column_of(signal, caught.value) in ("@timestamp", "startTime", "endTime")
            return
        await opened.sink.write(encoded)
        (document,) = await opened.fetch(encoded)
        assert document is not None
        assert row_of(document) == row
        assert list(rows_of(table_of([row_of(document)], signal))) == [row]

    with asyncio.Runner() as runner:
        opening = opened_opensearch(started)
        opened = runner.run(opening.__aenter__())

        @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
        @given(row=rows(signal))
        def run(row: Row) -> None:
            runner.run(check(opened, row))

        try:
            run()
        finally:
            runner.run(opening.__aexit__(None, None, None))


def column_of(signal: Signal, error: RejectedBySink) -> str:
    """The column that the dead letter of a refused row names."""
    one = batch_record(signal)
    return letter_of_row(Partition(signal.topic, 0), [ReadRecord(0, one)], 0, error).column


def batch_record(signal: Signal) -> Record:
    """A record of one item."""
    message: Any
    if signal is Signal.LOGS:
        message = ExportLogsServiceRequest()
        message.resource_logs.add().scope_logs.add().log_records.add()
    else:
        message = ExportTraceServiceRequest()
        message.resource_spans.add().scope_spans.add().spans.add()
    return Record(signal, "o", "p", 1, 1, message.SerializeToString())


@pytest.fixture
async def opened(opensearch: OpenSearchNode) -> AsyncIterator[OpenedOpenSearch]:
    async with opened_opensearch(sink_settings(opensearch.url, own_layout(Family.A))) as opened:
        yield opened


def labelled(batch: Batch, labels: list[dict[str, str]]) -> Batch:
    """The batch with these attributes of the resource, a row each."""
    made = [row | {"ResourceAttributes": given} for row, given in zip(rows_of(batch.table), labels, strict=True)]
    return replace(batch, table=table_of(made, batch.signal))


async def make_index(opened: OpenedOpenSearch, batch: Batch, body: dict[str, Any]) -> str:
    """The first index of a batch, made by somebody else."""
    name = sorted(opened.sink.encode(batch).body.indices)[0]
    await opened.client.call("PUT", f"/{name}", body)
    return str(name)


def of_one_day(batch: Batch) -> Batch:
    made = [row | {"Timestamp": 1_700_000_000_000_000_000 + at} for at, row in enumerate(rows_of(batch.table))]
    return replace(batch, table=table_of(made, batch.signal))


async def test_the_rest_of_a_batch_is_written_before_a_refusal(opened: OpenedOpenSearch) -> None:
    """A row of 1969 is refused, naming its time without its value; the others are there."""
    batch = batch_of(Signal.LOGS, 10)
    made = [row | ({"Timestamp": -1_500_000_000} if at == 3 else {}) for at, row in enumerate(rows_of(batch.table))]
    with pytest.raises(RejectedBySink, match=r"1 documents refused.*\[@timestamp\]") as caught:
        await write(opened, replace(batch, table=table_of(made, Signal.LOGS)))
    assert "1969" not in str(caught.value)
    assert column_of(Signal.LOGS, caught.value) == "@timestamp"
    assert sorted(await opened.ids(Signal.LOGS)) == sorted(set(expected(10)) - {f"{4:016x}"})


async def test_an_index_of_others_gets_our_fields_and_keeps_its_own(opened: OpenedOpenSearch) -> None:
    """What a Fluent Bit has made by dynamic mapping: `headrace` becomes searchable, and substrings of `log`."""
    batch = of_one_day(batch_of(Signal.LOGS, 10))
    text = {"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}
    name = await make_index(opened, batch, {"mappings": {"properties": {"@timestamp": {"type": "date"}, "log": text}}})
    await opened.client.call("POST", f"/{name}/_doc", {"log": "theirs", "kubernetes": {"labels": {"target": "x"}}})
    await write(opened, batch)
    told = (await opened.client.call("GET", f"/{name}/_mapping"))[name]["mappings"]["properties"]
    assert told["@timestamp"] == {"type": "date"}
    assert set(told["log"]["fields"]) == {"keyword", "substring"}
    assert told["kubernetes"]["properties"]["labels"]["properties"]["target"]["type"] == "text"
    query = {"query": {"wildcard": {"log.substring": {"value": "*INE 7 *", "case_insensitive": True}}}}
    found = await opened.client.call("POST", f"/{name}/_search", query)
    assert [hit["_source"]["headrace"]["row"]["SpanId"] for hit in found["hits"]["hits"]] == [f"{7:016x}"]
    org = {"query": {"exists": {"field": "headrace.org"}}}
    ours = [document for document in await opened.documents(Signal.LOGS) if is_own(document)]
    has_org = [document for document in ours if place_of(opened.layout, document, Signal.LOGS)[0]]
    assert (await opened.client.call("POST", f"/{name}/_count", org))["count"] == len(has_org)
    assert len(ours) == 10


async def test_labels_that_conflict_in_an_index_of_others_are_refused_by_name(opened: OpenedOpenSearch) -> None:
    """Dynamic mapping makes `app` a text or an object, whichever came first: a dead letter names the field."""
    batch = of_one_day(batch_of(Signal.LOGS, 2))
    await make_index(opened, batch, {})
    conflict = [{"k8s.pod.label.app": "api"}, {"k8s.pod.label.app.kubernetes.io/name": "api"}]
    with pytest.raises(RejectedBySink, match="1 documents refused") as caught:
        await write(opened, labelled(batch, conflict))
    assert column_of(Signal.LOGS, caught.value).startswith("kubernetes.labels.app")
    assert len(await opened.ids(Signal.LOGS)) == 1


async def test_the_same_labels_are_no_conflict_in_an_index_of_ours(opened: OpenedOpenSearch) -> None:
    """Nothing of a tenant is mapped that an operator has not named."""
    batch = of_one_day(batch_of(Signal.LOGS, 2))
    labels = [{"k8s.pod.label.app": "api"}, {"k8s.pod.label.app.kubernetes.io/name": "api", "k8s.pod.label.app": "x"}]
    await write(opened, labelled(batch, labels))
    stored = [document["kubernetes"]["labels"] for document in await opened.documents(Signal.LOGS)]
    assert {"app": "x", "app.kubernetes.io/name": "api"} in [
        {key: value for key, value in found.items() if key.startswith("app")} for found in stored
    ]


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"headrace": {"type": "keyword"}}, "headrace"),
        ({"headrace": {"properties": {"time_unix_nano": {"type": "text"}}}}, "headrace.time_unix_nano"),
        ({"headrace": {"properties": {"row": {"properties": {"OrgId": {"type": "text"}}}}}}, "headrace.row"),
        ({"kubernetes": {"properties": {"pod_name": {"properties": {}}}}}, "kubernetes.pod_name"),
        ({"kubernetes": {"type": "text"}}, "kubernetes"),
    ],
)
async def test_an_index_that_does_not_fit_is_named_and_waited_for(
    opened: OpenedOpenSearch, properties: dict[str, Any], field: str
) -> None:
    """With the field; once the index is made anew the same batch is written."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    name = await make_index(opened, batch, {"mappings": {"properties": properties}})
    with pytest.raises(SinkUnavailable, match=f"index {name}: field {field} is") as caught:
        await write(opened, batch)
    assert caught.value.reason == "schema"
    await opened.client.call("DELETE", f"/{name}")
    await write(opened, batch)
    assert sorted(await opened.ids(Signal.LOGS)) == expected(3)


STATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "read-only": ({"settings": {"index.blocks.read_only": True}}, "readonly", "read-only"),
    "flood stage": ({"settings": {"index.blocks.read_only_allow_delete": True}}, "disk", "disks are full"),
    "strict": ({"mappings": {"dynamic": "strict"}}, "schema", "dynamic"),
    "full": ({"settings": {"index.mapping.total_fields.limit": 3}}, "schema", "Limit of total fields"),
    "without its pipeline": ({"settings": {"index.default_pipeline": "gone"}}, "schema", "ingest pipeline"),
    "routed": ({"mappings": {"_routing": {"required": True}}}, "schema", "routing"),
}


@pytest.mark.parametrize("state", list(STATES))
async def test_an_index_that_takes_nothing_is_waited_for(opened: OpenedOpenSearch, state: str) -> None:
    """No row is given up for what an operator can mend; the text says what."""
    body, reason, advice = STATES[state]
    batch = of_one_day(batch_of(Signal.TRACES, 3))
    name = await make_index(opened, batch, body)
    with pytest.raises(SinkUnavailable, match=advice) as caught:
        await write(opened, batch)
    assert caught.value.reason == reason
    if reason != "schema":
        await opened.client.call("PUT", f"/{name}/_settings", dict.fromkeys(body["settings"]))
    else:
        await opened.client.call("DELETE", f"/{name}")
    await write(opened, batch)
    assert sorted(await opened.ids(Signal.TRACES)) == expected(3)


async def test_a_closed_index_is_waited_for(opened: OpenedOpenSearch) -> None:
    """As when an old day was closed and late data comes."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    await write(opened, batch)
    name = sorted(opened.sink.encode(batch).body.indices)[0]
    await opened.client.call("POST", f"/{name}/_close")
    with pytest.raises(SinkUnavailable, match="open the index") as caught:
        await write(opened, batch)
    assert caught.value.reason == "schema"
    await opened.client.call("POST", f"/{name}/_open")
    await write(opened, batch)
    assert sorted(await opened.ids(Signal.LOGS)) == expected(3)


async def test_an_index_without_shards_is_named_before_the_client_gives_up(opened: OpenedOpenSearch) -> None:
    """As after the loss of a disk: not a timeout, of which nobody could tell what is wrong."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    settings = {"number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}
    name = sorted(opened.sink.encode(batch).body.indices)[0]
    await opened.client.call("PUT", f"/{name}", {"settings": settings}, params={"wait_for_active_shards": 0})
    hasty = replace(opened.sink.settings.client, request_timeout_seconds=2.0)
    async with open_opensearch_sink(replace(opened.sink.settings, client=hasty)) as sink:
        with pytest.raises(SinkUnavailable, match=rf"shards are missing: .*\[{name}\]") as caught:
            await sink.write(sink.encode(batch))
    assert caught.value.reason == "cluster"
    await opened.client.call("PUT", f"/{name}/_settings", {"index.routing.allocation.require._name": None})
    await write(opened, batch)
    assert sorted(await opened.ids(Signal.LOGS)) == expected(3)


async def test_an_index_that_was_deleted_is_not_taken_for_the_one_that_was_looked_at(opened: OpenedOpenSearch) -> None:
    """OpenSearch makes it anew, without our template if that is gone too: rows that no reader finds are not written."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    await write(opened, batch)
    name = sorted(opened.sink.encode(batch).body.indices)[0]
    await opened.client.call("DELETE", f"/_index_template/{template_name(opened.layout, Signal.LOGS)}")
    await opened.client.call("DELETE", f"/{name}")
    with pytest.raises(SinkUnavailable, match=f"index {name}: field headrace.* make the index anew"):
        await write(opened, batch)
    await opened.client.call("DELETE", f"/{name}")
    await write(opened, batch)
    query = {"query": {"exists": {"field": "headrace.sequence"}}}
    assert (await opened.client.call("POST", f"/{name}/_count", query))["count"] == 3
    told = (await opened.client.call("GET", f"/{name}/_mapping"))[name]["mappings"]
    assert told["properties"]["headrace"]["properties"]["org"]["type"] == "keyword"


async def test_a_template_of_others_in_our_place_is_named(opened: OpenedOpenSearch) -> None:
    """Two templates of one priority for the same indices cannot be; with a higher one, our fields are added."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    theirs = f"theirs-{opened.layout.logs_prefix}"
    body = {"index_patterns": [opened.layout.pattern(Signal.LOGS)], "priority": 500}
    await opened.client.call("PUT", f"/_index_template/{theirs}", body)
    try:
        with pytest.raises(SinkUnavailable, match=theirs) as caught:
            await write(opened, batch)
        assert caught.value.reason == "schema"
        await opened.client.call("PUT", f"/_index_template/{theirs}", body | {"priority": 501})
        await write(opened, batch)
        told = await opened.client.call("GET", f"/{opened.layout.pattern(Signal.LOGS)}/_mapping")
        assert all("headrace" in index["mappings"]["properties"] for index in told.values())
    finally:
        await opened.client.call("DELETE", f"/_index_template/{theirs}")


async def test_templates_are_put_again_only_when_they_differ(opensearch: OpenSearchNode) -> None:
    """What an operator has added to ours stays; another setting of ours replaces it."""
    started = sink_settings(opensearch.url, own_layout(Family.BC))
    batch = of_one_day(batch_of(Signal.LOGS, 1))
    path = f"/_index_template/{template_name(started.layout, Signal.LOGS)}"
    async with opened_opensearch(started) as opened:

        async def refresh_interval(replicas: int) -> object:
            """After a write of a sink that has just started."""
            async with open_opensearch_sink(replace(started, number_of_replicas=replicas)) as sink:
                await sink.write(sink.encode(batch))
            return (await stored())["template"]["settings"]["index"].get("refresh_interval")

        async def stored() -> Any:
            return (await opened.client.call("GET", path))["index_templates"][0]["index_template"]

        assert await refresh_interval(0) is None
        body = await stored()
        body["template"]["settings"]["index"]["refresh_interval"] = "7s"
        await opened.client.call("PUT", path, body)
        assert await refresh_interval(0) == "7s"
        assert await refresh_interval(1) is None


async def test_an_index_that_may_not_be_made_is_waited_for(opened: OpenedOpenSearch) -> None:
    """One that vanished under the sink, where indices do not come by themselves, is made again with its mapping."""
    batch = of_one_day(batch_of(Signal.LOGS, 3))
    await write(opened, batch)
    name = sorted(opened.sink.encode(batch).body.indices)[0]
    await opened.client.call("DELETE", f"/{name}")
    setting = {"action.auto_create_index": f"-{opened.layout.logs_prefix}*,+*"}
    await opened.client.call("PUT", "/_cluster/settings", {"persistent": setting})
    try:
        with pytest.raises(SinkUnavailable, match="auto_create_index"):
            await write(opened, batch)
        await write(opened, batch)
    finally:
        await opened.client.call("PUT", "/_cluster/settings", {"persistent": dict.fromkeys(setting)})
    assert sorted(await opened.ids(Signal.LOGS)) == expected(3)
