"""Chaos on real Kafka and ClickHouse: one fault at a time under load, then every acknowledged id is looked for.

    python -m tests.chaos_kafka [--runs 10] [--mixed-seconds 600] [--only TEXT]

Each fault has topics and a database of its own. After it: the ids acknowledged are in the base table, or, where the
table refuses them, in the dead letters; none twice; the same in a table that a view feeds; and the ledger closes.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge.model import OTLP_SIGNALS
from tests.crash_at import RECEIVING, STEPS
from tests.fleet import Fleet, Tables, fleet
from tests.kafka_service import KafkaBroker, start_kafka
from tests.load import Book, send
from tests.proxy import Spoil, proxying
from tests.services import ClickHouseServer, start_clickhouse

TABLES = {"traces": "otel_traces", "logs": "otel_logs"}
POISON = "000"
CLIENTS = 4
# Between two requests of a client; taking batches apart is slow, and is not to fall behind for minutes.
PAUSE_SECONDS, POISON_PAUSE_SECONDS = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class Verdict:
    """One fault's outcome; `ledger` is whether its sums closed."""

    fault: str
    runs: int
    acknowledged: int
    dead_lettered: int
    lost: int
    duplicated: int
    lost_in_view: int
    duplicated_in_view: int
    ledger: str

    @property
    def is_clean(self) -> bool:
        wrong = self.lost or self.duplicated or self.lost_in_view or self.duplicated_in_view
        return not wrong and self.ledger == "closes"


@dataclass(slots=True)
class World:
    """What a fault may do its worst to."""

    broker: KafkaBroker
    server: ClickHouseServer
    fleet: Fleet
    dice: random.Random
    runs: int
    has_poison: bool


Fault = Callable[[World], Awaitable[int]]


async def _kill_and_start(world: World, role: str) -> None:
    team = {"receive": world.fleet.receivers, "deliver": world.fleet.delivers}.get(role, world.fleet.programs)
    program = world.dice.choice(team)
    await asyncio.to_thread(program.kill)
    await asyncio.sleep(world.dice.uniform(0.0, 0.5))
    program.spawn()
    await asyncio.to_thread(program.wait_until_up)


def kills_of(role: str) -> Fault:
    async def kills(world: World) -> int:
        for _ in range(world.runs):
            await asyncio.sleep(world.dice.uniform(0.2, 2.0))
            await _kill_and_start(world, role)
        return world.runs

    return kills


def crash_at(step: str) -> Fault:
    """A process that ends at this very step, and is started again, so often."""

    async def crash(world: World) -> int:
        fleet_of = world.fleet.receivers if step in RECEIVING else world.fleet.delivers
        program = fleet_of[0]
        for _ in range(world.runs):
            await asyncio.to_thread(program.stop)
            program.crash_at = f"{step}:{world.dice.randrange(1, 8)}"
            program.spawn()
            assert program.process is not None
            async with asyncio.timeout(60):
                await asyncio.to_thread(program.process.wait)
            program.crash_at = ""
            program.spawn()
            await asyncio.to_thread(program.wait_until_up)
        return world.runs

    return crash


async def broker_killed(world: World) -> int:
    """SIGKILL of the only broker, and a start on the same data."""
    for _ in range(world.runs):
        await asyncio.sleep(world.dice.uniform(1.0, 3.0))
        await asyncio.to_thread(world.broker.kill)
        world.broker.spawn()
        await asyncio.to_thread(world.broker.wait_until_up)
        await asyncio.sleep(5.0)
    return world.runs


async def store_killed(world: World) -> int:
    for _ in range(world.runs):
        await asyncio.sleep(world.dice.uniform(0.5, 2.0))
        await asyncio.to_thread(world.server.kill)
        await asyncio.sleep(world.dice.uniform(0.0, 1.0))
        world.server.spawn()
        await asyncio.to_thread(world.server.wait_until_up)
    return world.runs


async def zombies(world: World) -> int:
    """A deliver sleeps (SIGSTOP) until its partitions were given away, and wakes up in the middle of things."""
    for _ in range(world.runs):
        await asyncio.sleep(world.dice.uniform(0.5, 1.5))
        program = world.dice.choice(world.fleet.delivers)
        program.pause()
        await asyncio.sleep(world.dice.uniform(7.5, 10.0))  # the session times out after 6 s
        program.resume()
        await asyncio.sleep(2.0)
    return world.runs


