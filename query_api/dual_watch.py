"""What goes on beside the questions: routes are read again, stores are looked after, organisations are led back."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bridge.settings_dual import Dual
from bridge.telemetry import Metrics
from query_api.dual_records import OVERFLOW, Records
from query_api.errors import QueryError
from query_api.routing import RouteStore, Routing
from query_api.sides import EVERYONE, Route, Side
from query_api.storage import StorageProvider
from query_api.switching import Decision, decide, decide_health

logger = logging.getLogger(__name__)
PING_SECONDS: Final = 5.0
PING_EVERY_SECONDS: Final = 1.0
MAX_JUDGE_SECONDS: Final = 5.0
# A store that has been silent for longer is none to switch to.
SILENT_SECONDS: Final = 2 * (PING_SECONDS + PING_EVERY_SECONDS)


class Watch:
    """Three loops that end by being cancelled; each of their steps may be taken alone."""

    def __init__(
        self,
        sides: Mapping[Side, StorageProvider],
        settings: Dual,
        routing: Routing,
        records: Records,
        store: RouteStore,
        *,
        metrics: Metrics,
    ) -> None:
        self._sides, self._settings, self._routing, self._records = sides, settings, routing, records
        self._store, self._metrics = store, metrics
        self._is_in_touch, self._has_read = True, False
        windows = (settings.switch_back.error_seconds, settings.switch_back.slow_seconds)
        unhealthy, drift = settings.switch_back.unhealthy_seconds, settings.switch_back.drift_seconds
        self._judge_every_seconds = min(MAX_JUDGE_SECONDS, min(*windows, unhealthy, drift) / 20)

    async def keep_routes(self) -> None:
        """Read the routes again and again (they have been once), and write our decisions until they are kept."""
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            await self.reload()

    async def keep_asking(self, side: Side) -> None:
        """Know whether the store answers, also while nobody asks it anything."""
        every = min(PING_EVERY_SECONDS, self._settings.switch_back.unhealthy_seconds / 10)
        while True:
            await self.ask(side)
            await asyncio.sleep(every)

    async def keep_judging(self) -> None:
        """Switch back whoever has to."""
        while True:
            await asyncio.sleep(self._judge_every_seconds)
            self.judge()

    async def reload(self) -> None:
        """The routes as they are kept; while they cannot be read, those that were known stay."""
        try:
            changed = self._routing.load(await asyncio.to_thread(self._store.read))
            for route in changed if self._has_read else ():  # what was set before this process is no change
                self._changed(route)
            self._has_read = True
            self._routing.has_way_back = await asyncio.to_thread(self._store.has_way_back)
            for route in list(self._routing.pending()):
                self._routing.written(await asyncio.to_thread(self._store.write, route))
                logger.warning("the switch back is kept for all processes", extra={"fields": {"org": route.org}})
        except Exception as error:  # whatever keeps the routes from us, questions go on
            self._metrics.dual_route_failures.inc()
            if self._is_in_touch:
                logger.warning("routes cannot be read or written; those that are known stay: %s", error)
            self._is_in_touch = False
        else:
            self._is_in_touch = True
        self._records.refresh(self._routing.of)

    async def ask(self, side: Side) -> None:
        """One ping."""
        try:
            async with asyncio.timeout(PING_SECONDS):
                await self._sides[side].ping()
        except (QueryError, TimeoutError):
            is_answering = False
        except Exception:
            logger.exception("a defect in asking whether a store answers")  # no reason to end the process
            is_answering = False
        else:
            self._records.answered(side)
            is_answering = True
        self._metrics.dual_store_answers.labels(str(side)).set(is_answering)

    def judge(self) -> list[Route]:
        """Take all decisions that are due, in force at once; return them."""
        settings, silent = self._settings.switch_back, self._records.silent_seconds()
        found = []
        for key, route in self._routing.routes().items():
            decision = decide_health(settings, route.primary, silent)
            if self._may_switch(route, silent) and decision is not None:
                found.append(self._switch(key, route, decision))
        for org, record in self._records.all().items():
            route = self._routing.of(org)
            if org == OVERFLOW or not self._may_switch(route, silent):
                continue
            decision = decide(settings, route.primary, record.watched, self._records.now_seconds())
            if decision is not None:
                found.append(self._switch(org, route, decision))
        if found:
            self._records.refresh(self._routing.of)
        return found

    def _may_switch(self, route: Route, silent: Mapping[Side, float]) -> bool:
        return self._routing.is_switched(route) and silent[route.primary.other] < SILENT_SECONDS

    def _switch(self, org: str, route: Route, decision: Decision) -> Route:
        automatic = replace(
            route,
            org=org,
            primary=decision.side,
            percent=100,
            reason=decision.reason,
            is_automatic=True,
            by="headrace query",
            since_unix_nano=time.time_ns(),
        )
        self._routing.switch(automatic)
        self._restart(org)
        self._metrics.dual_switches.labels(org, str(decision.trigger)).inc()
        fields = {"org": org, "trigger": str(decision.trigger), "to": str(decision.side)}
        logger.error("switched back: %s", decision.reason, extra={"fields": fields})
        return automatic

    def _changed(self, route: Route) -> None:
        """Somebody else has decided."""
        self._restart(route.org)
        fields = {"org": route.org, "primary": str(route.primary), "percent": route.percent, "by": route.by}
        logger.warning("another route: %s", route.reason, extra={"fields": fields})
        if not route.is_automatic:
            self._metrics.dual_switches.labels(route.org, "operator").inc()

    def _restart(self, org: str) -> None:
        """Begin the windows anew, of everybody whom the route is for."""
        own = self._routing.routes()
        for each in list(self._records.all()) if org == EVERYONE else [org]:
            if each == org or each not in own:
                self._records.restart(each)
