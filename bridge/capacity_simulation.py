"""One deliver pod, step by step: lanes that gather, wait for slots, convert under a CPU quota and insert. Pure.

Records arrive at random (exponential gaps), every insert takes its mean time * (0.5 + 0.5 * an exponential draw), and
the pod's CPU is cut as the kernel does it: so much quota in every 100 ms, gone when it is used up. The same seed gives
the same lags.
"""

import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from statistics import fmean

from bridge.capacity_lanes import INSERT_VARIATION, Pod

STEP_SECONDS = 0.005
PERIOD_SECONDS = 0.1
PERIOD_STEPS = round(PERIOD_SECONDS / STEP_SECONDS)
WARM_SHARE = 0.1
# deliver.TOP_UP_SHARE (a test holds them together): a batch that is not full looks for more this often in its age.
TOP_UP_SHARE = 0.1
# Beyond this rate records are taken together, and below it cut smaller, so that a run has neither millions nor none.
MAX_RECORDS_PER_SECOND = 200.0
MIN_RECORDS_PER_SECOND = 1.0
# Lag that grows by more than this a second is no noise of a stable lane.
GROWING_SECONDS_PER_SECOND = 0.02
# When a record arrived, and its lag.
Lags = Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Simulated:
    """Lag from append to visible; what had not been written at the end counts with its age so far."""

    p50_seconds: float
    p99_seconds: float
    growth_seconds_per_second: float

    @property
    def is_growing(self) -> bool:
        """More comes than is written."""
        return self.growth_seconds_per_second > GROWING_SECONDS_PER_SECOND


class _Phase(Enum):
    GATHER = auto()
    ANNOUNCE = auto()
    WAIT = auto()
    CONVERT = auto()
    INSERT = auto()
    FINISH = auto()


@dataclass(slots=True)
class _Lane:
    """`arrived` are times of records, oldest first; the first `batch` of them are being written."""

    arrived: deque[float] = field(default_factory=deque)
    next_arrival: float = 0.0
    phase: _Phase = _Phase.GATHER
    left_seconds: float = 0.0
    opened_at: float | None = None
    looks_at: float = 0.0
    batch: int = 0


def simulate(pod: Pod, seconds: float = 60.0, seed: int = 1) -> Simulated:
    """The lags of a pod that starts empty and has run for so long; its first tenth is not counted."""
    return _Run(pod, random.Random(seed)).run(seconds)  # noqa: S311 - chance, not secrets


class _Run:
    def __init__(self, pod: Pod, dice: random.Random) -> None:
        self._pod, self._dice = pod, dice
        per_second = pod.lane_items_per_second / pod.items_per_record
        self._records_per_second = min(MAX_RECORDS_PER_SECOND, max(MIN_RECORDS_PER_SECOND, per_second))
        self._rows = pod.lane_items_per_second / self._records_per_second
        self._full_records = max(1, int(pod.full_rows / self._rows))
        self._lanes = [_Lane(next_arrival=self._gap()) for _ in range(pod.lanes)]
        self._queue: deque[_Lane] = deque()
        self._free_slots = pod.frame.slots_per_pod
        self._quota_seconds = 0.0
        self._written: list[tuple[float, float]] = []

    def run(self, seconds: float) -> Simulated:
        for step in range(round(seconds / STEP_SECONDS)):
            if step % PERIOD_STEPS == 0:
                self._quota_seconds = self._pod.frame.pod_cpus * PERIOD_SECONDS
            self._step(step * STEP_SECONDS)
        unwritten = [(at, seconds - at) for lane in self._lanes for at in lane.arrived]
        return _summed(self._written, unwritten, seconds)

    def _gap(self) -> float:
        return self._dice.expovariate(self._records_per_second)

    def _spread(self) -> float:
        """Around 1, never below a half, seldom above 3."""
        return 1 - INSERT_VARIATION + INSERT_VARIATION * self._dice.expovariate(1.0)

    def _step(self, now: float) -> None:
        for lane in self._lanes:
            while lane.next_arrival <= now:
                lane.arrived.append(lane.next_arrival)
                lane.next_arrival += self._gap()
            if lane.phase is _Phase.GATHER:
                self._gather(lane, now)
        while self._free_slots and self._queue:
            lane = self._queue.popleft()
            lane.phase, lane.left_seconds = _Phase.CONVERT, self._pod.convert_cpu_seconds(lane.batch * self._rows)
            self._free_slots -= 1
        self._convert()
        for lane in self._lanes:
            if lane.phase in (_Phase.ANNOUNCE, _Phase.INSERT, _Phase.FINISH):
                lane.left_seconds -= STEP_SECONDS
                if lane.left_seconds <= 0:
                    self._pass_on(lane, now + STEP_SECONDS)

    def _gather(self, lane: _Lane, now: float) -> None:
        """Look at what has come, at once for a first record and then now and again; cut when full or old."""
        age_seconds = self._pod.frame.batch_max_age_seconds
        if not lane.arrived or now < lane.looks_at:
            return
        if lane.opened_at is None:
            lane.opened_at = now
        if len(lane.arrived) >= self._full_records or now >= lane.opened_at + age_seconds:
            lane.batch = min(len(lane.arrived), self._full_records)
            lane.phase, lane.left_seconds = _Phase.ANNOUNCE, self._pod.costs.commit_seconds
            lane.opened_at = None
            return
        lane.looks_at = min(now + TOP_UP_SHARE * age_seconds, lane.opened_at + age_seconds)

    def _convert(self) -> None:
        """Share out the quota that is left, at most one core to a lane."""
        converting = [lane for lane in self._lanes if lane.phase is _Phase.CONVERT]
        for waiting, lane in zip(range(len(converting), 0, -1), converting, strict=True):
            given = min(STEP_SECONDS, self._quota_seconds / waiting, lane.left_seconds)
            self._quota_seconds -= given
            lane.left_seconds -= given
            if lane.left_seconds <= 0:
                mean_seconds = self._pod.insert_seconds(lane.batch * self._rows)
                lane.phase = _Phase.INSERT
                lane.left_seconds = mean_seconds * self._spread()

    def _pass_on(self, lane: _Lane, now: float) -> None:
        if lane.phase is _Phase.ANNOUNCE:
            lane.phase = _Phase.WAIT
            self._queue.append(lane)
        elif lane.phase is _Phase.INSERT:
            self._written += [(at, now - at) for at in (lane.arrived.popleft() for _ in range(lane.batch))]
            self._free_slots += 1
            lane.phase, lane.left_seconds = _Phase.FINISH, self._pod.costs.commit_seconds
        else:
            lane.phase, lane.looks_at = _Phase.GATHER, now


def _summed(written: Lags, unwritten: Lags, seconds: float) -> Simulated:
    """Percentiles of what came after the start; growth of what was written in the last quarter over the second one."""
    counted = sorted(lag for at, lag in (*written, *unwritten) if at >= WARM_SHARE * seconds)
    if not counted:
        return Simulated(0.0, 0.0, 0.0)
    second = [lag for at, lag in written if 0.25 * seconds <= at + lag < 0.5 * seconds]
    last = [lag for at, lag in written if 0.75 * seconds <= at + lag]
    growth = (fmean(last) - fmean(second)) / (0.5 * seconds) if second and last else 0.0
    return Simulated(counted[len(counted) // 2], counted[int(len(counted) * 0.99)], growth)
