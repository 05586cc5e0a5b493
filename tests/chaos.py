"""`make chaos`: kill -9 under load, and outages of the store; then every acknowledged id is looked for, exactly once.

    python -m tests.chaos [--kills 200] [--server-kills 30] [--outage-seconds 60]

The program is `headrace run` with the embedded log and a real ClickHouse server over HTTP. What is compared: the ids
acknowledged, the ids in the base tables, and the ids in a table that a materialized view feeds.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import clickhouse_connect

from bridge.model import Signal
from tests.load import Book, send
from tests.program import Program
from tests.services import ClickHouseServer, start_clickhouse

TABLES = {Signal.TRACES: "otel_traces", Signal.LOGS: "otel_logs"}
CLIENTS = 4
DRAIN_SECONDS = 90.0
FULL_SECONDS = 40.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault's outcome; all but `acknowledged` must be zero."""

    fault: str
    runs: int
    acknowledged: int
    lost: int
    duplicated: int
    lost_in_view: int
    duplicated_in_view: int

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.duplicated or self.lost_in_view or self.duplicated_in_view)


def settings_for(server: ClickHouseServer) -> dict[str, str]:
    return {
        "HEADRACE_CLICKHOUSE__INTERFACE": "http",
        "HEADRACE_CLICKHOUSE__PORT": str(server.http_port),
        "HEADRACE_CLICKHOUSE__SEND_RECEIVE_TIMEOUT_SECONDS": "10",
        "HEADRACE_DELIVER__MAX_AGE_SECONDS": "0.2",
        "HEADRACE_DELIVER__RETRY_MAX_SECONDS": "1",
    }


class Store:
    """What the server holds, asked with its own client."""

    def __init__(self, server: ClickHouseServer) -> None:
        self._client = clickhouse_connect.get_client(host="127.0.0.1", port=server.http_port)

    def create_views(self) -> None:
        """A table fed by a view from each base table, with a window of its own, as the design asks of such tables."""
        for table in TABLES.values():
            self._client.command(
                f"CREATE TABLE IF NOT EXISTS telemetry.{table}_seen (SpanId String) ENGINE = MergeTree ORDER BY SpanId"
                " SETTINGS non_replicated_deduplication_window = 10000"
            )
            self._client.command(
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS telemetry.{table}_seen_mv TO telemetry.{table}_seen"
                f" AS SELECT SpanId FROM telemetry.{table}"
            )

    def counts(self, table: str) -> dict[str, int]:
        """How often each id is there."""
        rows = self._client.query(f"SELECT SpanId, count() FROM telemetry.{table} GROUP BY SpanId").result_rows
        return {str(name): int(count) for name, count in rows}

    def close(self) -> None:
        self._client.close()


def compare(store: Store, book: Book, fault: str, runs: int) -> Verdict:
    """Acknowledged ids against base tables and view targets; no id, acknowledged or not, may be there twice."""
    lost = duplicated = lost_in_view = duplicated_in_view = 0
    for signal, table in TABLES.items():
        base, view = store.counts(table), store.counts(f"{table}_seen")
        acknowledged = book.acknowledged[signal]
        lost += len(acknowledged - base.keys())
        duplicated += sum(1 for count in base.values() if count > 1)
        lost_in_view += len(base.keys() - view.keys()) + len(acknowledged - view.keys() - (acknowledged - base.keys()))
        duplicated_in_view += sum(1 for count in view.values() if count > 1)
        strangers = base.keys() - book.sent[signal]
        assert not strangers, f"{len(strangers)} ids were never sent"
    total = sum(len(ids) for ids in book.acknowledged.values())
    return Verdict(fault, runs, total, lost, duplicated, lost_in_view, duplicated_in_view)


def wait_for_schema(program: Program, store: Store) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            store.create_views()
        except clickhouse_connect.driver.exceptions.DatabaseError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"no tables after 30 s:\n{program.output()}")


