"""The folder of an embedded log: who holds it, what it is called, and its partitions on disk.

    lock   log_id   <topic>/checkpoint   <topic>/<first offset>.segment   <topic>/<segment>.damaged-<n>

Everything here blocks; it knows nothing of the event loop.
"""

import copy
import errno
import fcntl
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import LogUnavailable, SettingsInvalid
from bridge.log.checkpoint import Checkpoint, open_checkpoint
from bridge.log.disk import Disk, create_file, make_folder, unavailable
from bridge.log.frames import MARKER_BYTES
from bridge.log.segment import Layout, Segments, find_segments, recover
from bridge.model import Committed, Partition, Record, Signal

FORMAT = "headrace-log 1"
_LOG_ID = re.compile(rf"{FORMAT} ([0-9a-f]{{32}})\n")
_UNUSABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)


@dataclass(frozen=True, slots=True)
class Append:
    """Records to make durable together; `size_bytes` is what their frames take."""

    records: Sequence[Record]
    size_bytes: int


Work = Append | Committed


class PartitionStore:
    """One partition on disk: its segments, and the checkpoint that says what of them is done."""

    def __init__(self, partition: Partition, segments: Segments, checkpoint: Checkpoint) -> None:
        self.partition, self.segments, self._checkpoint = partition, segments, checkpoint

    @property
    def committed(self) -> Committed:
        return self._checkpoint.committed

    def commit(self, committed: Committed) -> None:
        """Return when durable; whole segments below it are gone then. Raises `LogUnavailable` or `ValueError`."""
        self._check(committed)
        self._checkpoint.write(committed)
        self.segments.delete_below(committed.position)

    def close(self) -> None:
        self.segments.close()
        self._checkpoint.close()

    def _check(self, committed: Committed) -> None:
        now, end, intent = self.committed.position, self.segments.end, committed.intent
        if not now <= committed.position <= end:
            raise ValueError(f"{committed} is outside of the uncommitted offsets {now} to {end}")
        if intent is not None and not committed.position == intent.first <= intent.last < end:
            raise ValueError(f"{committed} intends what it cannot deliver; the log ends at {end}")


class Store:
    """The open folder. One thread at a time, except that `Cursor`s read beside it."""

    def __init__(self, log_id: str, partitions: Mapping[Partition, PartitionStore], closing: ExitStack) -> None:
        self.log_id, self.partitions, self._closing = log_id, partitions, closing
        self._of_signal = {partition.signal: store for partition, store in partitions.items()}

    @property
    def size_bytes(self) -> int:
        return sum(store.segments.size_bytes for store in self.partitions.values())

    def perform(self, works: Sequence[Work], max_bytes: int) -> list[Exception | None]:
        """Do all appends with one write and one sync per partition, then all commits; one outcome for each work."""
        failed = self._append([work for work in works if isinstance(work, Append)])
        outcomes = [self._commit(work) if isinstance(work, Committed) else _outcome_of(work, failed) for work in works]
        if self.size_bytes > max_bytes // 2:
            for store in self.partitions.values():
                store.segments.delete_all_if_below(store.committed.position)
        return outcomes

    def close(self) -> None:
        """Close every file and give the folder free; harmless when repeated."""
        self._closing.close()

    def _append(self, appends: Sequence[Append]) -> dict[Signal, LogUnavailable]:
        by_signal: dict[Signal, list[Record]] = {}
        for append in appends:
            for record in append.records:
                by_signal.setdefault(record.signal, []).append(record)
        failed: dict[Signal, LogUnavailable] = {}
        for signal, records in by_signal.items():
            try:
                self._of_signal[signal].segments.append(records)
            except LogUnavailable as error:
                failed[signal] = error
        return failed

    def _commit(self, committed: Committed) -> Exception | None:
        try:
            self.partitions[committed.partition].commit(committed)
        except (LogUnavailable, ValueError) as error:
            return error
        return None


def open_store(folder: Path, segment_bytes: int, disk: Disk) -> Store:
    """Open, recover or make the log in `folder`.

    Raises `SettingsInvalid` if the folder cannot be used or is in use, `LogUnavailable` if the disk fails.
    """
    with ExitStack() as stack:
        try:
            make_folder(disk, folder)
            _lock(folder, stack)
            log_id = _log_id(folder, disk)
            partitions: dict[Partition, PartitionStore] = {}
            for signal in Signal:
                store = _open_partition(folder / signal.topic, signal, log_id, segment_bytes, disk)
                stack.callback(store.close)
                partitions[store.partition] = store
        except OSError as error:
            if error.errno in _UNUSABLE:
                raise SettingsInvalid(f"the log cannot use the folder {folder}: {error}") from error
            raise unavailable(error, f"cannot open the log in {folder}") from error
        return Store(log_id, partitions, stack.pop_all())


def _open_partition(folder: Path, signal: Signal, log_id: str, segment_bytes: int, disk: Disk) -> PartitionStore:
    make_folder(disk, folder)
    marker = bytes.fromhex(log_id)[:MARKER_BYTES]
    partition = Partition(signal.topic, 0)
    start = next((segment.base for segment in find_segments(folder)), 0)
    checkpoint = open_checkpoint(folder / "checkpoint", marker, disk, Committed(partition, start))
    try:
        committed = checkpoint.committed
        done = committed.position if committed.intent is None else committed.intent.last + 1
        segments = recover(Layout(folder, signal, marker, segment_bytes, disk), done)
        # Nothing may be left that would commit again: a log that was full must not stay full for ever.
        segments.delete_below(committed.position)
        segments.delete_all_if_below(committed.position)
    except BaseException:
        checkpoint.close()
        raise
    return PartitionStore(partition, segments, checkpoint)


def _lock(folder: Path, stack: ExitStack) -> None:
    fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    stack.callback(os.close, fd)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SettingsInvalid(
            f"the log in {folder} is in use by another process, or opened twice in this one"
        ) from error


def _log_id(folder: Path, disk: Disk) -> str:
    """The log's name for ever, 32 hex digits; made together with the folder."""
    path = folder / "log_id"
    if not path.exists():
        if any(find_segments(folder / signal.topic) for signal in Signal):
            raise SettingsInvalid(
                f"{path} is missing, and without it the segments beside it cannot be read; restore it"
            )
        create_file(disk, path, f"{FORMAT} {uuid.uuid4().hex}\n".encode())
    found = _LOG_ID.fullmatch(path.read_text(errors="replace"))
    if found is None:
        raise SettingsInvalid(f"{path} is not of a log this version can read (expected '{FORMAT} <32 hex digits>')")
    return found[1]


def _outcome_of(append: Append, failed: Mapping[Signal, LogUnavailable]) -> Exception | None:
    error = next((failed[record.signal] for record in append.records if record.signal in failed), None)
    # Each waiter raises its own: a shared one would gather all their tracebacks.
    return None if error is None else _copy(error)


def _copy(error: LogUnavailable) -> LogUnavailable:
    own = copy.copy(error)
    own.__cause__ = error.__cause__
    return own
