"""Parts of the product in a process of their own, so that their CPU and memory can be told apart from the rest.

python -m bench.parts receive                       both listeners on an appender that keeps nothing
python -m bench.parts deliver FOLDER HTTP_PORT      an embedded log that is full, drained into a ClickHouse server
"""

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bridge.process import tune_process

tune_process()

import uvloop  # noqa: E402

from bridge import assembly  # noqa: E402
from bridge.ledger import Ledger  # noqa: E402
from bridge.log.embedded import open_embedded_log  # noqa: E402
from bridge.log.letters_memory import MemoryLetters  # noqa: E402
from bridge.model import Record  # noqa: E402
from bridge.otlp.grpc import open_grpc  # noqa: E402
from bridge.otlp.http import open_http  # noqa: E402
from bridge.settings import Settings  # noqa: E402
from bridge.telemetry import Metrics  # noqa: E402
from sinks.clickhouse import open_clickhouse  # noqa: E402


class Nowhere:
    """An appender that keeps nothing: what is measured is the way to the log."""

    async def append(self, records: Sequence[Record]) -> None:
        """Forget them."""


async def receive() -> None:
    settings = Settings()
    receiver = assembly.build_receiver(settings, assembly.load_identities(settings), Nowhere(), Ledger(), Metrics())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        open_grpc("127.0.0.1:0", None, receiver, 1.0) as grpc_port,
        open_http("127.0.0.1:0", None, receiver, 1.0) as http_port,
    ):
        tell(grpc_port=grpc_port, http_port=http_port)
        await stop.wait()


async def deliver(folder: Path, http_port: int) -> None:
    settings = Settings.model_validate({"clickhouse": {"interface": "http", "port": http_port}, "data_dir": folder})
    metrics, stop = Metrics(), asyncio.Event()
    async with (
        open_clickhouse(assembly.clickhouse_settings(settings)) as sink,
        open_embedded_log(folder / "log", max_bytes=1 << 40) as log,
    ):
        await sink.apply_schema(assembly.schema_options(settings))
        identities = assembly.load_identities(settings)
        out = assembly.build_exit(
            settings, sink, MemoryLetters(), identities=identities, ledger=Ledger(), metrics=metrics
        )
        work = assembly.build_deliver(settings, log, out)
        started, cpu_started = time.perf_counter(), time.process_time()
        task = asyncio.create_task(work.run(stop))
        await asyncio.sleep(0.01)
        while any(lag.records for lag in log.lag()):  # noqa: ASYNC110 - a bench, polled
            await asyncio.sleep(0.01)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
        stop.set()
        await task
    items = sum(
        metrics.registry.get_sample_value("bridge_sink_sent_items_total", {"sink": "clickhouse", "signal": name}) or 0
        for name in ("traces", "logs")
    )
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    tell(items=items, seconds=seconds, cpu_seconds=cpu_seconds, peak_rss_bytes=peak_bytes)


def tell(**values: object) -> None:
    """One line of JSON for whoever started this."""
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    if sys.argv[1] == "receive":
        uvloop.run(receive())
    else:
        uvloop.run(deliver(Path(sys.argv[2]), int(sys.argv[3])))