async def rebalances(world: World) -> int:
    """A deliver leaves softly and comes back, so that partitions move while batches are under way."""
    for _ in range(world.runs):
        await asyncio.sleep(world.dice.uniform(0.2, 1.0))
        program = world.dice.choice(world.fleet.delivers)
        await asyncio.to_thread(program.stop)
        program.spawn()
        await asyncio.to_thread(program.wait_until_up)
    return world.runs


def spoiled(spoil: Spoil) -> Fault:
    async def spoiling(world: World) -> int:
        """Half of all inserts of one deliver, for some seconds, each of them a run."""
        async with proxying(world.server.http_port) as proxy:
            world.fleet.store_port = proxy.port
            program = world.fleet.delivers[0]
            await asyncio.to_thread(program.stop)
            program.settings = world.fleet.settings()
            proxy.spoil = spoil
            program.spawn()
            await asyncio.to_thread(program.wait_until_up)
            async with asyncio.timeout(90):
                while proxy.spoiled < world.runs:  # noqa: ASYNC110 - the proxy counts, nobody tells
                    await asyncio.sleep(0.1)
            proxy.spoil = None
            await asyncio.sleep(1.0)
            await asyncio.to_thread(program.stop)
            world.fleet.store_port = 0
            program.settings = world.fleet.settings()
            program.spawn()
            await asyncio.to_thread(program.wait_until_up)
            return proxy.spoiled

    return spoiling


FAULTS: dict[str, Fault] = {
    **{f"kill -9 {step}": crash_at(step) for step in STEPS},
    **{str(spoil): spoiled(spoil) for spoil in Spoil},
    "kill -9 receive": kills_of("receive"),
    "kill -9 deliver": kills_of("deliver"),
    "kill -9 of the broker": broker_killed,
    "kill -9 of ClickHouse": store_killed,
    "SIGSTOP across a rebalance, then SIGCONT": zombies,
    "rebalance": rebalances,
}


def has_poison(fault: str) -> bool:
    return "dead letter" in fault


def mixed(seconds: float) -> Fault:
    async def mix(world: World) -> int:
        """kill -9 of any process, every few seconds."""
        ends = asyncio.get_running_loop().time() + seconds
        count = 0
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(world.dice.uniform(1.0, 5.0))
            await _kill_and_start(world, "any")
            count += 1
            _progress(f"{count} kills, {ends - asyncio.get_running_loop().time():.0f} s left")
        return count

    return mix


