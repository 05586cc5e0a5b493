"""`headrace logs ...`: the rows of a window, the newest of it, or a log as it goes on."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import random
from typing import Any, Final, TypeVar

from bridge.cli.follow import OVERLAP_NANO, Entry, Following, time_of
from bridge.cli.moments import SECOND_NANO, Window, duration_text, rfc3339
from bridge.cli.observer import Answer, AskFailed, BadAnswer, Observer, Unreachable
from bridge.cli.output import Output, note
from bridge.retry import backoff_seconds

PAGE_ROWS: Final = 5000
# Clocks differ: rows that are a little ahead of ours are shown when they are there, not when our clock gets to them.
AHEAD_NANO: Final = 3600 * SECOND_NANO
# In a finished window the store is always a little behind; more than this is said.
NOTABLE_LAG_NANO: Final = 60 * SECOND_NANO
T = TypeVar("T")
FIRST_RETRY_SECONDS: Final = 1.0
LAST_RETRY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Asked:
    """`path` is behind `/api/logs/`, `filters` are fields of the body. `tail` None: all rows up to `limit`."""

    path: str
    filters: Mapping[str, Any]
    window: Window
    tail: int | None = None
    limit: int = 1000

    def body(self, *, window: Window, limit: int, cursor: str = "", is_newest_first: bool = False) -> dict[str, Any]:
        """What is posted for a page."""
        bounds = (("startTime", window.start_unix_nano), ("endTime", window.end_unix_nano))
        return {
            **self.filters,
            **{key: rfc3339(at) for key, at in bounds if at is not None},
            "sortOrder": "desc" if is_newest_first else "asc",
            "limit": limit,
            **({"cursor": cursor} if cursor else {}),
        }


def show_logs(observer: Observer, asked: Asked, output: Output) -> int:
    """0, also when nothing was found. Raises `AskFailed`."""
    if asked.tail is None:
        return _show_window(observer, asked, output)
    return _show_newest(observer, asked, output, asked.tail)


def _show_window(observer: Observer, asked: Asked, output: Output) -> int:
    """Oldest first, page by page as they come."""
    count, last = 0, Answer(())
    for last in _pages(observer, asked, asked.window, asked.limit):
        output.show_logs(last.rows)
        count += len(last.rows)
    more = max(last.total - count, 0)
    if count and more:
        at_least = "at least " if last.is_total_capped else ""
        note(f"{at_least}{more:,} more rows match; show them with --limit, or ask for less with --since or a filter")
    _tell_end(asked.window, count, last)
    return 0


def _show_newest(observer: Observer, asked: Asked, output: Output, tail: int) -> int:
    rows: list[Entry] = []
    last = Answer(())
    for last in _pages(observer, asked, asked.window, tail, is_newest_first=True):
        rows += last.rows
    output.show_logs(rows[::-1])
    _tell_end(asked.window, len(rows), last)
    return 0


def _tell_end(window: Window, count: int, last: Answer) -> None:
    if not count:
        note(f"nothing found {window}")
    until = last.complete_until_unix_nano
    end = window.end_unix_nano if window.end_unix_nano is not None else time.time_ns()
    if until is not None and end - until > (NOTABLE_LAG_NANO if count else 0):
        note(f"data received after {rfc3339(until)} may be missing: it is not in the store yet")


def _pages(
    observer: Observer, asked: Asked, window: Window, limit: int | None, *, is_newest_first: bool = False
) -> Iterator[Answer]:
    """Answers until there are no more rows or `limit` of them."""
    cursor, count = "", 0
    while limit is None or count < limit:
        size = PAGE_ROWS if limit is None else min(PAGE_ROWS, limit - count)
        body = asked.body(window=window, limit=size, cursor=cursor, is_newest_first=is_newest_first)
        answer = observer.logs(asked.path, body)
        yield answer
        count += len(answer.rows)
        if not answer.next_cursor or not answer.rows:
            return
        if answer.next_cursor == cursor:
            raise BadAnswer(observer.url, "the same cursor twice")
        cursor = answer.next_cursor


@dataclass(slots=True)
class Follow:
    """A log that goes on: polled every `interval_seconds`, until the process is interrupted.

    `backlog` holds rows back while the newest of what is already there are looked for.
    """

    observer: Observer
    asked: Asked
    output: Output
    interval_seconds: float
    clock: Callable[[], int] = time.time_ns
    _failures: int = 0
    _trouble: str = ""
    _is_overlap_short: bool = False
    _has_answered: bool = False
    _following: Following = field(default_factory=lambda: Following(0))
    _backlog: deque[Entry] | None = None

    def run(self) -> int:
        """Does not return by itself. Raises `AskFailed` for what will not pass, and whatever ends the output."""
        while (start := self._try(self._start)) is None:
            pass
        self._following = Following(start)
        if self.asked.tail is not None:
            self._backlog = deque(maxlen=self.asked.tail)
        while True:
            if self._try(self._poll) is not None:
                self.output.wait(self.interval_seconds)

    def _start(self) -> int:
        """From when on rows count: with a tail, from the oldest of the newest rows."""
        start = self.asked.window.start_unix_nano or 0
        if self.asked.tail is None:
            return start
        if self.asked.tail == 0:
            return max(start, self.clock() - OVERLAP_NANO)
        oldest: Entry | None = None
        for answer in self._read(start, self.asked.tail):
            oldest = answer.rows[-1] if answer.rows else oldest
        return start if oldest is None else max(start, time_of(oldest))

    def _poll(self) -> bool:
        """All of the window that is not shown yet is shown."""
        following = self._following
        following.begin()
        until = None
        for answer in self._read(following.start_unix_nano):
            new = following.take(answer.rows)
            until = answer.complete_until_unix_nano
            if self._backlog is None:
                self.output.show_logs(new)
            else:
                self._backlog.extend(new)
        if self._backlog is not None:
            self.output.show_logs(list(self._backlog))
            self._backlog = None
        following.end(self.clock(), until)
        self._tell_overlap()
        return True

    def _tell_overlap(self) -> None:
        is_short = self._following.is_overlap_short
        if is_short and not self._is_overlap_short:
            kept = duration_text(max(self.clock() - self._following.start_unix_nano, 0))
            note(f"many rows: those that arrive more than {kept} late may be missed; a filter would help")
        self._is_overlap_short = is_short

    def _read(self, start_unix_nano: int, newest: int | None = None) -> Iterator[Answer]:
        """Pages from there until now, oldest first; or of so many of the newest rows, newest first."""
        window = Window(start_unix_nano, self.clock() + AHEAD_NANO)
        for answer in _pages(self.observer, self.asked, window, newest, is_newest_first=newest is not None):
            self._has_answered = True
            yield answer

    def _try(self, step: Callable[[], T]) -> T | None:
        """What the step returned, or None after a wait because it failed in a way that passes."""
        try:
            done = step()
        except AskFailed as error:
            is_wrong_place = isinstance(error, Unreachable) and not self._has_answered
            if not error.is_transient or is_wrong_place:
                raise
            self._wait_out(error)
            return None
        if self._trouble:
            note(f"{self.observer.url} answers again")
        self._failures, self._trouble = 0, ""
        return done

    def _wait_out(self, error: AskFailed) -> None:
        if error.kind != self._trouble:
            note(f"{error}; trying again until it works")
        self._trouble = error.kind
        self._failures += 1
        delay = backoff_seconds(self._failures, FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS, random())  # noqa: S311 - jitter
        self.output.wait(max(delay, min(error.retry_after_seconds, LAST_RETRY_SECONDS)))
