"""Dual read over a real ClickHouse and a real OpenSearch: equal stores agree on every route, faults are found."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from bridge.documents import Family
from bridge.model import Signal
from bridge.settings_dual import Dual
from bridge.telemetry import Metrics
from query_api.dual_role import open_dual_read
from query_api.sides import Side
from query_api.storage import StorageProvider
from tests.clickhouse_storage import opened_server
from tests.dual import Kept, telemetry
from tests.flows.test_dual_http import ASKED, ask, reported
from tests.opensearch_service import OpenSearchNode
from tests.opensearch_storage import OpenedOpenSearch, opened_opensearch
from tests.query_server import Served, known, serving
from tests.services import ClickHouseServer
from tests.waiting import eventually

pytestmark = pytest.mark.external
ONE_LINE = [{"wildcard": {"log.substring": "*line 3*"}}, {"term": {"headrace.org": "acme"}}]
LINE: dict[str, Any] = {"query": {"bool": {"filter": ONE_LINE}}}


@dataclass(frozen=True, slots=True)
class Stores:
    served: Served
    opensearch: OpenedOpenSearch
    metrics: Metrics

    def comparisons(self) -> float:
        return self.metrics.registry.get_sample_value("bridge_dual_comparisons_total", {"org": "acme"}) or 0.0

    async def compare(self, name: str) -> dict[str, Any]:
        """Ask a route, and return what is reported of the organisation when the other store has been asked too."""
        before = self.comparisons()
        await ask(self.served, name)
        await eventually(lambda: self.comparisons() == before + 1, 20)
        found: dict[str, Any] = (await reported(self.served, "acme"))["acme"]
        return found

    async def seed(self, action: str, body: dict[str, Any]) -> None:
        """Change what OpenSearch has of one log record."""
        path = f"/{self.opensearch.layout.pattern(Signal.LOGS)}/{action}"
        answer = await self.opensearch.client.call("POST", path, body, params={"refresh": "true"})
        assert answer["total"] == 1, answer


@asynccontextmanager
async def equal(
    clickhouse: ClickHouseServer, node: OpenSearchNode, family: Family, primary: Side
) -> AsyncIterator[Stores]:
    """The same telemetry in both, behind the HTTP server; everything is compared."""
    metrics = Metrics()
    callers = known({"acme": ["acme"]})
    async with opened_server(clickhouse.http_port) as one, opened_opensearch(node, family) as other:
        for org in ("acme", "evil"):
            await one.write(telemetry(org))
            await other.write(telemetry(org))
        sides: dict[Side, StorageProvider] = {Side.CLICKHOUSE: one.storage, Side.OPENSEARCH: other.storage}
        settings = Dual(sample_rate=1.0, deadline_seconds=20.0)
        async with (
            open_dual_read(sides, primary, settings, Kept(), metrics) as both,
            serving(both.storage, callers=callers, dual_report=both.report) as served,
        ):
            yield Stores(served, other, metrics)


@pytest.mark.parametrize("family", list(Family))
@pytest.mark.parametrize("primary", list(Side))
async def test_equal_stores_agree_on_every_route(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode, family: Family, primary: Side
) -> None:
    """Whichever answers: every route is compared once, and nothing differs."""
    async with equal(clickhouse, opensearch, family, primary) as stores:
        for name in ASKED:
            found = await stores.compare(name)
            assert not found["lastMismatches"], (name, found)
        assert (found["comparisons"], found["mismatches"], found["driftRatio"]) == (len(ASKED), 0, 0)
        assert (found["notCompared"], found["secondaryErrors"]) == ({}, {})


@pytest.mark.parametrize("family", list(Family))
async def test_a_document_that_is_lost_or_changed_is_drift(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode, family: Family
) -> None:
    """A level that was rewritten is told by its field's name; a document that was deleted as missing."""
    async with equal(clickhouse, opensearch, family, Side.CLICKHOUSE) as stores:
        rewrite = {"source": "ctx._source.headrace.level = 'ERROR'"}
        await stores.seed("_update_by_query", LINE | {"script": rewrite})
        last = (await stores.compare("organization logs"))["lastMismatches"][0]
        assert (last["kinds"], last["fields"]) == (["field"], ["level"])
        await stores.seed("_delete_by_query", LINE)
        last = (await stores.compare("organization logs"))["lastMismatches"][0]
        assert last["kinds"] == ["count", "missing"]
        assert last["counts"] == {"clickhouse": 6, "opensearch": 5}
