"""Dual read from the settings tree: both stores, and the migration's state as the place where routes are kept."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Final

from bridge.settings import Settings
from bridge.settings_dual import Dual
from bridge.telemetry import Metrics
from query_api.dual_role import DualRead, open_dual_read
from query_api.routing import RouteStore
from query_api.sides import Route, Side
from query_api.storage import StorageProvider

logger = logging.getLogger(__name__)
# The store of the routes may be the one that is away: nothing waits for it for long.
MAX_ANSWER_SECONDS: Final = 5
MAX_CONNECT_SECONDS: Final = 2
OpenSide = Callable[[Side], AbstractAsyncContextManager[StorageProvider]]


@asynccontextmanager
async def open_dual(
    settings: Settings, dual: Dual, open_side: OpenSide, resolve: Callable[[str], str], metrics: Metrics
) -> AsyncIterator[DualRead]:
    """Both stores as one until the block is left; raises what opening a store raises."""
    sample = settings.opensearch.sample
    if sample.organizations or sample.trace_ratio < 1:
        logger.warning("opensearch.sample: what a partial shadow leaves out will be told as drift (docs/shadow.md)")
    async with AsyncExitStack() as stack:
        sides = {side: await stack.enter_async_context(open_side(side)) for side in Side}
        routes = _routes(stack, settings)
        default = Side(settings.query.storage)
        yield await stack.enter_async_context(open_dual_read(sides, default, dual, routes, metrics, resolve=resolve))


def _routes(stack: AsyncExitStack, settings: Settings) -> RouteStore:
    from bridge.assembly_store import clickhouse_settings
    from bridge.migration.state import Kind, State
    from sinks.clickhouse import Connection

    full = clickhouse_settings(settings)
    short = replace(
        full,
        connect_timeout_seconds=min(MAX_CONNECT_SECONDS, full.connect_timeout_seconds),
        send_receive_timeout_seconds=min(MAX_ANSWER_SECONDS, full.send_receive_timeout_seconds),
        threads=1,
    )
    connection = Connection(short)
    stack.callback(connection.close)
    state = State(connection)

    class StateRoutes:
        """Routes as events of the migration's state."""

        def read(self) -> Mapping[str, Route]:
            events = state.latest(Kind.ROUTE)
            return {key: Route.of(key, event.value, event.by, event.at_unix_nano) for key, event in events.items()}

        def has_way_back(self) -> bool:
            return not state.latest(Kind.TEARDOWN)

        def write(self, route: Route) -> Route:
            event = state.put(Kind.ROUTE, route.org, route.value())
            return replace(route, by=event.by, since_unix_nano=event.at_unix_nano)

    return StateRoutes()
