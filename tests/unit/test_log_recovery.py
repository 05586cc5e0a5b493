"""Opening a log after a crash or damage: nothing acknowledged is lost, nothing silently deleted, no offset reused."""

import logging
from pathlib import Path

import pytest

from bridge.errors import SettingsInvalid
from bridge.log.cursor import Cursor
from bridge.model import Committed, Intent
from tests.unit.log_files import SPANS, UNBOUNDED, FailingDisk, append, commit, opened, read_all, segment_paths, values


def filled(folder: Path, *contents: bytes, segment_bytes: int = 1 << 20) -> list[Path]:
    """The segments of a log with one append for each value."""
    with opened(folder, segment_bytes) as store:
        for content in contents:
            append(store, content)
    return segment_paths(folder)


def side_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.damaged-*"))


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x20
    path.write_bytes(content)


def test_a_cut_at_any_byte(tmp_path: Path) -> None:
    """A segment cut anywhere keeps the records before the cut, needs no side file, and is appended to again."""
    (path,) = filled(tmp_path, b"a", b"bb", b"ccc")
    whole = path.read_bytes()
    size = (len(whole) - 6) // 3
    ends = [size + 1, 2 * size + 3, 3 * size + 6]
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = [value for value, end in zip((b"a", b"bb", b"ccc"), ends, strict=True) if end <= cut]
        with opened(tmp_path) as store:
            assert values(store) == kept
            assert append(store, b"new") is None
            assert values(store) == [*kept, b"new"]
        for made in segment_paths(tmp_path):
            made.unlink()
    assert side_files(tmp_path) == []


def test_zeros_at_the_end(tmp_path: Path) -> None:
    """Pages that a power cut left as zeros are cut off without ado."""
    (path,) = filled(tmp_path, b"kept")
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(5000))
    with opened(tmp_path) as store:
        assert values(store) == [b"kept"]
    assert path.read_bytes() == whole
    assert side_files(tmp_path) == []


