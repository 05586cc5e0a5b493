"""How much a question reads: what makes it fast on a table a thousand times as large."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest
from clickhouse_connect.driver.binding import bind_query

from query_api.asking import Question
from query_api.clickhouse import ClickHouseStorage
from query_api.storage import LogQuery, TraceSpansQuery
from query_api.tenant import EVERYTHING, Tenant
from tests.clickhouse_storage import LIMITS, OpenedStorage, opened_server
from tests.services import ClickHouseServer
from tests.stored import DAY, MINUTE

pytestmark = pytest.mark.external
GRANULE: Final = 8192
PART_ROWS: Final = 250_000
PARTS: Final = 2
START: Final = 1_763_114_400 * 10**9
TENANTS: Final = (Tenant.of("acme"), Tenant.of("acme/p/c-0", "acme/p/c-1", "other/q"), EVERYTHING)


@dataclass
class Counting:
    """An asker that notes the rows each statement has read, by the server's own count."""

    port: int
    read: dict[str, int] = field(default_factory=dict)

    async def rows(self, question: Question) -> list[list[Any]]:
        settings = {**question.settings(), "use_query_condition_cache": 0, "wait_end_of_query": 1}
        _, values = bind_query(question.sql, dict(question.parameters))
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in {"query": f"{question.sql} FORMAT JSONCompactEachRow", **values}.items():
            form.add_field(name, str(value))
        url, params = f"http://127.0.0.1:{self.port}/", {name: str(value) for name, value in settings.items()}
        async with aiohttp.ClientSession() as session, session.post(url, params=params, data=form) as answer:
            lines = (await answer.text()).splitlines()
            assert answer.status == 200, lines
        name = json.loads(question.log_comment)["statement"]
        self.read[name] = int(json.loads(answer.headers["X-ClickHouse-Summary"])["read_rows"])
        return [json.loads(line) for line in lines]

    def blocks(self, question: Question) -> AsyncGenerator[list[list[Any]], None]:
        raise NotImplementedError


@dataclass
class Read:
    storage: ClickHouseStorage
    counting: Counting


@pytest.fixture
async def large(clickhouse: ClickHouseServer) -> AsyncIterator[Read]:
    """Half a million log records of one busy component and nine others, over a day, and as many spans by trace."""
    async with opened_server(clickhouse.http_port) as opened:
        for part in range(PARTS):
            _fill(opened, part)
        counting = Counting(clickhouse.http_port)
        yield Read(ClickHouseStorage(counting, opened.database, LIMITS), counting)


def _fill(opened: OpenedStorage, part: int) -> None:
    numbers = f"numbers({part * PART_ROWS}, {PART_ROWS})"
    at = f"fromUnixTimestamp64Nano({START} + toInt64(number * {DAY // (PARTS * PART_ROWS)}))"
    component = "'c-' || toString(if(number % 2, 0, number % 20))"
    one_block = "SETTINGS max_block_size = 1000000, min_insert_block_size_rows = 1000000, max_insert_threads = 1"
    opened.connection.run(
        f"INSERT INTO {opened.database}.otel_logs (Timestamp, Body, ServiceName, OrgId, ProjectId, ComponentId)"
        f" SELECT {at}, 'GET /orders/' || toString(number), 's', 'acme', 'p', {component} FROM {numbers} {one_block}"
    )
    opened.connection.run(
        f"INSERT INTO {opened.database}.otel_traces (Timestamp, TraceId, SpanId, ServiceName, OrgId, ProjectId,"
        f" ComponentId) SELECT {at}, lower(hex(sipHash128(intDiv(number, 5)))), hex(number), 's', 'acme', 'p',"
        f" {component} FROM {numbers} {one_block}"
    )


@pytest.mark.parametrize("tenant", TENANTS, ids=["org", "components", "everything"])
@pytest.mark.parametrize("is_descending", [True, False])
async def test_a_page_of_a_component_is_read_from_the_end_of_its_rows(
    large: Read, tenant: Tenant, is_descending: bool
) -> None:
    """A few granules a part of a component's quarter million, whatever filter the tenant puts on the table."""
    query = LogQuery(organization="acme", project="p", components=("c-0",), is_descending=is_descending)
    page = await large.storage.logs(tenant, query)
    assert len(page.rows) == 100
    assert page.total > PARTS * PART_ROWS // 2
    assert large.counting.read["logs"] <= 12 * GRANULE * PARTS
    assert large.counting.read["places_of"] <= 100


async def test_a_component_is_found_by_the_key(large: Read) -> None:
    """A small component's page and count read its rows and the granules' edges, not its neighbours'."""
    page = await large.storage.logs(Tenant.of("acme"), LogQuery(components=("c-2",)))
    assert page.total == PARTS * PART_ROWS // 20
    assert large.counting.read["logs_total"] <= page.total + 4 * GRANULE * PARTS


async def test_times_are_found_by_the_key(large: Read) -> None:
    """Half an hour of a component reads that, not its day."""
    end = START + 12 * 60 * MINUTE
    query = LogQuery(end - 30 * MINUTE, end, components=("c-0",))
    page = await large.storage.logs(Tenant.of("acme"), query)
    assert large.counting.read["logs_total"] <= page.total + 4 * GRANULE * PARTS


async def test_a_trace_is_found_by_its_time_and_index(large: Read) -> None:
    """One trace out of a hundred thousand: a few granules of spans and of the times of traces."""
    (row,) = await large.counting.rows(
        Question("SELECT lower(hex(sipHash128(toUInt64(12345))))", {}, "", '{"statement": ""}', 10, 0, 1 << 30, 0)
    )
    page = await large.storage.trace(Tenant.of("acme"), TraceSpansQuery(row[0]))
    assert len(page.spans) == 5
    assert large.counting.read["spans"] <= 12 * GRANULE


async def test_a_phrase_of_whole_words_is_found_by_the_index(large: Read) -> None:
    """One record among half a million."""
    page = await large.storage.logs(Tenant.of("acme"), LogQuery(phrase=" /orders/77777"))
    assert [row.body for row in page.rows] == ["GET /orders/77777"]
    page = await large.storage.logs(Tenant.of("acme"), LogQuery(phrase="T /orders/4"))
    assert page.total > 100
    assert (await large.storage.logs(Tenant.of("acme"), LogQuery(phrase="GET /nothing/77777"))).total == 0
    assert large.counting.read["logs"] <= 2 * GRANULE