@asynccontextmanager
async def load(world: Fleet, book: Book, seed: int, pause_seconds: float) -> AsyncIterator[None]:
    """Clients send all the time, to all receivers."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for client in range(CLIENTS):
            program = world.receivers[client // 2 % len(world.receivers)]
            group.create_task(
                send(book, stop, program.grpc_port, program.http_port, seed * 100 + client, pause_seconds)
            )
        try:
            yield
            await asyncio.sleep(0.5)
        finally:
            stop.set()


def suffer(directory: Path, broker: KafkaBroker, server: ClickHouseServer, fault: str, world_of: "Scale") -> Verdict:
    """One fault, from fresh processes to the verdict."""
    name = f"c{abs(hash((fault, str(directory)))) % 10**10}"
    partitions = str(world_of.partitions)
    extra = {"kafka__partitions": partitions, "deliver__max_dead_letters_per_minute": "1000000"}
    with fleet(directory, broker, server, name, **extra) as made:
        made.start(world_of.receivers, world_of.delivers)
        tables = Tables(server, name)
        tables.wait()
        if has_poison(fault):
            tables.refuse(POISON)
        book = Book()
        action = world_of.action or FAULTS[fault]
        world = World(broker, server, made, random.Random(fault), world_of.runs, has_poison(fault))
        runs = asyncio.run(_under_load(world, action, book))
        made.wait_until(made.is_drained, "drained")
        ledger = made.check_ledger()
        closes = "closes" if ledger.returncode == 0 else f"OPEN {ledger.stdout}{ledger.stderr}"
        verdict = compare(tables, dead_ids(made), book, Outcome(fault, runs, closes))
        if not verdict.is_clean:
            print(f"{table([verdict])}\n{tables.doubles()}", *(program.output() for program in made.programs), sep="\n")
        tables.close()
    return verdict


@dataclass(frozen=True, slots=True)
class Scale:
    runs: int
    receivers: int = 1
    delivers: int = 2
    partitions: int = 4
    action: Fault | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    fault: str
    runs: int
    ledger: str


async def _under_load(world: World, fault: Fault, book: Book) -> int:
    pause_seconds = POISON_PAUSE_SECONDS if world.has_poison else PAUSE_SECONDS
    async with load(world.fleet, book, world.dice.randrange(1000), pause_seconds):
        await asyncio.sleep(1.0)
        return await fault(world)


def dead_ids(made: Fleet) -> dict[str, list[str]]:
    """The ids in the dead letters, by signal, as often as they are there."""
    found: dict[str, list[str]] = {signal: [] for signal in TABLES}
    shown = made.run("dlq", "show")
    for letter in _objects(shown.stdout):
        for item in _items(letter["otlp"]):
            found[letter["signal"]].append(_hex(item["spanId"]))
    return found


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        yield value
        at += len(text[at:]) - len(text[at:].lstrip())


def _items(tree: object) -> Iterator[dict[str, str]]:
    if isinstance(tree, list):
        for each in tree:
            yield from _items(each)
    elif isinstance(tree, dict):
        if "spanId" in tree:
            yield tree
        for each in tree.values():
            yield from _items(each)


def _hex(text: str) -> str:
    import base64

    return base64.b64decode(text).hex()


def compare(tables: Tables, dead: dict[str, list[str]], book: Book, outcome: Outcome) -> Verdict:
    """Acknowledged ids against tables and letters; no id, acknowledged or not, may be in two places."""
    lost = duplicated = lost_in_view = duplicated_in_view = 0
    for signal in OTLP_SIGNALS:
        table, buried = TABLES[signal], dead[signal]
        base, view = tables.counts(table), tables.counts(f"{table}_seen")
        acknowledged = book.acknowledged[signal]
        lost += len(acknowledged - base.keys() - set(buried))
        duplicated += sum(1 for count in base.values() if count > 1)
        duplicated += len(buried) - len(set(buried)) + len(set(buried) & base.keys())
        lost_in_view += len(base.keys() - view.keys())
        duplicated_in_view += sum(1 for count in view.values() if count > 1)
        strangers = (base.keys() | set(buried)) - book.sent[signal]
        assert not strangers, f"{len(strangers)} ids were never sent"
    counts = (lost, duplicated, lost_in_view, duplicated_in_view)
    buried_count = sum(map(len, dead.values()))
    return Verdict(outcome.fault, outcome.runs, book.total_acknowledged, buried_count, *counts, outcome.ledger)


def table(verdicts: list[Verdict]) -> str:
    lines = [
        "| fault | runs | acknowledged | dead-lettered | lost | duplicated | lost in view | duplicated in view"
        " | ledger |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {v.fault} | {v.runs} | {v.acknowledged} | {v.dead_lettered} | {v.lost} | {v.duplicated} | {v.lost_in_view}"
        f" | {v.duplicated_in_view} | {v.ledger} |"
        for v in verdicts
    ]
    return "\n".join(lines)


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


@contextmanager
def services() -> Iterator[tuple[KafkaBroker, ClickHouseServer]]:
    with start_kafka() as broker, start_clickhouse() as server:
        yield broker, server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos_kafka", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="of every fault")
    parser.add_argument("--mixed-seconds", type=float, default=600.0, help="of kill -9 of any of five processes")
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    arguments = parser.parse_args()
    verdicts = []
    with services() as (broker, server):
        for fault in (name for name in FAULTS if arguments.only in name):
            print(f"{fault}, {arguments.runs} times under load ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                verdicts.append(suffer(Path(folder), broker, server, fault, Scale(arguments.runs)))
            print(table(verdicts[-1:]).splitlines()[-1], flush=True)
        if arguments.mixed_seconds and arguments.only in "kill -9 of any process":
            print(f"kill -9 of any process for {arguments.mixed_seconds:g} s ...", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                scale = Scale(0, 2, 3, 12, mixed(arguments.mixed_seconds))
                name = f"2 receive, 3 deliver, 12 partitions: kill -9 of any process for {arguments.mixed_seconds:g} s"
                verdicts.append(suffer(Path(folder), broker, server, name, scale))
    print(f"\n{table(verdicts)}")
    return 0 if all(verdict.is_clean for verdict in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
