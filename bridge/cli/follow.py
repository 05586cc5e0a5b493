"""Which rows of answers that overlap are new: each row of the store once, also one that arrives after newer ones.

Rows have no id in the contract. What tells them apart is how often an equal one was met: a window is always read whole,
so the n-th equal row of an answer is the n-th of the store, and is new when fewer than n were shown.
Pure: no clock, no connection.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final

from bridge.cli.moments import SECOND_NANO, parse_moment

OVERLAP_NANO: Final = 30 * SECOND_NANO
MAX_REMEMBERED: Final = 20_000

Entry = Mapping[str, Any]


@dataclass(slots=True)
class Following:
    """What was shown of a log that goes on.

    A poll is `begin`, `take` for every page of all rows from `start_unix_nano` on, oldest first, and `end`. A poll that
    fails in between is simply begun again: what `take` returned counts as shown. `is_overlap_short` tells that the last
    `end` forgot rows of the overlap, there being more than `max_remembered`: rows before the start may be missed.
    """

    start_unix_nano: int
    overlap_nano: int = OVERLAP_NANO
    max_remembered: int = MAX_REMEMBERED
    is_overlap_short: bool = False
    _newest_unix_nano: int | None = None
    _shown: dict[bytes, tuple[int, int]] = field(default_factory=dict)  # of a row: its time, how many equal ones
    _not_met: dict[bytes, int] = field(default_factory=dict)  # of those: how many this poll has yet to meet again

    def begin(self) -> None:
        """The window is about to be read from its start."""
        self._not_met = {row: count for row, (_, count) in self._shown.items()}

    def take(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that were not shown before, in the order given; from now on they count as shown."""
        return [entry for entry in entries if self._is_new(entry)]

    def _is_new(self, entry: Entry) -> bool:
        at = time_of(entry)
        if at < self.start_unix_nano:  # not asked for, and what was shown of it is forgotten
            return False
        row = _identity(entry)
        if (left := self._not_met.get(row, 0)) > 0:
            self._not_met[row] = left - 1
            return False
        self._shown[row] = (at, self._shown.get(row, (at, 0))[1] + 1)
        self._newest_unix_nano = max(at, self._newest_unix_nano or at)
        return True

    def end(self, now_unix_nano: int, complete_until_unix_nano: int | None = None) -> None:
        """The window was read to its end: the next one starts an overlap before the newest row shown.

        Rows with times ahead of `now_unix_nano` do not move it further than that, nor does it pass an overlap before
        `complete_until_unix_nano`, the time until which the store says it has everything: what is on its way is newer.
        """
        self._not_met = {}
        self.is_overlap_short = False
        if self._newest_unix_nano is None:
            return
        known = [self._newest_unix_nano, now_unix_nano]
        known += [] if complete_until_unix_nano is None else [complete_until_unix_nano]
        self._start_at(min(known) - self.overlap_nano)
        if (start := self._start_of_the_rememberable()) is not None:
            self.is_overlap_short = True
            self._start_at(start)

    def _start_at(self, unix_nano: int) -> None:
        """Never back: what was shown before the start is not known any more."""
        if unix_nano > self.start_unix_nano:
            self.start_unix_nano = unix_nano
            self._shown = {row: (at, count) for row, (at, count) in self._shown.items() if at >= unix_nano}

    def _start_of_the_rememberable(self) -> int | None:
        """None if all may be remembered; else the time from which on there are not too many."""
        total = 0
        for at, count in sorted(self._shown.values(), reverse=True):
            total += count
            if total > self.max_remembered:
                return at + 1
        return None


def time_of(entry: Entry) -> int:
    """Unix nanoseconds of an entry. Raises `ValueError` if it has no readable time."""
    return parse_moment(str(entry.get("timestamp")))


def _identity(entry: Entry) -> bytes:
    """Equal for equal entries, whatever the order of their keys; 16 bytes, so that long rows cost no memory."""
    text = json.dumps(entry, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).digest()
