"""Dead letters of the embedded log: a file of one JSON line each, only ever appended to. The last line of an id counts.

Another process may append at the same time (`headrace dlq drop` beside `headrace run`): every write takes a lock on the
file and goes to its end. A line cut short by a crash was never told to be durable and is skipped.
"""

import asyncio
import fcntl
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from bridge.errors import LogUnavailable
from bridge.letters import DeadLetter, decode_letter, encode_letter

logger = logging.getLogger(__name__)


class FileLetters:
    """A `LetterBox` in `path`; the file is made with the first letter."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        lines = b"".join(encode_letter(letter) + b"\n" for letter in letters)
        await asyncio.to_thread(self._append, lines)

    async def letters(self) -> list[DeadLetter]:
        found = await asyncio.to_thread(self._read)
        return sorted(found.values(), key=lambda letter: (letter.dead_at_unix_nano, letter.id))

    def _append(self, lines: bytes) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX)
                _write_all(fd, _after_torn_line(fd) + lines)
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise LogUnavailable(f"cannot write dead letters to {self._path}: {error}", reason="dlq_write") from error

    def _read(self) -> dict[str, DeadLetter]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise LogUnavailable(f"cannot read dead letters from {self._path}: {error}", reason="dlq_read") from error
        found: dict[str, DeadLetter] = {}
        for number, line in enumerate(lines, 1):
            try:
                letter = decode_letter(line)
            except ValueError:
                logger.warning(
                    "a dead letter is not whole", extra={"fields": {"file": str(self._path), "line": number}}
                )
            else:
                found[letter.id] = letter
        return found


def _after_torn_line(fd: int) -> bytes:
    """A line end, if a crash has left the last line without one."""
    size = os.fstat(fd).st_size
    return b"\n" if size and os.pread(fd, 1, size - 1) != b"\n" else b""


def _write_all(fd: int, content: bytes) -> None:
    while content:
        content = content[os.write(fd, content) :]