def test_damage_at_the_end_is_kept_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that are no unfinished record are copied beside the segment before they are cut off, each time anew."""
    (path,) = filled(tmp_path, b"kept")
    whole = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        for junk in (b"no frame at all", whole[:-1] + b"?"):
            path.write_bytes(whole + junk)
            with opened(tmp_path) as store:
                assert values(store) == [b"kept"]
            assert path.read_bytes() == whole
    assert [kept.name for kept in side_files(tmp_path)] == [f"{path.name}.damaged-1", f"{path.name}.damaged-2"]
    assert [kept.read_bytes() for kept in side_files(tmp_path)] == [b"no frame at all", whole[:-1] + b"?"]
    assert [(found.levelname, found.__dict__["bytes"], found.__dict__["file"]) for found in caplog.records] == [
        ("WARNING", 15, str(path)),
        ("WARNING", len(whole), str(path)),
    ]


def test_a_flipped_byte_in_the_last_record(tmp_path: Path) -> None:
    """Whichever byte of the last record is damaged, its bytes are kept aside: it may have been acknowledged."""
    (path,) = filled(tmp_path, b"first", b"last")
    whole = path.read_bytes()
    start = (len(whole) - 9) // 2 + 5
    for number, at in enumerate(range(start, len(whole)), 1):
        path.write_bytes(whole)
        flip(path, at)
        damaged = path.read_bytes()
        with opened(tmp_path) as store:
            assert values(store) == [b"first"]
        assert (path.parent / f"{path.name}.damaged-{number}").read_bytes() == damaged[start:]


def test_damage_before_the_end_is_stepped_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged record between intact ones stays in its file; the others are read, and the damage is counted once."""
    (path,) = filled(tmp_path, b"one", b"two", b"six")
    size = path.stat().st_size // 3
    flip(path, size + size // 2)
    damaged = path.read_bytes()
    with opened(tmp_path) as store:
        cursor = Cursor(store.partitions[SPANS].segments)
        for offset in (0, 0, 1):
            assert [read.record.value for read in cursor.read(offset, UNBOUNDED)][-1] == b"six"
        assert [read.record.value for read in cursor.read(0, UNBOUNDED)] == [b"one", b"six"]
        assert cursor.damaged_bytes == size
        cursor.close()
    assert path.read_bytes() == damaged
    errors = [found for found in caplog.records if found.levelname == "ERROR"]
    assert [(found.__dict__["position"], found.__dict__["bytes"]) for found in errors] == [(size, size)]


def test_damage_in_an_older_segment(tmp_path: Path) -> None:
    """A segment that is damaged through and through is stepped over, and those after it are read."""
    first, second, _ = filled(tmp_path, b"one", b"two", b"six", segment_bytes=1)
    second.write_bytes(b"\xff" * 5000)
    first.write_bytes(first.read_bytes()[:-1])
    with opened(tmp_path, segment_bytes=1) as store:
        cursor = Cursor(store.partitions[SPANS].segments)
        assert [read.record.value for read in cursor.read(0, UNBOUNDED)] == [b"six"]
        assert cursor.damaged_bytes == first.stat().st_size + 5000
        cursor.close()


@pytest.mark.parametrize(
    ("committed", "next_offset"), [(Committed(SPANS, 2), 2), (Committed(SPANS, 1, Intent(1, 2, 1)), 3)]
)
def test_lost_records_leave_their_offsets(tmp_path: Path, committed: Committed, next_offset: int) -> None:
    """If records below a commit or inside an intent are lost, no later record gets their offsets or their token."""
    with opened(tmp_path) as store:
        append(store, b"0", b"1", b"2")
        commit(store, committed)
    (path,) = segment_paths(tmp_path)
    path.write_bytes(b"")
    with opened(tmp_path) as store:
        assert store.partitions[SPANS].committed == committed
        append(store, b"new")
        assert [(read.offset, read.record.value) for read in read_all(store)] == [(next_offset, b"new")]


def test_what_a_killed_process_left_is_made_durable(tmp_path: Path) -> None:
    """Records that only the page cache may hold are synced before anybody can read them."""
    (path,) = filled(tmp_path, b"0")
    disk = FailingDisk()
    with opened(tmp_path, disk=disk.disk()):
        assert path.stat().st_ino in disk.synced_inodes


def test_an_unused_segment_is_removed(tmp_path: Path) -> None:
    """A crash right after a segment was begun leaves no phantom lag: the log ends behind its last record."""
    (path,) = filled(tmp_path, b"0")
    (path.parent / f"{4:020d}.segment").touch()
    with opened(tmp_path) as store:
        assert store.partitions[SPANS].segments.end == 1
        append(store, b"4")
        assert [read.offset for read in read_all(store)] == [0, 4]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second opener is told which folder is in use, and may open it once the first has closed."""
    with opened(tmp_path), pytest.raises(SettingsInvalid, match=f"{tmp_path} is in use"), opened(tmp_path):
        pass
    with opened(tmp_path):
        pass


def test_a_wiped_folder_is_another_log(tmp_path: Path) -> None:
    """The log's id stays with its folder's content: the same after a reopen, another after a wipe."""
    ids = []
    for folder in (tmp_path / "a", tmp_path / "a", tmp_path / "b"):
        with opened(folder) as store:
            ids.append(store.log_id)
    assert ids[0] == ids[1] != ids[2]


def test_records_without_their_id(tmp_path: Path) -> None:
    """Without its id the log's records cannot be told from junk; opening refuses instead of starting over."""
    filled(tmp_path, b"precious")
    (tmp_path / "log_id").unlink()
    with pytest.raises(SettingsInvalid, match="log_id is missing"), opened(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "headrace-log 2 " + "0" * 32 + "\n", "headrace-log 1 xyz\n"])
def test_an_id_that_is_none(tmp_path: Path, content: str) -> None:
    """A log of another format, or a broken id, is refused by the file's name."""
    (tmp_path / "log_id").write_text(content)
    with pytest.raises(SettingsInvalid, match="log_id is not of a log this version can read"), opened(tmp_path):
        pass


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    """A path that is a file is a mistake in the settings."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsInvalid, match="cannot use the folder"), opened(tmp_path / "file"):
        pass
