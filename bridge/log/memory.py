"""The log contract in its plainest form, in memory: the reference for the others, and the fake that tests are built on.

Several partitions per topic, chosen by organisation; several readers that share them, each change of hands through
`PartitionListener`, revoked before assigned. `script` makes the next calls fail or hang where a real log would.
"""

import asyncio
import uuid
import zlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from typing import Literal, TypeAlias

from bridge.errors import BridgeError, LogUnavailable, Revoked
from bridge.log import PartitionListener
from bridge.model import Committed, Partition, PartitionLag, ReadRecord, Record, Signal

Point: TypeAlias = Literal["append", "appended", "read", "commit", "committed"]


@dataclass(frozen=True, slots=True)
class Hang:
    """A step of a script: the call sets `reached` and goes on once `release` is set."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def open_memory_log(partitions_per_topic: int = 1) -> AsyncIterator["MemoryLog"]:
    """An empty log with this many partitions for each signal, closed with the block."""
    log = MemoryLog(partitions_per_topic)
    try:
        yield log
    finally:
        await log.close()


@dataclass(slots=True, eq=False)
class _Held:
    """One partition; `owner` is the reader it is assigned to."""

    committed: Committed
    records: list[Record] = field(default_factory=list)
    owner: "MemoryReader | None" = None

    def from_offset(self, offset: int, max_bytes: int) -> list[ReadRecord]:
        found: list[ReadRecord] = []
        for number, record in enumerate(self.records[offset:], offset):
            max_bytes -= len(record.value)
            if found and max_bytes < 0:
                break
            found.append(ReadRecord(number, record))
        return found

    def check(self, committed: Committed) -> None:
        now, end, intent = self.committed.position, len(self.records), committed.intent
        if not now <= committed.position <= end:
            raise ValueError(f"{committed} is outside of the uncommitted offsets {now} to {end}")
        if intent is not None and not committed.position == intent.first <= intent.last < end:
            raise ValueError(f"{committed} intends what it cannot deliver; the log ends at {end}")


class _Broker:
    """What all readers of one log share."""

    def __init__(self, partitions_per_topic: int) -> None:
        self.log_id = uuid.uuid4().hex
        topics = [(signal.topic, number) for signal in Signal for number in range(partitions_per_topic)]
        self.held = {at: _Held(Committed(at, 0)) for at in (Partition(*topic) for topic in topics)}
        self.readers: list[MemoryReader] = []
        self.scripts: dict[Point, deque[BridgeError | Hang | None]] = {}
        self.is_closed = False
        self.changed = asyncio.Event()
        self._rebalancing = asyncio.Lock()

    def announce(self) -> None:
        """Wake every read: there are new records, or a partition has changed hands."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def check_open(self) -> None:
        if self.is_closed:
            raise LogUnavailable("the log is closed", reason="log_closed")

    async def reach(self, point: Point) -> None:
        steps = self.scripts.get(point)
        step = steps.popleft() if steps else None
        if isinstance(step, Hang):
            step.reached.set()
            await step.release.wait()
        elif step is not None:
            raise step
        self.check_open()

    async def rebalance(self, joining: "MemoryReader | None" = None) -> None:
        """Deal the partitions out to the readers; all that move are given back before any is handed out."""
        async with self._rebalancing:
            dealt = dict(zip(self.held, cycle(self.readers or [None]), strict=False))
            for owner in dict.fromkeys(held.owner for held in self.held.values()):
                if owner is not None:
                    await self._revoke(owner, [at for at in self.owned(owner) if dealt[at] is not owner])
            for reader in self.readers:
                gained = [at for at, to in dealt.items() if to is reader and self.held[at].owner is not reader]
                if gained or reader is joining:
                    await self._assign(reader, gained)

    def owned(self, reader: "MemoryReader") -> list[Partition]:
        return [at for at, held in self.held.items() if held.owner is reader]

    def take_away(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self.held[partition].owner = None
        self.announce()

    async def _revoke(self, reader: "MemoryReader", partitions: list[Partition]) -> None:
        try:
            if partitions and reader.listener is not None:
                await reader.listener.on_revoked(partitions)
        finally:
            self.take_away(partitions)

    async def _assign(self, reader: "MemoryReader", partitions: list[Partition]) -> None:
        for partition in partitions:
            self.held[partition].owner = reader
        if reader.listener is not None:
            await reader.listener.on_assigned([self.held[partition].committed for partition in partitions])


class MemoryReader:
    """A `LogReader` among others on the same log."""

    def __init__(self, broker: _Broker) -> None:
        self._broker = broker
        self.listener: PartitionListener | None = None

    @property
    def log_id(self) -> str:
        return self._broker.log_id

    async def subscribe(self, listener: PartitionListener) -> None:
        """As `LogReader.subscribe`. A reader that is subscribed already raises `ValueError`."""
        self._broker.check_open()
        if self.listener is not None:
            raise ValueError("this reader is subscribed already")
        self.listener = listener
        self._broker.readers.append(self)
        await self._broker.rebalance(self)

    async def unsubscribe(self) -> None:
        if self.listener is not None:
            self._broker.readers.remove(self)
            try:
                await self._broker.rebalance()
            finally:
                self.listener = None

    async def vanish(self) -> None:
        """Lose all partitions at once, as in a crash: nobody is told here, and the other readers get them."""
        if self.listener is not None:
            self.listener = None
            self._broker.readers.remove(self)
            self._broker.take_away(self._broker.owned(self))
            await self._broker.rebalance()

    async def read(
        self, partition: Partition, offset: int, max_bytes: int, max_wait_seconds: float
    ) -> Sequence[ReadRecord]:
        deadline = asyncio.get_running_loop().time() + max_wait_seconds
        self._assigned(partition)
        await self._broker.reach("read")
        while not (found := self._assigned(partition).from_offset(offset, max_bytes)):
            try:
                async with asyncio.timeout_at(deadline):
                    await self._broker.changed.wait()
            except TimeoutError:
                return ()
        return found

    async def commit(self, committed: Committed) -> None:
        """As `LogReader.commit`; a position below the last one, or beyond the end of the log, is a `ValueError`."""
        self._assigned(committed.partition)
        await self._broker.reach("commit")
        held = self._assigned(committed.partition)
        held.check(committed)
        held.committed = committed
        await self._broker.reach("committed")

    def lag(self) -> Sequence[PartitionLag]:
        held = ((at, self._broker.held[at]) for at in self._broker.owned(self))
        return [PartitionLag(at, found.committed.position, len(found.records)) for at, found in held]

    def _assigned(self, partition: Partition) -> _Held:
        self._broker.check_open()
        held = self._broker.held.get(partition)
        if held is None or held.owner is not self:
            raise Revoked(f"{partition} is not assigned to this reader")
        return held


class MemoryLog(MemoryReader):
    """`LogAppender`, and a `LogReader` itself; `reader()` makes more of those, which share its partitions."""

    def __init__(self, partitions_per_topic: int) -> None:
        super().__init__(_Broker(partitions_per_topic))

    def reader(self) -> MemoryReader:
        return MemoryReader(self._broker)

    def script(self, point: Point, *steps: BridgeError | Hang | None) -> None:
        """One step for each of the next calls that come to `point`: raise it, hang in it, or (None) go on.

        `append` and `commit` come before anything has happened; `appended` and `committed` once it has, so that what
        fails there is a lost answer.
        """
        self._broker.scripts.setdefault(point, deque()).extend(steps)

    async def append(self, records: Sequence[Record]) -> None:
        self._broker.check_open()
        await self._broker.reach("append")
        for record in records:
            self._broker.held[self._partition_of(record)].records.append(record)
        self._broker.announce()
        await self._broker.reach("appended")

    def held(self, signal: Signal) -> list[Record]:
        """All that was ever appended of a signal, partition by partition."""
        return [record for at, held in self._broker.held.items() if at.signal is signal for record in held.records]

    def committed(self) -> list[Committed]:
        """The last commit of every partition, whoever has it."""
        return [held.committed for held in self._broker.held.values()]

    async def close(self) -> None:
        """End every wait with `LogUnavailable`; harmless when repeated."""
        self._broker.is_closed = True
        self._broker.announce()

    def _partition_of(self, record: Record) -> Partition:
        count = len(self._broker.held) // len(Signal)
        return Partition(record.signal.topic, zlib.crc32(record.org.encode()) % count)
