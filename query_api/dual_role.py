"""Dual read, open: the two stores as one, with what goes on beside it and what it tells of itself."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.settings_dual import Dual
from bridge.telemetry import Metrics
from query_api.dual import DualStorage
from query_api.dual_comparer import Comparer, open_comparer
from query_api.dual_records import Records
from query_api.dual_report import report
from query_api.dual_watch import Watch
from query_api.routing import RouteStore, Routing
from query_api.sides import Side
from query_api.storage import StorageProvider
from query_api.tenant import Tenant


@dataclass(frozen=True, slots=True)
class DualRead:
    """`storage` is what is asked; `watch` may be asked to take a step at once."""

    storage: DualStorage
    routing: Routing
    records: Records
    comparer: Comparer
    watch: Watch
    settings: Dual
    since_unix_nano: int

    def report(self, tenant: Tenant) -> dict[str, Any]:
        """For GET /api/dual-read/report."""
        seconds = self.settings.switch_back.slow_seconds
        return report(tenant, self.routing, self.records, seconds, self.since_unix_nano)


@asynccontextmanager
async def open_dual_read(
    sides: Mapping[Side, StorageProvider],
    default: Side,
    settings: Dual,
    store: RouteStore,
    metrics: Metrics,
    *,
    resolve: Callable[[str], str] = str,
    now_seconds: Callable[[], float] = time.monotonic,
    draw: Callable[[], float] = random.random,
) -> AsyncIterator[DualRead]:
    """Answer until the block is left. The routes have been read once, or are not to be had now: then `default` answers
    everybody until they are."""
    routing, records = Routing(default, draw), Records(settings.switch_back, metrics, now_seconds)
    async with AsyncExitStack() as stack:
        comparer = await stack.enter_async_context(open_comparer(sides, settings, records, draw))
        watch = Watch(sides, settings, routing, records, store, metrics=metrics)
        await watch.reload()
        await stack.enter_async_context(_beside(watch, sides))
        storage = DualStorage(sides, routing, records, comparer, resolve)
        yield DualRead(storage, routing, records, comparer, watch, settings, time.time_ns())


@asynccontextmanager
async def _beside(watch: Watch, sides: Mapping[Side, StorageProvider]) -> AsyncIterator[None]:
    loops = [watch.keep_routes(), watch.keep_judging(), *(watch.keep_asking(side) for side in sides)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop, name="dual read") for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
