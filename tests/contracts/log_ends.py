"""What tests of logs share: an open log's two ends, a listener that keeps what it is told, and reading it all."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from bridge.log import LogAppender, LogReader
from bridge.model import Committed, Partition, ReadRecord, Record, Signal

PATIENCE_SECONDS = 20.0  # far above what any log needs, below the suite's limit for one test
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Ends:
    """An open log: where records go in, where they come out, and how it is closed early."""

    appender: LogAppender
    reader: LogReader
    close: Callable[[], Awaitable[None]]
    another_reader: Callable[[], LogReader] | None = None


@dataclass(slots=True)
class Listener:
    """Keeps what it is told; `before_release` runs while the partitions are still ours."""

    assigned: dict[Partition, Committed] = field(default_factory=dict)
    revoked: list[Partition] = field(default_factory=list)
    before_release: Callable[[Sequence[Partition]], Awaitable[None]] | None = None

    async def on_assigned(self, committed: Sequence[Committed]) -> None:
        self.assigned |= {each.partition: each for each in committed}

    async def on_revoked(self, partitions: Sequence[Partition]) -> None:
        if self.before_release is not None:
            await self.before_release(partitions)
        self.revoked += partitions
        for partition in partitions:
            del self.assigned[partition]


def record(value: bytes = b"value", signal: Signal = Signal.TRACES, org: str = "acme") -> Record:
    return Record(signal, org, "plane-1", 1_700_000_000_123_456_789, 3, value)


@dataclass(frozen=True, slots=True)
class Found:
    """A record with the partition it came from."""

    partition: Partition
    read: ReadRecord

    @property
    def next_offset(self) -> int:
        return self.read.offset + 1


async def take(reader: LogReader, listener: Listener, count: int) -> list[Found]:
    """The next `count` records of all assigned partitions from their committed positions on, per partition in order."""
    found: list[Found] = []
    enough = asyncio.Event()

    async def follow(start: Committed) -> None:
        offset = start.position
        while True:
            for read in await reader.read(start.partition, offset, MIB, PATIENCE_SECONDS):
                found.append(Found(start.partition, read))
                offset = read.offset + 1
            if len(found) >= count:
                enough.set()

    following = [asyncio.ensure_future(follow(start)) for start in listener.assigned.values()]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await enough.wait()
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    return found


def values(found: Sequence[Found]) -> list[bytes]:
    return [each.read.record.value for each in found]
