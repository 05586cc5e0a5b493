"""The segment files of one partition: appending durably, cutting back what failed, deleting what is committed.

`<first offset>.segment` in the partition's folder; only the last one grows. `files` is replaced, never changed, and a
segment's `durable_bytes` moves only after the disk has said so: a reader on another thread sees nothing that a power
cut could take away. Offsets of records that failed are not used again.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.log.disk import Disk, sync_folder, unavailable, write_all
from bridge.log.frames import Damage, Source, Span, encode, is_unfinished, scan
from bridge.model import Record, Signal

logger = logging.getLogger(__name__)

SUFFIX = ".segment"
RECOVERY_CHUNK_BYTES = 1 << 20  # read at a time; more gained nothing, and memory is dear


@dataclass(slots=True)
class Segment:
    path: Path
    base: int  # no offset in it is lower
    durable_bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What all segments of one partition have in common."""

    folder: Path
    signal: Signal
    marker: bytes
    segment_bytes: int
    disk: Disk

    def source(self, fd: int, chunk_bytes: int) -> Source:
        return Source(lambda size, at: self.disk.read(fd, size, at), self.marker, self.signal, chunk_bytes)


class Segments:
    """`end` is the offset behind the last durable record. All methods belong to one thread, the writer's."""

    def __init__(self, layout: Layout, files: Sequence[Segment], end: int, next_offset: int) -> None:
        self.layout = layout
        self.files = tuple(files)
        self.end, self._next_offset = end, next_offset
        self._fd: int | None = None

    @property
    def size_bytes(self) -> int:
        return sum(segment.durable_bytes for segment in self.files)

    def append(self, records: Sequence[Record]) -> None:
        """Return when all are durable. Raises `LogUnavailable`: then no reader sees any of them before a restart."""
        layout, disk = self.layout, self.layout.disk
        try:
            fd, segment = self._active()
        except OSError as error:
            raise unavailable(error, f"cannot begin a segment in {layout.folder}") from error
        first = self._next_offset
        self._next_offset += len(records)
        frames = [part for i, record in enumerate(records) for part in encode(layout.marker, first + i, record) if part]
        try:
            written_bytes = write_all(disk, fd, frames, segment.durable_bytes)
        except OSError as error:
            self._cut_back(fd, segment)
            raise unavailable(error, f"cannot write {segment.path}") from error
        try:
            disk.sync_data(fd)
        except OSError as error:
            # The kernel reports a lost page once and then calls it clean: a second fsync here would prove nothing.
            self._give_up(fd, segment)
            raise unavailable(error, f"cannot make {segment.path} durable") from error
        segment.durable_bytes += written_bytes
        self.end = self._next_offset

    def delete_below(self, position: int) -> None:
        """Delete every segment whose records are all below `position`, except the one that grows."""
        while len(self.files) > 1 and self.files[1].base <= position and self._delete(self.files[0]):
            pass

    def delete_all_if_below(self, position: int) -> None:
        """Delete the growing segment too if nothing in it is left to deliver; the next append begins a new one."""
        if self.files and position >= self.end:
            self.close()
            for segment in self.files:
                self._delete(segment)

    def close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            with suppress(OSError):  # all that matters was synced; an error here is about what was not
                os.close(fd)

    def resume(self) -> None:
        """Go on with the last segment, whose end has been verified, if it has room. Raises `OSError`."""
        if self.files and self.files[-1].durable_bytes < self.layout.segment_bytes:
            self._fd = os.open(self.files[-1].path, os.O_RDWR)

    def _active(self) -> tuple[int, Segment]:
        if self._fd is not None and self.files[-1].durable_bytes >= self.layout.segment_bytes:
            self.close()
        if self._fd is None:
            self._begin()
        assert self._fd is not None  # noqa: S101 - `_begin` has set it, or raised
        return self._fd, self.files[-1]

    def _begin(self) -> None:
        path = self.layout.folder / f"{self._next_offset:020d}{SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            sync_folder(self.layout.disk, self.layout.folder)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        self._fd = fd
        self.files = (*self.files, Segment(path, self._next_offset, 0))

    def _cut_back(self, fd: int, segment: Segment) -> None:
        try:
            self.layout.disk.truncate(fd, segment.durable_bytes)
        except OSError:
            self._give_up(fd, segment)

    def _give_up(self, fd: int, segment: Segment) -> None:
        """Leave the segment as it was when last durable; the next append begins another."""
        with suppress(OSError):
            self.layout.disk.truncate(fd, segment.durable_bytes)
        self.close()
        logger.error(
            "gave up a segment that could not be made durable",
            extra={"file": str(segment.path), "durable_bytes": segment.durable_bytes},
        )
        if segment.durable_bytes == 0:
            self._delete(segment)

    def _delete(self, segment: Segment) -> bool:
        try:
            segment.path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("cannot delete a segment", extra={"file": str(segment.path), "error": str(error)})
            return False
        self.files = tuple(kept for kept in self.files if kept is not segment)
        return True


