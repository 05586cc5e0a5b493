"""Does a shadow cost the store anything? The same load with and without one, while OpenSearch is away for a minute.

    python -m bench.shadow [--rounds 2] [--rate 400] [--before 15] [--outage 60] [--after 30]

One receive and one deliver on a real Kafka and ClickHouse, logs in requests of 20, open loop. In turn, each `--rounds`
times: without a shadow, and with `headrace deliver --sink opensearch`. OpenSearch runs, is killed and is started again
in both, so that the shadow is the only difference. Both have the lowest priority (nice 19), for want of the machines of
their own that they have elsewhere; with `--shared` they fight for these cores. Prints p50 and p99 of acknowledgements,
and of acknowledged to visible in ClickHouse, the ratios, and how long the shadow took to catch up.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.legs import lags_by_count
from bridge.model import Signal
from tests.fleet import SHADOW, Documents, Fleet, Tables, fleet
from tests.kafka_service import KafkaBroker, start_kafka
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.services import ClickHouseServer, start_clickhouse

ITEMS: Final = 20
LOOK_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. `ahead`: how many items the shadow lacked when OpenSearch came back; `catch_up_seconds`: until none."""

    ack_p50: float
    ack_p99: float
    lag_p50: float
    lag_p99: float
    items: int
    catch_up_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Services:
    broker: KafkaBroker
    server: ClickHouseServer
    node: OpenSearchNode


def measure(services: Services, folder: Path, name: str, plan: argparse.Namespace, *, is_shadowed: bool) -> Times:
    """One run on topics, tables and indices of its own."""
    hosts = json.dumps([services.node.url])
    # the payloads are not of today
    days = {"clickhouse__logs_ttl_days": "3650", "opensearch__sample__max_days_off": "3650"}
    extra = {"opensearch__hosts": hosts, **days}
    with fleet(folder, services.broker, services.server, name, **extra) as made:
        made.start(receivers=1, delivers=1)
        if is_shadowed:
            made.add(SHADOW, niceness(plan)).wait_until_up()
        tables = Tables(services.server, name)
        tables.wait()
        seconds = plan.before + plan.outage + plan.after
        driver = drive(made, seconds, plan.rate)
        with watching(tables) as seen:
            told = outage(driver, services.node, plan)
            made.wait_until(made.is_drained, "drained")
        caught_up = time.monotonic()
        if is_shadowed:
            made.wait_until(lambda: made.is_drained(made.shadows), "drained by the shadow")
            check(services.node, tables, name, len(told["answered_at"]) * ITEMS)
        lags = lags_by_count(told["answered_at"], ITEMS, seen, 0)
        tables.close()
    return Times(
        told["ack_p50_seconds"],
        told["ack_p99_seconds"],
        lags[len(lags) // 2],
        lags[int(len(lags) * 0.99)],
        len(told["answered_at"]) * ITEMS,
        time.monotonic() - caught_up if is_shadowed else 0.0,
    )


def niceness(plan: argparse.Namespace) -> int:
    return 0 if plan.shared else 19


def drive(made: Fleet, seconds: float, rate: float) -> "subprocess.Popen[str]":
    """A load generator that is about to start."""
    port = str(made.receivers[0].grpc_port)
    command = [sys.executable, "-m", "bench.drive", "grpc", port, "logs", str(ITEMS), "1", str(seconds)]
    command += ["--rate", str(rate)]
    driver = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert driver.stdout is not None
    driver.stdout.readline()
    return driver


def outage(driver: "subprocess.Popen[str]", node: OpenSearchNode, plan: argparse.Namespace) -> dict[str, Any]:
    """Start the load, kill the node in the middle of it and start it again; what the load generator tells."""
    assert driver.stdin is not None
    driver.stdin.write("\n")
    driver.stdin.flush()
    time.sleep(plan.before)
    node.kill()
    time.sleep(plan.outage)
    node.start()
    out, _ = driver.communicate()
    found: dict[str, Any] = json.loads(out)
    return found


def check(node: OpenSearchNode, tables: Tables, name: str, items: int) -> None:
    """Raises `AssertionError` unless both stores hold every item, once."""
    rows, documents = tables.counts("otel_logs"), Documents(node, name).counts(Signal.LOGS)
    assert sum(rows.values()) == sum(documents.values()) == items, (sum(rows.values()), sum(documents.values()), items)
    assert rows == documents


@contextmanager
def watching(tables: Tables) -> Iterator[list[tuple[float, int]]]:
    """When how many rows were visible."""
    seen: list[tuple[float, int]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            rows = tables.rows("otel_logs")
            seen.append((time.time(), rows))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.shadow", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rate", type=float, default=400.0, help="items a second")
    for name, seconds in (("before", 15.0), ("outage", 60.0), ("after", 30.0)):
        parser.add_argument(f"--{name}", type=float, default=seconds, help="seconds")
    parser.add_argument("--shared", action="store_true", help="OpenSearch and the shadow with ordinary priority")
    plan = parser.parse_args()
    runs: dict[bool, list[Times]] = {False: [], True: []}
    with start_kafka() as broker, start_clickhouse() as server, start_opensearch(niceness(plan)) as node:
        services = Services(broker, server, node)
        for number in range(2 * plan.rounds):
            is_shadowed = number % 4 in (1, 2)  # A B B A: what drifts falls on both
            with tempfile.TemporaryDirectory() as folder:
                found = measure(services, Path(folder), f"shadow{number}", plan, is_shadowed=is_shadowed)
            runs[is_shadowed].append(found)
            print("with a shadow   " if is_shadowed else "without a shadow", line(found), flush=True)
    for name in ("ack_p50", "ack_p99", "lag_p50", "lag_p99"):
        without, beside = (statistics.median(getattr(each, name) for each in runs[key]) for key in (False, True))
        print(f"{name}: {without * 1000:.1f} ms without, {beside * 1000:.1f} ms with; ratio {beside / without:.3f}")
    return 0


def line(times: Times) -> str:
    ack, lag = ((times.ack_p50, times.ack_p99), (times.lag_p50, times.lag_p99))
    text = "ack p50 {:.1f} p99 {:.1f} ms".format(*(value * 1000 for value in ack))
    text += ", visible p50 {:.0f} p99 {:.0f} ms".format(*(value * 1000 for value in lag))
    caught_up = f", caught up {times.catch_up_seconds:.1f} s behind the store" if times.catch_up_seconds else ""
    return f"{text}, {times.items} items{caught_up}"


if __name__ == "__main__":
    raise SystemExit(main())
