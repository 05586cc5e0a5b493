"""Frames in a file: what is whole is found, what is not is reported, nothing else appears."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.log.frames import Damage, Frame, Source, Span, encode, frame_bytes, scan
from bridge.model import ReadRecord, Record, Signal
from tests.unit.log_files import record

MARKER, OTHER_MARKER = b"\xaamarker\xbb", b"\xccmarker\xdd"


def frame(offset: int, value: bytes, marker: bytes = MARKER) -> bytes:
    return b"".join(encode(marker, offset, record(value)))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "frames", os.O_RDWR | os.O_CREAT)
    yield fd
    os.close(fd)


def found_in(fd: int, content: bytes, chunk_bytes: int = 1 << 20, floor: int = 0) -> list[Frame | Damage]:
    os.ftruncate(fd, 0)
    os.pwrite(fd, content, 0)
    source = Source(lambda size, at: os.pread(fd, size, at), MARKER, Signal.TRACES, chunk_bytes)
    return list(scan(source, Span(0, len(content), floor)))


def offsets(found: list[Frame | Damage]) -> list[int]:
    return [item.read.offset for item in found if isinstance(item, Frame)]


@pytest.mark.parametrize("chunk_bytes", [1, 48, 100, 1 << 20])
def test_frames_come_back(file: int, chunk_bytes: int) -> None:
    """Every field of every record comes back, however little of the file is read at a time."""
    sent = [
        Record(Signal.TRACES, "", "", 0, 0, b""),
        Record(Signal.TRACES, "ünïcode", "p" * 300, 2**63, 2**31, os.urandom(1000)),
        Record(Signal.TRACES, "acme", "plane", 1, 2, MARKER * 5),
    ]
    content = b"".join(b"".join(encode(MARKER, 10 + i, each)) for i, each in enumerate(sent))
    assert len(content) == sum(map(frame_bytes, sent))
    found = found_in(file, content, chunk_bytes)
    assert [item.read for item in found if isinstance(item, Frame)] == [
        ReadRecord(10 + i, each) for i, each in enumerate(sent)
    ]
    assert len(found) == len(sent)


def test_any_flipped_byte_is_noticed(file: int) -> None:
    """A change of any byte of a frame loses that frame, as damage of exactly its size, and no other."""
    parts = [frame(offset, b"value %d" % offset) for offset in range(3)]
    start, size = len(parts[0]), len(parts[1])
    content = b"".join(parts)
    for at in range(start, start + size):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        found = found_in(file, bytes(damaged))
        assert offsets(found) == [0, 2]
        assert [item for item in found if isinstance(item, Damage)] == [Damage(start, size)]


@pytest.mark.parametrize("chunk_bytes", [1, 64, 1 << 20])
def test_any_cut_leaves_the_whole_frames(file: int, chunk_bytes: int) -> None:
    """A file cut anywhere holds the frames that end before the cut, and the rest is damage."""
    parts = [frame(offset, b"v" * offset) for offset in range(3)]
    content = b"".join(parts)
    ends = [sum(map(len, parts[: i + 1])) for i in range(3)]
    for cut in range(len(content)):
        found = found_in(file, content[:cut], chunk_bytes)
        assert offsets(found) == [offset for offset, end in enumerate(ends) if end <= cut]
        rest = cut - max((end for end in ends if end <= cut), default=0)
        assert sum(item.size_bytes for item in found if isinstance(item, Damage)) == rest


def test_no_frame_out_of_a_value(file: int) -> None:
    """A frame that a sender hid in a value is not found behind damage, because it cannot know the marker."""
    hidden = frame(1, b"smuggled", OTHER_MARKER)
    content = bytearray(frame(0, hidden * 3) + frame(5, b"next"))
    content[0] ^= 1
    assert offsets(found_in(file, bytes(content))) == [5]


def test_offsets_only_grow(file: int) -> None:
    """A frame whose offset is not above the one before it, or below the floor, is none: it is a leftover."""
    content = b"".join(frame(offset, b"v") for offset in (3, 7, 7, 5, 8))
    assert offsets(found_in(file, content, floor=4)) == [7, 8]


def test_names_that_fit_no_frame() -> None:
    """A name beyond 64 KiB is refused before anything is written."""
    with pytest.raises(ValueError, match="fits no frame"):
        frame_bytes(Record(Signal.TRACES, "o" * 65536, "p", 1, 1, b""))
