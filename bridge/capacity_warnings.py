"""What is wrong with a capacity plan, and what would change it. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bridge.capacity import SERVER_SHARE, Plan

SMALL_INSERT_ROWS: Final = 1_000
# A drain that takes longer than this many outages is told.
LONG_DRAIN: Final = 6.0


@dataclass(frozen=True, slots=True)
class Warned:
    problem: str
    change: str


def warnings_of(made: Plan) -> list[Warned]:
    """The gravest first; none for a plan that can be used as it is."""
    return [*_of_lag(made), *_of_inserts(made), *_of_servers(made), *_of_drain(made), *_of_costs(made)]


def _of_lag(made: Plan) -> Iterator[Warned]:
    lag, frame = made.simulated_lag, made.frame
    if lag.is_growing:
        growth = f"lag grows by {lag.growth_seconds_per_second:.2f} s every second"
        yield Warned(growth, "more pod CPU, or a lower target_utilisation")
    elif not made.is_in_time:
        problem = f"lag p99 is {lag.p99_seconds:.1f} s, above the {frame.lag_bound_seconds:g} s asked for"
        yield Warned(problem, "a lower deliver.max_age_seconds, smaller batches, or a lower target_utilisation")


def _of_inserts(made: Plan) -> Iterator[Warned]:
    store, most = made.store, made.frame.max_inserts_per_second
    if store.inserts_per_second_per_server > most:
        rows = made.load.events_per_second / (most * store.servers)
        yield Warned(
            f"{store.inserts_per_second_per_server:.0f} inserts/s into one table of one server, above {most:g}",
            f"{store.servers_by_inserts} servers, or {rows:,.0f} rows an insert (deliver.max_bytes and"
            f" deliver.max_pending_bytes, in larger pods): {rows * made.load.bytes_per_event / 2**20:.0f} MiB of OTLP",
        )
    if store.rows_per_insert < SMALL_INSERT_ROWS and store.inserts_per_second_per_server > 1:
        yield Warned(
            f"inserts are small: {store.rows_per_insert:,.0f} rows",
            "a higher deliver.max_age_seconds, or fewer partitions",
        )


def _of_servers(made: Plan) -> Iterator[Warned]:
    """A token is known to the server that took the insert, and to its replicas, only."""
    servers = made.store.servers
    if servers > 1:
        pods = math.ceil(made.deliver_pods / servers)
        yield Warned(
            f"{servers} servers, and deliver writes to one clickhouse.host",
            "one Headrace for each server (kafka.topic_prefix, kafka.group_id, clickhouse.host), each for some data"
            f" planes: about {pods} deliver pods and {pods * made.lanes_per_pod} partitions each",
        )


def _of_drain(made: Plan) -> Iterator[Warned]:
    drain = made.drain
    if drain.seconds is None or drain.seconds > LONG_DRAIN * drain.outage_seconds:
        took = "never ends" if drain.seconds is None else f"takes {drain.seconds / 60:.0f} minutes"
        problem = f"draining what {drain.outage_seconds / 60:g} minutes of outage left {took}: {drain.limit}"
        is_server = drain.limit == SERVER_SHARE
        yield Warned(problem, "one ClickHouse server more" if is_server else "a lower target_utilisation: more pods")


def _of_costs(made: Plan) -> Iterator[Warned]:
    measured, asked = made.costs.receive_items_per_request, made.load.items_per_request
    if asked < measured:
        yield Warned(
            f"receiving was measured at {measured} items a request; {asked} cost more an item than is counted here",
            "let senders batch, or measure it: `make bench`, then --latest",
        )
