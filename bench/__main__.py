"""`make bench`: every figure, from nothing, into bench/results (report.md, latest.json, cpu.svg).

    python -m bench [--seconds 6] [--only receive,deliver,whole,run,kill] [--quick]

Every role runs in a cgroup of 250m CPU and 256 MiB of its own; Kafka, ClickHouse and the load generator run outside.
CPU is the cgroup's accounting: all threads, user and system. Compare ratios of one run, not figures of two.
"""

import argparse
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from clickhouse_connect.driver.exceptions import ClickHouseError

from bench import peers
from bench.benchmarks import measured
from bench.box import NoBox, box
from bench.boxed import CPUS, MEMORY_BYTES
from bench.legs import LoadOf, Result, System, backlog_leg, collector, drive_leg, headrace, kill_leg, rotel
from bench.report import write
from bench.world import World, open_world
from bridge.model import OTLP_SIGNALS, Signal

RESULTS = Path(__file__).parent / "results"
LEGS = ("receive", "deliver", "whole", "run", "kill")
Measure = tuple[str, Callable[[World], list[Result]]]

RECEIVE = headrace("headrace", "receive", stores="kafka")
DELIVER = headrace("headrace", "deliver", stores="clickhouse")
WHOLE = headrace("headrace", "receive", "deliver", stores="clickhouse")
RUN = headrace("headrace run", "run", stores="clickhouse")
PEER_RECEIVE = collector(
    "otelcol", "kafka", "durable: acks=all, no queue", lambda ports: peers.receive_config(ports, is_durable=True)
)
PEER_DEFAULTS = collector(
    "otelcol defaults", "kafka", "acks=1 behind a queue", lambda ports: peers.receive_config(ports, is_durable=False)
)
PEER_DELIVER = collector(
    "otelcol", "clickhouse", "with memory_limiter", lambda ports: peers.deliver_config(ports, has_limiter=True)
)
PEER_DELIVER_FREE = collector(
    "otelcol", "clickhouse", "without memory_limiter", lambda ports: peers.deliver_config(ports, has_limiter=False)
)
PEER_WHOLE = collector(
    "otelcol through Kafka",
    "clickhouse",
    "durable",
    lambda ports: peers.receive_config(ports, is_durable=True),
    lambda ports: peers.deliver_config(ports, has_limiter=False),
)
PEER_DIRECT = collector("otelcol direct", "clickhouse", "acknowledged before it is written", peers.direct_config)


def measures(seconds: float, only: set[str], *, is_quick: bool) -> Iterator[Measure]:
    """Name and work of each, in the order of the report."""
    signals = (Signal.TRACES,) if is_quick else tuple(OTLP_SIGNALS)
    sizes = (100,) if is_quick else (1, 100, 1000)
    for leg, made in (
        ("receive", _receiving(seconds, signals, sizes)),
        ("deliver", _delivering(signals)),
        ("whole", (_whole(system, LoadOf("grpc", each, 1000, seconds)) for each in signals for system in _all_ways())),
        ("run", (_driven(RUN, "run", LoadOf("grpc", each, 1000, seconds)) for each in signals)),
        ("kill", (_killed(each, LoadOf("grpc", Signal.TRACES, 100, seconds)) for each in (*_all_ways(), RUN))),
    ):
        if leg in only:
            yield from made


def _receiving(seconds: float, signals: Sequence[Signal], sizes: Sequence[int]) -> Iterator[Measure]:
    rivals = (PEER_RECEIVE, PEER_DEFAULTS) if peers.otelcol() else ()
    for signal in signals:
        for items in sizes:
            for transport in ("grpc", "http"):
                for system in (RECEIVE, *rivals):
                    yield _driven(system, "receive", LoadOf(transport, signal, items, seconds))
        for system in (RECEIVE, *rivals[:1]):
            yield _driven(system, "receive", LoadOf("http", signal, 100, seconds, ("--gzip",)))


def _delivering(signals: Sequence[Signal]) -> Iterator[Measure]:
    rivals = (PEER_DELIVER, PEER_DELIVER_FREE) if peers.otelcol() else ()
    for signal in signals:
        for system in (DELIVER, *rivals):
            yield _backlog(system, signal)


