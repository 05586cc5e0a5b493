"""The durable log of one machine: files in one folder, one partition per signal, one reader; no broker.

Appends and commits of all callers share one write and one fdatasync (`group.py`) on a thread of their own; reads have
another. All state below is touched on the event loop only, or handed over between the two.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

from bridge.errors import LogFull, LogUnavailable, Revoked
from bridge.log import PartitionListener
from bridge.log.cursor import Cursor
from bridge.log.disk import Disk
from bridge.log.frames import frame_bytes
from bridge.log.group import GroupCommit
from bridge.log.store import Append, PartitionStore, Store, Work, open_store
from bridge.model import Committed, Partition, PartitionLag, ReadRecord, Record

T = TypeVar("T")

MIN_SEGMENT_BYTES = 1 << 20
MAX_SEGMENT_BYTES = 1 << 26  # recovery reads one whole segment; this much takes well under a second
SEGMENTS_PER_LOG = 16  # what is committed but not yet deleted is at most one segment per partition
FULL_RETRY_AFTER_SECONDS = 5.0  # a few batches are written by then; sooner the answer would be the same


@asynccontextmanager
async def open_embedded_log(
    directory: Path, *, max_bytes: int, segment_bytes: int | None = None, disk: Disk | None = None
) -> AsyncIterator["EmbeddedLog"]:
    """The log in `directory`, made or recovered; it takes at most `max_bytes` of segments, and closes with the block.

    Raises `SettingsInvalid` if the folder cannot be used or is in use, `LogUnavailable` if the disk fails.
    """
    if segment_bytes is None:
        segment_bytes = min(max(max_bytes // SEGMENTS_PER_LOG, MIN_SEGMENT_BYTES), MAX_SEGMENT_BYTES)
    async with _thread("log-write") as writer, _thread("log-read") as reader:
        store = await _opened(writer.submit(open_store, directory, segment_bytes, disk or Disk()))
        log = EmbeddedLog(store, max_bytes, writer, reader)
        try:
            yield log
        finally:
            await log.close()


@asynccontextmanager
async def _thread(name: str) -> AsyncIterator[ThreadPoolExecutor]:
    """A thread for the block. What it was given is done, and the thread gone, at the end."""
    executor = ThreadPoolExecutor(1, name)
    try:
        yield executor
    finally:
        await asyncio.to_thread(executor.shutdown)  # joining blocks, if only for a moment


async def _opened(opening: Future[Store]) -> Store:
    try:
        return await asyncio.shield(asyncio.wrap_future(opening))
    except asyncio.CancelledError:
        # The thread cannot be stopped; whatever it opens must not keep the folder locked.
        opening.add_done_callback(_close)
        raise


def _close(opened: Future[Store]) -> None:
    if opened.exception() is None:
        opened.result().close()


class EmbeddedLog:
    """`LogAppender` and, for its single subscriber, `LogReader`."""

    def __init__(self, store: Store, max_bytes: int, writer: ThreadPoolExecutor, reader: ThreadPoolExecutor) -> None:
        self.max_bytes = max_bytes
        self._store, self._writer, self._reader = store, writer, reader
        self._group = GroupCommit[Work](writer, partial(store.perform, max_bytes=max_bytes), self._performed)
        self._cursors = {partition: Cursor(found.segments) for partition, found in store.partitions.items()}
        self._stored_bytes, self._pending_bytes = store.size_bytes, 0
        self._waiting: dict[Partition, set[asyncio.Future[None]]] = {partition: set() for partition in store.partitions}
        self._listener: PartitionListener | None = None
        self._is_closed = False

    @property
    def log_id(self) -> str:
        return self._store.log_id

    @property
    def size_bytes(self) -> int:
        """What the segments take, counting appends under way; files kept aside after damage are not in it."""
        return self._stored_bytes + self._pending_bytes

    @property
    def damaged_bytes(self) -> int:
        """Bytes that reads had to step over since the log was opened."""
        return sum(cursor.damaged_bytes for cursor in self._cursors.values())

    async def append(self, records: Sequence[Record]) -> None:
        """As `LogAppender.append`; raises `LogFull` with nothing written if the records do not fit `max_bytes`."""
        self._check_open()
        size = sum(map(frame_bytes, records))
        if self.size_bytes + size > self.max_bytes:
            raise LogFull(
                f"the log holds {self.size_bytes} of at most {self.max_bytes} bytes; no room for {size} more",
                FULL_RETRY_AFTER_SECONDS,
            )
        if records:
            self._pending_bytes += size
            await self._group.submit(Append(tuple(records), size))

    async def subscribe(self, listener: PartitionListener) -> None:
        """As `LogReader.subscribe`: every partition is assigned at once. A second subscriber is a `ValueError`."""
        self._check_open()
        if self._listener is not None:
            raise ValueError("this log has one reader, and it is taken")
        self._listener = listener
        await listener.on_assigned([found.committed for found in self._store.partitions.values()])

    async def unsubscribe(self) -> None:
        if self._listener is None:
            return
        try:
            await self._listener.on_revoked(list(self._store.partitions))
        finally:
            self._listener = None
            self._wake_all()

    async def read(
        self, partition: Partition, offset: int, max_bytes: int, max_wait_seconds: float
    ) -> Sequence[ReadRecord]:
        found = self._assigned(partition)
        deadline = asyncio.get_running_loop().time() + max_wait_seconds
        searched = offset  # there is nothing to read below this, be it damaged or not there yet
        while True:
            end = found.segments.end
            if end > searched:
                records = await self._on(self._reader, partial(self._cursors[partition].read, offset, max_bytes))
                self._assigned(partition)
                if records:
                    return records
                searched = end
            elif not await self._grown(partition, deadline):
                return ()

    async def commit(self, committed: Committed) -> None:
        """As `LogReader.commit`; a position below the last one, or beyond the end of the log, is a `ValueError`."""
        self._assigned(committed.partition)
        await self._group.submit(committed)

    def lag(self) -> Sequence[PartitionLag]:
        if self._listener is None:
            return ()
        return [
            PartitionLag(partition, found.committed.position, found.segments.end)
            for partition, found in self._store.partitions.items()
        ]

    async def close(self) -> None:
        """Finish what was accepted, end every wait with `LogUnavailable`, free the folder; harmless when repeated."""
        if self._is_closed:
            return
        self._is_closed = True
        self._wake_all()
        try:
            await self._group.drain()
        finally:
            closing = [self._writer.submit(self._store.close), self._reader.submit(self._close_cursors)]
            # a cancelled wait must not take back what the thread has not begun: the files would stay open
            await asyncio.gather(*(asyncio.shield(asyncio.wrap_future(each)) for each in closing))

    def _close_cursors(self) -> None:
        for cursor in self._cursors.values():
            cursor.close()

    async def _on(self, thread: ThreadPoolExecutor, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(thread, call)

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogUnavailable("the log is closed", reason="log_closed")

    def _assigned(self, partition: Partition) -> PartitionStore:
        self._check_open()
        found = self._store.partitions.get(partition)
        if self._listener is None or found is None:
            raise Revoked(f"{partition} is not assigned to this reader")
        return found

    async def _grown(self, partition: Partition, deadline: float) -> bool:
        """Wait until more of the partition may be readable; False if the deadline comes first."""
        loop = asyncio.get_running_loop()
        if loop.time() >= deadline:
            return False
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting[partition].add(waiter)
        try:
            async with asyncio.timeout_at(deadline):
                await waiter
        except TimeoutError:
            return False
        finally:
            self._waiting[partition].discard(waiter)
        self._assigned(partition)
        return True

    def _performed(self, group: Sequence[Work]) -> None:
        self._pending_bytes -= sum(work.size_bytes for work in group if isinstance(work, Append))
        self._stored_bytes = self._store.size_bytes
        self._wake_all()

    def _wake_all(self) -> None:
        for waiters in self._waiting.values():
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
