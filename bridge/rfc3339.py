"""RFC3339 at nanoseconds; Python's own datetime stops at microseconds.

Years are 1 to 9999; what unix nanoseconds of 64 bit cannot hold (before 1677, after 2262) is held as the nearest they
can, since nothing is stored out there.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

TIME: Final = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
MIN_UNIX_NANO: Final = -(1 << 63)
MAX_UNIX_NANO: Final = (1 << 63) - 1
SECOND: Final = 1_000_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def unix_nano_of(text: str) -> int:
    """Unix nanoseconds; digits beyond the ninth are cut. Raises `ValueError`."""
    found = TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:100]!r} is not an RFC3339 time")
    *numbers, fraction, zone = found.groups()
    try:
        at = datetime(*(int(number) for number in numbers), tzinfo=_zone(zone))  # type: ignore[arg-type, misc]
        seconds = (at - _EPOCH) // timedelta(seconds=1)
    except OverflowError as error:
        raise ValueError(f"{text[:100]!r} is out of range") from error
    nanos = seconds * SECOND + int((fraction or "0").ljust(9, "0")[:9])
    return min(max(nanos, MIN_UNIX_NANO), MAX_UNIX_NANO)


def _zone(text: str) -> timezone:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if minutes >= 24 * 60 or int(text[4:6]) > 59:
        raise ValueError(text)
    return timezone(timedelta(minutes=minutes if text[0] == "+" else -minutes))


def format_time(unix_nano: int) -> str:
    """In UTC with the digits it needs and no more: `2026-01-31T12:00:00.5Z`."""
    seconds, nanos = divmod(unix_nano, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")
    fraction = f"{nanos:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"
