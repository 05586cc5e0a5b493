"""A backlog in Kafka drained by one `headrace deliver` in a box of 250m CPU and 256 MiB.

    python -m bench.backlog [--partitions 4] [--mib 64] [--cpus 0.25] [--memory-mib 256]

Every record is different (1000 spans or log records, a random 128-bit attribute on every span). Prints what it took:
the peak of the box, CPU per item, items per second, and whether the box ever killed it.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.box import NoBox, box
from bench.generate import requests_of
from bridge.assembly import kafka_settings
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_records import headers_of
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import Record, Signal
from bridge.settings import load_settings
from tests.fleet import Fleet, Tables, fleet
from tests.kafka_service import start_kafka
from tests.services import start_clickhouse

ITEMS = 1000


async def fill(settings: KafkaSettings, signal: Signal, mib: int) -> int:
    """So many MiB of OTLP in every partition; how many items that is."""
    items = 0
    async with open_admin_client(settings) as admin:
        await check_topics(admin, settings)
    async with open_kafka_appender(settings) as appender:
        producer = appender._producer
        assert producer is not None
        for partition in range(settings.partitions):
            left, seed = mib << 20, partition * 1_000_000
            while left > 0:
                (value,) = requests_of(signal, 1, ITEMS, seed=seed, is_canonical=True)
                record = Record(signal, "acme", "local", time.time_ns(), ITEMS, value)
                topic = settings.topic(signal.topic)
                await producer.send_and_wait(topic, value, b"acme", partition=partition, headers=headers_of(record))
                left, seed, items = left - len(value), seed + 1, items + ITEMS
            print(f"filled partition {partition}", file=sys.stderr)
    return items


def drain(made: Fleet, signal: Signal, items: int, cpus: float, memory_mib: int) -> dict[str, object]:
    """Start a deliver in the box and wait until the store has everything."""
    tables = Tables(made.server, made.name)
    program = made.add("deliver")
    program.wait_until_up()
    program.stop()  # the schema is there now
    table = {"traces": "otel_traces", "logs": "otel_logs"}[signal]
    with box(cpus, memory_mib << 20) as held:
        started = time.monotonic()
        with program.log_path.open("ab") as log:
            command = [sys.executable, "-m", "bridge", "deliver"]
            program.process = subprocess.Popen(
                command,
                env=program.environ(),
                stdout=log,
                stderr=log,
                preexec_fn=held.join,
            )
        rows, peak_rss_bytes = 0, 0
        while rows < items and program.process.poll() is None and time.monotonic() - started < 240:
            time.sleep(0.5)
            rows = int(tables.one(f"SELECT count() FROM {made.name}.{table}"))  # noqa: S608
            peak_rss_bytes = max(peak_rss_bytes, program.peak_rss_bytes())
            print(f"\r{rows} of {items}", end="", file=sys.stderr)
        seconds = time.monotonic() - started
        result: dict[str, object] = {
            "leg": "deliver from kafka, backlog",
            "signal": str(signal),
            "items": items,
            "rows": rows,
            "seconds": round(seconds, 1),
            "items_per_second": round(rows / seconds),
            "cpu_us_per_item": round(held.cpu_seconds() / max(1, rows) * 1e6, 2),
            "peak_rss_bytes": peak_rss_bytes,
            "peak_box_bytes": held.peak_bytes(),
            "oom_kills": held.oom_kills(),
            "ended": program.process.poll(),
        }
        if program.process.poll() is None:
            program.stop()
    tables.close()
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.backlog", description=__doc__)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--mib", type=int, default=64, help="of OTLP in each partition")
    parser.add_argument("--cpus", type=float, default=0.25)
    parser.add_argument("--memory-mib", type=int, default=256)
    parser.add_argument("--signal", choices=["traces", "logs"], default="traces")
    arguments = parser.parse_args()
    signal = Signal(arguments.signal)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker, server = stack.enter_context(start_kafka()), stack.enter_context(start_clickhouse())
        partitions = str(arguments.partitions)
        made = stack.enter_context(fleet(Path(folder), broker, server, "backlog", kafka__partitions=partitions))
        # the generated items are of a fixed day, which must not be past its retention
        made.extra |= {"HEADRACE_CLICKHOUSE__TRACES_TTL_DAYS": "3650", "HEADRACE_CLICKHOUSE__LOGS_TTL_DAYS": "3650"}
        items = asyncio.run(fill(kafka_settings(load_settings(None, made.settings())), signal, arguments.mib))
        try:
            result = drain(made, signal, items, arguments.cpus, arguments.memory_mib)
        except NoBox as error:
            print(error, file=sys.stderr)
            return 1
        print(f"\n{json.dumps(result, indent=2)}")
        if result["ended"] is not None or result["rows"] != items:
            print(made.delivers[0].output()[-3000:], file=sys.stderr)
    return 0 if result["rows"] == items and not result["oom_kills"] else 1


if __name__ == "__main__":
    sys.exit(main())
