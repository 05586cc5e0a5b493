"""`make bench`: every figure, from nothing, into bench/results (report.md, latest.json, cpu.svg, memory.svg).

    python -m bench [--seconds 4] [--rounds 2] [--only receive,deliver,whole,run,kill,scaling,query] [--quick]

Every role runs in a cgroup of 250m CPU and 256 MiB of its own; Kafka, ClickHouse and the load generator run outside.
CPU is the cgroup's accounting: all threads, user and system. Compare ratios of one run, not figures of two.
"""

import argparse
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path

from bench import headline, peers
from bench.benchmarks import measured
from bench.box import NoBox, box
from bench.boxed import CPUS, MEMORY_BYTES
from bench.plan import FAILURES, LEGS, Plan, measures
from bench.queries import QueryResult
from bench.report import Measured, write
from bench.result import Result
from bench.world import open_world
from bridge.model import OTLP_SIGNALS

RESULTS = Path(__file__).parent / "results"


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
        "16 callers in a closed loop, unless said otherwise. Rates and CPU are medians of the rounds, memory the peak.",
        "Ratios: ours to the peer that spends least CPU on the same, of those that are as durable / of all.",
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
    parser.add_argument("--seconds", type=float, default=4.0, help="of load in each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="how often what compares is measured, in turn")
    parser.add_argument("--only", default=",".join(LEGS), help="legs, with commas between")
    parser.add_argument("--quick", action="store_true", help="spans and 100 items a request only, once")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder to write to")
    arguments = parser.parse_args()
    rounds = 1 if arguments.quick else arguments.rounds
    plan = Plan(arguments.seconds, rounds, frozenset(arguments.only.split(",")), arguments.quick)
    planned = list(measures(plan))
    print("columns", file=sys.stderr, flush=True)
    columns, found, started = columns_rows(), list[Result | QueryResult](), time.monotonic()
    with open_world() as world:
        for number, (name, work) in enumerate(planned, 1):
            minutes = (time.monotonic() - started) / 60
            print(f"[{number}/{len(planned)}, {minutes:.0f} min] {name}", file=sys.stderr, flush=True)
            try:
                found += work(world)
            except FAILURES as error:
                print(f"  not measured: {error}", file=sys.stderr, flush=True)
    results = [each for each in found if isinstance(each, Result)]
    reads = [each for each in found if isinstance(each, QueryResult)]
    print(write(arguments.results, Measured(results, reads, columns), machine(), notes()))
    if arguments.results == RESULTS and plan.only >= set(LEGS) and not plan.is_quick:
        headline.write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
