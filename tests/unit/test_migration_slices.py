"""How a range of time is cut into slices."""

import itertools
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.migration.slices import MAX_STEPS, Slice, clamped, cut, joined


class Store:
    """Documents by their times; counts them in steps as OpenSearch does, from multiples of the step."""

    def __init__(self, times: Sequence[int]) -> None:
        self.times = times
        self.largest_answer = 0

    async def steps(self, start: int, end: int, step: int) -> list[Slice]:
        counts = Counter(at // step * step for at in self.times if start <= at < end)
        self.largest_answer = max(self.largest_answer, len(counts))
        return [clamped(at, count, step, (start, end)) for at, count in sorted(counts.items())]


@given(
    st.lists(st.integers(1_700_000_000_000, 1_700_000_000_500) | st.integers(1_690_000_000_000, 1_700_000_000_000)),
    st.integers(1, 40),
)
async def test_every_document_is_in_exactly_one_slice(times: list[int], limit: int) -> None:
    """Slices follow each other without gap or overlap; only a single millisecond may hold more than the limit."""
    store, start, end = Store(times), 1_690_000_000_000, 1_700_000_000_501
    parts = await cut(store.steps, start, end, limit)
    assert sum(part.documents for part in parts) == len(times)
    for part in parts:
        inside = [at for at in times if part.start_unix_milli <= at < part.end_unix_milli]
        assert len(inside) == part.documents
        assert len(inside) <= limit or len(set(inside)) == 1
    for before, after in itertools.pairwise(parts):
        assert before.end_unix_milli == after.start_unix_milli
    assert store.largest_answer <= MAX_STEPS + 1


async def test_the_same_documents_are_cut_the_same() -> None:
    """What a killed run has recorded is what the next one would cut."""
    times = [1_700_000_000_000 + (n * n) % 86_400_000 for n in range(5_000)]
    bounds = (min(times), max(times) + 1)
    assert await cut(Store(times).steps, *bounds, 300) == await cut(Store(sorted(times)).steps, *bounds, 300)


async def test_an_even_day_is_cut_into_few_full_slices() -> None:
    """Slices are filled as far as the steps allow: no more of them than needed and one."""
    times = [n * 864 for n in range(100_000)]
    parts = await cut(Store(times).steps, 0, 86_400_000, 20_000)
    assert len(parts) in (5, 6)


@pytest.mark.parametrize(
    ("documents", "expected"), [([3, 3, 3], [6, 3]), ([7, 1, 9], [8, 9]), ([10, 1], [10, 1]), ([12], [12]), ([], [])]
)
def test_neighbours_are_joined_up_to_the_limit(documents: list[int], expected: list[int]) -> None:
    """Never beyond it, except for what cannot be cut."""
    steps = [Slice(at * 10, at * 10 + 10, count) for at, count in enumerate(documents)]
    assert [part.documents for part in joined(steps, 10)] == expected
