"""The checkpoint: the last commit or the one before it, whatever happens to the file."""

from pathlib import Path

import pytest

from bridge.errors import LogUnavailable
from bridge.log.checkpoint import SLOT_BYTES, Checkpoint, encode_slot, open_checkpoint
from bridge.log.disk import Disk
from bridge.model import Committed, Intent
from tests.unit.log_files import EIO, SPANS, FailingDisk

MARKER = b"8 bytes!"
START = Committed(SPANS, 5)
HISTORY = [Committed(SPANS, 5, Intent(5, 9, 1)), Committed(SPANS, 10), Committed(SPANS, 10, Intent(10, 12, 2))]


def opened(folder: Path, disk: Disk | None = None, marker: bytes = MARKER) -> Checkpoint:
    return open_checkpoint(folder / "checkpoint", marker, disk or Disk(), START)


def after(folder: Path, history: list[Committed]) -> Path:
    checkpoint = opened(folder)
    for committed in history:
        checkpoint.write(committed)
    checkpoint.close()
    return folder / "checkpoint"


def reopened(folder: Path) -> Committed:
    checkpoint = opened(folder)
    checkpoint.close()
    return checkpoint.committed


@pytest.mark.parametrize("count", range(4))
def test_the_last_commit_is_found(tmp_path: Path, count: int) -> None:
    """A reopened checkpoint says what was written last, or its start if nothing was."""
    after(tmp_path, HISTORY[:count])
    assert reopened(tmp_path) == [START, *HISTORY][count]


def test_a_torn_slot_leaves_the_commit_before_it(tmp_path: Path) -> None:
    """Whichever byte of the newest slot was not written, the commit before it is found."""
    path = after(tmp_path, HISTORY)
    whole, size = path.read_bytes(), len(encode_slot(MARKER, 3, HISTORY[2]))
    for at in range(SLOT_BYTES, SLOT_BYTES + size):
        torn = bytearray(whole)
        torn[at] ^= 0x01
        path.write_bytes(torn)
        assert reopened(tmp_path) == HISTORY[1]


def test_a_slot_of_another_log_is_none(tmp_path: Path) -> None:
    """A checkpoint copied from another log does not speak for this one."""
    after(tmp_path, HISTORY)
    with pytest.raises(LogUnavailable, match="neither slot"):
        opened(tmp_path, marker=b"another!")


def test_two_damaged_slots_are_not_guessed_at(tmp_path: Path) -> None:
    """With no intact slot, opening says so and names the file rather than deliver everything again."""
    path = after(tmp_path, HISTORY)
    path.write_bytes(b"\xff" * 2 * SLOT_BYTES)
    with pytest.raises(LogUnavailable, match="checkpoint: neither slot") as raised:
        opened(tmp_path)
    assert raised.value.reason == "log_checkpoint_damaged"


@pytest.mark.parametrize("fault", ["write_errors", "sync_errors"])
def test_a_failed_commit_can_be_repeated(tmp_path: Path, fault: str) -> None:
    """A commit that fails changes nothing that is known; the next one overwrites the same slot, never the good one."""
    failing = FailingDisk()
    checkpoint = opened(tmp_path, failing.disk())
    checkpoint.write(HISTORY[0])
    setattr(failing, fault, [EIO, EIO])
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="cannot commit otlp_spans:0"):
            checkpoint.write(HISTORY[1])
        assert checkpoint.committed == HISTORY[0]
    checkpoint.write(HISTORY[2])
    checkpoint.close()
    assert reopened(tmp_path) == HISTORY[2]
    path = tmp_path / "checkpoint"
    torn = bytearray(path.read_bytes())
    torn[0:SLOT_BYTES] = bytes(SLOT_BYTES)
    path.write_bytes(torn)
    assert reopened(tmp_path) == HISTORY[0]
