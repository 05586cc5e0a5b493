"""What happened to how many items, by organisation and signal and the minute they were received in.

Counted in memory and handed over every few seconds as a record of the log itself (`Signal.LEDGER`), so that counts
reach the store on the road of the data they count. What is handed over is the whole count of a minute so far, of which
the store keeps the highest: a record that got into the log although the log had not answered is then no count too many.
A process that is killed loses what it counted since the last hand-over: its counts are then too low, never too high.
`headrace ledger check` holds them against the rows that are really there.
"""

import asyncio
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import Counter

from bridge.errors import BridgeError
from bridge.model import Record, Signal

logger = logging.getLogger(__name__)

MINUTE_NANOSECONDS = 60_000_000_000
COUNTS = ("received", "refused", "rejected", "appended", "written", "dead_lettered")
HAND_OVER_SECONDS = 5.0
# Organisations that are told apart at once; the rest are counted together, under no name.
MAX_ORGS = 1000
# Counts of so many minutes, organisations and signals are held (about 2 MB); then the process goes on under a new name.
MAX_CELLS = 5000

Key = tuple[int, str, str]


@dataclass(slots=True)
class Ledger:
    """Counts since the start or the last `turn`, and in `totals` as a metric; safe to count in from threads."""

    totals: Counter | None = None
    _counts: dict[Key, dict[str, int]] = field(default_factory=dict)
    _changed: set[Key] = field(default_factory=set)
    _orgs: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, org: str, signal: Signal, at_unix_nano: int, **items: int) -> None:
        """Add to the named counts of the minute of `at_unix_nano`."""
        with self._lock:
            if org not in self._orgs:
                if len(self._orgs) >= MAX_ORGS:
                    org = ""
                self._orgs.add(org)
            key = (at_unix_nano // MINUTE_NANOSECONDS, org, str(signal))
            row = self._counts.setdefault(key, {})
            for name, number in items.items():
                row[name] = row.get(name, 0) + number
            self._changed.add(key)
        if self.totals is not None:
            for name, number in items.items():
                self.totals.labels(org, str(signal), name).inc(number)

    @property
    def is_full(self) -> bool:
        return len(self._counts) >= MAX_CELLS

    def changed(self) -> dict[Key, dict[str, int]]:
        """The counts that have changed since they were last asked for."""
        with self._lock:
            keys, self._changed = self._changed, set()
            return {key: dict(self._counts[key]) for key in keys}

    def turn(self) -> dict[Key, dict[str, int]]:
        """As `changed`; all counts start again from 0."""
        with self._lock:
            keys, counts = self._changed, self._counts
            self._changed, self._counts = set(), {}
            return {key: counts[key] for key in keys}

    def not_told(self, keys: Iterable[Key]) -> None:
        """These could not be handed over: they count as changed again."""
        with self._lock:
            self._changed.update(key for key in keys if key in self._counts)


class Uncounted(Ledger):
    """Of a writer beside the store: the ledger says what became of items on their way to the store, and only that."""

    def count(self, org: str, signal: Signal, at_unix_nano: int, **items: int) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Instance:
    """Who counted: one process of a role, in one life."""

    name: str
    role: str
    started_at_unix_nano: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Of one partition: every item of this signal received before `complete_until_unix_nano` is in the store."""

    signal: Signal
    partition: int
    complete_until_unix_nano: int


def record_of(
    instance: Instance,
    taken: Mapping[Key, Mapping[str, int]],
    progress: Sequence[Progress],
    now_unix_nano: int,
    *,
    is_last: bool,
) -> Record:
    """Counts and progress as a record of the log; without any, still a sign of life; `is_last`: an orderly end."""
    life = _entry(instance, now_unix_nano, is_last=is_last)
    rows = [life]
    for (minute, org, signal), counts in sorted(taken.items()):
        rows.append({**life, "minute": minute * 60, "org": org, "signal": signal, **counts})
    for each in progress:
        until = each.complete_until_unix_nano // 1_000_000
        rows.append({**life, "signal": each.signal, "partition": each.partition, "complete_until": until})
    return Record(Signal.LEDGER, "", instance.name, now_unix_nano, len(rows), json.dumps(rows).encode())


def _entry(instance: Instance, now_unix_nano: int, *, is_last: bool) -> dict[str, object]:
    return {
        "minute": now_unix_nano // MINUTE_NANOSECONDS * 60,
        "org": "",
        "signal": "",
        "role": instance.role,
        "instance": instance.name,
        "partition": -1,
        **dict.fromkeys(COUNTS, 0),
        "started_at": instance.started_at_unix_nano // 1_000_000_000,
        "heard_at": now_unix_nano // 1_000_000_000,
        "is_last": int(is_last),
        "complete_until": 0,
    }


class Books:
    """A process's ledger, handed over to its log every few seconds."""

    def __init__(
        self,
        ledger: Ledger,
        role: str,
        append: Callable[[Sequence[Record]], Awaitable[None]],
        progress: Callable[[], Sequence[Progress]],
    ) -> None:
        self._ledger, self._append, self._progress = ledger, append, progress
        self._role, self._turns = role, 0
        self._owed: list[Record] = []
        self.instance = self._named()

    def _named(self) -> Instance:
        started_at_unix_nano = time.time_ns()
        life = f"{os.getpid()}-{started_at_unix_nano // 1_000_000_000}" + (f".{self._turns}" if self._turns else "")
        return Instance(f"{self._role}-{socket.gethostname()}-{life}", self._role, started_at_unix_nano)

    async def keep(self, stop: asyncio.Event) -> None:
        """Hand over every `HAND_OVER_SECONDS` until `stop`."""
        await self._hand_over(is_last=False)
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), HAND_OVER_SECONDS)
            if not stop.is_set():
                await self._hand_over(is_last=False)

    async def close(self) -> None:
        """The last entries; nothing is counted after them."""
        await self._hand_over(is_last=True)

    async def _hand_over(self, *, is_last: bool) -> None:
        """If the log cannot take it now the counts are kept for the next time."""
        if self._ledger.is_full:
            self._owed.append(self._record(self._ledger.turn(), is_last=True))
            self._turns += 1
            self.instance = self._named()
        taken = self._ledger.changed()
        record = self._record(taken, is_last=is_last)
        try:
            await self._append([*self._owed, record])
            self._owed.clear()
        except BridgeError as error:
            self._ledger.not_told(taken)
            logger.warning("the ledger could not be handed over yet: %s", error)

    def _record(self, counts: Mapping[Key, Mapping[str, int]], *, is_last: bool) -> Record:
        return record_of(self.instance, counts, self._progress(), time.time_ns(), is_last=is_last)
