"""`headrace migrate backfill` on what nobody expects in an index: it moves what it can, and says what it did not."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.documents import Family, layout_of
from bridge.migration.read_opensearch import Source
from bridge.migration.state import Kind
from bridge.model import Signal
from bridge.opensearch import OpenSearchSettings, Refused, open_opensearch
from tests.migrating import Migrating, log_document, migrating
from tests.opensearch_service import OpenSearchNode
from tests.services import ClickHouseServer

pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]
PREFIXES = {"opensearch__logs_prefix": "odd-logs-", "opensearch__spans_prefix": "odd-spans-"}
LAYOUT = layout_of(Family.A, "odd-logs-", "odd-spans-")
INDEX = "odd-logs-2024.03.05"
NOON = "2024-03-05T12:00:00Z"
PAST = ("--until", "2025-01-01")
DAY = ("--from", "2024-03-05", "--to", "2024-03-06")


@pytest.fixture
def stores(opensearch: OpenSearchNode, clickhouse: ClickHouseServer) -> Iterator[Migrating]:
    """Prefixes of our own, whose indices are deleted afterwards."""
    with migrating(opensearch, clickhouse) as found:
        made = found.with_settings(**PREFIXES)
        try:
            yield made
        finally:
            for index in made.ask("GET", "/odd-*/_settings?expand_wildcards=all"):
                made.ask("DELETE", f"/{index}")


def lines(count: int, day: datetime | None = None) -> list[dict[str, Any]]:
    at = day or datetime(2024, 3, 5, tzinfo=UTC)
    return [log_document(f"{at:%Y-%m-%d}T12:{n // 60:02}:{n % 60:02}Z", f"line {n}") for n in range(count)]


def test_one_expired_document_does_not_keep_back_the_others_of_its_slice(stores: Migrating) -> None:
    """Of a slice that reaches over the edge of ClickHouse's retention only what lies before it is left behind."""
    kept = stores.with_settings(clickhouse__logs_ttl_days="30")
    day = datetime.now(UTC) - timedelta(days=2)
    index = f"odd-logs-{day:%Y.%m.%d}"
    kept.bulk(index, [log_document("1970-01-02T00:00:00Z", "wrong clock"), *lines(50, day)])
    done = kept.backfill("--until", f"{datetime.now(UTC):%Y-%m-%d}")
    assert done.status == 0, done
    assert "50 rows written" in done.out
    assert "1 documents are older than ClickHouse keeps them" in done.out
    assert len(kept.logs("1")) == 50


def test_a_document_of_before_1970_is_told(stores: Migrating) -> None:
    """It cannot be stored, and is not left out without a word."""
    stores.bulk(INDEX, [log_document("1969-07-20T20:17:40Z", "landed")])
    assert "1 documents are older than ClickHouse keeps them" in stores.backfill(*PAST).out


def test_half_a_surrogate_pair_does_not_end_the_run(stores: Migrating) -> None:
    """OpenSearch takes it and has indexed U+FFFD: that is what the row says, and both stores agree on it."""
    stores.bulk(
        INDEX, [log_document(NOON, "cut \ud83d here"), log_document("2024-03-05T12:00:01Z", "whole \U0001f600")]
    )
    done = stores.backfill(*PAST)
    assert done.status == 0, done
    assert [row[0] for row in stores.logs("Body")] == ["cut \ufffd here", "whole \U0001f600"]
    checked = stores.command("validate", *DAY)
    assert checked.status == 0, checked


def test_rows_that_the_store_has_lost_are_written_again_when_told_so(stores: Migrating) -> None:
    """Recorded slices are done; with --again they are looked at, and no token that was seen before is in the way."""
    stores.bulk(INDEX, lines(50))
    assert stores.backfill(*PAST).status == 0
    whole = stores.logs()
    stores.connection.run(f"DELETE FROM {stores.database}.otel_logs WHERE 1")
    assert "50 documents done by earlier runs" in stores.backfill(*PAST).out
    again = stores.backfill(*PAST, "--again")
    assert again.status == 0, again
    assert "50 rows written" in again.out
    assert "0 rows written, 50 were there" in stores.backfill(*PAST, "--again").out
    assert stores.logs() == whole


