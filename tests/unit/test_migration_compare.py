"""What two stores' figures say: differences, drift, samples, verdict."""

from typing import Any

import pytest

from bridge.migration.compare import (
    Cell,
    Named,
    Sample,
    chosen,
    differences,
    faults,
    overall_drift,
    sampled,
)

EQUAL = {("logs", "a", 60): 100, ("logs", "b", 60): 50, ("traces", "a", 120): 10}


def row(identity: int, org: str = "a", **fields: Any) -> Named:
    return Named(identity, {"OrgId": org, "Body": "x", "ReceivedAt": identity, **fields})


def sample(opensearch: int = 100, clickhouse: int = 100, lacking: int = 0, changed: int = 0) -> Sample:
    return Sample("logs", "a", 60, opensearch, clickhouse, lacking, 0, changed, {})


def test_equal_counts_have_no_differences() -> None:
    """Nothing is told and nothing drifts."""
    assert differences(EQUAL, dict(EQUAL)) == []
    assert overall_drift(EQUAL, dict(EQUAL)) == 0


def test_a_difference_names_tenant_and_minute() -> None:
    """Also of a tenant that one store does not know at all."""
    other: dict[Cell, int] = {("logs", "a", 60): 99, ("traces", "a", 120): 10, ("logs", "c", 180): 1}
    told = [(each.org, each.minute, each.opensearch, each.clickhouse) for each in differences(EQUAL, other)]
    assert told == [("a", 60, 100, 99), ("b", 60, 50, 0), ("c", 180, 0, 1)]
    assert overall_drift(EQUAL, other) == pytest.approx(52 / 160)


def test_rows_of_one_tenant_cannot_make_up_for_those_of_another() -> None:
    """Equal sums are not equal stores."""
    swapped = {("logs", "a", 60): 50, ("logs", "b", 60): 100, ("traces", "a", 120): 10}
    assert overall_drift(EQUAL, swapped) == pytest.approx(100 / 160)


def test_minutes_that_differ_are_looked_into_first_and_the_rest_is_chance() -> None:
    """The same seed chooses the same minutes; no minute twice."""
    cells: list[Cell] = [("logs", "a", 60 * n) for n in range(1_000)]
    apart = differences({cells[500]: 1}, {cells[500]: 2})
    found = chosen(cells, apart, 20, seed=5)
    assert ("logs", 60 * 500) in found
    assert len(set(found)) == len(found) == 20
    assert found == chosen(cells, apart, 20, seed=5) != chosen(cells, apart, 20, seed=6)
    assert len(chosen(cells[:3], [], 20, seed=5)) == 3


def test_many_small_differences_of_one_tenant_do_not_hide_the_loss_of_another() -> None:
    """The minutes that differ most are looked into first, whoever's they are."""
    there: dict[Cell, int] = {("logs", "a", 60 * n): 1_000 for n in range(500)} | {("logs", "small", 60 * 700): 10}
    apart = differences(there, {cell: count - 1 for cell, count in there.items() if cell[1] == "a"})
    assert ("logs", 60 * 700) in chosen(there, apart, 20, seed=5)


def test_rows_are_compared_by_tenant() -> None:
    """Missing, extra and changed rows are counted where they belong, with the names of the fields."""
    ours = [row(1), row(2), row(3, Level="INFO"), row(4, "b"), row(4, "b")]
    theirs = [row(1), row(3, Level="WARN"), row(5), row(4, "b")]
    a, b = sampled(("logs", 60), ours, theirs)
    assert (a.org, a.only_opensearch, a.only_clickhouse, a.changed, dict(a.fields)) == ("a", 1, 1, 1, {"Level": 1})
    assert (b.org, b.opensearch, b.clickhouse, b.only_opensearch) == ("b", 2, 1, 1)
    assert a.is_failed
    assert b.is_failed


def test_when_a_row_was_received_is_not_compared() -> None:
    """Documents of others do not say it."""
    (only,) = sampled(
        ("logs", 60), [Named(1, {"OrgId": "a", "ReceivedAt": 1})], [Named(1, {"OrgId": "a", "ReceivedAt": 2})]
    )
    assert (only.changed, only.is_failed) == (0, False)


@pytest.mark.parametrize(
    ("samples", "drift", "expected"),
    [
        ([sample()], 0.0, []),
        ([sample(lacking=1)], 0.05, []),
        ([sample(lacking=2)], 0.0, ["1 of 1 samples"]),
        ([sample(changed=2)], 0.0, ["1 of 1 samples"]),
        ([sample()], 0.051, ["the counts differ"]),
        ([], 0.0, ["not a single row"]),
        ([sample(0, 0)], 0.0, ["not a single row"]),
        ([sample(lacking=50)], 0.5, ["1 of 1 samples", "the counts differ"]),
    ],
)
def test_the_limits_of_the_verdict(samples: list[Sample], drift: float, expected: list[str]) -> None:
    """More than 1 % of a sample, more than 5 % overall, or nothing sampled: not passed, with each reason."""
    found = faults(samples, drift)
    assert len(found) == len(expected)
    for fault, start in zip(found, expected, strict=True):
        assert fault.startswith(start)