def wait_until_drained(program: Program) -> None:
    """Return when nothing waits in the log."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        if program.metric("bridge_log_lag_records") == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"not drained after {DRAIN_SECONDS} s: {program.ready()}\n{program.output()[-3000:]}")


Trouble = Callable[[Program, random.Random], Awaitable[None]]


async def under_load(program: Program, book: Book, trouble: Trouble, runs: int, seed: int) -> None:
    """Clients send all the time while the trouble happens `runs` times at random moments."""
    dice, stop = random.Random(seed), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            group.create_task(send(book, stop, program.grpc_port, program.http_port, seed * 100 + client, 0.002))
        for run in range(runs):
            await asyncio.sleep(dice.uniform(0.05, 1.2))
            await trouble(program, dice)
            _progress(f"{run + 1} of {runs}")
        await asyncio.sleep(0.5)
        stop.set()


async def kill_program(program: Program, _: random.Random) -> None:
    """SIGKILL and start again."""
    await asyncio.to_thread(program.kill)
    await asyncio.to_thread(program.start)


def kill_server(server: ClickHouseServer) -> Trouble:
    async def kill(_: Program, dice: random.Random) -> None:
        """SIGKILL of the store, in the middle of whatever it does, and a start on the same data."""
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(dice.uniform(0.0, 0.5))
        server.spawn()
        await asyncio.to_thread(server.wait_until_up)

    return kill


@dataclass(slots=True)
class Story:
    """What an outage looked like from outside."""

    acknowledged_while_down: int = 0
    refused_with_hint: int = 0
    refused_without_hint: int = 0
    ready_while_down: int = 0
    receive_while_full: int = 0
    oldest_seconds_at_end: float = 0.0
    ready_afterwards: int = 0
    oldest_seconds_afterwards: float = -1.0

    @property
    def is_full(self) -> bool:
        return self.receive_while_full == 503


def survive_outage(
    directory: Path, server: ClickHouseServer, seconds: float, log_max_bytes: int
) -> tuple[Verdict, Story]:
    """The store is killed under load and started again after `seconds`; the load goes on all the time."""
    settings = settings_for(server) | {
        "HEADRACE_LOG__MAX_BYTES": str(log_max_bytes),
        "HEADRACE_DELIVER__NO_PROGRESS_SECONDS": "2",
    }
    program, book, story = Program(directory, settings), Book(), Story()
    program.start()
    store = Store(server)
    try:
        wait_for_schema(program, store)
        asyncio.run(_outage(program, book, server, story, seconds))
        wait_until_drained(program)
        story.ready_afterwards = program.ready()[0]
        story.oldest_seconds_afterwards = program.metric("bridge_log_oldest_unwritten_seconds")
        return compare(store, book, f"ClickHouse away for {seconds:g} s", 1), story
    finally:
        store.close()
        program.kill()


async def _outage(program: Program, book: Book, server: ClickHouseServer, story: Story, seconds: float) -> None:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            group.create_task(send(book, stop, program.grpc_port, program.http_port, client, 0.002))
        await asyncio.sleep(1.0)
        before = book.total_acknowledged
        await asyncio.to_thread(server.kill)
        ends = time.monotonic() + seconds
        # on a busy machine it takes longer until the log is full
        while time.monotonic() < ends or (not story.is_full and time.monotonic() < ends + FULL_SECONDS):
            await asyncio.sleep(0.2)
            await asyncio.to_thread(_look, program, story)
        story.acknowledged_while_down = book.total_acknowledged - before
        story.oldest_seconds_at_end = await asyncio.to_thread(program.metric, "bridge_log_oldest_unwritten_seconds")
        server.spawn()
        await asyncio.to_thread(server.wait_until_up)
        await asyncio.sleep(2.0)
        stop.set()
    story.refused_with_hint, story.refused_without_hint = book.refused_with_hint, book.refused - book.refused_with_hint


def _look(program: Program, story: Story) -> None:
    story.ready_while_down = max(story.ready_while_down, program.ready()[0])
    story.receive_while_full = max(story.receive_while_full, program.ready("receive")[0])


KILL_PROGRAM = "kill -9 headrace"
KILL_SERVER = "kill -9 ClickHouse"


def suffer(directory: Path, server: ClickHouseServer, fault: str, runs: int, seed: int = 1) -> Verdict:
    """One fault, from a fresh program to the verdict."""
    trouble = kill_program if fault == KILL_PROGRAM else kill_server(server)
    program, book = Program(directory, settings_for(server)), Book()
    program.start()
    store = Store(server)
    try:
        wait_for_schema(program, store)
        asyncio.run(under_load(program, book, trouble, runs, seed))
        wait_until_drained(program)
        return compare(store, book, fault, runs)
    finally:
        store.close()
        program.kill()


def table(verdicts: list[Verdict]) -> str:
    lines = [
        "| fault | runs | acknowledged | lost | duplicated | lost in view | duplicated in view |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {v.fault} | {v.runs} | {v.acknowledged} | {v.lost} | {v.duplicated} | {v.lost_in_view}"
        f" | {v.duplicated_in_view} |"
        for v in verdicts
    ]
    return "\n".join(lines)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="of headrace")
    parser.add_argument("--server-kills", type=int, default=30, help="of ClickHouse")
    parser.add_argument("--outage-seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    verdicts = []
    for fault, runs in ((KILL_PROGRAM, arguments.kills), (KILL_SERVER, arguments.server_kills)):
        print(f"{fault}, {runs} times under load ...", flush=True)
        with tempfile.TemporaryDirectory() as folder, start_clickhouse() as server:
            verdicts.append(suffer(Path(folder), server, fault, runs))
    print(f"ClickHouse away for {arguments.outage_seconds:g} s under load ...", flush=True)
    with tempfile.TemporaryDirectory() as folder, start_clickhouse() as server:
        verdict, story = survive_outage(Path(folder), server, arguments.outage_seconds, 64 << 20)
    verdicts.append(verdict)
    print(f"\n{table(verdicts)}\n\nthe outage: {story}")
    return 0 if all(verdict.is_clean for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