def test_what_the_store_drops_as_repeated_is_told_with_what_to_do(stores: Migrating) -> None:
    """Without a record and without the rows the token is known: nothing is claimed, and --again is named."""
    stores.bulk(INDEX, lines(5))
    assert stores.backfill(*PAST).status == 0
    for table, what in (("otel_logs", "1"), ("headrace_migration", f"Kind = '{Kind.SLICE}'")):
        stores.connection.run(f"DELETE FROM {stores.database}.{table} WHERE {what}")
    done = stores.backfill(*PAST)
    assert done.status == 1
    assert "give --again" in done.err
    assert stores.backfill(*PAST, "--again").status == 0
    assert len(stores.logs("1")) == 5


def test_the_same_document_in_two_indices_is_one_row(stores: Migrating) -> None:
    """Also when both are brought over by one run; two equal documents of one index are two rows."""
    same = log_document(NOON, "same")
    stores.bulk(INDEX, [same, same])
    stores.bulk("odd-logs-2024.03.06", [same])
    done = stores.backfill(*PAST)
    assert done.status == 0, done
    assert "2 rows written, 1 were there" in done.out
    assert len(stores.logs("1")) == 2


def test_a_closed_index_is_not_passed_over(stores: Migrating) -> None:
    """Nobody can say what is in it: plan, backfill, validate and teardown name it, none of them says all is well."""
    stores.bulk(INDEX, lines(5))
    assert stores.backfill(*PAST).status == 0
    stores.bulk("odd-logs-2024.03.06", lines(1, datetime(2024, 3, 6, tzinfo=UTC)))
    stores.ask("POST", "/odd-logs-2024.03.06/_close")
    window = ("--from", "2024-03-05", "--to", "2024-03-07")
    for command in (("plan",), ("backfill", *PAST), ("validate", *window)):
        told = stores.command(*command)
        assert told.status == 1, told
        assert "odd-logs-2024.03.06 is closed" in told.out + told.err
    assert stores.command("validate", *DAY).status == 0
    assert stores.backfill(*PAST, "--index", INDEX).status == 0
    stores.ask("DELETE", f"/{INDEX}")  # no index of the pattern is open any more
    for arguments in ((), ("--index", "odd-logs-2024.03.06")):
        torn = stores.command("teardown", *arguments)
        assert "is closed" in torn.out, torn
        assert "Traceback" not in torn.err


async def test_an_index_that_has_lost_a_shard_is_not_read_by_halves(stores: Migrating) -> None:
    """What the other shards have is not all of it."""
    one_a_node = {"number_of_shards": 2, "number_of_replicas": 0, "routing.allocation.total_shards_per_node": 1}
    mapping = {"properties": {"@timestamp": {"type": "date"}}}
    body = {"settings": {"index": one_a_node}, "mappings": mapping}
    await asyncio.to_thread(stores.ask, "PUT", f"/{INDEX}?wait_for_active_shards=0&timeout=5s", body)
    async with open_opensearch(OpenSearchSettings((stores.node.url,))) as client:
        with pytest.raises(Refused):
            await Source(client, LAYOUT, Signal.LOGS).read(INDEX, 0, 1 << 42)


async def test_pages_and_slices_are_sized_by_what_a_document_is_and_not_by_what_it_takes_on_disk(
    stores: Migrating,
) -> None:
    """Long lines that compress to a hundredth of that come in small pages."""
    await asyncio.to_thread(stores.bulk, INDEX, [log_document(NOON, f"{n} " + "abcdefgh" * 60_000) for n in range(20)])
    async with open_opensearch(OpenSearchSettings((stores.node.url,))) as client:
        assert 480_000 < await Source(client, LAYOUT, Signal.LOGS).document_bytes(INDEX) < 500_000
    done = await asyncio.to_thread(stores.backfill, *PAST)
    assert done.status == 0, done
    assert len(stores.logs("1")) == 20


def test_what_was_kept_last_is_in_force_whatever_the_clocks_say(
    stores: Migrating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollback given on a machine whose clock is behind that of the cutover is a rollback."""
    with monkeypatch.context() as patched:
        later = int(datetime.now(UTC).timestamp() + 3_600) * 10**9
        patched.setattr("bridge.migration.state.time.time_ns", lambda: later)
        stores.state.put(Kind.ROUTE, "org1", {"primary": "clickhouse", "percent": 100, "reason": ""})
    assert stores.command("rollback", "--org", "org1").status == 0
    assert stores.state.latest(Kind.ROUTE)["org1"].value["primary"] == "opensearch"
