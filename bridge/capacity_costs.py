"""What an item costs, as measured: the figures that a capacity plan starts from. Pure.

Every figure names where it was measured. They are of one machine (2 shared cores), so read plans made from them as
ratios, and make your own with `headrace capacity --latest`, on a report of `make bench` made on your machines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from bridge.errors import SettingsInvalid

# Of an item's cost this share is there whatever its size; the rest grows with its bytes. A rule, not a measurement.
FIXED_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU of all threads for an item, as measured at a mean size of the item in OTLP."""

    us_per_item: float
    at_bytes: float

    def seconds(self, item_bytes: float) -> float:
        """CPU seconds for an item of another size."""
        return self.us_per_item / 1e6 * (FIXED_SHARE + (1 - FIXED_SHARE) * item_bytes / self.at_bytes)


@dataclass(frozen=True, slots=True)
class Costs:
    """All that a plan takes from measurements; receiving was measured at `receive_items_per_request`."""

    receive: Cost
    receive_items_per_request: int
    deliver: Cost
    clickhouse: Cost
    kafka_bytes_per_otlp_byte: float
    disk_bytes_per_otlp_byte: float
    insert_fixed_seconds: float
    commit_seconds: float

    def insert_seconds(self, rows: float, item_bytes: float) -> float:
        """From sending an insert to its answer: one thread of the server works on it."""
        return self.insert_fixed_seconds + rows * self.clickhouse.seconds(item_bytes)


# Bench legs "receive" (over gRPC, by items a request) and "deliver" (draining a backlog) of bench/results/latest.json,
# in the box of 250m, 2026-11-24.
RECEIVE: Final[Mapping[str, Mapping[int, Cost]]] = {
    "logs": {1: Cost(143.42, 679), 100: Cost(2.40, 308), 1000: Cost(1.20, 290)},
    "traces": {1: Cost(194.23, 724), 100: Cost(3.04, 344), 1000: Cost(1.80, 326)},
}
DELIVER: Final[Mapping[str, Cost]] = {"logs": Cost(1.74, 289), "traces": Cost(2.00, 324)}
# The server's own CPU for a row with its text and bloom indexes, without merges: 12 inserts of 9,000 rows, lz4, on one
# thread, 2026-11-24 (docs/performance.md).
CLICKHOUSE: Final[Mapping[str, Cost]] = {"logs": Cost(20.0, 290), "traces": Cost(16.3, 327)}
# Bytes over OTLP bytes: the topic's segments after "receive" at 1000 a request, and active parts after "deliver".
KAFKA_BYTES_PER_OTLP_BYTE: Final[Mapping[str, float]] = {"logs": 0.25, "traces": 0.34}
DISK_BYTES_PER_OTLP_BYTE: Final[Mapping[str, float]] = {"logs": 0.43, "traces": 0.40}
# An insert of 9,000 log rows took 0.18 s, which is the server's CPU for them: this is for the way there and back.
INSERT_FIXED_SECONDS: Final = 0.01
# p99 of 300 commits with metadata to one local broker (p50 0.0066), 2026-11-24; brokers apart will take longer.
COMMIT_SECONDS: Final = 0.01


def measured_costs(signal: str, items_per_request: int) -> Costs:
    """The checked-in figures for a signal, receiving at the measured size that is nearest from below."""
    size, receive = _nearest(RECEIVE[signal], items_per_request)
    return Costs(
        receive=receive,
        receive_items_per_request=size,
        deliver=DELIVER[signal],
        clickhouse=CLICKHOUSE[signal],
        kafka_bytes_per_otlp_byte=KAFKA_BYTES_PER_OTLP_BYTE[signal],
        disk_bytes_per_otlp_byte=DISK_BYTES_PER_OTLP_BYTE[signal],
        insert_fixed_seconds=INSERT_FIXED_SECONDS,
        commit_seconds=COMMIT_SECONDS,
    )


def costs_of_report(results: Sequence[Mapping[str, Any]], signal: str, items_per_request: int, base: Costs) -> Costs:
    """`base` with what receiving (gRPC) and delivering cost in the results of a bench report.

    Raises `SettingsInvalid` if the report has not measured them for this signal.
    """
    own = [row for row in results if row["system"] == "headrace" and row["signal"] == signal]
    own = [row for row in own if row.get("load") != "scaling" and row.get("encoding", "plain") == "plain"]
    receiving = {
        int(row["items_per_request"]): Cost(float(row["cpu_us_per_item"]), float(row["otlp_bytes_per_item"]))
        for row in own
        if row["leg"] == "receive" and row["transport"] == "grpc" and row.get("otlp_bytes_per_item")
    }
    delivering = [float(row["cpu_us_per_item"]) for row in own if row["leg"] == "deliver"]
    if not receiving or not delivering:
        missing = "receive over grpc" if not receiving else "deliver"
        raise SettingsInvalid(f"the report has no result of headrace for {signal}, leg {missing}")
    size, receive = _nearest(receiving, items_per_request)
    # the backlog that deliver drains is made of the same items, whose size only the receive leg tells
    deliver = Cost(delivering[0], receive.at_bytes)
    return replace(base, receive=receive, receive_items_per_request=size, deliver=deliver)


def _nearest(by_size: Mapping[int, Cost], items_per_request: int) -> tuple[int, Cost]:
    """The largest measured size that is not above; small requests cost more an item, so this is not too cheap."""
    below = [size for size in by_size if size <= items_per_request]
    size = max(below) if below else min(by_size)
    return size, by_size[size]