def find_segments(folder: Path) -> list[Segment]:
    """The segments of a folder by offset, as they lie there."""
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdigit())
    return [Segment(path, int(path.stem), path.stat().st_size) for path in paths]


def recover(layout: Layout, floor: int) -> Segments:
    """The partition's segments, ready to append behind the last intact record and at offset `floor` or above.

    What follows the last intact record is cut off; unless it is merely a write cut short, it is kept beside the
    segment first. Damage before it stays where it is, for the reader to step over. Raises `OSError`.
    """
    files = find_segments(layout.folder)
    end = next_offset = floor
    while files:
        last = files[-1]
        recovered = _recover_last(layout, last)
        next_offset = max(next_offset, recovered)
        if last.durable_bytes:
            end = max(end, recovered)
            break
        last.path.unlink()
        files.pop()
    segments = Segments(layout, files, end, next_offset)
    segments.resume()
    return segments


def _recover_last(layout: Layout, segment: Segment) -> int:
    """Cut the segment behind its last intact record and make it durable; returns the offset that follows."""
    fd = os.open(segment.path, os.O_RDWR)
    try:
        source = layout.source(fd, RECOVERY_CHUNK_BYTES)
        found, next_offset, intact_bytes = Span(0, segment.durable_bytes, segment.base), segment.base, 0
        for item in scan(source, found):
            if not isinstance(item, Damage):
                next_offset, intact_bytes = item.read.offset + 1, item.end
        if intact_bytes < found.end:
            _cut_tail(layout, source, Span(intact_bytes, found.end, next_offset), segment)
            layout.disk.truncate(fd, intact_bytes)
            segment.durable_bytes = intact_bytes
        # A killed process leaves whole records that only the page cache holds; readers are about to see them.
        layout.disk.sync_data(fd)
    finally:
        os.close(fd)
    return next_offset


def _cut_tail(layout: Layout, source: Source, tail: Span, segment: Segment) -> None:
    size = tail.end - tail.position
    if is_unfinished(source, tail):
        logger.info("cut off an unfinished record", extra={"file": str(segment.path), "bytes": size})
        return
    kept = _keep(layout, source, tail, segment.path)
    logger.warning(
        "cut off damaged bytes at the end of a segment and kept them",
        extra={"file": str(segment.path), "bytes": size, "kept_in": str(kept)},
    )


def _keep(layout: Layout, source: Source, tail: Span, path: Path) -> Path:
    numbers = (int(found.suffix.rpartition("-")[2]) for found in path.parent.glob(f"{path.name}.damaged-*"))
    kept = path.with_name(f"{path.name}.damaged-{max(numbers, default=0) + 1}")
    fd = os.open(kept, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        for at in range(tail.position, tail.end, source.chunk_bytes):
            part = source.read(min(source.chunk_bytes, tail.end - at), at)
            write_all(layout.disk, fd, [part], at - tail.position)
        layout.disk.sync_data(fd)
    finally:
        os.close(fd)
    sync_folder(layout.disk, layout.folder)
    return kept
