"""When a batch is closed, and what is committed around it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import offsets
from bridge.batch import BatchPolicy, Pending
from bridge.errors import LogUnavailable
from bridge.model import Committed, Intent, Partition, ReadRecord, Record, Signal
from bridge.retry import backoff_seconds

PARTITION = Partition("otlp_spans", 0)


def read(offset: int, items: int = 1, size_bytes: int = 1) -> ReadRecord:
    return ReadRecord(offset, Record(Signal.TRACES, "o", "p", 0, items, b"x" * size_bytes))


@given(
    sizes=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), max_size=40),
    max_rows=st.integers(1, 60),
    max_bytes=st.integers(1, 60),
    chunk=st.integers(1, 7),
)
def test_batches_keep_order_and_limits_and_lose_nothing(
    sizes: list[tuple[int, int]], max_rows: int, max_bytes: int, chunk: int
) -> None:
    """Whatever comes, the batches put together are the input, and only a single record may be over a limit."""
    records = [read(offset, items, size) for offset, (items, size) in enumerate(sizes)]
    policy = BatchPolicy(max_rows, max_bytes, max_age_seconds=1.0)
    pending, batches = Pending(), []
    for start in range(0, len(records), chunk):
        pending = pending.add(records[start : start + chunk], now=0.0)
        while (cut := pending.cut(policy, now=0.5))[0]:
            batch, pending = cut
            batches.append(batch)
    while pending.records:
        batch, pending = pending.cut(policy, now=9.0)
        batches.append(batch)
    assert [record for batch in batches for record in batch] == records
    for batch in batches:
        assert batch
        rows, size_bytes = sum(r.record.items for r in batch), sum(len(r.record.value) for r in batch)
        assert len(batch) == 1 or (rows <= max_rows and size_bytes <= max_bytes)


def test_age_closes_a_batch_that_is_not_full() -> None:
    """A lone record is delivered when it is old enough and not before."""
    policy = BatchPolicy(100, 100, max_age_seconds=1.0)
    pending = Pending().add([read(0)], now=10.0)
    assert pending.cut(policy, now=10.9)[0] == ()
    assert pending.seconds_left(policy, now=10.9) == pytest.approx(0.1)
    assert len(pending.cut(policy, now=11.0)[0]) == 1


def test_an_intent_is_committed_before_and_the_position_after() -> None:
    """begin keeps the position and names the range; finish moves past it."""
    begun = offsets.begin(Committed(PARTITION, 5), [read(5), read(6), read(9)], codec=3)
    assert begun == Committed(PARTITION, 5, Intent(5, 9, 3))
    assert offsets.finish(begun) == Committed(PARTITION, 10)
    assert offsets.token_of("log", begun, [read(5), read(6), read(9)]) == "log:otlp_spans:0:5-9:3:0"


def test_a_batch_cannot_begin_while_another_is_announced() -> None:
    """Two announced ranges at once would lose the first: that is a bug, and it stops."""
    begun = offsets.begin(Committed(PARTITION, 0), [read(0)], codec=1)
    with pytest.raises(AssertionError):
        offsets.begin(begun, [read(1)], codec=1)


@pytest.mark.parametrize("found", [[], [read(5), read(6)], [read(6), read(7)]])
def test_a_range_that_is_no_longer_whole_is_not_replayed(found: list[ReadRecord]) -> None:
    """A shorter batch under the announced token would be dropped by the store or would drop the rest."""
    with pytest.raises(LogUnavailable, match="no longer holds"):
        offsets.check_replay(Intent(5, 7, 1), found)


@given(attempt=st.integers(1, 10_000), spread=st.floats(0, 1, exclude_max=True))
def test_back_off_stays_between_its_bounds(attempt: int, spread: float) -> None:
    """Never zero, never over the maximum, however many attempts."""
    assert 0.0 < backoff_seconds(attempt, 0.2, 15.0, spread) <= 15.0
