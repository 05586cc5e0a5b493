"""Slices: ranges of whole milliseconds with at most so many documents each. The cut is the same for the same documents.

A store tells how many documents each of about a thousand equal steps of a range has; neighbours are put together as
long as they fit, and a step that is too full is looked into with finer steps. A single millisecond is never cut.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

MAX_STEPS: Final = 1_000


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """`documents` is how many there were when it was cut; bounds are [start, end) in Unix milliseconds."""

    start_unix_milli: int
    end_unix_milli: int
    documents: int

    @property
    def name(self) -> str:
        return f"{self.start_unix_milli}-{self.end_unix_milli}"


# Steps of a range [start, end) that hold something, in order: (start, end, step length) in milliseconds.
Steps = Callable[[int, int, int], Awaitable[Sequence[Slice]]]


async def cut(steps: Steps, start_unix_milli: int, end_unix_milli: int, limit: int) -> list[Slice]:
    """The slices of a range, in order, without a gap between them. Raises what `steps` raises."""
    return joined(await _fine(steps, start_unix_milli, end_unix_milli, limit), limit)


async def _fine(steps: Steps, start: int, end: int, limit: int) -> list[Slice]:
    step = max(1, -(-(end - start) // MAX_STEPS))
    found: list[Slice] = []
    for each in await steps(start, end, step):
        if each.documents > limit and each.end_unix_milli - each.start_unix_milli > 1:
            found += await _fine(steps, each.start_unix_milli, each.end_unix_milli, limit)
        else:
            found.append(each)
    return found


def joined(steps: Sequence[Slice], limit: int) -> list[Slice]:
    """Neighbours put together as long as they have at most `limit` documents; a slice ends where the next begins."""
    found: list[Slice] = []
    for step in steps:
        last = found[-1] if found else None
        if last is not None and last.documents + step.documents <= limit:
            found[-1] = Slice(last.start_unix_milli, step.end_unix_milli, last.documents + step.documents)
            continue
        if last is not None:
            found[-1] = Slice(last.start_unix_milli, step.start_unix_milli, last.documents)
        found.append(step)
    return found


def clamped(start: int, documents: int, step: int, bounds: tuple[int, int]) -> Slice:
    """A step that a store counts from `start` on, without what lies outside of the bounds that were asked."""
    return Slice(max(start, bounds[0]), min(start + step, bounds[1]), documents)