def _all_ways() -> list[System]:
    """From OTLP to ClickHouse: ours, and whatever peer is here."""
    found = [WHOLE]
    if peers.otelcol():
        found += [PEER_WHOLE, PEER_DIRECT]
    return [*found, rotel()] if peers.rotel() else found


def _driven(system: System, leg: str, load: LoadOf) -> Measure:
    name = f"{leg}: {system.name}, {load.signal} over {load.transport}, {load.items} a request {' '.join(load.extra)}"
    return name, lambda world: [drive_leg(world, system, leg, load)]


def _backlog(system: System, signal: Signal) -> Measure:
    return f"deliver: {system.name} {system.note}, {signal}", lambda world: [backlog_leg(world, system, signal)]


def _whole(system: System, load: LoadOf) -> Measure:
    """As fast as it goes, then at half of that."""

    def both(world: World) -> list[Result]:
        full = drive_leg(world, system, "whole", load)
        half = replace(load, extra=("--rate", str(full.items_per_second / 2)), seconds=2 * load.seconds)
        return [full, drive_leg(world, system, "lag", half)]

    return f"whole: {system.name}, {load.signal}", both


def _killed(system: System, load: LoadOf) -> Measure:
    return f"kill -9: {system.name}", lambda world: [kill_leg(world, system, load)]


def columns_rows() -> list[str]:
    """The pytest-benchmark of the columns, as report rows."""
    found = {each["name"]: each["extra_info"]["us_per_item"] for each in measured("bench/test_columns.py")}
    rows = []
    for signal in OTLP_SIGNALS:
        fast, plain = found[f"test_fast[{signal}]"], found[f"test_plain[{signal}]"]
        rows.append(f"| {signal} | {fast:.2f} | {plain:.2f} | {plain / fast:.1f} |")
    return rows


def machine() -> str:
    names = ("grpcio", "protobuf", "pyarrow", "ptars", "aiohttp", "uvloop", "aiokafka", "clickhouse-connect")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, {versions}."


def notes() -> list[str]:
    """What a reader must know of this run."""
    found = [
        "Payloads: the mix is in `bench/generate.py` (8 attributes a span, one random); no two requests are equal.",
        "16 callers in a closed loop, unless said otherwise. Ratio: our CPU per item to the cheapest peer's.",
        "Lag is from acknowledgement to visible in ClickHouse, by count. Lost: acknowledged and nowhere.",
    ]
    try:
        with box(CPUS, MEMORY_BYTES):
            found.append(f"Each role in a cgroup of {CPUS * 1000:g}m CPU and {MEMORY_BYTES >> 20} MiB of its own.")
    except NoBox as error:
        found.append(f"**No box: {error}.** CPU time is that of the processes, nothing is limited.")
    for name, binary, variable in (
        ("OpenTelemetry Collector", peers.otelcol(), "BENCH_OTELCOL"),
        ("Rotel", peers.rotel(), "BENCH_ROTEL"),
    ):
        if binary is None:
            found.append(f"**{name} was not measured**: {variable} does not name its binary (bench/README.md).")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of load in each measurement")
    parser.add_argument("--only", default=",".join(LEGS), help="legs, with commas between")
    parser.add_argument("--quick", action="store_true", help="spans and 100 items a request only")
    arguments = parser.parse_args()
    planned = list(measures(arguments.seconds, set(arguments.only.split(",")), is_quick=arguments.quick))
    print("columns", file=sys.stderr, flush=True)
    columns, results = columns_rows(), list[Result]()
    with open_world() as world:
        for number, (name, work) in enumerate(planned, 1):
            print(f"[{number}/{len(planned)}] {name}", file=sys.stderr, flush=True)
            try:
                results += work(world)
            except (RuntimeError, TimeoutError, OSError, ClickHouseError) as error:
                print(f"  not measured: {error}", file=sys.stderr, flush=True)
    print(write(RESULTS, results, machine(), notes(), columns))
    return 0


if __name__ == "__main__":
    sys.exit(main())
