"""What a caller waits when a second store hangs: real HTTP questions with and without it, in turn, in the same run.

    python -m bench.dual [--pairs 3000] [--callers 4] [--rows 300] [--json bench/results/dual.json]

Three servers in one process, over the same rows in memory, so that what a second store adds is not hidden behind a
first one that takes its time: one without a second store, one with a second store that never answers, and one with a
second store that answers at once (which costs this process a second answer and the comparison: not a wait, but CPU).
Everything is drawn to be compared (sample_rate 1); the other settings are the defaults. Every caller asks all three in
turn, the order turned each time. Exit status 1 if p50 or p99 beside a store that hangs is 1.05 times as long or longer.
"""

import argparse
import asyncio
import gc
import json
import logging
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.queries import percentile
from query_api.storage import StorageProvider
from tests.dual import Two, odd, two
from tests.query_server import Served, serving
from tests.stored import NOON, SECOND, Stored, place

MAX_RATIO: Final = 1.05
ALONE: Final = "one store"
HANGS: Final = "a second store that hangs"
ANSWERS: Final = "a second store that answers"
NAMES: Final = (ALONE, HANGS, ANSWERS)
PATH: Final = "/api/logs/component/api"
BODY: Final = {"startTime": "2025-11-14T09:00:00Z", "endTime": "2025-11-14T11:00:00Z", "limit": 100}
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class DualResult:
    """Of one server; the ratios are to the one without a second store, the median of `ROUNDS`."""

    name: str
    questions: int
    p50_seconds: float
    p99_seconds: float
    p50_ratio: float
    p99_ratio: float
    compared: int
    not_compared: int


def rows(count: int) -> Stored:
    """Log records of one component, a second apart."""
    stored = Stored()
    for number in range(count):
        stored.log(f"INFO line {number} of the bench", NOON + number * SECOND, place("acme", service__name="api"))
    return stored


@asynccontextmanager
async def servers(count: int) -> AsyncIterator[tuple[Mapping[str, Served], Mapping[str, Two]]]:
    """By name: the server, and the metrics of those that have two stores."""
    async with AsyncExitStack() as stack:
        stored = rows(count)
        hanging = odd(stored)
        hanging.hangs = asyncio.Event()
        found: dict[str, Served] = {}
        both: dict[str, Two] = {}
        for name, second in ((HANGS, hanging), (ANSWERS, odd(stored))):
            both[name] = await stack.enter_async_context(two(odd(stored), second, reload_seconds=2.0))
            found[name] = await _served(stack, both[name].read.storage)
        found[ALONE] = await _served(stack, odd(stored))
        yield found, both


async def _served(stack: AsyncExitStack, storage: StorageProvider) -> Served:
    return await stack.enter_async_context(serving(storage))


async def measure(served: Mapping[str, Served], pairs: int, callers: int) -> dict[str, list[float]]:
    """Seconds of each question, by server."""
    seconds: dict[str, list[float]] = {name: [] for name in NAMES}

    async def caller(number: int, count: int, into: dict[str, list[float]]) -> None:
        for turn in range(count):
            first = (turn + number) % len(NAMES)
            for name in NAMES[first:] + NAMES[:first]:
                started = time.perf_counter()
                answer = await served[name].post(PATH, BODY)
                into[name].append(time.perf_counter() - started)
                if answer.status != 200:
                    raise RuntimeError(answer.text)

    async with asyncio.TaskGroup() as warm:
        for number in range(callers):
            warm.create_task(caller(number, 50, {name: [] for name in NAMES}))
    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(caller(number, pairs // callers, seconds))
    return seconds


async def run(pairs: int, callers: int, count: int) -> list[DualResult]:
    """One result a server, in the order of `NAMES`."""
    async with servers(count) as (served, both):
        gc.collect()
        gc.freeze()
        seconds = await measure(served, pairs, callers)
        return [_result(name, seconds, both.get(name)) for name in NAMES]


def _result(name: str, seconds: Mapping[str, Sequence[float]], both: Two | None) -> DualResult:
    record = both.read.records.all()["*"] if both is not None else None
    return DualResult(
        name,
        len(seconds[name]),
        percentile(seconds[name], 50),
        percentile(seconds[name], 99),
        _ratio(seconds[name], seconds[ALONE], 50),
        _ratio(seconds[name], seconds[ALONE], 99),
        record.comparisons if record else 0,
        sum(record.not_compared.values()) if record else 0,
    )


def _ratio(seconds: Sequence[float], base: Sequence[float], percent: int) -> float:
    """The median of `ROUNDS` parts of the run: a p99 of a shared machine has a bad minute now and then."""
    size = len(base) // ROUNDS
    parts = [slice(number * size, (number + 1) * size) for number in range(ROUNDS)]
    return statistics.median(percentile(seconds[part], percent) / percentile(base[part], percent) for part in parts)


def table(results: Sequence[DualResult]) -> str:
    """Markdown, one line a server."""
    lines = [
        "| beside it | questions | p50 ms | p99 ms | p50, p99 ratio | compared / not |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        waits = f"{row.p50_seconds * 1e3:.2f} | {row.p99_seconds * 1e3:.2f}"
        ratios = f"{row.p50_ratio:.3f}, {row.p99_ratio:.3f}"
        lines.append(
            f"| {row.name} | {row.questions:,} | {waits} | {ratios} | {row.compared:,} / {row.not_compared:,} |"
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.dual", description=__doc__)
    parser.add_argument("--pairs", type=int, default=3000, help="questions of each server")
    parser.add_argument("--callers", type=int, default=4, help="at once")
    parser.add_argument("--rows", type=int, default=300, help="in each store")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    results = asyncio.run(run(arguments.pairs, arguments.callers, arguments.rows))
    print(table(results), flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    hanging = results[NAMES.index(HANGS)]
    return int(max(hanging.p50_ratio, hanging.p99_ratio) >= MAX_RATIO)


if __name__ == "__main__":
    sys.exit(main())
