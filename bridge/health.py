"""What /livez, /readyz and the gauges say, worked out from what the parts know. No I/O, no waiting."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bridge.admin import Check
from bridge.admission import Budget
from bridge.deliver import LaneHealth
from bridge.model import PartitionLag
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
    """Built once by app.py from questions it may ask of the parts."""

    budget: Budget
    lanes: Callable[[], Sequence[LaneHealth]]
    lag: Callable[[], Sequence[PartitionLag]]
    log: LogSize
    max_record_bytes: int
    catalog: CatalogFile | None
    no_progress_seconds: float
    stuck_loop_seconds: float
    metrics: Metrics
    is_draining: bool = False

    def live(self) -> Mapping[str, Check]:
        """A lane that has not gone round for `stuck_loop_seconds` hangs: only a restart helps."""
        now = time.monotonic()
        stuck = [str(lane.partition) for lane in self.lanes() if now - lane.ticked_at > self.stuck_loop_seconds]
        problem = f"no movement for over {self.stuck_loop_seconds:g} s in {', '.join(stuck)}" if stuck else None
        return {"loops": Check(problem, {})}

    def ready(self) -> Mapping[str, Check]:
        return {"receive": self._receive(), "deliver": self._deliver()}

    def _receive(self) -> Check:
        size_bytes = self.log.size_bytes
        problem = None
        if self.is_draining:
            problem = "stopping"
        elif size_bytes + self.max_record_bytes > self.log.max_bytes:
            problem = "the log is full (log.max_bytes); requests are refused until deliver catches up"
        return Check(
            problem,
            {
                "in_flight_bytes": self.budget.taken_bytes,
                "log_size_bytes": size_bytes,
                "log_max_bytes": self.log.max_bytes,
            },
        )

    def _deliver(self) -> Check:
        now, now_unix_nano = time.monotonic(), time.time_ns()
        lag = {entry.partition: entry for entry in self.lag()}
        details: dict[str, object] = {}
        problems = ["stopping"] if self.is_draining else []
        for lane in self.lanes():
            stuck_seconds = lane.stuck_seconds(now)
            if stuck_seconds > self.no_progress_seconds:
                because = f" ({lane.trouble})" if lane.trouble else ""
                problems.append(f"{lane.partition} has made no progress for {stuck_seconds:.0f} s{because}")
            waiting = lag[lane.partition].records if lane.partition in lag else 0
            details[str(lane.partition)] = {
                "lag_records": waiting,
                "oldest_unwritten_seconds": round(_age_seconds(lane, now_unix_nano), 3),
                "trouble": lane.trouble,
            }
        return Check("; ".join(problems) or None, {"partitions": details})

    def refresh(self) -> None:
        """Set the gauges; called before each scrape."""
        metrics, now_unix_nano = self.metrics, time.time_ns()
        metrics.in_flight_bytes.set(self.budget.taken_bytes)
        metrics.in_flight_limit_bytes.set(self.budget.max_bytes)
        metrics.log_size_bytes.set(self.log.size_bytes)
        metrics.log_limit_bytes.set(self.log.max_bytes)
        metrics.log_damaged_bytes.set(self.log.damaged_bytes)
        for lag in self.lag():
            metrics.lag_records.labels(lag.partition.topic, str(lag.partition.number)).set(lag.records)
        for lane in self.lanes():
            labels = (lane.partition.topic, str(lane.partition.number))
            metrics.oldest_seconds.labels(*labels).set(_age_seconds(lane, now_unix_nano))
        if self.catalog is not None:
            metrics.catalog_reloads.set(self.catalog.reloads)
            metrics.catalog_failures.set(self.catalog.failures)


def _age_seconds(lane: LaneHealth, now_unix_nano: int) -> float:
    oldest = lane.oldest_received_at_unix_nano
    return 0.0 if oldest is None else max(0.0, (now_unix_nano - oldest) / NANOSECONDS)
