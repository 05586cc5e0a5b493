"""Dual read with its routes in a real ClickHouse: an operator's cutover, the way back, and two processes."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

from bridge.assembly_dual import open_dual
from bridge.migration.state import Kind, State
from bridge.settings import Settings
from bridge.telemetry import Metrics
from query_api.dual_role import DualRead
from query_api.sides import Route, Side
from query_api.storage import LogQuery, StorageProvider
from query_api.tenant import Tenant
from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.dual import Odd, odd, telemetry
from tests.services import ClickHouseServer
from tests.stored import MINUTE, NOON
from tests.waiting import eventually

ACME = Tenant.of("acme")
LOGS = LogQuery(NOON - MINUTE, NOON + MINUTE, organization="acme")


@asynccontextmanager
async def process(port: int, database: str, stores: Mapping[Side, Odd]) -> AsyncIterator[DualRead]:
    """As `headrace query` opens it, over stores in memory; what was set up before it is obeyed."""
    settings = Settings.model_validate(
        {
            "clickhouse": {"interface": "http", "host": "127.0.0.1", "port": port, "database": database},
            "query": {"storage": "opensearch", "dual": {"sample_rate": 1.0, "reload_seconds": 0.05}},
        }
    )

    @asynccontextmanager
    async def side(name: Side) -> AsyncIterator[StorageProvider]:
        yield stores[name]

    assert settings.query.dual is not None
    async with open_dual(settings, settings.query.dual, side, str, Metrics()) as read:
        yield read


async def test_routes_in_clickhouse_are_obeyed_and_written(clickhouse: ClickHouseServer) -> None:
    """Cut over by an operator, led back by one process, obeyed by the other, and cut over again."""
    database = f"dual_{uuid.uuid4().hex[:8]}"
    connection = Connection(server_settings(clickhouse.http_port, database))
    stores = {side: odd(telemetry()) for side in Side}
    stores[Side.CLICKHOUSE].changes["logs"] = lambda page: replace(page, rows=page.rows[1:])
    async with process(clickhouse.http_port, database, stores) as one:
        assert one.routing.of("acme").primary is Side.OPENSEARCH  # the schema is not there yet
        await asyncio.to_thread(connection.apply_schema, SchemaOptions(database, 3650, 3650))
        state = State(connection)
        cutover = Route("acme", Side.CLICKHOUSE, 100, "cutover of the test").value()
        await asyncio.to_thread(state.put, Kind.ROUTE, "acme", cutover)
        await eventually(lambda: one.routing.of("acme").primary is Side.CLICKHOUSE)
        async with process(clickhouse.http_port, database, stores) as other:
            assert other.routing.of("acme").reason == "cutover of the test"
            for _ in range(20):
                await one.storage.logs(ACME, LOGS)
                await asyncio.gather(*one.comparer.tasks)
            one.watch.judge()
            await eventually(lambda: other.routing.of("acme").is_automatic)
            assert not list(one.routing.pending())
        kept = (await asyncio.to_thread(state.latest, Kind.ROUTE))["acme"]
        assert (kept.value["primary"], kept.value["is_automatic"]) == ("opensearch", True)
        assert "20 of 20 comparisons found a difference" in kept.value["reason"]
        await asyncio.to_thread(state.put, Kind.ROUTE, "acme", cutover)
        await eventually(lambda: one.routing.of("acme").primary is Side.CLICKHOUSE)
    connection.close()
