"""Reading one partition's segments in order, on a thread of its own, without getting in the writer's way."""

import logging
import os
from collections.abc import Iterator

from bridge.errors import LogUnavailable
from bridge.log.disk import DISK_RETRY_AFTER_SECONDS
from bridge.log.frames import Damage, Frame, Span, scan
from bridge.log.segment import Segment, Segments
from bridge.model import ReadRecord

logger = logging.getLogger(__name__)

MIN_CHUNK_BYTES = 1 << 16
MAX_CHUNK_BYTES = 1 << 22  # what a read holds beside its result, whatever it may return


class Cursor:
    """Remembers where the last read began and ended, so that the next one, or the same one again, seeks nothing.

    It has its own descriptor: a segment that is deleted under a read stays readable until that read is over.
    """

    def __init__(self, segments: Segments) -> None:
        self._segments = segments
        self._segment: Segment | None = None
        self._fd = -1
        self._marks: tuple[tuple[int, int], ...] = ()  # (offset, position) in the open segment
        self._seen_damage: set[tuple[int, int]] = set()
        self.damaged_bytes = 0

    def read(self, offset: int, max_bytes: int) -> list[ReadRecord]:
        """Durable records from `offset` on: at least one if there is any, more while their values fit `max_bytes`.

        Raises `LogUnavailable` if the disk does not give its bytes. Damaged bytes are reported, counted and skipped.
        """
        files = self._segments.files
        records: list[ReadRecord] = []
        try:
            for number, segment in enumerate(files):
                if number + 1 < len(files) and files[number + 1].base <= offset:
                    continue
                if self._take(segment, offset, max_bytes, records):
                    break
        except OSError as error:
            self.close()
            raise LogUnavailable(
                f"cannot read {self._segments.layout.folder}: {error.strerror}",
                DISK_RETRY_AFTER_SECONDS,
                "log_read_failed",
            ) from error
        return records

    def close(self) -> None:
        if self._segment is not None:
            self._segment, self._marks = None, ()
            os.close(self._fd)

    def _take(self, segment: Segment, offset: int, max_bytes: int, records: list[ReadRecord]) -> bool:
        """Add the segment's records from `offset` on; returns whether `max_bytes` is used up."""
        left_bytes = max_bytes - sum(len(found.record.value) for found in records)
        began = None
        for frame in self._frames(segment, offset, max_bytes):
            if frame.read.offset < offset:
                continue
            left_bytes -= len(frame.read.record.value)
            if records and left_bytes < 0:
                return True
            records.append(frame.read)
            began = began or (frame.read.offset, frame.position)
            self._marks = (began, (frame.read.offset + 1, frame.end))
            if left_bytes <= 0:
                return True
        return False

    def _frames(self, segment: Segment, offset: int, max_bytes: int) -> Iterator[Frame]:
        end = segment.durable_bytes
        if not self._open(segment):
            return
        at_offset, position = max((mark for mark in self._marks if mark[0] <= offset), default=(segment.base, 0))
        chunk_bytes = min(max(max_bytes, MIN_CHUNK_BYTES), MAX_CHUNK_BYTES)
        for item in scan(self._segments.layout.source(self._fd, chunk_bytes), Span(position, end, at_offset)):
            if isinstance(item, Damage):
                self._note(segment, item)
            else:
                yield item

    def _open(self, segment: Segment) -> bool:
        if self._segment is not segment:
            self.close()
            try:
                self._fd = os.open(segment.path, os.O_RDONLY)
            except FileNotFoundError:  # all of it has been committed since
                return False
            self._segment = segment
        return True

    def _note(self, segment: Segment, damage: Damage) -> None:
        if (segment.base, damage.position) in self._seen_damage:
            return
        self._seen_damage.add((segment.base, damage.position))
        self.damaged_bytes += damage.size_bytes
        logger.error(
            "skipped damaged bytes in the log",
            extra={"file": str(segment.path), "position": damage.position, "bytes": damage.size_bytes},
        )
