"""Times: what may be typed, and that nanoseconds survive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.moments import Window, duration_text, milliseconds, parse_duration, parse_moment, rfc3339

HOUR = 3600 * 10**9


@pytest.mark.parametrize(
    ("text", "nanos"),
    [("90s", 90 * 10**9), ("1h30m", HOUR * 3 // 2), ("2d", 48 * HOUR), ("1w", 168 * HOUR), ("250ms", 250 * 10**6)],
)
def test_durations_are_written_as_people_write_them(text: str, nanos: int) -> None:
    """Numbers with units, several in a row."""
    assert parse_duration(text) == nanos


@pytest.mark.parametrize("text", ["", "1", "h", "0s", "-1h", "1h 30m", "1.5h", "1y", "٣h"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    """The error shows how one is written."""
    with pytest.raises(ValueError, match="1h30m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-01-31T12:00:00.000000001Z", "2026-01-31T12:00:00.000000001Z"),
        ("2026-01-31T12:00:00.10+02:00", "2026-01-31T10:00:00.1Z"),
        ("2026-01-31 12:00", "2026-01-31T12:00:00Z"),
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_moments_are_rfc3339_or_a_part_of_it(text: str, same: str) -> None:
    """What is left out is zero, and UTC."""
    assert rfc3339(parse_moment(text)) == same


@pytest.mark.parametrize("text", ["", "yesterday", "2026-02-30", "2026-01-31T25:00Z", "12:00", "2026-01-31T12:00:00X"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """Also days and hours that do not exist."""
    with pytest.raises(ValueError, match="is not a time"):
        parse_moment(text)


@given(st.integers(-62_135_596_800 * 10**9, 253_402_300_799 * 10**9))
def test_nanoseconds_survive_the_way_there_and_back(unix_nano: int) -> None:
    """No digit is lost, and the short form is the same time, cut."""
    assert parse_moment(rfc3339(unix_nano)) == unix_nano
    assert parse_moment(milliseconds(unix_nano)) == unix_nano // 10**6 * 10**6
    assert len(milliseconds(unix_nano)) == 24


@given(st.integers())
def test_no_time_is_too_far_to_be_shown(unix_nano: int) -> None:
    """Times that no calendar has are shown as its ends."""
    assert rfc3339(unix_nano).endswith("Z")


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0 ns"),
        (12, "12 ns"),
        (789_000, "789 us"),
        (45_600_000, "45.6 ms"),
        (1_234 * 10**6, "1.23 s"),
        (61 * 10**9, "1 m 01 s"),
    ],
)
def test_durations_are_shown_short(nanos: int, text: str) -> None:
    """Three digits and the unit that fits."""
    assert duration_text(nanos) == text


def test_a_window_is_told_by_its_bounds() -> None:
    """For the line that says nothing was found there."""
    assert str(Window(None, None)) == "at any time"
    assert str(Window(0, 10**9)) == "from 1970-01-01T00:00:00Z to 1970-01-01T00:00:01Z"
