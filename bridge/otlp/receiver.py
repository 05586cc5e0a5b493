"""What both listeners share: limits, the budget, who may call, and counting. One object, given to each of them."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bridge.admission import Budget
from bridge.errors import Retryable
from bridge.ingest import Ingest, Outcome
from bridge.model import Signal
from bridge.otlp.identity import authenticate
from bridge.telemetry import Metrics
from enrichers.catalog import Catalog, DataPlane

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Receiver:
    ingest: Ingest
    budget: Budget
    catalog: Callable[[], Catalog]
    local_plane: DataPlane | None
    is_mtls: bool
    max_request_bytes: int
    read_timeout_seconds: float
    metrics: Metrics

    def authenticate(self, authorization: str | None, uris: Sequence[str]) -> DataPlane:
        """The data plane that calls. Raises `Unauthenticated` or `PermissionDenied`."""
        return authenticate(self.catalog(), self.local_plane, authorization, uris)

    def admit(self, plane: DataPlane) -> None:
        """Spend nothing on a sender whose only organisation is in debt. Raises `QuotaExceeded`."""
        if plane.organizations is not None and len(plane.organizations) == 1:
            self.ingest.quotas.check(next(iter(plane.organizations)), time.monotonic())

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
