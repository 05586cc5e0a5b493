"""One deliver pod on paper: how full its lanes, insert slots and CPU are, and the lag to be expected. Pure.

A lane is a partition's way into the store and writes one batch at a time:

    gather until the batch is full or old -> commit the range -> wait for a slot -> convert -> insert -> commit
"""

import math
from dataclasses import dataclass

from bridge.capacity_costs import Costs

# Of the time an insert takes: its standard deviation over its mean. Assumed; the simulation draws it so.
INSERT_VARIATION = 0.5


@dataclass(frozen=True, slots=True)
class Frame:
    """What an operator chooses: sizes of pods and servers, how full they may be, settings of records and batches."""

    pod_cpus: float = 0.25
    target_utilisation: float = 0.7
    record_max_bytes: int = 1_000_000
    batch_max_rows: int = 30_000
    batch_max_bytes: int = 6 << 20
    batch_max_age_seconds: float = 1.0
    pending_max_bytes: int = 24 << 20
    slots_per_pod: int = 2
    replication: float = 3
    clickhouse_cores: float = 16.0
    clickhouse_insert_share: float = 0.5
    # of one table on one server: each insert is a new part to merge. A rule of thumb, not measured here
    max_inserts_per_second: float = 10.0
    lag_bound_seconds: float = 3.0
    outage_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Lag:
    """From durable in the log to visible in the store."""

    p50_seconds: float
    p99_seconds: float


@dataclass(frozen=True, slots=True)
class Pod:
    """A deliver pod and its even share of the load."""

    items_per_second: float
    item_bytes: float
    items_per_record: int
    lanes: int
    costs: Costs
    frame: Frame

    @property
    def lane_items_per_second(self) -> float:
        return self.items_per_second / self.lanes

    @property
    def full_rows(self) -> int:
        """Rows that close a batch: by their number, or by bytes, of which all lanes together may hold so many."""
        share_bytes = self.frame.pending_max_bytes // self.lanes
        return max(
            1, min(self.frame.batch_max_rows, int(min(self.frame.batch_max_bytes, share_bytes) / self.item_bytes))
        )

    def convert_cpu_seconds(self, rows: float) -> float:
        """All of deliver's CPU counts here, also what it spends on reading and committing."""
        return rows * self.costs.deliver.seconds(self.item_bytes)

    def insert_seconds(self, rows: float) -> float:
        return self.costs.insert_seconds(rows, self.item_bytes)

    def slot_seconds(self, rows: float) -> float:
        """How long a batch holds a slot; converting runs at the pod's quota."""
        return self.convert_cpu_seconds(rows) / self.frame.pod_cpus + self.insert_seconds(rows)

    def cycle_seconds(self, rows: float) -> float:
        """How long a lane writes a batch for which nothing else has to be waited for."""
        return self.slot_seconds(rows) + 2 * self.costs.commit_seconds

    @property
    def utilisations(self) -> dict[str, float]:
        """Of each thing that may run out, with batches that are full; 1.0 is the end."""
        rows = self.full_rows
        return {
            "deliver CPU": self.convert_cpu_seconds(self.items_per_second) / self.frame.pod_cpus,
            "insert slots": self.items_per_second * self.slot_seconds(rows) / rows / self.frame.slots_per_pod,
            "lanes": self.lane_items_per_second * self.cycle_seconds(rows) / rows,
        }

    @property
    def utilisation(self) -> float:
        return max(self.utilisations.values())

    @property
    def batch_rows(self) -> float:
        """Rows of a batch in the steady state: full, or what comes while the last one is written and this one ages.

        A lane's batch begins with the first record read after the last batch, so rows = rate * (cycle(rows) + age),
        and the cycle is a straight line in the rows.
        """
        rate = self.lane_items_per_second
        fixed_seconds = self.cycle_seconds(0)
        row_seconds = self.cycle_seconds(1) - fixed_seconds
        if rate * row_seconds >= 1:
            return self.full_rows
        aged_rows = rate * (fixed_seconds + self.frame.batch_max_age_seconds) / (1 - rate * row_seconds)
        return min(float(self.full_rows), max(1.0, aged_rows))

    def expected_lag(self) -> Lag:
        """By formula: gathering, waiting and writing; infinite if something is over its limit.

        Gathering is from a batch's first record to its cut: all of it for an item at p99, about half at the median.
        Waiting is Kingman's rule at the busiest of lanes, slots and CPU, its tail taken as exponential.
        """
        busy, rows = self.utilisation, self.batch_rows
        if busy >= 1:
            return Lag(math.inf, math.inf)
        records = max(1.0, rows / self.items_per_record)
        gathering_seconds = rows / self.lane_items_per_second
        if rows < self.full_rows:
            gathering_seconds = max(gathering_seconds, self.frame.batch_max_age_seconds)
        writing_seconds = self.cycle_seconds(rows) - self.costs.commit_seconds
        variation = (1 / records + (INSERT_VARIATION * self.insert_seconds(rows) / self.cycle_seconds(rows)) ** 2) / 2
        waiting_seconds = busy / (1 - busy) * variation * self.cycle_seconds(rows)
        tail = max(1.0, math.log(100 * busy)) if busy > 0 else 1.0
        return Lag(
            gathering_seconds * (records + 1) / (2 * records) + waiting_seconds + writing_seconds,
            gathering_seconds + tail * waiting_seconds + writing_seconds,
        )
