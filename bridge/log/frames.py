"""Records as bytes in a segment file, and back: every frame says what it is, how long it is and whether it is whole.

    marker 8 | crc32 4 | head_crc32 4 | length 4 | offset 8 | received_at_unix_nano 8 | items 4 | org 2 | plane 2
    | org | plane | value

Little endian. `crc32` covers all that follows it; `head_crc32` the fixed fields behind it, so that a record cut short
can be told from a damaged one; `length` counts the whole frame; `org` and `plane` are lengths in bytes. A replayed
dead letter's id follows the plane behind a NUL, which no plane's id has. The marker
comes from the log's random id: a sender who knows this format still cannot hide a frame of another organisation inside
a value, where a reader that searches behind damage would find it.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isal.isal_zlib import crc32  # zlib's own takes three times as long (10 against 32 us per 100 KB)

from bridge.model import ReadRecord, Record, Signal

MARKER_BYTES = 8
_HEAD = struct.Struct("<8sIIIQQIHH")
_SUM = struct.Struct("<I")
_FIELDS = struct.Struct("<IQQIHH")
_SUMMED_AT = MARKER_BYTES + _SUM.size
_FIELDS_AT = _SUMMED_AT + _SUM.size
_MAX_NAME_BYTES = 0xFFFF
_MAX_FRAME_BYTES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Frame:
    """An intact frame: where it begins, its size, and what it holds."""

    position: int
    size_bytes: int
    read: ReadRecord

    @property
    def end(self) -> int:
        return self.position + self.size_bytes


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes between two intact frames, or behind the last one, that are none."""

    position: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """A file of frames: `read(size_bytes, position)` as `os.pread` does, about `chunk_bytes` at a time."""

    read: Callable[[int, int], bytes]
    marker: bytes
    signal: Signal
    chunk_bytes: int


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a file to look at; its frames have offsets of at least `offset`."""

    position: int
    end: int
    offset: int


def _plane(record: Record) -> bytes:
    return f"{record.plane}\0{record.dead_letter}".encode() if record.dead_letter else record.plane.encode()


def frame_bytes(record: Record) -> int:
    """The record's size in the file. Raises `ValueError` if it does not fit a frame, which only a bug can cause."""
    org_bytes, plane_bytes = len(record.org.encode()), len(_plane(record))
    size = _HEAD.size + org_bytes + plane_bytes + len(record.value)
    if max(org_bytes, plane_bytes) > _MAX_NAME_BYTES or size > _MAX_FRAME_BYTES:
        raise ValueError(f"a record of {size} bytes (org {org_bytes}, plane {plane_bytes}) fits no frame")
    return size


def encode(marker: bytes, offset: int, record: Record) -> tuple[bytes, bytes]:
    """The frame in two parts, the second of which is the value itself: nothing large is copied."""
    org, plane, value = record.org.encode(), _plane(record), record.value
    size = _HEAD.size + len(org) + len(plane) + len(value)
    fields = _FIELDS.pack(size, offset, record.received_at_unix_nano, record.items, len(org), len(plane))
    summed = b"".join((_SUM.pack(crc32(fields)), fields, org, plane))
    return b"".join((marker, _SUM.pack(crc32(value, crc32(summed))), summed)), value


def scan(source: Source, span: Span) -> Iterator[Frame | Damage]:
    """All of the span in order, as intact frames and the damage between them. Raises what `source.read` raises."""
    window, position, floor = _Window(source, span.end), span.position, span.offset
    while position < span.end:
        frame = _frame_at(window, position, floor) or _frame_after(window, position, floor)
        found_at = frame.position if frame else span.end
        if found_at > position:
            yield Damage(position, found_at - position)
        if frame is None:
            return
        yield frame
        position, floor = frame.end, frame.read.offset + 1


def is_unfinished(source: Source, tail: Span) -> bool:
    """Whether these last bytes are what a write that was cut short leaves: the beginning of one frame, or zeros."""
    head = source.read(min(_HEAD.size, tail.end - tail.position), tail.position)
    if head[:MARKER_BYTES] == source.marker[: len(head)]:
        return len(head) < _HEAD.size or (_is_head(head) and _HEAD.unpack(head)[3] > tail.end - tail.position)
    return all(
        part.count(0) == len(part)
        for part in (
            source.read(min(source.chunk_bytes, tail.end - at), at)
            for at in range(tail.position, tail.end, source.chunk_bytes)
        )
    )


def _is_head(head: bytes) -> bool:
    return head[_SUMMED_AT:_FIELDS_AT] == _SUM.pack(crc32(head[_FIELDS_AT:]))


class _Window:
    """The chunk of the file at hand."""

    def __init__(self, source: Source, end: int) -> None:
        self.source, self.end = source, end
        self.chunk, self._at = b"", 0

    def index(self, position: int, size: int) -> int | None:
        """Where in `chunk` these bytes begin, once they have been read; None if the file has fewer."""
        if position + size > self.end:
            return None
        if position < self._at or position + size > self._at + len(self.chunk):
            self.chunk = b""  # let go of the old chunk before there is a new one
            self.chunk = self.source.read(min(max(size, self.source.chunk_bytes), self.end - position), position)
            self._at = position
            if len(self.chunk) < size:
                return None
        return position - self._at

    def find_marker(self, position: int) -> int | None:
        """The position of the first marker from here on."""
        while (index := self.index(position, MARKER_BYTES)) is not None:
            found = self.chunk.find(self.source.marker, index)
            if found >= 0:
                return self._at + found
            position = self._at + len(self.chunk) - MARKER_BYTES + 1
        return None


def _frame_at(window: _Window, position: int, floor: int) -> Frame | None:
    index = window.index(position, _HEAD.size)
    if index is None:
        return None
    head = window.chunk[index : index + _HEAD.size]
    marker, checksum, _, size, offset, received_at_unix_nano, items, org_bytes, plane_bytes = _HEAD.unpack(head)
    if marker != window.source.marker or not _is_head(head) or offset < floor:
        return None
    index = window.index(position, size)
    if index is None or crc32(memoryview(window.chunk)[index + _SUMMED_AT : index + size]) != checksum:
        return None
    chunk, org_at, value_at = window.chunk, index + _HEAD.size, index + _HEAD.size + org_bytes + plane_bytes
    org = chunk[org_at : org_at + org_bytes].decode()
    plane, _, dead_letter = chunk[org_at + org_bytes : value_at].decode().partition("\0")
    value = chunk[value_at : index + size]
    record = Record(window.source.signal, org, plane, received_at_unix_nano, items, value, dead_letter=dead_letter)
    return Frame(position, size, ReadRecord(offset, record))


def _frame_after(window: _Window, position: int, floor: int) -> Frame | None:
    """The first intact frame behind damage."""
    while (found := window.find_marker(position + 1)) is not None:
        frame = _frame_at(window, found, floor)
        if frame is not None:
            return frame
        position = found
    return None
