"""What the tests of the embedded log's files share: an opened store, and disks that fail."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bridge.log.cursor import Cursor
from bridge.log.disk import Disk
from bridge.log.store import Append, Store, open_store
from bridge.model import Committed, Partition, ReadRecord, Record, Signal

SPANS, LINES = Partition("otlp_spans", 0), Partition("otlp_logs", 0)
UNBOUNDED = 1 << 40


def record(value: bytes, signal: Signal = Signal.TRACES) -> Record:
    return Record(signal, "acme", "plane-1", 1_700_000_000_000_000_000, 1, value)


@contextmanager
def opened(folder: Path, segment_bytes: int = 1 << 20, disk: Disk | None = None) -> Iterator[Store]:
    store = open_store(folder, segment_bytes, disk or Disk())
    try:
        yield store
    finally:
        store.close()


def append(store: Store, *values: bytes, signal: Signal = Signal.TRACES) -> Exception | None:
    """The outcome of one append with these values."""
    (outcome,) = store.perform([Append([record(value, signal) for value in values], 0)], UNBOUNDED)
    return outcome


def commit(store: Store, committed: Committed, max_bytes: int = UNBOUNDED) -> Exception | None:
    (outcome,) = store.perform([committed], max_bytes)
    return outcome


def read_all(store: Store, partition: Partition = SPANS) -> list[ReadRecord]:
    """All from the committed position on."""
    found = store.partitions[partition]
    cursor = Cursor(found.segments)
    try:
        return cursor.read(found.committed.position, UNBOUNDED)
    finally:
        cursor.close()


def values(store: Store, partition: Partition = SPANS) -> list[bytes]:
    return [read.record.value for read in read_all(store, partition)]


def segment_paths(folder: Path, partition: Partition = SPANS) -> list[Path]:
    return sorted((folder / partition.topic).glob("*.segment"))


@dataclass
class FailingDisk:
    """Real system calls, of which the next ones to a data file fail with the errors in these lists."""

    write_errors: list[int] = field(default_factory=list)
    sync_errors: list[int] = field(default_factory=list)
    truncate_errors: list[int] = field(default_factory=list)
    folder_errors: list[int] = field(default_factory=list)
    read_errors: list[int] = field(default_factory=list)
    synced_inodes: list[int] = field(default_factory=list)
    before_sync: Callable[[], None] = lambda: None

    def disk(self) -> Disk:
        return Disk(self._write, self._read, self._truncate, self._sync, self._sync_folder)

    def _write(self, fd: int, buffers: Sequence[bytes], position: int) -> int:
        if self.write_errors:
            code = self.write_errors.pop(0)
            os.pwritev(fd, [buffers[0][: len(buffers[0]) // 2]], position)  # a disk is full in the middle of something
            raise OSError(code, os.strerror(code))
        return os.pwritev(fd, buffers, position)

    def _read(self, fd: int, size: int, position: int) -> bytes:
        _raise_next(self.read_errors)
        return os.pread(fd, size, position)

    def _truncate(self, fd: int, size: int) -> None:
        _raise_next(self.truncate_errors)
        os.ftruncate(fd, size)

    def _sync(self, fd: int) -> None:
        self.before_sync()
        self.synced_inodes.append(os.fstat(fd).st_ino)
        _raise_next(self.sync_errors)
        os.fdatasync(fd)

    def _sync_folder(self, fd: int) -> None:
        _raise_next(self.folder_errors)
        os.fsync(fd)


def _raise_next(errors: list[int]) -> None:
    if errors:
        code = errors.pop(0)
        raise OSError(code, os.strerror(code))


ENOSPC, EIO = errno.ENOSPC, errno.EIO
