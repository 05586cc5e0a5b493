"""The system calls by which the embedded log changes its files, and the few sequences of them that must be durable."""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import LogUnavailable

# Linux takes at most this many buffers in one call (IOV_MAX, `man 2 pwritev`).
MAX_BUFFERS_PER_WRITE = 1024
# A call with several MiB of pages takes up to three times as long per byte as two calls with half of them (ext4, 6.18).
GOOD_WRITE_BYTES = 1 << 20
DISK_RETRY_AFTER_SECONDS = 5.0  # an operator or a cleaner must free space first; sooner only burns CPU

_SYNC_DATA: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@dataclass(frozen=True, slots=True)
class Disk:
    """What may fail underneath a log. Tests pass calls that do."""

    write: Callable[[int, Sequence[bytes], int], int] = os.pwritev
    read: Callable[[int, int, int], bytes] = os.pread
    truncate: Callable[[int, int], None] = os.ftruncate
    sync_data: Callable[[int], None] = _SYNC_DATA
    sync_folder: Callable[[int], None] = os.fsync  # ext4's fdatasync may leave a new entry out


def unavailable(error: OSError, doing: str) -> LogUnavailable:
    """The error a caller of the log sees for a failed system call: the log cannot make data durable now."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return LogUnavailable(
        f"{doing}: {error.strerror or error}",
        DISK_RETRY_AFTER_SECONDS,
        "log_disk_full" if is_full else "log_write_failed",
    )


def write_all(disk: Disk, fd: int, buffers: Sequence[bytes], position: int) -> int:
    """Write the buffers one behind the other from `position` on; returns their bytes. Raises `OSError`."""
    start = position
    for part in _parts(buffers):
        while part:
            written = disk.write(fd, part, position)
            position += written
            part = _behind(part, written)
    return position - start


def _parts(buffers: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """The buffers in runs that one call takes, in reasonable time."""
    part: list[bytes] = []
    size = 0
    for buffer in buffers:
        if part and (len(part) == MAX_BUFFERS_PER_WRITE or size + len(buffer) > GOOD_WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(buffer)
        size += len(buffer)
    yield part


def _behind(buffers: Sequence[bytes], written: int) -> Sequence[bytes]:
    """What is left of the buffers after a write of so many bytes."""
    for number, buffer in enumerate(buffers):
        if written < len(buffer):
            return [buffer[written:], *buffers[number + 1 :]]
        written -= len(buffer)
    return ()


def sync_folder(disk: Disk, folder: Path) -> None:
    """Make the folder's entries durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        disk.sync_folder(fd)
    finally:
        os.close(fd)


def make_folder(disk: Disk, folder: Path) -> None:
    """Make the folder and its parents, durably; harmless if they are there."""
    if folder.is_dir():
        return
    make_folder(disk, folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(disk, folder.parent)


def create_file(disk: Disk, path: Path, content: bytes) -> None:
    """The file is there with all of its content, or not at all, whenever the power fails. Raises `OSError`."""
    temporary = path.with_name(f"{path.name}.new")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_all(disk, fd, [content] if content else [], 0)
        disk.sync_data(fd)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_folder(disk, path.parent)
