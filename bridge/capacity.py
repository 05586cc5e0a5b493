"""How many pods, partitions and ClickHouse servers a load takes, and how late the data is then. Pure.

The formulas are in docs/capacity.md, in the order of this file. A plan is arithmetic over measured costs plus one
simulated deliver pod; it is as good as the costs are for your machines, and it takes partitions to be evenly filled.
"""

import math
from dataclasses import dataclass
from typing import Final

from bridge.capacity_costs import Costs
from bridge.capacity_lanes import Frame, Lag, Pod
from bridge.capacity_simulation import Simulated, simulate

DAY_SECONDS: Final = 86_400
# The server remembers so many insert tokens for a table (docs/delivery.md, "How long a stall the window covers").
DEDUPLICATION_WINDOW: Final = 10_000
MAX_LANES: Final = 64
SERVER_SHARE: Final = "ClickHouse's share for inserts"


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be carried, of one signal."""

    signal: str
    events_per_second: float
    bytes_per_event: float
    items_per_request: int = 1000
    retention_days: float = 30.0

    @property
    def bytes_per_second(self) -> float:
        return self.events_per_second * self.bytes_per_event


@dataclass(frozen=True, slots=True)
class Kafka:
    """Bytes a second over all brokers; `in` and `out` include what replicas send one another."""

    produced_bytes_per_second: float
    in_bytes_per_second: float
    out_bytes_per_second: float
    bytes_per_hour: float


@dataclass(frozen=True, slots=True)
class Store:
    """`servers` are shards with `cores` each; replicas come on top. Inserts are those of the signal's one table."""

    busy_cores: float
    servers: int
    rows_per_insert: float
    inserts_per_second: float
    inserts_per_second_per_server: float
    servers_by_inserts: int
    window_seconds: float
    bytes_per_day: float
    bytes_retained: float


@dataclass(frozen=True, slots=True)
class Drain:
    """After an outage of the store or of deliver; None: never, the load leaves nothing over."""

    outage_seconds: float
    seconds: float | None
    limit: str


@dataclass(frozen=True, slots=True)
class Plan:
    load: Load
    costs: Costs
    frame: Frame
    receive_pods: int
    deliver_pods: int
    deliver_pods_by_cpu: int
    deliver_pods_by_slots: int
    lanes_per_pod: int
    partitions: int
    utilisations: dict[str, float]
    kafka: Kafka
    store: Store
    expected_lag: Lag
    simulated_lag: Simulated
    drain: Drain

    @property
    def is_in_time(self) -> bool:
        """The simulated lag keeps the bound and does not grow."""
        lag = self.simulated_lag
        return lag.p99_seconds < self.frame.lag_bound_seconds and not lag.is_growing


def plan(load: Load, costs: Costs, frame: Frame | None = None) -> Plan:
    """Enough pods and lanes to stay at the target utilisation and enough servers for the CPU of inserts.

    That is not yet a plan that is well: `bridge/capacity_warnings.py` says what is wrong with it.
    """
    frame = frame or Frame()
    receive_seconds = load.events_per_second * costs.receive.seconds(load.bytes_per_event)
    pod, by_cpu, by_slots = _deliver(load, costs, frame)
    pods = max(by_cpu, by_slots)
    store = _store(load, costs, frame, pod)
    server_share = store.busy_cores / (store.servers * frame.clickhouse_cores * frame.clickhouse_insert_share)
    utilisations = {**pod.utilisations, SERVER_SHARE: server_share}
    return Plan(
        load=load,
        costs=costs,
        frame=frame,
        receive_pods=_pods(receive_seconds, frame),
        deliver_pods=pods,
        deliver_pods_by_cpu=by_cpu,
        deliver_pods_by_slots=by_slots,
        lanes_per_pod=pod.lanes,
        partitions=pods * pod.lanes,
        utilisations=utilisations,
        kafka=_kafka(load, costs, frame),
        store=store,
        expected_lag=pod.expected_lag(),
        simulated_lag=simulate(pod),
        drain=_drain(frame.outage_seconds, utilisations),
    )


def _pods(cpu_seconds_per_second: float, frame: Frame) -> int:
    return max(1, math.ceil(cpu_seconds_per_second / (frame.pod_cpus * frame.target_utilisation)))


def _deliver(load: Load, costs: Costs, frame: Frame) -> tuple[Pod, int, int]:
    """A pod with as few lanes as keep every lane at the target, and how many such pods by CPU and by insert slots."""
    by_cpu = _pods(load.events_per_second * costs.deliver.seconds(load.bytes_per_event), frame)
    record_items = max(1, min(load.items_per_request, int(frame.record_max_bytes / load.bytes_per_event)))
    for lanes in range(1, MAX_LANES + 1):
        whole = Pod(load.events_per_second, load.bytes_per_event, record_items, lanes, costs, frame)
        by_slots = max(1, math.ceil(whole.utilisations["insert slots"] / frame.target_utilisation))
        share = load.events_per_second / max(by_cpu, by_slots)
        pod = Pod(share, load.bytes_per_event, record_items, lanes, costs, frame)
        if pod.utilisations["lanes"] <= frame.target_utilisation:
            break
    return pod, by_cpu, by_slots


def _kafka(load: Load, costs: Costs, frame: Frame) -> Kafka:
    produced = load.bytes_per_second * costs.kafka_bytes_per_otlp_byte
    return Kafka(
        produced_bytes_per_second=produced,
        in_bytes_per_second=produced * frame.replication,
        # once to deliver, and once to each follower: as much as comes in
        out_bytes_per_second=produced * frame.replication,
        bytes_per_hour=produced * frame.replication * 3600,
    )


def _store(load: Load, costs: Costs, frame: Frame, pod: Pod) -> Store:
    busy_cores = load.events_per_second * costs.clickhouse.seconds(load.bytes_per_event)
    servers = max(1, math.ceil(busy_cores / (frame.clickhouse_cores * frame.clickhouse_insert_share)))
    inserts = load.events_per_second / pod.batch_rows
    disk_bytes = load.bytes_per_second * costs.disk_bytes_per_otlp_byte * DAY_SECONDS
    return Store(
        busy_cores=busy_cores,
        servers=servers,
        rows_per_insert=pod.batch_rows,
        inserts_per_second=inserts,
        inserts_per_second_per_server=inserts / servers,
        servers_by_inserts=max(servers, math.ceil(inserts / frame.max_inserts_per_second)),
        window_seconds=DEDUPLICATION_WINDOW * servers / inserts,
        bytes_per_day=disk_bytes,
        bytes_retained=disk_bytes * load.retention_days,
    )


def _drain(outage_seconds: float, utilisations: dict[str, float]) -> Drain:
    """What the outage left over is worked off by what the load does not use of the busiest part."""
    limit = max(utilisations, key=lambda name: utilisations[name])
    busy = utilisations[limit]
    return Drain(outage_seconds, outage_seconds * busy / (1 - busy) if busy < 1 else None, limit)
