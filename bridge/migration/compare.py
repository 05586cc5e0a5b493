"""Do two stores agree? Counts by tenant and minute, rows of sampled minutes, and a verdict with its reasons. Pure."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

MAX_SAMPLE_DRIFT: Final = 0.01
MAX_OVERALL_DRIFT: Final = 0.05
# Documents of others do not say when they were received.
NOT_COMPARED: Final = frozenset({"ReceivedAt"})
Row = Mapping[str, Any]
# signal, organisation, minute in Unix seconds
Cell = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """A tenant's minute in which the stores have another number of rows."""

    signal: str
    org: str
    minute: int
    opensearch: int
    clickhouse: int

    @property
    def drift(self) -> float:
        return abs(self.opensearch - self.clickhouse) / max(1, self.opensearch, self.clickhouse)


@dataclass(frozen=True, slots=True)
class Sample:
    """A tenant's minute, row by row. `only_...`: rows that the other store lacks; `fields`: how often each differs."""

    signal: str
    org: str
    minute: int
    opensearch: int
    clickhouse: int
    only_opensearch: int
    only_clickhouse: int
    changed: int
    fields: Mapping[str, int]

    @property
    def drift(self) -> float:
        wrong = max(self.only_opensearch, self.only_clickhouse) + self.changed
        return wrong / max(1, self.opensearch, self.clickhouse)

    @property
    def is_failed(self) -> bool:
        return self.drift > MAX_SAMPLE_DRIFT


@dataclass(frozen=True, slots=True)
class Named:
    """A row with the name that both stores give it (`identity.py`)."""

    identity: int
    row: Row


def differences(opensearch: Mapping[Cell, int], clickhouse: Mapping[Cell, int]) -> list[Difference]:
    """Where the counts are not equal, by signal, organisation and minute."""
    cells = sorted(cell for cell in opensearch.keys() | clickhouse.keys())
    return [
        Difference(*cell, opensearch.get(cell, 0), clickhouse.get(cell, 0))
        for cell in cells
        if opensearch.get(cell, 0) != clickhouse.get(cell, 0)
    ]


def overall_drift(opensearch: Mapping[Cell, int], clickhouse: Mapping[Cell, int]) -> float:
    """The rows that one store has more in some tenant's minute, as a share of all rows of the fuller store."""
    apart = sum(abs(each.opensearch - each.clickhouse) for each in differences(opensearch, clickhouse))
    return apart / max(1, sum(opensearch.values()), sum(clickhouse.values()))


def chosen(cells: Iterable[Cell], differing: Sequence[Difference], wanted: int, seed: int) -> list[tuple[str, int]]:
    """(signal, minute) of `wanted` minutes at random, and before them those whose counts differ most: at most half."""
    # the worst first: many small differences of one organisation must not hide the loss of another
    worst = sorted(differing, key=lambda each: each.drift, reverse=True)
    suspects = list(dict.fromkeys((each.signal, each.minute) for each in worst))
    found = suspects[: max(1, wanted // 2)]
    others = sorted({(signal, minute) for signal, _, minute in cells} - set(found))
    rest = min(len(others), max(0, wanted - len(found)))
    return sorted([*found, *random.Random(seed).sample(others, rest)])  # noqa: S311 - repeatable, not secret


def sampled(cell: tuple[str, int], opensearch: Sequence[Named], clickhouse: Sequence[Named]) -> list[Sample]:
    """One minute of one signal, compared row by row; a sample for each organisation that has something in it."""
    signal, minute = cell
    sides = _by_org(opensearch), _by_org(clickhouse)
    found = []
    for org in sorted(sides[0].keys() | sides[1].keys()):
        ours, theirs = (side.get(org, []) for side in sides)
        counts = [Counter(each.identity for each in rows) for rows in (ours, theirs)]
        fields, changed = _changed(ours, theirs)
        lacking, beyond = (counts[0] - counts[1]).total(), (counts[1] - counts[0]).total()
        found.append(Sample(signal, org, minute, len(ours), len(theirs), lacking, beyond, changed, fields))
    return found


def _by_org(rows: Sequence[Named]) -> dict[str, list[Named]]:
    found: dict[str, list[Named]] = {}
    for each in rows:
        found.setdefault(each.row["OrgId"], []).append(each)
    return found


def _changed(ours: Sequence[Named], theirs: Sequence[Named]) -> tuple[dict[str, int], int]:
    """Fields that differ, and in how many rows, among rows that have the same name on both sides."""
    fields: Counter[str] = Counter()
    changed = 0
    left, right = _by_identity(ours), _by_identity(theirs)
    for identity in left.keys() & right.keys():
        for one, other in zip(left[identity], right[identity], strict=False):
            wrong = [name for name in one if one[name] != other[name]]
            fields.update(wrong)
            changed += bool(wrong)
    return dict(sorted(fields.items())), changed


def _by_identity(rows: Sequence[Named]) -> dict[int, list[dict[str, bytes]]]:
    """Each row's fields as bytes; equal names in order of their content, so that equal rows meet."""
    found: dict[int, list[dict[str, bytes]]] = {}
    for each in rows:
        fields = {name: orjson.dumps(value) for name, value in each.row.items() if name not in NOT_COMPARED}
        found.setdefault(each.identity, []).append(fields)
    for same in found.values():
        same.sort(key=lambda fields: sorted(fields.items()))
    return found


def faults(samples: Sequence[Sample], drift: float) -> list[str]:
    """Why the stores do not agree, in words; empty: they do."""
    found = []
    if not any(max(each.opensearch, each.clickhouse) for each in samples):
        found.append("not a single row was sampled: this proves nothing")
    if failed := [each for each in samples if each.is_failed]:
        found.append(
            f"{len(failed)} of {len(samples)} samples differ in more than {MAX_SAMPLE_DRIFT:.0%} of their rows"
        )
    if drift > MAX_OVERALL_DRIFT:
        found.append(f"the counts differ by {drift:.2%} of all rows, more than {MAX_OVERALL_DRIFT:.0%}")
    return found
