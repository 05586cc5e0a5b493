"""What one measurement gives, and how two of them compare. Pure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the report. CPU and memory are of the measured processes, all threads; None is "not measured".

    `system` is headrace, otelcol or rotel, `variant` how it is set up; `leg` is receive, deliver, whole or run, `load`
    how it is driven: closed loop, open loop, a backlog, or kill -9 in the middle. `is_durable`: acknowledged means
    written, to Kafka or to ClickHouse.
    """

    system: str
    leg: str
    signal: str
    transport: str
    items_per_request: int
    items_per_second: float
    cpu_us_per_item: float
    peak_rss_bytes: int
    peak_anonymous_bytes: int
    lost: int
    variant: str = ""
    load: str = "closed loop"
    is_durable: bool = True
    encoding: str = "plain"
    processes: int = 1
    rounds: int = 1
    lag_p99_seconds: float | None = None
    lag_p50_seconds: float | None = None
    lag_max_seconds: float | None = None
    ack_p50_seconds: float | None = None
    ack_p99_seconds: float | None = None
    refused: int = 0
    kafka_bytes_per_item: float | None = None
    disk_bytes_per_item: float | None = None
    otlp_bytes_per_item: float | None = None
    oom_kills: int = 0
    written_twice: int | None = None
    note: str = ""

    @property
    def name(self) -> str:
        return f"{self.system} {self.variant}".strip()

    @property
    def what(self) -> tuple[object, ...]:
        """What was asked of the system: equal for those that compare."""
        each = self.leg, self.load, self.signal, self.transport, self.items_per_request
        return (*each, self.encoding, self.processes)

    @property
    def compression_ratio(self) -> float | None:
        """OTLP bytes over bytes in ClickHouse, or, where nothing is stored there, in Kafka."""
        kept = self.disk_bytes_per_item or self.kafka_bytes_per_item
        return self.otlp_bytes_per_item / kept if self.otlp_bytes_per_item and kept else None


def together(rounds: Sequence[Result]) -> Result:
    """Several measurements of the same as one: medians, the worst of what must not happen, the highest memory."""
    first = rounds[0]
    middle = statistics.median
    return replace(
        first,
        items_per_second=middle(each.items_per_second for each in rounds),
        cpu_us_per_item=middle(each.cpu_us_per_item for each in rounds),
        ack_p50_seconds=_middle([each.ack_p50_seconds for each in rounds]),
        ack_p99_seconds=_middle([each.ack_p99_seconds for each in rounds]),
        peak_rss_bytes=max(each.peak_rss_bytes for each in rounds),
        peak_anonymous_bytes=max(each.peak_anonymous_bytes for each in rounds),
        lost=sum(each.lost for each in rounds),
        refused=sum(each.refused for each in rounds),
        oom_kills=sum(each.oom_kills for each in rounds),
        rounds=len(rounds),
    )


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def peer_of(result: Result, results: Sequence[Result], *, is_durable: bool) -> Result | None:
    """The measured peer that spends least CPU on the same, of those that are durable or of all."""
    peers = [each for each in results if each.what == result.what and each.system != "headrace"]
    measured = [each for each in peers if each.cpu_us_per_item > 0 and (each.is_durable or not is_durable)]
    return min(measured, key=lambda each: each.cpu_us_per_item, default=None)


def ratios_of(result: Result, results: Sequence[Result]) -> dict[str, float]:
    """Ours to the peer's: below 1 is cheaper for CPU and memory, above 1 is faster for items/s. Empty for peers."""
    found: dict[str, float] = {}
    if result.system != "headrace" or not result.cpu_us_per_item:
        return found
    for name, peer in (
        ("durable", peer_of(result, results, is_durable=True)),
        ("cheapest", peer_of(result, results, is_durable=False)),
    ):
        if peer is not None:
            found[f"cpu_to_{name}_peer"] = result.cpu_us_per_item / peer.cpu_us_per_item
            found[f"rate_to_{name}_peer"] = result.items_per_second / peer.items_per_second
            found[f"memory_to_{name}_peer"] = result.peak_rss_bytes / max(1, peer.peak_rss_bytes)
    return found
