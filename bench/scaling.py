"""Does CPU per item stay flat with more processes? 1, 2 and 4 of each role, each in a box of 250m CPU of its own.

    python -m bench.scaling [--seconds 6] [--mib 24] [--processes 1,2,4] [--signal logs]

`receive`: every process has ports and a load generator of its own, at the same fixed rate, well below what it could
take (in a closed loop, more processes would have fewer callers each, or two cores too much to do); all append to the
same topics. `deliver`: one group drains a backlog in four partitions: it waits for its tables until every process holds
its share, and is counted from the first row until nearly all is there.
Kafka, ClickHouse and the generators share the machine: what is promised is CPU per item, not items per second.
"""

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bench.boxed import boxed, wait_for
from bench.legs import WARM_SECONDS, LoadOf, cpu_of, peaks_of
from bench.result import Result
from bench.world import PARTITIONS, Place, World, listening, open_world
from bridge.model import Signal
from tests.program import free_port

PROCESSES = (1, 2, 4)
ITEMS = 100
RATE = 25_000  # items/s for each receiver: four of them, Kafka and the generators fit two cores
BACKLOG_MIB = 24  # in each of four partitions
START_SECONDS = 60.0
DRAIN_SECONDS = 120.0
# Behind this share processes run out of partitions one by one, and waiting costs CPU without items.
DRAINED_SHARE = 0.9
WAITS_FOR_TABLES = {"HEADRACE_CLICKHOUSE__APPLY_SCHEMA": "false", "HEADRACE_DELIVER__RETRY_MAX_SECONDS": "0.5"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    signal: Signal = Signal.LOGS
    seconds: float = 6.0
    mib: int = BACKLOG_MIB
    processes: tuple[int, ...] = PROCESSES


def scaling_rows(world: World, sizes: Sizes | None = None) -> Iterator[Result]:
    """One row for each role and number of processes."""
    sizes = sizes or Sizes()
    for count in sizes.processes:
        yield receive_row(world, count, LoadOf("grpc", sizes.signal, ITEMS, sizes.seconds, ("--rate", str(RATE))))
    for count in sizes.processes:
        yield deliver_row(world, count, sizes.signal, sizes.mib)


def receive_row(world: World, count: int, load: LoadOf) -> Result:
    """So many processes, driven all at once, each at the load's rate."""
    place = world.place()
    place.create_topics()
    places = [_beside(place, number) for number in range(count)]
    with ExitStack() as stack:
        processes = [stack.enter_context(boxed(*each.headrace("receive"))) for each in places]
        for process, each in zip(processes, places, strict=True):
            listening(process, each.ports.grpc)
        warm = _driven(places, replace(load, seconds=WARM_SECONDS))
        before_records = place.records(load.signal)
        cpu_before = cpu_of(processes)
        told = _driven(places, load)
        used = cpu_of(processes) - cpu_before
        acknowledged = sum(each["requests"] for each in told)
        assert before_records >= sum(each["requests"] for each in warm)
        return Result(
            system="headrace",
            leg="receive",
            load="scaling",
            signal=str(load.signal),
            transport=load.transport,
            items_per_request=load.items,
            items_per_second=sum(each["requests"] * load.items / each["seconds"] for each in told),
            cpu_us_per_item=used / max(1, acknowledged * load.items) * 1e6,
            lost=max(0, acknowledged - (place.records(load.signal) - before_records)) * load.items,
            ack_p50_seconds=max(each["ack_p50_seconds"] or 0.0 for each in told),
            ack_p99_seconds=max(each["ack_p99_seconds"] or 0.0 for each in told),
            refused=sum(each["refused"] for each in told),
            otlp_bytes_per_item=told[0]["request_bytes"] / load.items,
            processes=count,
            **peaks_of(processes),
        )


def deliver_row(world: World, count: int, signal: Signal, mib: int) -> Result:
    """One group of so many processes and a topic that is full; the tables are made when each holds its partitions."""
    place = world.place()
    items = place.fill(signal, mib)
    with ExitStack() as stack:
        processes, admins = [], [free_port() for _ in range(count)]
        for number, port in enumerate(admins):
            extra = {"HEADRACE_ADMIN__LISTEN": f"127.0.0.1:{port}", **WAITS_FOR_TABLES}
            processes.append(stack.enter_context(boxed(*_beside(place, number).headrace("deliver", **extra))))
        share = PARTITIONS // count
        what = f"{count} with {share} partitions each"
        wait_for(lambda: all(_held(port, signal.topic) == share for port in admins), START_SECONDS, what, 0.5)
        place.create_schema()
        wait_for(lambda: place.rows(signal) > 0, START_SECONDS, "the first row", 0.02)
        cpu_before, first, started = cpu_of(processes), place.rows(signal), time.perf_counter()
        enough = first + (items - first) * DRAINED_SHARE
        wait_for(lambda: place.rows(signal) >= enough, DRAIN_SECONDS, f"{enough:.0f} of {items} rows", 0.05)
        rows, elapsed, used = place.rows(signal), time.perf_counter() - started, cpu_of(processes) - cpu_before
        wait_for(lambda: place.rows(signal) >= items, DRAIN_SECONDS, f"{items} rows")
        return Result(
            system="headrace",
            leg="deliver",
            load="scaling",
            signal=str(signal),
            transport="kafka",
            items_per_request=1000,
            items_per_second=(rows - first) / elapsed,
            cpu_us_per_item=used / max(1, rows - first) * 1e6,
            lost=items - place.rows(signal),
            processes=count,
            note=f"{rows - first:,} of {items:,} items counted",
            **peaks_of(processes),
        )


def _beside(place: Place, number: int) -> Place:
    """The same topics and tables, with ports and a folder of its own."""
    folder = place.folder / f"process-{number}"
    folder.mkdir()
    return replace(place, ports=replace(place.ports, grpc=free_port(), http=free_port()), folder=folder)


def _driven(places: list[Place], load: LoadOf) -> list[dict[str, Any]]:
    """What the generators counted, one for each place, started together."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(
                each.driven(load.transport, load.signal, load.items, load.callers, load.seconds, *load.extra)
            )
            for each in places
        ]
        for each in loads:
            each.go()
        return [each.outcome() for each in loads]


def _held(admin_port: int, topic: str) -> int:
    """Partitions of the topic that a deliver says it has; 0 as long as it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0
    return sum(line.startswith("bridge_log_lag_records{") and f'topic="{topic}"' in line for line in lines)


def table(rows: list[Result]) -> str:
    """Markdown, in the form of docs/capacity.md."""
    lines = [
        "| role | processes | items/s | CPU us/item | to one process | refused | lost |",
        "|---|---|---|---|---|---|---|",
    ]
    single = {row.leg: row.cpu_us_per_item for row in reversed(rows) if row.processes == min(r.processes for r in rows)}
    for row in rows:
        ratio = row.cpu_us_per_item / single[row.leg]
        cells = (row.leg, row.processes, f"{row.items_per_second:,.0f}", f"{row.cpu_us_per_item:.2f}", f"{ratio:.2f}")
        lines.append(f"| {' | '.join(map(str, (*cells, row.refused, row.lost)))} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="of load on receive")
    parser.add_argument("--mib", type=int, default=BACKLOG_MIB, help="of OTLP in each of four partitions, for deliver")
    parser.add_argument("--processes", default="1,2,4")
    parser.add_argument("--signal", choices=["traces", "logs"], default="logs")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    counts = tuple(int(part) for part in arguments.processes.split(","))
    rows = []
    with open_world() as world:
        for row in scaling_rows(world, Sizes(Signal(arguments.signal), arguments.seconds, arguments.mib, counts)):
            print(f"{row.leg}, {row.processes}: {row.cpu_us_per_item:.2f} us", file=sys.stderr, flush=True)
            rows.append(row)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
