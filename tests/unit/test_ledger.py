"""What closes and what does not, what is handed over, and how far the store is complete."""

import asyncio
import json
from collections.abc import Sequence

import pytest

from bridge.cli.ledger import Sums, judge
from bridge.columns import to_table
from bridge.errors import LogUnavailable
from bridge.freshness import SETTLE_NANOSECONDS, complete_until, progress
from bridge.ledger import MAX_ORGS, MINUTE_NANOSECONDS, Books, Ledger
from bridge.log.memory import open_memory_log
from bridge.model import Partition, PartitionLag, Record, Signal
from bridge.patience import LaneHealth

SCOPE = ("acme", "traces")
NOW = 1_800_000_000_000_000_000


def verdict(sums: Sums, killed: tuple[str, ...] = (), *, is_complete: bool = True) -> str | None:
    (finding,) = judge({SCOPE: sums}, killed, is_complete=is_complete)
    return finding.problem


def test_sums_that_add_up_close() -> None:
    """Received is refused, rejected or appended; appended is stored or dead-lettered."""
    assert verdict(Sums(10, 2, 1, 7, 5, 2)) is None


def test_items_that_are_nowhere_are_a_problem_whoever_was_killed() -> None:
    """A killed process counts too little, never too much."""
    assert "are nowhere" in (verdict(Sums(10, 0, 0, 10, 9, 0), ("receive-1",)) or "")


def test_items_on_their_way_are_told_apart_from_lost_ones() -> None:
    """As long as the store is not complete up to the end of the span."""
    assert "in flight" in (verdict(Sums(10, 0, 0, 10, 9, 0), is_complete=False) or "")


def test_rows_beyond_the_counts_need_an_explanation() -> None:
    """A killed process, or requests refused in time that the log took after all; nothing else."""
    too_many = Sums(10, 0, 0, 10, 12, 0)
    assert "more items are stored" in (verdict(too_many) or "")
    assert verdict(too_many, ("receive-1",)) is None
    assert verdict(Sums(12, 2, 0, 10, 12, 0)) is None


def test_items_that_were_received_and_then_forgotten_are_a_problem() -> None:
    """The receiving side has to close by itself."""
    assert "neither" in (verdict(Sums(10, 1, 1, 7, 7, 0)) or "")


async def test_counts_go_through_the_log_and_survive_its_refusal() -> None:
    """What could not be handed over is handed over with the next; the last one says so."""
    ledger = Ledger()
    async with open_memory_log() as log:
        books = Books(ledger, "receive", log.append, lambda: ())
        ledger.count("acme", Signal.LOGS, NOW, received=5, appended=5)
        log.script("append", LogUnavailable("away"))
        stop = asyncio.Event()
        stop.set()
        await books.keep(stop)
        assert not log.held(Signal.LEDGER)
        ledger.count("acme", Signal.LOGS, NOW + 1, received=1, refused=1)
        await books.close()
        (record,) = log.held(Signal.LEDGER)
    rows = to_table(Signal.LEDGER, [record]).to_pylist()
    assert [(row["org"], row["received"], row["refused"], row["appended"]) for row in rows if row["signal"]] == [
        ("acme", 6, 1, 5)
    ]
    assert {row["is_last"] for row in rows} == {1}
    assert len(json.loads(record.value)) == record.items


def highest(records: Sequence[Record]) -> dict[str, int]:
    """What the store makes of the records: per instance and cell the highest count, summed by organisation."""
    cells: dict[tuple[str, int, str, str], int] = {}
    for row in to_table(Signal.LEDGER, records).to_pylist():
        key = (row["instance"], row["minute"], row["org"], row["signal"])
        cells[key] = max(cells.get(key, 0), row["received"])
    found: dict[str, int] = {}
    for (_, _, org, signal), count in cells.items():
        if signal:
            found[org] = found.get(org, 0) + count
    return found


async def test_a_record_that_got_into_the_log_without_an_answer_counts_nothing_twice() -> None:
    """Kafka may take what we have given up on; the same counts are then told again, and more."""
    ledger = Ledger()
    async with open_memory_log() as log:
        answers = [True, False, True]

        async def append(records: Sequence[Record]) -> None:
            await log.append(records)
            if not answers.pop():
                raise LogUnavailable("took it, and did not say so")

        books = Books(ledger, "receive", append, lambda: ())
        for number in (5, 7, 9):
            ledger.count("acme", Signal.LOGS, NOW, received=number)
            await books.close()
        assert highest(log.held(Signal.LEDGER)) == {"acme": 21}


async def test_a_long_life_holds_few_counts_and_loses_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """When there are many minutes and organisations the process goes on under another name, with counts from 0."""
    monkeypatch.setattr("bridge.ledger.MAX_CELLS", 10)
    ledger = Ledger()
    async with open_memory_log() as log:
        books = Books(ledger, "receive", log.append, lambda: ())
        for number in range(100):
            ledger.count(f"org-{number % 7}", Signal.LOGS, NOW + number % 3 * MINUTE_NANOSECONDS, received=1)
            if number % 5 == 0:
                if number % 2:
                    log.script("append", LogUnavailable("away"))
                await books.close()
        await books.close()
        records = log.held(Signal.LEDGER)
        assert sum(highest(records).values()) == 100
        assert len({row["instance"] for row in to_table(Signal.LEDGER, records).to_pylist()}) > 2


def test_a_flood_of_names_does_not_grow_the_ledger() -> None:
    """Beyond the bound all are counted together."""
    ledger = Ledger()
    for number in range(MAX_ORGS + 50):
        ledger.count(f"org-{number}", Signal.LOGS, NOW, received=1)
    taken = ledger.changed()
    assert len(taken) <= MAX_ORGS + 1
    assert sum(row["received"] for row in taken.values()) == MAX_ORGS + 50


def lane(number: int, oldest: int | None = None, newest: int | None = None, **orgs: int) -> LaneHealth:
    health = LaneHealth(Partition("otlp_spans", number))
    health.oldest_received_at_unix_nano, health.newest_received_at_unix_nano = oldest, newest
    health.oldest_by_org, health.orgs = dict(orgs), set(orgs)
    return health


def lag(number: int, records: int) -> PartitionLag:
    return PartitionLag(Partition("otlp_spans", number), 0, records)


def test_behind_an_empty_partition_all_is_complete_until_what_may_still_be_appended() -> None:
    """Ten seconds, the time an append may take."""
    (each,) = progress([lane(0)], [lag(0, 0)], NOW)
    assert each.complete_until_unix_nano == NOW - SETTLE_NANOSECONDS


def test_a_partition_of_which_nothing_is_read_promises_nothing() -> None:
    """Neither for itself nor for any organisation."""
    assert progress([lane(0)], [lag(0, 3)], NOW) == []
    assert complete_until([lane(0), lane(1, NOW, NOW, acme=NOW)], [lag(0, 3), lag(1, 1)], NOW) == {}


@pytest.mark.parametrize(("oldest", "expected"), [(NOW - 50, NOW - SETTLE_NANOSECONDS), (NOW - 10**12, NOW - 10**12)])
def test_what_waits_holds_the_promise_back(oldest: int, expected: int) -> None:
    """The organisation's oldest waiting item, or what may have been appended behind the newest that was seen."""
    lanes = [lane(0, oldest, NOW, acme=oldest)]
    assert complete_until(lanes, [lag(0, 2)], NOW) == {(Signal.TRACES, "acme"): expected}
