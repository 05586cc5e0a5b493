"""What both listeners share: limits, the budget, who may call, and counting. One object, given to each of them."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bridge.admission import Budget
from bridge.errors import QuotaExceeded, Retryable
from bridge.ingest import Ingest, Outcome
from bridge.model import Signal
from bridge.otlp.identity import authenticate
from bridge.telemetry import Metrics
from enrichers.catalog import Catalog, DataPlane

logger = logging.getLogger(__name__)

# Refusals for quota are held back so long, and so many of them at once; each may have 128 KB of body in a buffer.
HOLD_SECONDS = 0.2
MAX_HELD = 64


@dataclass(frozen=True, slots=True)
class Receiver:
    ingest: Ingest
    budget: Budget
    catalog: Callable[[], Catalog]
    local_plane: DataPlane | None
    is_mtls: bool
    max_request_bytes: int
    max_grpc_message_bytes: int
    read_timeout_seconds: float
    metrics: Metrics
    holding: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_HELD))

    def authenticate(self, authorization: str | None, uris: Sequence[str]) -> DataPlane:
        """The data plane that calls. Raises `Unauthenticated` or `PermissionDenied`."""
        return authenticate(self.catalog(), self.local_plane, authorization, uris)

    async def admit(self, plane: DataPlane) -> None:
        """Spend next to nothing on a sender whose only organisation is over its quota. Raises `QuotaExceeded`.

        The refusal is held back a little: who ignores the hint and sends at once would else cost the others the time
        of all its refusals.
        """
        if plane.organizations is None or len(plane.organizations) != 1:
            return
        try:
            self.ingest.quotas.check(next(iter(plane.organizations)), time.monotonic())
        except QuotaExceeded:
            if not self.holding.locked():
                async with self.holding:
                    await asyncio.sleep(HOLD_SECONDS)
            raise

    def done(self, signal: Signal, transport: str, outcome: Outcome, seconds: float) -> None:
        """Count a request that was answered."""
        self.count(signal, transport, "partial" if outcome.rejected else "ok")
        self.metrics.request_seconds.labels(signal, transport).observe(seconds)

    def count(self, signal: Signal, transport: str, outcome: str) -> None:
        self.metrics.requests.labels(signal, transport, outcome).inc()


def log_bug(bug: Exception) -> Retryable:
    """Whatever nobody foresaw: in the log with its trace, and for the sender an error it may repeat."""
    logger.error("a request failed in a way that nobody foresaw", exc_info=bug)
    return Retryable("internal error; the data was not accepted", reason="internal")
