"""What /livez, /readyz and the gauges say, worked out from what the parts know. No I/O, no waiting."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from bridge.admin import Check
from bridge.admission import Budget
from bridge.freshness import complete_until
from bridge.ledger import MAX_ORGS
from bridge.model import Partition, PartitionLag
from bridge.patience import LaneHealth
from bridge.quota import Quotas
from bridge.telemetry import Metrics
from enrichers.catalog_file import CatalogFile

NANOSECONDS = 1_000_000_000


class LogSize(Protocol):
    """What a log that lives on this machine's disk tells of itself."""

    @property
    def size_bytes(self) -> int: ...
    @property
    def max_bytes(self) -> int: ...
    @property
    def damaged_bytes(self) -> int: ...


@dataclass(slots=True)
class Health:
    """Built once by app.py from questions it may ask of the parts; a role without receiver or deliver leaves them out.

    `trouble` says what is wrong with the log's way in at the moment; `log` is there if it lies on this machine's disk.
    """

    metrics: Metrics
    no_progress_seconds: float
    stuck_loop_seconds: float
    max_record_bytes: int
    budget: Budget | None = None
    trouble: Callable[[], str | None] = lambda: None
    lanes: Callable[[], Sequence[LaneHealth]] | None = None
    lag: Callable[[], Sequence[PartitionLag]] = lambda: ()
    log: LogSize | None = None
    catalog: CatalogFile | None = None
    quotas: Quotas | None = None
    query: Callable[[], Check] | None = None
    is_draining: bool = False
    _moved: dict[Partition, tuple[int, float]] = field(default_factory=dict)

    def live(self) -> Mapping[str, Check]:
        """A lane that has not gone round for `stuck_loop_seconds` hangs: only a restart helps."""
        now = time.monotonic()
        stuck = [str(lane.partition) for lane in self._lanes() if now - lane.ticked_at > self.stuck_loop_seconds]
        problem = f"no movement for over {self.stuck_loop_seconds:g} s in {', '.join(stuck)}" if stuck else None
        return {"loops": Check(problem, {})}

    def ready(self) -> Mapping[str, Check]:
        parts = {}
        if self.budget is not None:
            parts["receive"] = self._receive(self.budget)
        if self.lanes is not None:
            parts["deliver"] = self._deliver()
        if self.query is not None:
            parts["query"] = Check("stopping", {}) if self.is_draining else self.query()
        return parts

    def _lanes(self) -> Sequence[LaneHealth]:
        return self.lanes() if self.lanes is not None else ()

    def _receive(self, budget: Budget) -> Check:
        details: dict[str, object] = {"in_flight_bytes": budget.taken_bytes}
        problem = "stopping" if self.is_draining else self.trouble()
        if self.log is not None:
            size_bytes = self.log.size_bytes
            details |= {"log_size_bytes": size_bytes, "log_max_bytes": self.log.max_bytes}
            if problem is None and size_bytes + self.max_record_bytes > self.log.max_bytes:
                problem = "the log is full (log.max_bytes); requests are refused until deliver catches up"
        return Check(problem, details)

    def _deliver(self) -> Check:
        now, now_unix_nano = time.monotonic(), time.time_ns()
        lag = {entry.partition: entry for entry in self.lag()}
        details: dict[str, object] = {}
        problems = ["stopping"] if self.is_draining else []
        for lane in self._lanes():
            entry = lag.get(lane.partition)
            stuck_seconds = max(lane.stuck_seconds(now), self._still_seconds(entry, now))
            if stuck_seconds > self.no_progress_seconds:
                because = f" ({lane.trouble})" if lane.trouble else ""
                problems.append(f"{lane.partition} has made no progress for {stuck_seconds:.0f} s{because}")
            details[str(lane.partition)] = {
                "lag_records": entry.records if entry else 0,
                "oldest_unwritten_seconds": round(_age_seconds(lane, now_unix_nano), 3),
                "trouble": lane.trouble,
            }
        return Check("; ".join(problems) or None, {"partitions": details})

    def _still_seconds(self, lag: PartitionLag | None, now: float) -> float:
        """How long a partition has had lag without its position moving, as far as we have been asked."""
        if lag is None or not lag.records:
            return 0.0
        position, since = self._moved.get(lag.partition, (-1, now))
        if position != lag.position:
            since = now
            self._moved[lag.partition] = (lag.position, now)
        return now - since

    def refresh(self) -> None:
        """Set the gauges; called before each scrape."""
        metrics, now_unix_nano = self.metrics, time.time_ns()
        if self.budget is not None:
            metrics.in_flight_bytes.set(self.budget.taken_bytes)
            metrics.in_flight_limit_bytes.set(self.budget.max_bytes)
        if self.log is not None:
            metrics.log_size_bytes.set(self.log.size_bytes)
            metrics.log_limit_bytes.set(self.log.max_bytes)
            metrics.log_damaged_bytes.set(self.log.damaged_bytes)
        self._refresh_lanes(now_unix_nano)
        self._refresh_quotas()
        if self.catalog is not None:
            metrics.catalog_reloads.set(self.catalog.reloads)
            metrics.catalog_failures.set(self.catalog.failures)

    def _refresh_quotas(self) -> None:
        metrics = self.metrics
        for gauge in (metrics.quota_limit, metrics.quota_available_ratio):
            gauge.clear()
        for org, bucket in list(self.quotas.buckets.items())[:MAX_ORGS] if self.quotas is not None else ():
            metrics.quota_limit.labels(org, "bytes").set(bucket.quota.bytes_per_second)
            metrics.quota_limit.labels(org, "items").set(bucket.quota.items_per_second)
            metrics.quota_available_ratio.labels(org).set(bucket.ratio)

    def _refresh_lanes(self, now_unix_nano: int) -> None:
        """Gauges of partitions that went to another process go with them."""
        metrics, lags, lanes = self.metrics, self.lag(), self._lanes()
        for gauge in (metrics.lag_records, metrics.oldest_seconds, metrics.complete_until):
            gauge.clear()
        for lag in lags:
            metrics.lag_records.labels(lag.partition.topic, str(lag.partition.number)).set(lag.records)
        for lane in lanes:
            labels = (lane.partition.topic, str(lane.partition.number))
            metrics.oldest_seconds.labels(*labels).set(_age_seconds(lane, now_unix_nano))
        for (signal, org), until in complete_until(lanes, lags, now_unix_nano).items():
            metrics.complete_until.labels(org, signal).set(until / NANOSECONDS)


def _age_seconds(lane: LaneHealth, now_unix_nano: int) -> float:
    oldest = lane.oldest_received_at_unix_nano
    return 0.0 if oldest is None else max(0.0, (now_unix_nano - oldest) / NANOSECONDS)
