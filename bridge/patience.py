"""Trying a step until it works, however long it takes, visibly: what both halves of a lane share."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bridge.errors import BridgeError, Permanent, Revoked
from bridge.model import Partition
from bridge.retry import backoff_seconds
from bridge.telemetry import Metrics

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Stopped(Exception):
    """A stop came while a batch was waiting for the store."""


@dataclass(slots=True)
class LaneHealth:
    """What the outside may know of a lane: for /readyz, /livez and the lag gauges. Times are monotonic seconds."""

    partition: Partition
    ticked_at: float = field(default_factory=time.monotonic)
    progressed_at: float = field(default_factory=time.monotonic)
    waiting_since: float | None = None
    oldest_received_at_unix_nano: int | None = None
    newest_received_at_unix_nano: int | None = None
    oldest_by_org: dict[str, int] = field(default_factory=dict)
    orgs: set[str] = field(default_factory=set)
    trouble: str | None = None

    def stuck_seconds(self, now: float) -> float:
        """How long data has been waiting without any of it getting through; 0 when nothing waits."""
        if self.waiting_since is None:
            return 0.0
        return now - max(self.waiting_since, self.progressed_at)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep that a stop ends early."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What the work returns or raises; None, and the work cancelled, if a stop comes first."""
    working, stopping = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.wait((working,))
    return None if working.cancelled() else working.result()


def _bare(error: BridgeError) -> BridgeError:
    """The error without what it came from, whose frames hold the batch: waiting is long, and there are many lanes."""
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class Patience:
    """Back-off with full jitter that a stop ends; every trouble is in the health, the metrics and the log."""

    def __init__(self, health: LaneHealth, initial_seconds: float, max_seconds: float, metrics: Metrics) -> None:
        self.health, self.stop = health, asyncio.Event()
        self._initial_seconds, self._max_seconds, self._metrics = initial_seconds, max_seconds, metrics
        self._labels = (health.partition.topic, str(health.partition.number))

    async def until_done(self, step: Callable[[], Awaitable[T]], surfaces: tuple[type[BridgeError], ...] = ()) -> T:
        """The step's result, however often it must be tried. Raises `Stopped`, `Revoked`, or what `surfaces` names."""
        attempt = 0
        while True:
            try:
                result = await step()
            except Revoked:
                raise
            except BridgeError as error:
                if isinstance(error, surfaces):
                    raise
                trouble = _bare(error)
            else:
                if attempt:
                    self._is_well(attempt)
                return result
            attempt += 1
            await self._back_off(trouble, attempt)

    def waits_for(self, error: BridgeError, attempt: int) -> None:
        """Remember and log the trouble: at the first attempt and then at every power of two."""
        self.health.trouble = f"{error.reason}: {error}"
        if isinstance(error, Permanent):
            self._metrics.blocked.labels(*self._labels).set(1)
        if attempt & (attempt - 1) == 0:
            level = logging.ERROR if isinstance(error, Permanent) else logging.WARNING
            logger.log(level, "waiting: %s", error, extra=self.fields(attempt=attempt, reason=error.reason))

    async def pause(self, seconds: float) -> None:
        """Sleep that a stop ends early."""
        await pause(self.stop, seconds)

    def fields(self, **more: object) -> dict[str, dict[str, object]]:
        return {"fields": {"partition": str(self.health.partition), **more}}

    def _is_well(self, attempts: int) -> None:
        logger.info("works again", extra=self.fields(attempts=attempts))
        self.health.trouble = None
        self._metrics.blocked.labels(*self._labels).set(0)

    async def _back_off(self, error: BridgeError, attempt: int) -> None:
        """Wait before the next attempt. Raises `Stopped` if a stop comes first."""
        self.waits_for(error, attempt)
        spread = random.random()  # noqa: S311 - jitter, not a secret
        await self.pause(backoff_seconds(attempt, self._initial_seconds, self._max_seconds, spread))
        self.health.ticked_at = time.monotonic()
        if self.stop.is_set():
            raise Stopped
