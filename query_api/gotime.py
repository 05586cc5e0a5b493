"""RFC3339 with the words Go has for what is wrong with one: the contract's messages contain them (1.5)."""

import re
from typing import Final

from bridge.rfc3339 import TIME, format_time, unix_nano_of
from query_api.errors import InvalidRequest

_LAYOUT: Final = "2006-01-02T15:04:05Z07:00"
_PARTS: Final = (
    ("2006", r"\d{4}"),
    ("-", "-"),
    ("01", r"\d\d"),
    ("-", "-"),
    ("02", r"\d\d"),
    ("T", "T"),
    ("15", r"\d\d"),
    (":", ":"),
    ("04", r"\d\d"),
    (":", ":"),
    ("05", r"\d\d"),
    ("Z07:00", r"(?:Z|[+-]\d\d:\d\d)"),
)


class GoTimeError(ValueError):
    """Its text is Go's `time.ParseError`."""


def parse_time(text: str) -> int:
    """Unix nanoseconds; digits beyond the ninth are cut. Raises `GoTimeError`."""
    found = TIME.fullmatch(text)
    if found is None:
        raise GoTimeError(_misfit(text))
    try:
        return unix_nano_of(text)
    except ValueError:
        *numbers, _, zone = found.groups()
        raise GoTimeError(f"parsing time {_quoted(text)}: {_out_of_range(numbers, zone)} out of range") from None


def _misfit(text: str) -> str:
    """Which part of the layout the text does not have where it should."""
    rest = text
    for part, pattern in _PARTS:
        if part == "Z07:00":
            rest = re.sub(r"^[.,]\d+", "", rest, flags=re.ASCII)
        found = re.match(pattern, rest, re.ASCII)
        if found is None:
            return f'parsing time {_quoted(text)} as "{_LAYOUT}": cannot parse {_quoted(rest)} as "{part}"'
        rest = rest[found.end() :]
    return f"parsing time {_quoted(text)}: extra text: {_quoted(rest)}"


def _out_of_range(numbers: list[str], zone: str) -> str:
    _, month, _, hour, minute, second = (int(number) for number in numbers)
    for name, value, highest in (("month", month, 12), ("hour", hour, 23), ("minute", minute, 59)):
        if value > highest or (name == "month" and value == 0):
            return name
    if second > 59:
        return "second"
    if zone != "Z" and int(zone[1:3]) > 23:
        return "time zone offset hour"
    return "time zone offset minute" if zone != "Z" and int(zone[4:6]) > 59 else "day"


def _quoted(text: str) -> str:
    escaped = text[:100].replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def go_text(unix_nano: int) -> str:
    """As Go prints a UTC time: `2026-01-31 12:00:00.5 +0000 UTC`."""
    return format_time(unix_nano).replace("T", " ").replace("Z", " +0000 UTC")


def required_times(start: str, end: str) -> tuple[int, int]:
    """Both bounds. Raises `InvalidRequest` in the contract's words and order (1.5)."""
    for name, text in (("startTime", start), ("endTime", end)):
        if not text:
            raise InvalidRequest(f"Required field {name} not found")
    first, last = bound("startTime", start), bound("endTime", end)
    _in_order(first, last)
    return first, last


def optional_times(start: str, end: str) -> tuple[int | None, int | None]:
    """Bounds of a log route, where either may be left out. Raises `InvalidRequest`."""
    first = bound("startTime", start) if start else None
    last = bound("endTime", end) if end else None
    if first is not None and last is not None:
        _in_order(first, last)
    return first, last


def bound(name: str, text: str) -> int:
    """One bound. Raises `InvalidRequest` naming it."""
    try:
        return parse_time(text)
    except GoTimeError as error:
        raise InvalidRequest(f"{name} must be in RFC3339 format (e.g., 2024-01-01T00:00:00Z): {error}") from error


def _in_order(first: int, last: int) -> None:
    if last < first:
        raise InvalidRequest(f"endTime ({go_text(last)}) must be after startTime ({go_text(first)})")
