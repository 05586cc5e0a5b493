"""`headrace migrate backfill` between a real OpenSearch and a real ClickHouse, killed and repeated."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.documents import Family, layout_of
from bridge.migration.read_opensearch import Source
from bridge.migration.state import Kind
from bridge.model import Signal
from bridge.opensearch import OpenSearchSettings, open_opensearch
from tests.legacy import Past, fill
from tests.migrating import Migrating, log_document, migrating
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.services import ClickHouseServer, skipped_if_unavailable

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]
PAST = Past(20_000)
TODAY = f"{PAST.today:%Y-%m-%d}T00:00:00Z"
BEFORE_INSERT, AFTER_INSERT = "between the intent and the insert", "between the insert and the commit"
NOON = "2024-03-05T12:00:00Z"


@pytest.fixture(scope="module")
def node() -> Iterator[OpenSearchNode]:
    """A node of our own that holds the past and nothing else in its indices."""
    with skipped_if_unavailable(), start_opensearch() as started:
        fill(started, PAST)
        yield started


@pytest.fixture
def stores(node: OpenSearchNode, clickhouse: ClickHouseServer) -> Iterator[Migrating]:
    with migrating(node, clickhouse) as found:
        yield found


@pytest.fixture
def other(node: OpenSearchNode, clickhouse: ClickHouseServer) -> Iterator[Migrating]:
    """The same OpenSearch beside another database."""
    with migrating(node, clickhouse) as found:
        yield found


@pytest.mark.timeout(400)
def test_three_kills_change_nothing(stores: Migrating, other: Migrating) -> None:
    """Killed before an insert, after one whose slice is not recorded, and once more: the same rows as undisturbed."""
    for step, count in ((BEFORE_INSERT, 2), (AFTER_INSERT, 3), (AFTER_INSERT, 1)):
        killed = stores.backfill("--until", TODAY, crash_at=f"{step}:{count}")
        assert killed.status == -9, killed
    recorded = stores.slices()
    assert 0 < recorded < 10
    done = stores.backfill("--until", TODAY)
    assert done.status == 0, done
    assert stores.slices() == 10
    assert other.backfill("--until", TODAY).status == 0
    bodies = [row[0] for row in stores.logs("Body")]
    assert sorted(bodies) == sorted(PAST.body(number) for number in range(PAST.documents))
    assert stores.logs() == other.logs()
    again = stores.backfill("--until", TODAY)
    assert "0 documents in 0 slices" in again.out
    assert len(stores.logs("1")) == PAST.documents


def test_a_slice_is_not_doubled_when_the_store_has_forgotten_its_token(stores: Migrating) -> None:
    """After an insert without a record of it, the rows themselves say that they are there: no window is counted on."""
    table = f"{stores.database}.otel_logs"
    stores.connection.run(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0")
    index = ("--until", TODAY, "--index", PAST.index_names[0])
    assert stores.backfill(*index, crash_at=f"{AFTER_INSERT}:1").status == -9
    assert (len(stores.logs("1")), stores.slices()) == (2_000, 0)
    done = stores.backfill(*index)
    assert "0 rows written, 2000 were there" in done.out
    assert (len(stores.logs("1")), stores.slices()) == (2_000, 1)


def test_what_is_missing_of_a_slice_is_put_back_and_nothing_else(stores: Migrating) -> None:
    """A slice that is not recorded writes exactly the rows that the store lacks."""
    index = ("--until", TODAY, "--index", PAST.index_names[0])
    assert stores.backfill(*index).status == 0
    whole, table = stores.logs(), f"{stores.database}.otel_logs"
    stores.connection.run(f"DELETE FROM {table} WHERE endsWith(Body, '7 served')")
    assert len(stores.logs("1")) == 1_800
    stores.connection.run(f"TRUNCATE TABLE {stores.database}.headrace_migration")
    done = stores.backfill(*index)
    assert "200 rows written, 1800 were there" in done.out
    assert stores.logs() == whole


def test_small_slices_are_the_same_rows(stores: Migrating, other: Migrating) -> None:
    """However an index is cut, each document is moved once."""
    index = ("--until", TODAY, "--index", PAST.index_names[1])
    assert stores.with_settings(migration__slice_documents="130").backfill(*index).status == 0
    assert other.backfill(*index).status == 0
    assert stores.slices() >= 15
    assert stores.logs() == other.logs()


def test_documents_that_cannot_become_rows_are_named_and_end_the_run_with_1(stores: Migrating) -> None:
    """Each is told with its index, id and reason; the others are moved, and with --skip-refused that is all right."""
    good = log_document(NOON, "good")
    late = log_document("2199-01-01T00:00:00Z", "too late for the store")
    nobody = log_document(NOON, "spoofed\nlabel", org="bad\tname")
    untimed = {key: value for key, value in log_document(NOON, "untimed").items() if key != "@timestamp"}
    stores.bulk("kubernetes-2024.03.05", [good, late, nobody, untimed])
    index = ("--until", "2250-01-01T00:00:00Z", "--index", "kubernetes-2024.03.05")
    done = stores.backfill(*index)
    assert done.status == 1
    told = [line for line in done.err.splitlines() if line.startswith("refused: kubernetes-2024.03.05 ")]
    assert len(told) == 3
    for reason in ("no time between 1970 and 2096", "claim_invalid", "it has no @timestamp"):
        assert reason in done.err
    assert [row[0] for row in stores.logs("Body")] == ["good"]
    assert stores.backfill(*index, "--skip-refused").status == 0
    assert [row[0] for row in stores.logs("Body")] == ["good"]


def test_documents_that_came_later_are_moved_by_the_next_run(stores: Migrating) -> None:
    """An index that has more documents than when it was cut is cut again; what is there stays as it is."""
    stores.bulk("kubernetes-2024.03.06", [log_document("2024-03-06T12:00:00Z", f"line {n}") for n in range(20)])
    index = ("--until", TODAY, "--index", "kubernetes-2024.03.06")
    assert stores.backfill(*index).status == 0
    stores.bulk("kubernetes-2024.03.06", [log_document("2024-03-06T11:00:00.5Z", "late")])
    assert "1 rows written" in stores.backfill(*index).out
    assert len(stores.logs("1")) == 21


def test_without_a_shadow_nothing_says_where_the_past_ends(stores: Migrating) -> None:
    """Backfill refuses with what to do; with a shadow it moves what is older than its start, and only after --yes."""
    index = ("--index", PAST.index_names[2])
    refused = stores.backfill(*index)
    assert refused.status == 1
    assert "migrate shadow start" in refused.err
    noon = datetime.combine(PAST.day(2), datetime.min.time(), UTC).replace(hour=12)
    stores.state.put(Kind.SHADOW, "opensearch", {"started_at": noon.isoformat(), "running": True})
    dry = stores.command("backfill", *index)
    assert (dry.status, len(stores.logs("1"))) == (0, 0)
    assert stores.backfill(*index).status == 0
    times = [row[0] for row in stores.logs("Timestamp")]
    assert len(times) == 1_000
    assert max(times) < noon.replace(tzinfo=None)


def test_days_can_be_chosen(stores: Migrating) -> None:
    """--from and --to are UTC days, both moved."""
    days = ("--from", f"{PAST.day(3)}", "--to", f"{PAST.day(4)}")
    assert stores.backfill("--until", TODAY, *days).status == 0
    assert stores.logs("DISTINCT toDate(Timestamp) AS Timestamp, '' AS Body") == [[PAST.day(3), ""], [PAST.day(4), ""]]


SPAN_A = {
    **{"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "parentSpanId": ""},
    **{"name": "GET /orders", "kind": "SPAN_KIND_SERVER", "serviceName": "api", "durationInNanos": 1_500_000},
    **{"startTime": "2024-03-05T12:00:00.123456789Z", "endTime": "2024-03-05T12:00:00.124956789Z"},
    **{"status": {"code": 2, "message": "boom"}, "span.attributes.http@method": "GET"},
    **{"resource.attributes.organization@id": "acme", "resource.attributes.service@name": "api"},
    "events": [{"name": "exception", "time": "2024-03-05T12:00:00.124Z", "attributes": {"exception@type": "E"}}],
}


def test_spans_of_data_prepper_become_rows(stores: Migrating) -> None:
    """Ids, times to the nanosecond, kind, status, attributes of both sorts and events are as they were sent."""
    stores.bulk("otel-v1-apm-span-000001", [SPAN_A])
    done = stores.backfill("--until", TODAY, "--signal", "traces", "--index", "otel-v1-apm-span-000001")
    assert done.status == 0, done
    columns = "SpanId, TraceId, SpanName, SpanKind, ServiceName, OrgId, Duration, StatusCode, StatusMessage"
    assert stores.spans(f"Timestamp, {columns}")[0][1:] == [
        *("b7ad6b7169203331", "0af7651916cd43dd8448eb211c80319c", "GET /orders", "Server", "api", "acme"),
        *(1_500_000, "Error", "boom"),
    ]
    more = stores.spans("toUnixTimestamp64Nano(Timestamp) AS at, SpanAttributes, Events.Name, Events.Attributes")
    assert more == [[1_709_640_000_123_456_789, {"http.method": "GET"}, ["exception"], [{"exception.type": "E"}]]]


def test_rows_go_to_opensearch_and_come_back_equal(stores: Migrating, other: Migrating) -> None:
    """Into empty indices and back into an empty database, nothing is lost, and repeating it writes nothing."""
    stores.bulk("kubernetes-2023.01.01", [log_document(f"2023-01-01T00:00:{n:02}Z", f"line {n}") for n in range(60)])
    stores.bulk("otel-v1-apm-span-000002", [{**SPAN_A, "spanId": f"{n + 1:016x}"} for n in range(50)])
    only = ("--index", "kubernetes-2023.01.01", "--index", "otel-v1-apm-span-000002")
    assert stores.backfill("--until", TODAY, *only).status == 0
    prefixes = {"opensearch__logs_prefix": "back-logs-", "opensearch__spans_prefix": "back-spans-"}
    there, back = stores.with_settings(**prefixes), other.with_settings(**prefixes)
    first = there.backfill("--until", TODAY, "--direction", "to-opensearch")
    assert first.status == 0, first
    assert "110 rows written" in first.out
    stores.connection.run(f"TRUNCATE TABLE {stores.database}.headrace_migration")
    assert "0 rows written, 110 were there" in there.backfill("--until", TODAY, "--direction", "to-opensearch").out
    assert "0 rows written" in back.backfill("--until", TODAY).out  # the shadow's own are not taken for others'
    assert back.backfill("--until", TODAY, "--include-own").status == 0
    assert len(other.logs("1")) == 60
    assert (other.logs(), other.spans()) == (stores.logs(), stores.spans())


def test_what_came_from_opensearch_does_not_go_back_there(stores: Migrating) -> None:
    """Documents of others are recognised as the rows that were made of them."""
    index = ("--until", TODAY, "--index", PAST.index_names[5])
    assert stores.backfill(*index).status == 0
    done = stores.backfill("--until", TODAY, "--direction", "to-opensearch")
    assert done.status == 0, done
    assert "0 rows written, 2000 were there" in done.out


async def test_a_millisecond_that_fills_pages_is_read_whole(stores: Migrating) -> None:
    """Over several shards, with more documents of one millisecond than a page, each is read exactly once."""
    busy = [log_document("2022-05-05T05:05:05.005Z", f"same {n}") for n in range(350)]
    spread = [log_document(f"2022-05-05T05:05:{n % 60:02}.{n:03}Z", f"spread {n}") for n in range(500)]
    mapping = {"settings": {"number_of_shards": 3, "number_of_replicas": 0}}
    await asyncio.to_thread(stores.bulk, "kubernetes-2022.05.05", [*busy, *spread], mapping)
    start = int(datetime(2022, 5, 5, tzinfo=UTC).timestamp()) * 1000
    async with open_opensearch(OpenSearchSettings((stores.node.url,))) as client:
        source = Source(client, layout_of(Family.A), Signal.LOGS, page_documents=100)
        hits = await source.read("kubernetes-2022.05.05", start, start + 86_400_000)
    bodies: list[Any] = [hit.source["log"] for hit in hits]
    assert sorted(bodies) == sorted(str(document["log"]) for document in (*busy, *spread))
    assert [hit.at_unix_milli for hit in hits] == sorted(hit.at_unix_milli for hit in hits)
