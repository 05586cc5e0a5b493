"""What the OpenSearch storage answers while its node is down, stopped or in trouble; and what it leaves behind."""

import time
from collections.abc import Iterator
from contextlib import aclosing

import pytest

from bridge.documents import Family
from bridge.opensearch import NotReached, Refused
from query_api.errors import (
    AnswerTooLarge,
    InvalidRequest,
    QueryError,
    QueryTimeout,
    StoreFailed,
    StoreUnavailable,
)
from query_api.opensearch import OpenSearchLimits
from query_api.opensearch_asking import error_of
from query_api.storage import LogQuery, Position
from query_api.tenant import EVERYTHING
from tests.clickhouse_storage import opened_server
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.opensearch_storage import OpenedOpenSearch, opened_opensearch
from tests.services import ClickHouseServer, skipped_if_unavailable
from tests.stored import NOON, Stored, place

pytestmark = pytest.mark.external


@pytest.fixture
def node() -> Iterator[OpenSearchNode]:
    """One of a test's own, to be killed."""
    with skipped_if_unavailable(), start_opensearch() as node:
        yield node


def some(rows: int, text: str = "x") -> Stored:
    stored = Stored()
    for number in range(rows):
        stored.log(f"{text} {number}", NOON + number, place("acme"))
    return stored


async def open_points(opened: OpenedOpenSearch) -> int:
    """Points in time that the node holds."""
    nodes = (await opened.client.call("GET", "/_nodes/stats/indices/search"))["nodes"]
    return sum(int(node["indices"]["search"]["point_in_time_current"]) for node in nodes.values())


async def test_a_stopped_and_a_killed_node_are_errors_in_time_and_it_recovers(node: OpenSearchNode) -> None:
    """A stopped one is a timeout after the limit and a little; a killed one cannot be reached; then it works again."""
    async with opened_opensearch(node, Family.A) as opened:
        await opened.write(some(10))
        storage = opened.limited(OpenSearchLimits(max_execution_seconds=1.0))
        started = time.monotonic()
        node.pause()
        try:
            with pytest.raises(QueryTimeout):
                await storage.logs(EVERYTHING, LogQuery())
            assert time.monotonic() - started < 3
            with pytest.raises(StoreUnavailable):
                await storage.complete_until()
        finally:
            node.resume()
        assert (await opened.storage.logs(EVERYTHING, LogQuery())).total == 10
        node.kill()
        for question in (storage.logs(EVERYTHING, LogQuery()), storage.places(EVERYTHING), storage.ping()):
            with pytest.raises(StoreUnavailable):
                await question
        node.start()
        assert (await opened.storage.logs(EVERYTHING, LogQuery())).total == 10


async def test_an_export_gives_back_its_point_in_time_however_it_ends(opensearch: OpenSearchNode) -> None:
    """Read whole, left in the middle, or broken by who reads."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        await opened.write(some(1500))
        before = await open_points(opened)
        rows = [row async for block in opened.storage.export_logs(EVERYTHING, LogQuery(), 10_000) for row in block]
        assert [row.position.time_unix_nano - NOON for row in rows] == list(range(1500))
        assert await open_points(opened) == before
        async with aclosing(opened.storage.export_logs(EVERYTHING, LogQuery(), 10_000)) as blocks:
            await anext(blocks)
            assert await open_points(opened) == before + 1
        assert await open_points(opened) == before
        stream = opened.storage.export_logs(EVERYTHING, LogQuery(), 10_000)
        await anext(stream)
        with pytest.raises(ZeroDivisionError):
            await stream.athrow(ZeroDivisionError())
        assert await open_points(opened) == before


async def test_a_page_that_is_too_large_is_refused(opensearch: OpenSearchNode) -> None:
    """By the bytes of its rows, long before all of them are here."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        await opened.write(some(300, "y" * 1000))
        storage = opened.limited(OpenSearchLimits(max_result_bytes=100_000))
        assert len((await storage.logs(EVERYTHING, LogQuery(limit=20))).rows) == 20
        with pytest.raises(AnswerTooLarge):
            await storage.logs(EVERYTHING, LogQuery(limit=300))


async def test_a_cursor_of_another_store_is_a_wrong_request(opensearch: OpenSearchNode) -> None:
    """A page goes on in the store that has made it."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        with pytest.raises(InvalidRequest, match="cursor"):
            await opened.storage.logs(EVERYTHING, LogQuery(cursor=Position(NOON, 7, 3)))


async def test_a_cursor_of_opensearch_is_a_wrong_request_to_clickhouse(
    opensearch: OpenSearchNode, clickhouse: ClickHouseServer
) -> None:
    """After a migration there are such cursors about: rows of their time would be left out, or told again."""
    async with opened_opensearch(opensearch, Family.A) as opened, opened_server(clickhouse.http_port) as other:
        await opened.write(some(10))
        page = await opened.storage.logs(EVERYTHING, LogQuery(limit=3))
        with pytest.raises(InvalidRequest, match="cursor"):
            await other.storage.logs(EVERYTHING, LogQuery(cursor=page.rows[-1].position))


async def test_a_lost_shard_is_an_error_and_no_part_of_an_answer(opensearch: OpenSearchNode) -> None:
    """An index whose shard cannot be placed has rows that nobody can say are not there."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        await opened.write(some(10))
        settings = {"number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}
        lost = f"{opened.layout.logs_prefix}9"
        await opened.client.call("PUT", f"/{lost}", {"settings": settings}, params={"wait_for_active_shards": 0})
        with pytest.raises(StoreUnavailable):
            await opened.storage.logs(EVERYTHING, LogQuery())
        await opened.client.call("DELETE", f"/{lost}")


async def test_a_lost_index_of_somebody_else_is_no_outage_of_this_store(opensearch: OpenSearchNode) -> None:
    """One cluster has many users: ours is away when an index of ours is."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        await opened.write(some(10))
        settings = {"number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}
        for lost, is_ours in (("of-another-team", False), (f"{opened.layout.spans_prefix}9", True)):
            await opened.client.call("PUT", f"/{lost}", {"settings": settings}, params={"wait_for_active_shards": 0})
            try:
                if is_ours:
                    with pytest.raises(StoreUnavailable):
                        await opened.storage.ping()
                else:
                    await opened.storage.ping()
                    assert await opened.storage.complete_until() == {}
            finally:
                await opened.client.call("DELETE", f"/{lost}")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NotReached("x", is_timeout=True), QueryTimeout),
        (NotReached("x", is_timeout=False), StoreUnavailable),
        (Refused(429, "circuit_breaking_exception", "x"), StoreUnavailable),
        (Refused(503, "search_phase_execution_exception", "x"), StoreUnavailable),
        (Refused(500, "too_many_nested_clauses", "x"), AnswerTooLarge),
        (Refused(403, "security_exception", "x"), StoreUnavailable),
        (Refused(400, "parsing_exception", "x"), StoreFailed),
        (Refused(504, "query_phase_execution_exception", "Time exceeded"), QueryTimeout),
    ],
)
def test_each_failure_is_told_by_what_its_caller_can_do(error: NotReached | Refused, kind: type[QueryError]) -> None:
    """Come again, ask for less, or report a defect."""
    assert type(error_of(error)) is kind
