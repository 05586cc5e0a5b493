"""What two stores have done for each organisation since this process started: counts, windows, metrics, the log."""

import logging
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from bridge.ledger import MAX_ORGS
from bridge.settings_dual import SwitchBack
from bridge.telemetry import Metrics
from query_api.compare import Comparison, Kind
from query_api.questions import Method, Question
from query_api.routing import Scope
from query_api.sides import Route, Side
from query_api.switching import Series, Watched

logger = logging.getLogger(__name__)
LAST: Final = 20
# Organisations beyond `MAX_ORGS` are counted together, under no name.
OVERFLOW: Final = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question on its way: who answers, for whom it is counted, and when it was asked."""

    question: Question
    scope: Scope
    side: Side
    request_id: str
    at_unix_nano: int


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One answer that differed, without anything of what is in it."""

    at_unix_nano: int
    method: Method
    side: Side
    comparison: Comparison
    request_id: str

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(str(each.kind) for each in self.comparison.differences)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(name for each in self.comparison.differences for name in each.fields)

    @property
    def counts(self) -> dict[str, int]:
        """By store."""
        return {str(self.side): self.comparison.count, str(self.side.other): self.comparison.other_count}


@dataclass(slots=True)
class Record:
    """Of one organisation. `watched`: the windows, from when its route was set or this process started."""

    watched: Watched
    questions: Counter[Side] = field(default_factory=Counter)
    failures: Counter[Side] = field(default_factory=Counter)
    comparisons: int = 0
    drifted: int = 0
    kinds: Counter[Kind] = field(default_factory=Counter)
    secondary_errors: Counter[str] = field(default_factory=Counter)
    not_compared: Counter[str] = field(default_factory=Counter)
    last: deque[Mismatch] = field(default_factory=lambda: deque(maxlen=LAST))


class Records:
    """`now_seconds` is a monotonic clock."""

    def __init__(self, settings: SwitchBack, metrics: Metrics, now_seconds: Callable[[], float]) -> None:
        self._settings, self._metrics, self.now_seconds = settings, metrics, now_seconds
        self._records: dict[str, Record] = {}
        self._answered_at = dict.fromkeys(Side, now_seconds())

    def all(self) -> Mapping[str, Record]:
        """By organisation."""
        return self._records

    def of(self, label: str) -> tuple[str, Record]:
        """The record of an organisation, and the name it is counted under."""
        if label not in self._records:
            label = label if len(self._records) < MAX_ORGS else OVERFLOW
            if label not in self._records:
                self._records[label] = Record(self._watched())
        return label, self._records[label]

    def restart(self, label: str) -> None:
        """Another route is in force: what was before says nothing about it."""
        if label in self._records:
            self._records[label].watched = self._watched()

    def answered(self, side: Side) -> None:
        """The store has answered something, whoever has asked."""
        self._answered_at[side] = self.now_seconds()

    def silent_seconds(self) -> dict[Side, float]:
        """How long each store has not answered anything."""
        now = self.now_seconds()
        return {side: now - at for side, at in self._answered_at.items()}

    def question(
        self, asked: Asked, side: Side, *, took_seconds: float | None = None, is_failure: bool = False
    ) -> None:
        """Count a question that a store was asked; `took_seconds` None: its time is not the store's, or it has failed
        (a store that fails at once is not a fast one)."""
        label, record = self.of(asked.scope.label)
        if not is_failure:
            self.answered(side)
        record.watched.sides[side].add(self.now_seconds(), is_failure=is_failure, took_seconds=took_seconds)
        record.questions[side] += 1
        record.failures[side] += is_failure
        role = "primary" if side is asked.side else "secondary"
        self._metrics.dual_questions.labels(label, str(side), role).inc()

    def secondary_error(self, asked: Asked, reason: str) -> None:
        """The other store has not answered; that is one that was not compared, too."""
        label, record = self.of(asked.scope.label)
        record.secondary_errors[reason] += 1
        self._metrics.dual_secondary_errors.labels(label, reason).inc()
        self.not_compared(asked, "secondary_error")

    def not_compared(self, asked: Asked, reason: str) -> None:
        """Drawn to be compared, and not done."""
        label, record = self.of(asked.scope.label)
        record.not_compared[reason] += 1
        self._metrics.dual_not_compared.labels(label, reason).inc()

    def compared(self, asked: Asked, comparison: Comparison) -> None:
        """Count it, and tell if there was a difference."""
        if comparison.skipped:
            self.not_compared(asked, comparison.skipped)
            return
        label, record = self.of(asked.scope.label)
        is_drifted = bool(comparison.differences)
        record.comparisons += 1
        record.drifted += is_drifted
        record.watched.comparisons.add(self.now_seconds(), is_failure=is_drifted)
        self._metrics.dual_comparisons.labels(label).inc()
        for each in comparison.differences:
            record.kinds[each.kind] += 1
            self._metrics.dual_mismatches.labels(label, str(each.kind)).inc()
        self._metrics.dual_drift_ratio.labels(label).set(self.drift_ratio(record))
        if is_drifted:
            mismatch = Mismatch(asked.at_unix_nano, asked.question.method, asked.side, comparison, asked.request_id)
            record.last.append(mismatch)
            _tell(asked, label, mismatch)

    def drift_ratio(self, record: Record) -> float:
        """Of the comparisons of the last `drift_seconds`."""
        return record.watched.comparisons.over(self.now_seconds(), self._settings.drift_seconds).failure_ratio

    def refresh(self, route_of: Callable[[str], Route]) -> None:
        """Set the gauges as they are now."""
        for label, record in self._records.items():
            self._metrics.dual_drift_ratio.labels(label).set(self.drift_ratio(record))
            primary = route_of(label).primary
            for side in Side:
                self._metrics.dual_primary.labels(label, str(side)).set(side is primary)

    def _watched(self) -> Watched:
        sides = {side: Series.of(self._settings) for side in Side}
        return Watched(sides, Series.of(self._settings), self.now_seconds())


def _tell(asked: Asked, label: str, mismatch: Mismatch) -> None:
    """Both stores, what was asked and what differs; nothing of what was logged."""
    differences = [f"{each.kind}: {each.count}" for each in mismatch.comparison.differences]
    fields = {
        "id": asked.request_id,
        "org": label,
        "method": str(mismatch.method),
        "answered_by": str(mismatch.side),
        "counts": mismatch.counts,
        "differences": differences,
        "fields": list(mismatch.fields),
        "query": asked.question.told(),
    }
    logger.warning("the two stores differ", extra={"fields": fields})
