"""Which rows of overlapping answers are new: each once, in order, also late ones and equal ones; bounded memory."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.follow import Entry, Following, time_of
from bridge.cli.moments import parse_moment, rfc3339

SECOND = 1_000_000_000
T0 = parse_moment("2026-01-31T12:00:00Z")


def row(at: int, text: str = "x") -> Entry:
    return {"timestamp": rfc3339(T0 + at), "log": text}


def poll(following: Following, store: list[Entry], now: int = 10**6, until: int | None = None) -> list[Entry]:
    """One look at a store: its rows from the start on, in order of time."""
    found = [each for each in store if time_of(each) >= following.start_unix_nano]
    following.begin()
    new = following.take(sorted(found, key=time_of))
    following.end(T0 + now * SECOND, None if until is None else T0 + until * SECOND)
    return new


def logs(entries: list[Entry]) -> list[str]:
    return [each["log"] for each in entries]


def test_a_row_is_shown_once_however_often_it_is_read() -> None:
    """Polls that overlap show only what was not shown."""
    store = [row(0, "a"), row(1, "b")]
    following = Following(T0)
    assert logs(poll(following, store)) == ["a", "b"]
    store.append(row(2, "c"))
    assert logs(poll(following, store)) == ["c"]
    assert poll(following, store) == []


def test_a_row_that_arrives_late_is_shown() -> None:
    """A row older than those shown, within the overlap, is found by the next poll; one before it is not."""
    store = [row(100 * SECOND, "new")]
    following = Following(T0)
    poll(following, store)
    store += [row(70 * SECOND, "late"), row(70 * SECOND - 1, "too late")]
    assert logs(poll(following, store)) == ["late"]


def test_equal_rows_are_as_many_as_there_are() -> None:
    """Rows that do not differ in anything are told apart by their number."""
    store = [row(0), row(0)]
    following = Following(T0)
    assert len(poll(following, store)) == 2
    store.append(row(0))
    assert len(poll(following, store)) == 1
    assert poll(following, store) == []


def test_a_poll_that_broke_off_repeats_nothing() -> None:
    """Rows of pages that came before a failure are not shown again, those behind it are."""
    following = Following(T0)
    following.begin()
    assert logs(following.take([row(0, "a"), row(1, "b")])) == ["a", "b"]
    assert logs(poll(following, [row(0, "a"), row(1, "b"), row(2, "c")])) == ["c"]


def test_a_row_of_the_future_does_not_hide_the_present() -> None:
    """A clock that is ahead moves the window no further than now."""
    store = [row(3600 * SECOND, "tomorrow's")]
    following = Following(T0)
    assert logs(poll(following, store, now=60)) == ["tomorrow's"]
    store.append(row(61 * SECOND, "now's"))
    assert logs(poll(following, store, now=62)) == ["now's"]


def test_the_window_waits_for_what_the_store_does_not_have_yet() -> None:
    """While the store says that it is complete only until then, rows from an overlap before that on are still found."""
    store = [row(600 * SECOND, "quick")]
    following = Following(T0)
    poll(following, store, until=100)
    store.append(row(71 * SECOND, "was on its way"))
    assert logs(poll(following, store, until=601)) == ["was on its way"]


def test_a_store_that_falls_back_repeats_nothing() -> None:
    """The window never moves back, to where what was shown is not known any more."""
    store = [row(0, "old"), row(600 * SECOND, "new")]
    following = Following(T0)
    assert logs(poll(following, store, until=600)) == ["old", "new"]
    assert poll(following, store, until=10) == []
    assert poll(following, store, until=10) == []


def test_memory_is_bounded_and_it_is_told() -> None:
    """With more rows in the overlap than may be remembered it gets shorter; nothing is shown twice for that."""
    store = [row(number, str(number)) for number in range(100)]
    following = Following(T0, max_remembered=10)
    assert len(poll(following, store)) == 100
    assert following.is_overlap_short
    assert len(following._shown) <= 10
    store.append(row(100, "next"))
    assert logs(poll(following, store)) == ["next"]
    # ten rows are remembered, the hundredth one is now forgotten with its time
    assert poll(following, store) == []


def test_rows_of_one_time_that_are_too_many_are_not_repeated() -> None:
    """When not even one time's rows can be remembered, the window starts behind them."""
    store = [row(5, str(number)) for number in range(50)]
    following = Following(T0, max_remembered=10)
    assert len(poll(following, store)) == 50
    assert poll(following, store) == []


arrivals = st.lists(
    st.lists(st.tuples(st.integers(0, 90), st.sampled_from("abc")), max_size=12),  # (second, text) of rows of a poll
    max_size=8,
)


@given(arrivals, st.integers(1, 40), st.booleans(), st.randoms(use_true_random=False))
def test_every_row_is_shown_exactly_once(
    polls: list[list[tuple[int, str]]], overlap: int, breaks_off: bool, random: object
) -> None:
    """Rows in any order, late and equal: those that arrive inside of the window are shown once, the others never; and
    every poll is in order of time."""
    following = Following(T0, overlap_nano=overlap * SECOND)
    store: list[Entry] = []
    expected: Counter[tuple[str, str]] = Counter()
    shown: Counter[tuple[str, str]] = Counter()
    for arriving in polls:
        new = [row(second * SECOND, text) for second, text in arriving]
        store += new
        expected.update((r["timestamp"], r["log"]) for r in new if time_of(r) >= following.start_unix_nano)
        if breaks_off:
            following.begin()
            whole = sorted(store, key=time_of)
            seen = [r for r in whole if time_of(r) >= following.start_unix_nano]
            shown.update((r["timestamp"], r["log"]) for r in following.take(seen[: len(seen) // 2]))
        told = poll(following, store)
        assert [r["timestamp"] for r in told] == sorted(r["timestamp"] for r in told)
        shown.update((r["timestamp"], r["log"]) for r in told)
    assert shown == expected
