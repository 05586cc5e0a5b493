"""The embedded log's files under failing disks: what was acknowledged stays, what was not is not seen."""

import errno
from pathlib import Path

import pytest

from bridge.errors import LogUnavailable
from bridge.log.cursor import Cursor
from bridge.model import Committed, Intent, Signal
from tests.unit.log_files import (
    EIO,
    ENOSPC,
    LINES,
    SPANS,
    UNBOUNDED,
    FailingDisk,
    append,
    commit,
    opened,
    read_all,
    segment_paths,
    values,
)


@pytest.mark.parametrize("code", [ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk(tmp_path: Path, code: int) -> None:
    """A full disk refuses the append, cuts the file back to what is durable, and takes appends once there is room."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        append(store, b"before")
        (path,) = segment_paths(tmp_path)
        durable_bytes = path.stat().st_size
        failing.write_errors = [code]
        outcome = append(store, b"too much" * 100)
        assert isinstance(outcome, LogUnavailable)
        assert (outcome.reason, outcome.retry_after_seconds) == ("log_disk_full", 5.0)
        assert path.stat().st_size == durable_bytes
        assert append(store, b"after") is None
        assert values(store) == [b"before", b"after"]
    with opened(tmp_path) as store:
        assert values(store) == [b"before", b"after"]


def test_failed_write(tmp_path: Path) -> None:
    """An I/O error refuses the append under its own reason, and the log works on."""
    failing = FailingDisk(write_errors=[])
    with opened(tmp_path, disk=failing.disk()) as store:
        failing.write_errors = [EIO]
        outcome = append(store, b"lost")
        assert isinstance(outcome, LogUnavailable)
        assert outcome.reason == "log_write_failed"
        assert append(store, b"kept") is None
        assert values(store) == [b"kept"]


def test_a_failed_sync_is_never_repeated(tmp_path: Path) -> None:
    """A file whose sync failed is given up at its durable length: not synced again, not written again."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        append(store, b"before")
        (given_up,) = segment_paths(tmp_path)
        durable_bytes, inode = given_up.stat().st_size, given_up.stat().st_ino
        failing.sync_errors = [EIO]
        outcome = append(store, b"lost")
        assert isinstance(outcome, LogUnavailable)
        failing.synced_inodes.clear()
        assert append(store, b"after") is None
        assert inode not in failing.synced_inodes
        assert given_up.stat().st_size == durable_bytes
        assert len(segment_paths(tmp_path)) == 2
        assert values(store) == [b"before", b"after"]
    with opened(tmp_path) as store:
        assert values(store) == [b"before", b"after"]


def test_syncs_that_keep_failing_leave_no_files(tmp_path: Path) -> None:
    """However often a new segment cannot be made durable, nothing of it stays behind."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        for _ in range(5):
            failing.sync_errors = [EIO]
            assert isinstance(append(store, b"lost"), LogUnavailable)
        assert segment_paths(tmp_path) == []
        assert store.size_bytes == 0


def test_a_cut_that_fails(tmp_path: Path) -> None:
    """If a failed write cannot be cut off, readers never see it, and the segment is not used again."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        append(store, b"before")
        failing.write_errors, failing.truncate_errors = [EIO], [EIO, EIO]
        assert isinstance(append(store, b"half written"), LogUnavailable)
        assert append(store, b"after") is None
        assert values(store) == [b"before", b"after"]
        first, second = segment_paths(tmp_path)
        assert first.stat().st_size > store.partitions[SPANS].segments.files[0].durable_bytes
        assert second.stat().st_size == store.partitions[SPANS].segments.files[1].durable_bytes


def test_a_segment_that_cannot_begin(tmp_path: Path) -> None:
    """If a new file's name cannot be made durable, the append is refused, and the next one tries again."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        failing.folder_errors = [EIO]
        assert isinstance(append(store, b"lost"), LogUnavailable)
        assert segment_paths(tmp_path) == []
        assert append(store, b"kept") is None
        assert values(store) == [b"kept"]


def test_failed_offsets_are_not_used_again(tmp_path: Path) -> None:
    """An offset that was given to a refused record is not given to another."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        append(store, b"zero")
        failing.write_errors = [EIO]
        append(store, b"one", b"two")
        failing.sync_errors = [EIO]
        append(store, b"three")
        append(store, b"four")
        assert [(read.offset, read.record.value) for read in read_all(store)] == [(0, b"zero"), (4, b"four")]
        assert store.partitions[SPANS].segments.end == 5


def test_one_topic_fails_alone(tmp_path: Path) -> None:
    """What fails for one signal's file is no failure of an append to the other."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        failing.sync_errors = [EIO]
        assert isinstance(append(store, b"span"), LogUnavailable)
        assert append(store, b"line", signal=Signal.LOGS) is None
        assert (values(store, SPANS), values(store, LINES)) == ([], [b"line"])


def test_committed_segments_are_deleted(tmp_path: Path) -> None:
    """A commit deletes the segments that lie wholly below it, and only those."""
    with opened(tmp_path, segment_bytes=1) as store:
        for number in range(6):
            append(store, b"%d" % number)
        assert len(segment_paths(tmp_path)) == 6
        before_bytes = store.size_bytes
        assert commit(store, Committed(SPANS, 3, Intent(3, 4, 1))) is None
        assert [int(path.stem) for path in segment_paths(tmp_path)] == [3, 4, 5]
        assert store.size_bytes == before_bytes // 2
        assert values(store) == [b"3", b"4", b"5"]


def test_a_failed_commit_deletes_nothing(tmp_path: Path) -> None:
    """Segments go only once the commit is durable: a crash must find what the old commit points to."""
    failing = FailingDisk()
    with opened(tmp_path, segment_bytes=1, disk=failing.disk()) as store:
        for number in range(3):
            append(store, b"%d" % number)
        failing.sync_errors = [EIO]
        assert isinstance(commit(store, Committed(SPANS, 3), max_bytes=0), LogUnavailable)
        assert values(store) == [b"0", b"1", b"2"]


def test_an_emptied_log_gives_its_space_back(tmp_path: Path) -> None:
    """Over half full, the growing segment goes too once all of it is committed, and offsets go on where they were."""
    with opened(tmp_path) as store:
        append(store, b"x" * 1000)
        size_bytes = store.size_bytes
        assert commit(store, Committed(SPANS, 1), max_bytes=size_bytes * 2) is None
        assert len(segment_paths(tmp_path)) == 1
        assert commit(store, Committed(SPANS, 1), max_bytes=size_bytes * 2 - 2) is None
        assert (segment_paths(tmp_path), store.size_bytes) == ([], 0)
    with opened(tmp_path) as store:
        append(store, b"next")
        assert [read.offset for read in read_all(store)] == [1]


def test_a_log_left_full_is_not_full_for_ever(tmp_path: Path) -> None:
    """A log that was killed between its last commit and the deletion makes up for it when opened."""
    with opened(tmp_path) as store:
        append(store, b"x" * 1000)
        commit(store, Committed(SPANS, 1))
        assert store.size_bytes > 1000
    with opened(tmp_path) as store:
        assert store.size_bytes == 0


@pytest.mark.parametrize(
    "committed",
    [
        Committed(SPANS, 1),
        Committed(SPANS, 4),
        Committed(SPANS, 2, Intent(2, 3, 1)),
        Committed(SPANS, 2, Intent(1, 2, 1)),
    ],
    ids=["backwards", "beyond the end", "an intent beyond the end", "an intent elsewhere"],
)
def test_impossible_commit(tmp_path: Path, committed: Committed) -> None:
    """A commit that no correct reader makes is a `ValueError`, and changes nothing."""
    with opened(tmp_path) as store:
        append(store, b"0", b"1", b"2")
        commit(store, Committed(SPANS, 2))
        assert isinstance(commit(store, committed), ValueError)
        assert store.partitions[SPANS].committed == Committed(SPANS, 2)
    with opened(tmp_path) as store:
        assert store.partitions[SPANS].committed == Committed(SPANS, 2)


def test_a_disk_that_does_not_read(tmp_path: Path) -> None:
    """A read that the disk refuses is `LogUnavailable`, and the same read works once the disk does."""
    failing = FailingDisk()
    with opened(tmp_path, disk=failing.disk()) as store:
        append(store, b"there")
        cursor = Cursor(store.partitions[SPANS].segments)
        failing.read_errors = [EIO]
        with pytest.raises(LogUnavailable) as raised:
            cursor.read(0, UNBOUNDED)
        assert raised.value.reason == "log_read_failed"
        assert [read.record.value for read in cursor.read(0, UNBOUNDED)] == [b"there"]
        cursor.close()


def test_a_segment_deleted_under_a_reader(tmp_path: Path) -> None:
    """A cursor whose segment is gone goes on with the next one."""
    with opened(tmp_path, segment_bytes=1) as store:
        append(store, b"0")
        append(store, b"1")
        append(store, b"2")
        cursor = Cursor(store.partitions[SPANS].segments)
        assert [read.offset for read in cursor.read(0, 1)] == [0]
        commit(store, Committed(SPANS, 2))
        assert [read.offset for read in cursor.read(1, UNBOUNDED)] == [2]
        cursor.close()


def test_reads_begin_anywhere(tmp_path: Path) -> None:
    """Whatever was read before, a read from any offset returns the records from there on."""
    with opened(tmp_path, segment_bytes=400) as store:
        for number in range(20):
            append(store, b"%d" % number * 10)
        cursor = Cursor(store.partitions[SPANS].segments)
        for offset in (0, 5, 5, 6, 4, 19, 0, 11, 12, 13):
            assert [read.offset for read in cursor.read(offset, 25)][:1] == [offset]
            assert [read.offset for read in cursor.read(offset, UNBOUNDED)] == list(range(offset, 20))
        assert cursor.read(20, UNBOUNDED) == []
        cursor.close()
