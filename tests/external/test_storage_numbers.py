"""The numbers that ClickHouse itself keeps: what is on disk, what the ledger says, how far is counted."""

from collections.abc import AsyncIterator

import pytest

from query_api.clickhouse import ReadLimits
from query_api.storage import Freshness, LogQuery, SpanQuery, TraceQuery
from query_api.tenant import EVERYTHING, NOTHING, Tenant
from tests.clickhouse_storage import OpenedStorage, opened_server
from tests.services import ClickHouseServer
from tests.stored import DAY, NOON, Stored, place

pytestmark = pytest.mark.external
MIDNIGHT = NOON // DAY * DAY


@pytest.fixture
async def opened(clickhouse: ClickHouseServer) -> AsyncIterator[OpenedStorage]:
    async with opened_server(clickhouse.http_port, is_kept=False) as opened:
        yield opened


def some(first: int) -> Stored:
    stored = Stored()
    for number in range(first, first + 300):
        stored.log(f"line {number} " * (number % 7), NOON, place(f"o-{number % 3}"), trace_id=f"{number + 1:032x}")
        stored.span(
            "x", (f"{number + 1:032x}", f"{number + 1:016x}"), NOON, place(f"o-{number % 3}", service__name="s")
        )
    return stored


@pytest.mark.parametrize("parts", ["compact", "wide", "both"])
async def test_shares_of_all_places_are_what_the_tables_take(opened: OpenedStorage, parts: str) -> None:
    """Within rounding, whatever kind of parts the rows lie in; one tenant's share is the same whoever asks."""
    for number, is_wide in enumerate({"compact": [False], "wide": [True], "both": [False, True]}[parts]):
        for table in ("otel_logs", "otel_traces"):
            size = 0 if is_wide else 10**9
            opened.connection.run(
                f"ALTER TABLE {opened.database}.{table} MODIFY SETTING min_bytes_for_wide_part = {size},"
                f" min_rows_for_wide_part = {size}"
            )
        await opened.write(some(300 * number))
    usage = await opened.storage.usage(EVERYTHING, MIDNIGHT, MIDNIGHT + DAY)
    on_disk = opened.connection.rows(
        "SELECT sumIf(bytes_on_disk, table = 'otel_logs'), sumIf(bytes_on_disk, table = 'otel_traces'),"
        " uniqExact(part_type) FROM system.parts"
        f" WHERE active AND database = '{opened.database}' AND table IN ('otel_logs', 'otel_traces')"
        " AND partition = '2025-11-14'"
    )[0]
    assert on_disk[2] == (2 if parts == "both" else 1)
    for found, wanted in (
        (sum(use.log_compressed_bytes for use in usage), on_disk[0]),
        (sum(use.span_compressed_bytes for use in usage), on_disk[1]),
    ):
        assert isinstance(wanted, int)
        assert found == pytest.approx(wanted, rel=0.03 if parts == "both" else 0.005)
        assert wanted > 0
    assert await opened.storage.usage(Tenant.of("o-1"), MIDNIGHT, MIDNIGHT + DAY) == [
        use for use in usage if use.org == "o-1"
    ]


async def test_totals_are_counted_up_to_the_cap(opened: OpenedStorage) -> None:
    """Exact at the cap; one more is capped."""
    await opened.write(some(0))
    for cap, wanted in ((100, (100, False)), (99, (99, True)), (1000, (100, False))):
        storage, tenant = opened.limited(ReadLimits(total_cap=cap)), Tenant.of("o-1")
        logs = await storage.logs(tenant, LogQuery(limit=5))
        spans = await storage.spans(tenant, SpanQuery(NOON, NOON, "s", 5))
        traces = await storage.traces(tenant, TraceQuery(NOON, NOON, limit=5))
        assert [(page.total, page.is_capped) for page in (logs, spans, traces)] == [wanted] * 3


async def test_freshness_is_what_the_ledger_says(opened: OpenedStorage) -> None:
    """The least of a signal's partitions; what an organisation had in the last whole minute, instances together."""
    columns = "minute, org, signal, role, instance, partition, received, complete_until"
    last, before = "toStartOfMinute(now()) - INTERVAL 1 MINUTE", "toStartOfMinute(now()) - INTERVAL 2 MINUTE"
    until = "toDateTime64('2025-11-14 10:00:0{}', 3)"
    rows = [
        (last, "acme", "logs", "receive", "a", -1, 5, "0"),
        (last, "acme", "logs", "receive", "b", -1, 6, "0"),
        (before, "acme", "logs", "receive", "a", -1, 100, "0"),
        (before, "acme", "traces", "receive", "a", -1, 7, "0"),
        (last, "evil", "logs", "receive", "a", -1, 1000, "0"),
        (last, "", "logs", "deliver", "a", 0, 0, until.format(5)),
        (last, "", "logs", "deliver", "b", 1, 0, until.format(3)),
        (before, "", "logs", "deliver", "a", 1, 0, until.format(1)),
    ]
    for minute, org, signal, role, instance, partition, received, at in rows:
        opened.connection.run(
            f"INSERT INTO {opened.database}.ingest_ledger ({columns}) SELECT {minute}, '{org}', '{signal}', '{role}',"
            f" '{instance}', {partition}, {received}, {at}"
        )
    complete = NOON // 10**9 * 10**9 + 3 * 10**9
    assert await opened.storage.freshness(Tenant.of("acme/shop")) == [
        Freshness("acme", "logs", complete, 11),
        Freshness("acme", "traces", None, 0),
    ]
    assert {each.org for each in await opened.storage.freshness(EVERYTHING)} == {"acme", "evil"}
    assert await opened.storage.freshness(NOTHING) == []
    assert await opened.storage.complete_until() == {"logs": complete}


async def test_query_use_is_by_organisation_where_there_is_a_query_log(opened: OpenedStorage) -> None:
    """This server keeps none, which is no error."""
    assert await opened.storage.query_use(Tenant.of("acme"), MIDNIGHT, MIDNIGHT + DAY) == []
