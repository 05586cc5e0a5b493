"""Times as they are typed and as they go over the wire: RFC3339 of up to nine digits <-> unix nanoseconds, exactly."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from bridge.rfc3339 import format_time

SECOND_NANO: Final = 1_000_000_000
UNITS_NANO: Final = {
    "ms": SECOND_NANO // 1000,
    "s": SECOND_NANO,
    "m": 60 * SECOND_NANO,
    "h": 3600 * SECOND_NANO,
    "d": 86400 * SECOND_NANO,
    "w": 7 * 86400 * SECOND_NANO,
}
_PART = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,]([0-9]{1,9}))?"
    r"(Z|z|[+-][0-9]{2}:?[0-9]{2})?)?"
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_SECOND: Final = -62_135_596_800  # of the year 1
_LAST_SECOND: Final = 253_402_300_799  # of the year 9999


@dataclass(frozen=True, slots=True)
class Window:
    """Both bounds inclusive, unix nanoseconds. None: open at that side."""

    start_unix_nano: int | None
    end_unix_nano: int | None

    def __str__(self) -> str:
        if self.start_unix_nano is None and self.end_unix_nano is None:
            return "at any time"
        bounds = ((" from ", self.start_unix_nano), (" to ", self.end_unix_nano))
        return "".join(word + rfc3339(at) for word, at in bounds if at is not None).strip()


def parse_duration(text: str) -> int:
    """`90s`, `1h30m`, `2d` as nanoseconds, above 0. Raises `ValueError` that says how one is written."""
    nanos = 0
    if _DURATION.fullmatch(text):
        nanos = sum(int(number) * UNITS_NANO[unit] for number, unit in _PART.findall(text))
    if nanos <= 0:
        raise ValueError(f"{text!r} is not a duration above zero; it is written as 30s, 15m, 1h30m, 2d or 1w")
    return nanos


def parse_moment(text: str) -> int:
    """RFC3339, or a part of it (a date, a time without seconds or zone: UTC), as unix nanoseconds.

    Raises `ValueError` that says how one is written.
    """
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a time; it is written as 2026-01-31T12:00:00Z or 2026-01-31")
    date, time, digits, zone = found.groups()
    try:
        at = datetime.fromisoformat(f"{date}T{time or '00:00'}{(zone or 'Z').upper()}")
    except ValueError as error:
        raise ValueError(f"{text!r} is not a time: {error}") from error
    since = at - _EPOCH  # its fields, because timestamp() is a float, which holds no nanoseconds
    return (since.days * 86400 + since.seconds) * SECOND_NANO + int((digits or "0").ljust(9, "0"))


def rfc3339(unix_nano: int) -> str:
    """In UTC, with as many fractional digits as there are. Times before the year 1 or after 9999 are cut to these."""
    seconds, nanos = divmod(unix_nano, SECOND_NANO)
    seconds = min(max(seconds, _FIRST_SECOND), _LAST_SECOND)
    return format_time(seconds * SECOND_NANO + nanos)


def milliseconds(unix_nano: int) -> str:
    """In UTC with three digits, cut and not rounded: the same width always."""
    whole = rfc3339(unix_nano // SECOND_NANO * SECOND_NANO).removesuffix("Z")
    return f"{whole}.{unix_nano % SECOND_NANO // 1_000_000:03d}Z"


def duration_text(nanos: int) -> str:
    """For people, three digits: `1.23 s`, `45.6 ms`, `789 us`, `12 ns`."""
    if nanos >= 60 * SECOND_NANO:
        minutes, rest = divmod(nanos // SECOND_NANO, 60)
        return f"{minutes} m {rest:02d} s"
    for unit, size in (("s", SECOND_NANO), ("ms", 1_000_000), ("us", 1_000)):
        if nanos >= size:
            return f"{nanos / size:.{max(0, 3 - len(str(nanos // size)))}f} {unit}"
    return f"{nanos} ns"
