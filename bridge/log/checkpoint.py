"""What is committed of one partition, in a file of two slots that are written in turn.

A slot is overwritten only while the other one holds the commit before it, so a torn write costs that commit, which
nobody was told of, and no other. Each slot has a page to itself.

    marker 8 | crc32 4 | sequence 8 | position 8 | intent.first 8 | intent.last 8 | intent.codec 8
    | rows from 8 | rows to 8                                                          (-1: no intent, no rows)

Slots written before 0.2 end at the codec; they are read as having no rows.
"""

import logging
import os
import struct
from pathlib import Path
from zlib import crc32

from bridge.errors import LogUnavailable
from bridge.log.disk import Disk, create_file, unavailable, write_all
from bridge.log.frames import MARKER_BYTES
from bridge.model import Committed, Intent, Partition

logger = logging.getLogger(__name__)

SLOT_BYTES = 4096  # a page: the smallest unit that a power cut can tear on the file systems we know
_SUM = struct.Struct("<I")
_FIELDS = struct.Struct("<Qqqqqqq")
_OLD_FIELDS = struct.Struct("<Qqqqq")
_NO_INTENT = (-1, -1, -1)
_NO_ROWS = (-1, -1)


class Checkpoint:
    """One open checkpoint file. Not for two threads at once."""

    def __init__(self, fd: int, marker: bytes, disk: Disk, found: tuple[int, Committed]) -> None:
        self._fd, self._marker, self._disk = fd, marker, disk
        self._sequence, self.committed = found

    def write(self, committed: Committed) -> None:
        """Return when `committed` is durable. Raises `LogUnavailable`; the commit before it then stands, until reopened
        at the latest: what failed may have reached the disk all the same."""
        slot = encode_slot(self._marker, self._sequence + 1, committed)
        try:
            write_all(self._disk, self._fd, [slot], (self._sequence + 1) % 2 * SLOT_BYTES)
            self._disk.sync_data(self._fd)
        except OSError as error:
            raise unavailable(error, f"cannot commit {committed.partition}") from error
        self._sequence += 1
        self.committed = committed

    def close(self) -> None:
        os.close(self._fd)


def open_checkpoint(path: Path, marker: bytes, disk: Disk, start: Committed) -> Checkpoint:
    """The checkpoint at `path`, made to say `start` if there is none. Raises `LogUnavailable` or `OSError`."""
    if not path.exists():
        create_file(disk, path, encode_slot(marker, 0, start).ljust(2 * SLOT_BYTES, b"\0"))
    fd = os.open(path, os.O_RDWR)
    try:
        found = _newest(os.pread(fd, 2 * SLOT_BYTES, 0), marker, start.partition)
    except BaseException:
        os.close(fd)
        raise
    if found is None:
        os.close(fd)
        raise LogUnavailable(
            f"{path}: neither slot is intact, so it is not known what has been delivered; restore the file, or"
            " remove it to deliver everything the log holds again",
            reason="log_checkpoint_damaged",
        )
    return Checkpoint(fd, marker, disk, found)


def encode_slot(marker: bytes, sequence: int, committed: Committed) -> bytes:
    """One slot, shorter than `SLOT_BYTES`."""
    intent = committed.intent
    span = _NO_INTENT if intent is None else (intent.first, intent.last, intent.codec)
    rows = _NO_ROWS if intent is None or intent.rows is None else intent.rows
    fields = _FIELDS.pack(sequence, committed.position, *span, *rows)
    return marker + _SUM.pack(crc32(fields)) + fields


def decode_slot(slot: bytes, marker: bytes, partition: Partition) -> tuple[int, Committed] | None:
    """The slot's sequence number and commit, or None if it is empty, torn or another log's."""
    for layout in (_FIELDS, _OLD_FIELDS):
        fields_at = MARKER_BYTES + _SUM.size
        fields = slot[fields_at : fields_at + layout.size]
        if len(fields) == layout.size and slot[:fields_at] == marker + _SUM.pack(crc32(fields)):
            sequence, position, first, last, codec, *rows = layout.unpack(fields)
            row_span = (rows[0], rows[1]) if rows and tuple(rows) != _NO_ROWS else None
            intent = None if (first, last, codec) == _NO_INTENT else Intent(first, last, codec, row_span)
            return sequence, Committed(partition, position, intent)
    return None


def _newest(content: bytes, marker: bytes, partition: Partition) -> tuple[int, Committed] | None:
    slots = [content[at : at + SLOT_BYTES] for at in (0, SLOT_BYTES)]
    found = [decode_slot(slot, marker, partition) for slot in slots]
    for number, (slot, decoded) in enumerate(zip(slots, found, strict=True)):
        if decoded is None and any(slot):
            logger.warning("a commit was cut short", extra={"partition": str(partition), "slot": number})
    return max((decoded for decoded in found if decoded is not None), key=lambda each: each[0], default=None)
