"""What `make bench` measures, in the order of the report: systems side by side, each load a few times in turn."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from clickhouse_connect.driver.exceptions import ClickHouseError

from bench import peers
from bench.legs import LoadOf, System, backlog_leg, collector, drive_leg, headrace, kill_leg, rotel
from bench.queries import QueryResult, query_rows
from bench.result import Result, together
from bench.scaling import Sizes, scaling_rows
from bench.world import World
from bridge.model import OTLP_SIGNALS, Signal

LEGS = ("receive", "deliver", "whole", "run", "kill", "scaling", "query")
FAILURES = (RuntimeError, TimeoutError, OSError, ClickHouseError, AssertionError)
Work = Callable[[World], Sequence[Result | QueryResult]]

RECEIVE = headrace("receive", stores="kafka")
DELIVER = headrace("deliver", stores="clickhouse")
WHOLE = headrace("receive", "deliver", stores="clickhouse")
RUN = headrace("run", stores="clickhouse")
PEER_RECEIVE = collector("", "kafka", lambda ports: peers.receive_config(ports, is_durable=True))
PEER_DEFAULTS = collector(
    "defaults", "kafka", lambda ports: peers.receive_config(ports, is_durable=False), is_durable=False
)
PEER_DELIVER = collector(
    "with memory_limiter", "clickhouse", lambda ports: peers.deliver_config(ports, has_limiter=True)
)
PEER_DELIVER_FREE = collector("", "clickhouse", lambda ports: peers.deliver_config(ports, has_limiter=False))
PEER_WHOLE = collector(
    "through Kafka",
    "clickhouse",
    lambda ports: peers.receive_config(ports, is_durable=True),
    lambda ports: peers.deliver_config(ports, has_limiter=False),
)
PEER_DIRECT = collector("direct", "clickhouse", peers.direct_config, is_durable=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    seconds: float
    rounds: int
    only: frozenset[str]
    is_quick: bool

    @property
    def signals(self) -> tuple[Signal, ...]:
        return (Signal.TRACES,) if self.is_quick else tuple(OTLP_SIGNALS)

    @property
    def sizes(self) -> tuple[int, ...]:
        return (100,) if self.is_quick else (1, 100, 1000)


def measures(plan: Plan) -> Iterator[tuple[str, Work]]:
    """Name and work of each."""
    for leg, made in (
        ("receive", _receiving(plan)),
        ("deliver", _delivering(plan)),
        ("whole", _whole(plan)),
        ("run", _running(plan)),
        ("kill", _killing(plan)),
        ("scaling", _scaling(plan)),
        ("query", _reading(plan)),
    ):
        if leg in plan.only:
            yield from made


def _receiving(plan: Plan) -> Iterator[tuple[str, Work]]:
    both = (RECEIVE, PEER_RECEIVE) if peers.otelcol() else (RECEIVE,)
    for signal in plan.signals:
        for items in plan.sizes:
            for transport in ("grpc", "http"):
                load = LoadOf(transport, signal, items, plan.seconds)
                yield _side_by_side("receive", both, load, plan.rounds)
        for transport in ("grpc", "http"):
            load = LoadOf(transport, signal, 100, plan.seconds)
            yield _side_by_side("receive", both, replace(load, extra=("--gzip",)), plan.rounds)
            if peers.otelcol():
                yield _side_by_side("receive", (PEER_DEFAULTS,), load, 1)


def _delivering(plan: Plan) -> Iterator[tuple[str, Work]]:
    rivals = (PEER_DELIVER_FREE, PEER_DELIVER) if peers.otelcol() else ()
    for signal in plan.signals:
        yield _backlog(DELIVER, signal, plan.rounds)
        for system in rivals:
            yield _backlog(system, signal, 1)


def _whole(plan: Plan) -> Iterator[tuple[str, Work]]:
    for signal in plan.signals:
        for system in _all_ways():
            yield _full_and_half(system, LoadOf("grpc", signal, 1000, plan.seconds))


def _running(plan: Plan) -> Iterator[tuple[str, Work]]:
    for signal in plan.signals:
        yield _side_by_side("run", (RUN,), LoadOf("grpc", signal, 1000, plan.seconds), 1)


def _killing(plan: Plan) -> Iterator[tuple[str, Work]]:
    load = LoadOf("grpc", Signal.TRACES, 100, plan.seconds)
    for leg, system in (*(("whole", each) for each in _all_ways()), ("run", RUN)):
        yield _killed(leg, system, load)


def _scaling(plan: Plan) -> Iterator[tuple[str, Work]]:
    yield "scaling: 1, 2 and 4 processes", lambda world: list(scaling_rows(world, Sizes(seconds=plan.seconds)))


def _reading(plan: Plan) -> Iterator[tuple[str, Work]]:
    if not plan.is_quick:
        yield "query: 10 million rows", lambda world: list(query_rows(world))


def _all_ways() -> list[System]:
    """From OTLP to ClickHouse: ours, and whatever peer is here."""
    found = [WHOLE]
    if peers.otelcol():
        found += [PEER_WHOLE, PEER_DIRECT]
    return [*found, rotel()] if peers.rotel() else found


def _side_by_side(leg: str, systems: Sequence[System], load: LoadOf, rounds: int) -> tuple[str, Work]:
    """The systems in turn, and back, so that a machine that slows down slows all of them."""

    def work(world: World) -> list[Result]:
        found: dict[System, list[Result]] = {}
        for number in range(rounds):
            for system in systems if number % 2 == 0 else tuple(reversed(systems)):
                found.setdefault(system, []).extend(_tried(partial(drive_leg, world, system, leg, load)))
        return [together(each) for each in found.values() if each]

    return f"{leg}: {load.signal} over {load.transport}, {load.items} a request {' '.join(load.extra)}", work


def _backlog(system: System, signal: Signal, rounds: int) -> tuple[str, Work]:
    def work(world: World) -> list[Result]:
        found = [each for _ in range(rounds) for each in _tried(partial(backlog_leg, world, system, signal))]
        return [together(found)] if found else []

    return f"deliver: {system.name} {system.variant}, {signal}", work


def _full_and_half(system: System, load: LoadOf) -> tuple[str, Work]:
    """As fast as it goes, then at half of that."""

    def work(world: World) -> list[Result]:
        full = drive_leg(world, system, "whole", load)
        half = replace(load, extra=("--rate", str(full.items_per_second / 2)), seconds=2 * load.seconds)
        return [full, drive_leg(world, system, "whole", half)]

    return f"whole: {system.name} {system.variant}, {load.signal}", work


def _killed(leg: str, system: System, load: LoadOf) -> tuple[str, Work]:
    return f"kill -9: {leg}, {system.name} {system.variant}", lambda world: [kill_leg(world, system, leg, load)]


def _tried(work: Callable[[], Result]) -> list[Result]:
    """What it gives; nothing, and a line that says why, if it could not be measured."""
    try:
        return [work()]
    except FAILURES as error:
        print(f"  not measured: {error}", file=sys.stderr, flush=True)
        return []
