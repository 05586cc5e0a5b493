"""RFC3339 at nanoseconds, and what Go says of a text that is not one."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rfc3339 import MAX_UNIX_NANO, MIN_UNIX_NANO, format_time
from query_api.errors import InvalidRequest
from query_api.gotime import (
    GoTimeError,
    go_text,
    optional_times,
    parse_time,
    required_times,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# what every test of a time stays within: the years of 64 bit nanoseconds
NANOS = st.integers(MIN_UNIX_NANO // 2, MAX_UNIX_NANO)


@given(NANOS)
def test_a_time_that_was_told_is_read_back_to_the_nanosecond(unix_nano: int) -> None:
    """Paging by the last row's timestamp depends on it."""
    assert parse_time(format_time(unix_nano)) == unix_nano


@given(NANOS, st.integers(-23 * 60, 23 * 60))
def test_an_offset_is_the_same_instant(unix_nano: int, minutes: int) -> None:
    """`+02:00` and `Z` name one time in two ways."""
    seconds = unix_nano // 1_000_000_000
    local = (EPOCH + timedelta(seconds=seconds + minutes * 60)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    sign, size = "+" if minutes >= 0 else "-", abs(minutes)
    text = f"{local}.{unix_nano % 1_000_000_000:09d}{sign}{size // 60:02d}:{size % 60:02d}"
    assert parse_time(text) == unix_nano


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2025-11-14T10:00:00.120Z", "2025-11-14T10:00:00.12Z"),
        ("2025-11-14T10:00:00.000000000Z", "2025-11-14T10:00:00Z"),
        ("2025-11-14T10:00:00.1234567899Z", "2025-11-14T10:00:00.123456789Z"),
        ("2024-02-29T23:59:59+00:00", "2024-02-29T23:59:59Z"),
    ],
)
def test_times_are_told_in_utc_without_needless_digits(text: str, told: str) -> None:
    """As Go's RFC3339Nano (contract 1.4)."""
    assert format_time(parse_time(text)) == told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", 'parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006"'),
        ("yesterday", 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"'),
        (
            "2025-11-14 10:00:00Z",
            'parsing time "2025-11-14 10:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 10:00:00Z" as "T"',
        ),
        (
            "2025-11-14T10:00:00",
            'parsing time "2025-11-14T10:00:00" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00"',
        ),
        ("2025-13-14T10:00:00Z", 'parsing time "2025-13-14T10:00:00Z": month out of range'),
        ("2025-02-30T10:00:00Z", 'parsing time "2025-02-30T10:00:00Z": day out of range'),
        ("2025-11-14T25:00:00Z", 'parsing time "2025-11-14T25:00:00Z": hour out of range'),
        ("2025-11-14T10:00:00Zzz", 'parsing time "2025-11-14T10:00:00Zzz": extra text: "zz"'),
    ],
)
def test_what_is_no_time_is_told_in_go_s_words(text: str, said: str) -> None:
    """Clients that show the message show what they always did (contract 1.5)."""
    with pytest.raises(GoTimeError) as caught:
        parse_time(text)
    assert str(caught.value) == said


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_an_error(text: str) -> None:
    """Nothing else comes out, whatever comes in."""
    told = ""
    try:
        at = parse_time(text)
    except GoTimeError as error:
        at, told = 0, str(error)
    assert MIN_UNIX_NANO <= at <= MAX_UNIX_NANO
    assert not told or told.startswith("parsing time ")


def test_required_times_are_checked_in_the_contract_s_order() -> None:
    """Missing start, missing end, wrong start, wrong end, end before start; equal times are fine (contract 1.5)."""
    at, earlier = "2025-10-28T12:00:00Z", "2025-10-28T11:00:00.5Z"
    for start, end, said in (
        ("", "", "Required field startTime not found"),
        ("x", "", "Required field endTime not found"),
        ("x", "y", "startTime must be in RFC3339 format (e.g., 2024-01-01T00:00:00Z): parsing time"),
        (at, "y", "endTime must be in RFC3339 format (e.g., 2024-01-01T00:00:00Z): parsing time"),
        (
            at,
            earlier,
            "endTime (2025-10-28 11:00:00.5 +0000 UTC) must be after startTime (2025-10-28 12:00:00 +0000 UTC)",
        ),
    ):
        with pytest.raises(InvalidRequest) as caught:
            required_times(start, end)
        assert str(caught.value).startswith(said)
    assert required_times(at, at) == (parse_time(at), parse_time(at))


def test_times_that_may_be_left_out_are_no_bound() -> None:
    """The portal's build logs have none; one alone bounds one side."""
    at = "2025-10-28T12:00:00Z"
    assert optional_times("", "") == (None, None)
    assert optional_times(at, "") == (parse_time(at), None)
    assert optional_times("", at) == (None, parse_time(at))


def test_times_no_store_holds_are_the_nearest_it_could() -> None:
    """Year 1 and year 9999 are fine to ask for."""
    assert parse_time("0001-01-01T00:00:00Z") == MIN_UNIX_NANO
    assert parse_time("9999-12-31T23:59:59Z") == MAX_UNIX_NANO
    assert go_text(0) == "1970-01-01 00:00:00 +0000 UTC"
