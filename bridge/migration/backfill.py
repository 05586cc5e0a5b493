"""The backfill's frame, whatever its direction: cut once, move slice by slice, record what is done and verified.

How an index is cut is written to the migration's state before the first slice is moved, and each slice when its rows
have been found in the other store. A run that was killed therefore repeats the slices that were in flight, no others;
and a slice that is repeated writes only what is not there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bridge.errors import BridgeError
from bridge.migration.convert import Refusal
from bridge.migration.progress import Progress
from bridge.migration.slices import Slice
from bridge.migration.state import Event, Kind, State
from bridge.model import Signal
from bridge.opensearch import OpenSearchError

IN_FLIGHT: Final = 2
REFUSALS_KEPT: Final = 20


class Unverified(Exception):
    """A slice that is not found in the other store as it was written there; the text says what is."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one slice came to: `documents` read, `rows` written now, `already` there before. `checksum` of all rows."""

    documents: int
    rows: int
    already: int
    checksum: str
    refused: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """An index, or a day of a table. `documents` is what it holds now; the calls raise the stores' errors."""

    key: str
    title: str
    signal: Signal
    documents: int
    cut: Callable[[], Awaitable[list[Slice]]]
    move: Callable[[Slice], Awaitable[Moved]]
    untimed: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Span:
    """Slices that reach into it are moved, of what lies before a signal's retention nothing. Unix milliseconds."""

    start_unix_milli: int = 0
    end_unix_milli: int = 1 << 62
    kept_from_unix_milli: Mapping[Signal, int] = field(default_factory=dict)

    def wants(self, part: Slice) -> bool:
        return part.end_unix_milli > self.start_unix_milli and part.start_unix_milli < self.end_unix_milli

    def is_expired(self, part: Slice, signal: Signal) -> bool:
        return part.start_unix_milli < self.kept_from_unix_milli.get(signal, part.start_unix_milli)

    def kept(self, part: Slice, signal: Signal) -> Slice:
        """The slice without what is before the retention, if it reaches over its edge; it counts all its documents."""
        edge = self.kept_from_unix_milli.get(signal, part.start_unix_milli)
        return replace(part, start_unix_milli=edge) if part.start_unix_milli < edge < part.end_unix_milli else part

    def is_edge(self, part: Slice, signal: Signal) -> bool:
        return part.start_unix_milli == self.kept_from_unix_milli.get(signal)


@dataclass(slots=True)
class Outcome:
    """Of a run. `before` were recorded by earlier runs, `expired` would be deleted by the store's retention at once."""

    documents: int = 0
    rows: int = 0
    already: int = 0
    before: int = 0
    expired: int = 0
    slices: int = 0
    refused: list[Refusal] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Backfill:
    """`is_refused_skipped`: slices whose only fault is refused documents count as done. `is_again`: none does.

    Two slices with a time in common, as two indices may have, are not moved at once: each asks what is there already.
    """

    state: State
    span: Span
    progress: Progress
    is_refused_skipped: bool = False
    is_again: bool = False
    outcome: Outcome = field(default_factory=Outcome)
    _moving: list[tuple[Signal, Slice]] = field(default_factory=list)
    _moved: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self, jobs: Sequence[Job]) -> Outcome:
        """All of them, one after the other. Raises `SinkUnavailable` or `OpenSearchError`; done slices stay done."""
        cuts = await asyncio.to_thread(self.state.latest, Kind.CUTS)
        done = await asyncio.to_thread(self.state.latest, Kind.SLICE)
        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    event = cuts.get(job.key)
                    parts = _recorded(event.value, job) if event is not None else None
                    parts = await self._cut(job) if parts is None else parts
                    for part in self._left(job, parts, done):
                        await self._room_for(job.signal, part)
                        group.create_task(self._move(job, part))
                    self.outcome.refused += job.untimed
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        self.progress.end()
        return self.outcome

    def _left(self, job: Job, parts: Sequence[Slice], done: Mapping[str, Event]) -> list[Slice]:
        """The slices that are to be moved; the others are counted."""
        found = []
        for part in (self.span.kept(part, job.signal) for part in parts):
            recorded = done.get(_key(job, part))
            if recorded is not None and self._is_done(recorded.value, part):
                self.outcome.before += part.documents
                self.progress.add(part.documents, job.title, is_old=True)
            elif not self.span.wants(part):
                continue
            elif self.span.is_expired(part, job.signal):
                self.outcome.expired += part.documents
            else:
                found.append(part)
        return found

    async def _room_for(self, signal: Signal, part: Slice) -> None:
        """Return when it may be moved; it is among those that are."""
        async with self._moved:
            await self._moved.wait_for(
                lambda: len(self._moving) < IN_FLIGHT and not any(_meet(each, (signal, part)) for each in self._moving)
            )
            self._moving.append((signal, part))

    async def _cut(self, job: Job) -> list[Slice]:
        parts = await job.cut()
        value = {
            "title": job.title,
            "documents": job.documents,
            "slices": [[part.start_unix_milli, part.end_unix_milli, part.documents] for part in parts],
        }
        await asyncio.to_thread(self.state.put, Kind.CUTS, job.key, value)
        return parts

    def _is_done(self, value: dict[str, Any], part: Slice) -> bool:
        """Recorded for as many documents as there are; documents that came later mean it is moved again."""
        is_whole = value.get("cut_documents") == part.documents and not self.is_again
        return is_whole and (self.is_refused_skipped or not value.get("refused"))

    async def _move(self, job: Job, part: Slice) -> None:
        began, outcome = time.monotonic(), self.outcome
        try:
            moved = await job.move(part)
        except Unverified as error:
            outcome.problems.append(f"{job.title} {part.name}: {error}")
            return
        finally:
            async with self._moved:
                self._moving.remove((job.signal, part))
                self._moved.notify_all()
        value = {
            "title": job.title,
            "cut_documents": part.documents,
            "documents": moved.documents,
            "rows": moved.rows,
            "already": moved.already,
            "checksum": moved.checksum,
            "refused": len(moved.refused),
            "refusals": [[each.index, each.id, each.reason] for each in moved.refused[:REFUSALS_KEPT]],
            "seconds": round(time.monotonic() - began, 3),
        }
        await asyncio.to_thread(self.state.put, Kind.SLICE, _key(job, part), value)
        outcome.slices += 1
        if self.span.is_edge(part, job.signal):
            outcome.expired += max(0, part.documents - moved.documents)
        outcome.documents += moved.documents
        outcome.rows += moved.rows
        outcome.already += moved.already
        outcome.refused += moved.refused
        self.progress.add(moved.documents, job.title)


def _meet(one: tuple[Signal, Slice], other: tuple[Signal, Slice]) -> bool:
    (signal, part), (another, meant) = one, other
    is_shared = part.start_unix_milli < meant.end_unix_milli and meant.start_unix_milli < part.end_unix_milli
    return signal is another and is_shared


def _key(job: Job, part: Slice) -> str:
    return f"{job.key}:{part.name}"


def _recorded(value: dict[str, Any], job: Job) -> list[Slice] | None:
    """The cut of an earlier run, if the index still holds as many documents."""
    return [Slice(*each) for each in value["slices"]] if value.get("documents") == job.documents else None


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a caller can handle, before anything else that went wrong because of it."""
    flat = [error for error in errors.exceptions if not isinstance(error, BaseExceptionGroup)]
    return next((error for error in flat if isinstance(error, BridgeError | OpenSearchError)), errors.exceptions[0])
