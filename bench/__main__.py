"""`make bench`: every figure of the README, from nothing, into bench/results/report.md and latest.json.

    python -m bench [--seconds 6]

CPU is user + system of the measured process alone (all its threads), read from /proc; the generator and the ClickHouse
server run outside it. On a shared machine compare ratios of one run, not figures of two.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bridge.model import OTLP_SIGNALS, Signal
from tests.program import Program, running
from tests.services import start_clickhouse

RESULTS = Path(__file__).parent / "results"
BACKLOG_ITEMS = 300_000


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the report; `cpu_us_per_item` and `peak_rss_bytes` are of the measured process."""

    leg: str
    signal: str
    transport: str
    items_per_request: int
    items_per_second: float
    cpu_us_per_item: float
    cpu_us_per_request: float
    peak_rss_bytes: int
    ack_p50_seconds: float | None = None
    ack_p99_seconds: float | None = None
    refused: int = 0
    note: str = ""


def drive(port: int, transport: str, signal: Signal, items: int, callers: int, seconds: float) -> dict[str, Any]:
    command = ["bench.drive", transport, str(port), str(signal), str(items), str(callers), str(seconds)]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


@contextmanager
def part(*arguments: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """A part in its process: its pid and the first line it told."""
    process = subprocess.Popen([sys.executable, "-m", "bench.parts", *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_rss(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


def receive_leg(transport: str, signal: Signal, items: int, seconds: float) -> Result:
    """Requests into listeners that append nowhere."""
    with part("receive") as (pid, told):
        drive(told[f"{transport}_port"], transport, signal, items, 8, 1.0)
        before = cpu_seconds(pid)
        outcome = drive(told[f"{transport}_port"], transport, signal, items, 8, seconds)
        used = cpu_seconds(pid) - before
        return _result("receive, no log", signal, transport, items, outcome, used, peak_rss(pid))


def _result(
    leg: str, signal: Signal, transport: str, items: int, outcome: dict[str, Any], used: float, rss: int
) -> Result:
    total = outcome["requests"] * items
    return Result(
        leg=leg,
        signal=str(signal),
        transport=transport,
        items_per_request=items,
        items_per_second=total / outcome["seconds"],
        cpu_us_per_item=used / total * 1e6,
        cpu_us_per_request=used / outcome["requests"] * 1e6,
        peak_rss_bytes=rss,
        ack_p50_seconds=outcome["ack_p50_seconds"],
        ack_p99_seconds=outcome["ack_p99_seconds"],
        refused=outcome["refused"],
    )


def whole_leg(signal: Signal, items: int, seconds: float, settings: dict[str, str], note: str) -> Result:
    """`headrace run` under load and until nothing waits any more."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), **settings) as program:
        _wait_for_schema(program)
        drive(program.grpc_port, "grpc", signal, items, 4, 1.0)
        before, started = program.cpu_seconds(), time.perf_counter()
        sent_before = program.metric("bridge_sink_sent_items_total")
        outcome = drive(program.grpc_port, "grpc", signal, items, 4, seconds)
        while program.metric("bridge_log_lag_records") > 0:
            time.sleep(0.1)
        elapsed, used = time.perf_counter() - started, program.cpu_seconds() - before
        written = program.metric("bridge_sink_sent_items_total") - sent_before
        outcome |= {"seconds": elapsed, "requests": int(written) // items}
        return _with_note(_result("whole", signal, "grpc", items, outcome, used, program.peak_rss_bytes()), note)


def _with_note(result: Result, note: str) -> Result:
    return Result(**(asdict(result) | {"note": note}))


def _wait_for_schema(program: Program) -> None:
    while "schema is up to date" not in program.output():
        time.sleep(0.05)


def deliver_leg(signal: Signal, http_port: int) -> Result:
    """A backlog in the embedded log, drained into a ClickHouse server by deliver alone."""
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), signal)
        with part("deliver", folder, str(http_port)) as (_, told):
            outcome = {"requests": told["items"] / 1000, "seconds": told["seconds"], "refused": 0}
            outcome |= {"ack_p50_seconds": None, "ack_p99_seconds": None}
            return _result("deliver", signal, "log", 1000, outcome, told["cpu_seconds"], told["peak_rss_bytes"])


def _fill(folder: Path, signal: Signal) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path; from bench.fill import fill; from bridge.model import Signal;"
        " asyncio.run(fill(Path(sys.argv[1]), Signal(sys.argv[2]), int(sys.argv[3])))"
    )
    subprocess.run([sys.executable, "-c", program, str(folder), str(signal), str(BACKLOG_ITEMS)], check=True)


def columns_rows() -> list[str]:
    """The pytest-benchmark of the columns, as report rows."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "columns.json"
        command = ["pytest", "bench/test_columns.py", "--benchmark-enable", f"--benchmark-json={target}", "-q"]
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
        found = {
            each["name"]: each["extra_info"]["us_per_item"] for each in json.loads(target.read_text())["benchmarks"]
        }
    rows = []
    for signal in OTLP_SIGNALS:
        fast, plain = found[f"test_fast[{signal}]"], found[f"test_plain[{signal}]"]
        rows.append(f"| {signal} | {fast:.2f} | {plain:.2f} | {plain / fast:.1f} |")
    return rows


def report(results: list[Result], columns: list[str]) -> str:
    lines = [
        "# Bench",
        "",
        f"{_machine()} Made by `make bench`; {__doc__.splitlines()[0] if __doc__ else ''}",
        "",
        "Payloads: `bench/generate.py` says the mix (8 attributes a span, one of them random on every span).",
        "",
        "## Columns: OTLP bytes -> Arrow, one thread",
        "",
        "| signal | us/item | plain upb decoder, us/item | ratio |",
        "|---|---|---|---|",
        *columns,
        "",
        "## Processes",
        "",
        "| leg | signal | over | items/request | items/s | CPU us/item | CPU us/request | peak RSS MiB |"
        " ack p50 / p99 ms | note |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row(result) for result in results]
    return "\n".join(lines) + "\n"


def _row(r: Result) -> str:
    ack = "-" if r.ack_p50_seconds is None else f"{r.ack_p50_seconds * 1e3:.1f} / {(r.ack_p99_seconds or 0) * 1e3:.1f}"
    rss_mib = r.peak_rss_bytes / (1 << 20)
    return (
        f"| {r.leg} | {r.signal} | {r.transport} | {r.items_per_request} | {r.items_per_second:,.0f} |"
        f" {r.cpu_us_per_item:.2f} | {r.cpu_us_per_request:.0f} | {rss_mib:.0f} | {ack} | {r.note} |"
    )


def _machine() -> str:
    names = ("grpcio", "protobuf", "pyarrow", "ptars", "aiohttp", "uvloop", "clickhouse-connect", "chdb")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    return f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}, {versions}."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="measured time of each leg")
    seconds = parser.parse_args().seconds
    _say("columns ...")
    columns = columns_rows()
    results = []
    for transport in ("grpc", "http"):
        for items in (1, 100, 1000):
            for signal in OTLP_SIGNALS:
                _say(f"receive, {transport}, {signal}, {items} a request ...")
                results.append(receive_leg(transport, signal, items, seconds))
    with start_clickhouse() as server:
        http = {"clickhouse__interface": "http", "clickhouse__port": str(server.http_port)}
        for signal in OTLP_SIGNALS:
            _say(f"deliver, {signal} ...")
            results.append(deliver_leg(signal, server.http_port))
        for signal in OTLP_SIGNALS:
            _say(f"headrace run with a server, {signal} ...")
            results.append(whole_leg(signal, 1000, seconds, http, "server over HTTP"))
    _say("headrace run with chDB, traces ...")
    results.append(whole_leg(Signal.TRACES, 1000, seconds, {}, "chDB inside (about 250 MiB of it)"))
    RESULTS.mkdir(exist_ok=True)
    text = report(results, columns)
    (RESULTS / "report.md").write_text(text)
    latest = {"machine": _machine(), "results": [{"system": "headrace", "lost": 0, **asdict(each)} for each in results]}
    (RESULTS / "latest.json").write_text(json.dumps(latest, indent=1) + "\n")
    print(text)
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
