"""When an organisation that was switched to another store goes back by itself. Pure: whoever asks says what time it is.

"For five minutes" means: the window has been watched from its start, and every stretch of it with `min_questions` in it
is over the limit. One bad minute does not do it, nor does one good one in the middle of an outage hide it for ever.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from bridge.settings_dual import SwitchBack
from query_api.sides import Side

# Latencies are kept by powers of this: a quantile is at most 5 % too high.
_STEP: Final = 1.05
_SHORTEST_SECONDS: Final = 1e-5
SLICES: Final = 20
MAX_SLICES: Final = 400


class Trigger(StrEnum):
    """Why."""

    ERRORS = "errors"
    SLOW = "slow"
    UNHEALTHY = "unhealthy"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class Decision:
    """Switch back to `side`; `reason` is for people."""

    side: Side
    trigger: Trigger
    reason: str


@dataclass(slots=True)
class Tally:
    """Of some stretch of time."""

    questions: int = 0
    failures: int = 0
    latencies: dict[int, int] = field(default_factory=dict)

    def add(self, other: "Tally") -> None:
        self.questions += other.questions
        self.failures += other.failures
        for step, count in other.latencies.items():
            self.latencies[step] = self.latencies.get(step, 0) + count

    @property
    def failure_ratio(self) -> float:
        return self.failures / self.questions if self.questions else 0.0

    @property
    def timed(self) -> int:
        """Questions whose seconds are known."""
        return sum(self.latencies.values())

    def quantile_seconds(self, share: float) -> float | None:
        """That share of the questions took no longer; None without any."""
        left = math.ceil(share * self.timed)
        for step in sorted(self.latencies):
            left -= self.latencies[step]
            if left <= 0:
                return float(_SHORTEST_SECONDS * _STEP**step)
        return None


class Series:
    """Questions by when they were asked, in slices, as far back as the longest window goes."""

    def __init__(self, slice_seconds: float, kept_seconds: float) -> None:
        self.slice_seconds, self._kept_seconds = slice_seconds, kept_seconds
        self._slices: deque[tuple[int, Tally]] = deque()

    @classmethod
    def of(cls, settings: SwitchBack) -> "Series":
        """Fine enough for the shortest window, long enough for the longest."""
        windows = (settings.error_seconds, settings.slow_seconds, settings.drift_seconds)
        return cls(max(min(windows) / SLICES, max(windows) / MAX_SLICES), max(windows))

    def add(self, now_seconds: float, *, is_failure: bool = False, took_seconds: float | None = None) -> None:
        """Count one."""
        number = int(now_seconds // self.slice_seconds)
        if not self._slices or self._slices[-1][0] < number:
            self._forget(now_seconds)
            self._slices.append((number, Tally()))
        tally = self._slices[-1][1]
        tally.questions += 1
        tally.failures += is_failure
        if took_seconds is not None:
            step = math.ceil(math.log(max(took_seconds, _SHORTEST_SECONDS) / _SHORTEST_SECONDS, _STEP))
            tally.latencies[step] = tally.latencies.get(step, 0) + 1

    def over(self, now_seconds: float, seconds: float) -> Tally:
        """Everything of the last so many seconds."""
        found = Tally()
        for tally in self._within(now_seconds, seconds):
            found.add(tally)
        return found

    def stretches(self, now_seconds: float, seconds: float, min_questions: int) -> list[Tally]:
        """The same, cut where each part has `min_questions`; none if the whole has not so many."""
        found, current = list[Tally](), Tally()
        for tally in self._within(now_seconds, seconds):
            current.add(tally)
            if current.questions >= min_questions:
                found.append(current)
                current = Tally()
        if found and current.questions:
            found[-1].add(current)
        return found

    def clear(self) -> None:
        """Forget everything."""
        self._slices.clear()

    def _within(self, now_seconds: float, seconds: float) -> list[Tally]:
        first = (now_seconds - seconds) // self.slice_seconds
        return [tally for number, tally in self._slices if number > first]

    def _forget(self, now_seconds: float) -> None:
        first = (now_seconds - self._kept_seconds) // self.slice_seconds
        while self._slices and self._slices[0][0] <= first:
            self._slices.popleft()


@dataclass(frozen=True, slots=True)
class Watched:
    """What is known of an organisation: questions of either store, comparisons (a failure is one that has found a
    difference), and since when it is watched under the route that it has now."""

    sides: dict[Side, Series]
    comparisons: Series
    since_seconds: float


def decide(settings: SwitchBack, primary: Side, watched: Watched, now_seconds: float) -> Decision | None:
    """Whether `primary` is to be left for the other store; by its errors first, then its drift, then its speed."""
    for judge in (_errors, _drift, _slow):
        found = judge(settings, primary, watched, now_seconds)
        if found is not None:
            return Decision(primary.other, *found)
    return None


def decide_health(settings: SwitchBack, primary: Side, silent_seconds: dict[Side, float]) -> Decision | None:
    """The same for a store that has not answered anything for `silent_seconds`."""
    silent, limit = silent_seconds[primary], settings.unhealthy_seconds
    if silent <= limit:
        return None
    reason = f"{primary} has not answered for {silent:.0f} s (limit {limit:g} s)"
    return Decision(primary.other, Trigger.UNHEALTHY, reason)


Found = tuple[Trigger, str] | None


def _errors(settings: SwitchBack, primary: Side, watched: Watched, now: float) -> Found:
    seconds, limit = settings.error_seconds, settings.max_error_ratio
    stretches = watched.sides[primary].stretches(now, seconds, settings.min_questions)
    if not _is_held(watched, now, seconds, [tally.failure_ratio > limit for tally in stretches]):
        return None
    whole = watched.sides[primary].over(now, seconds)
    told = f"{whole.failures} of {whole.questions} questions failed in {primary}"
    return Trigger.ERRORS, f"{told} in {seconds:g} s: {whole.failure_ratio:.1%} (limit {limit:.1%})"


def _drift(settings: SwitchBack, _: Side, watched: Watched, now: float) -> Found:
    whole = watched.comparisons.over(now, settings.drift_seconds)
    limit = settings.max_drift_ratio
    if whole.questions < settings.min_questions or whole.failure_ratio <= limit:
        return None
    told = f"{whole.failures} of {whole.questions} comparisons found a difference in {settings.drift_seconds:g} s"
    return Trigger.DRIFT, f"{told}: {whole.failure_ratio:.1%} (limit {limit:.1%})"


def _slow(settings: SwitchBack, primary: Side, watched: Watched, now: float) -> Found:
    seconds, times = settings.slow_seconds, settings.max_slowdown
    usual = watched.sides[primary.other].over(now, seconds)
    base = usual.quantile_seconds(0.95)
    if base is None or usual.timed < settings.min_questions:
        return None
    stretches = watched.sides[primary].stretches(now, seconds, settings.min_questions)
    slow = [(tally.quantile_seconds(0.95) or 0.0) > times * base for tally in stretches]
    if not _is_held(watched, now, seconds, slow):
        return None
    p95 = watched.sides[primary].over(now, seconds).quantile_seconds(0.95) or 0.0
    told = f"p95 of {primary} was {p95 * 1e3:.1f} ms for {seconds:g} s, that of {primary.other} {base * 1e3:.1f} ms"
    return Trigger.SLOW, f"{told}: {p95 / base:.1f} times as long (limit {times:g})"


def _is_held(watched: Watched, now: float, seconds: float, stretches: Sequence[bool]) -> bool:
    return bool(stretches) and all(stretches) and now - watched.since_seconds >= seconds
