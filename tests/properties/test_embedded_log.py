"""Any course of appends, failures, commits, crashes and reopens, against a model of what was acknowledged."""

import errno
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from bridge.log.cursor import Cursor
from bridge.log.disk import Disk
from bridge.log.frames import MARKER_BYTES, encode
from bridge.log.store import Append, open_store
from bridge.model import Committed, Intent, Record, Signal
from tests.unit.log_files import SPANS, UNBOUNDED

SIZES = st.lists(st.integers(0, 300), min_size=1, max_size=4)


class LogMachine(RuleBasedStateMachine):
    """`acknowledged` maps offsets to values; `maybe` are values whose append failed or was cut off by a crash."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.faults: list[str] = []
        self.acknowledged: dict[int, bytes] = {}
        self.maybe: set[bytes] = set()
        self.committed = Committed(SPANS, 0)
        self.made = 0

    @initialize(segment_bytes=st.sampled_from([1, 500, 1 << 20]))
    def begin(self, segment_bytes: int) -> None:
        self.segment_bytes = segment_bytes
        self._open()

    @rule(sizes=SIZES)
    def append(self, sizes: list[int]) -> None:
        records = self._records(sizes)
        assert self.store.perform([Append(records, 0)], UNBOUNDED) == [None]
        first = self.segments.end - len(records)
        self.acknowledged |= {first + number: each.value for number, each in enumerate(records)}

    @rule(sizes=SIZES, faults=st.lists(st.sampled_from(["write", "sync", "truncate", "folder"]), min_size=1))
    def append_with_faults(self, sizes: list[int], faults: list[str]) -> None:
        records = self._records(sizes)
        self.faults = faults
        (outcome,) = self.store.perform([Append(records, 0)], UNBOUNDED)
        self.faults = []
        if outcome is None:
            first = self.segments.end - len(records)
            self.acknowledged |= {first + number: each.value for number, each in enumerate(records)}
        else:
            self.maybe |= {each.value for each in records}

    @rule(data=st.data(), fails=st.booleans())
    def commit(self, data: st.DataObject, fails: bool) -> None:
        held = sorted(self._read())
        position = data.draw(st.sampled_from([*held, self.segments.end]))
        until = data.draw(st.sampled_from([None, *(offset for offset in held if offset >= position)]))
        committed = Committed(SPANS, position, None if until is None else Intent(position, until, 1))
        self.faults = ["sync"] if fails else []
        (outcome,) = self.store.perform([committed], data.draw(st.sampled_from([0, UNBOUNDED])))
        self.faults = []
        if outcome is None:
            self.committed = committed
        else:
            assert self.store.partitions[SPANS].committed == self.committed
            assert self.store.perform([self.committed], UNBOUNDED) == [None]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self._open()

    @rule(data=st.data(), sizes=SIZES, ruins=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=3))
    def crash(self, data: st.DataObject, sizes: list[int], ruins: list[tuple[int, int]]) -> None:
        """The power fails in the middle of an append: of its bytes any first part is there, some of it wrong."""
        records, end = self._records(sizes), self.segments.end + 10  # failed appends have used some offsets
        tail = bytearray(b"".join(b"".join(encode(self.marker, end + i, each)) for i, each in enumerate(records)))
        del tail[data.draw(st.integers(0, len(tail))) :]
        for at, byte in ruins:
            if at < len(tail):
                tail[at] = byte
        self.maybe |= {each.value for each in records}
        self.store.close()
        if self.segments.files:
            with self.segments.files[-1].path.open("ab") as file:
                file.write(tail)
        self._open()

    @invariant()
    def holds_what_was_acknowledged(self) -> None:
        if not hasattr(self, "store"):
            return
        assert self.store.partitions[SPANS].committed == self.committed
        found = self._read()
        due = {offset: value for offset, value in self.acknowledged.items() if offset >= self.committed.position}
        assert {offset: found.get(offset) for offset in due} == due
        others = [value for offset, value in found.items() if offset not in due]
        assert len(others) == len(set(others))
        assert set(others) <= self.maybe
        assert self.segments.end >= max(found, default=-1) + 1

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
        self.folder.cleanup()

    def _open(self) -> None:
        disk = Disk(self._write, os.pread, self._truncate, self._sync, self._sync_folder)
        self.store = open_store(Path(self.folder.name), self.segment_bytes, disk)
        self.segments = self.store.partitions[SPANS].segments
        self.marker = bytes.fromhex(self.store.log_id)[:MARKER_BYTES]

    def _records(self, sizes: list[int]) -> list[Record]:
        """Records with values that occur once in this course, of about these sizes."""
        self.made += len(sizes)
        numbers = range(self.made - len(sizes), self.made)
        return [
            Record(Signal.TRACES, "acme", "p", 1, 1, b"%d:" % number + b"x" * size)
            for number, size in zip(numbers, sizes, strict=True)
        ]

    def _read(self) -> dict[int, bytes]:
        """Everything from the committed position on, in many small reads."""
        found: dict[int, bytes] = {}
        cursor, offset = Cursor(self.segments), self.committed.position
        while records := cursor.read(offset, 200):
            assert [read.offset for read in records] == sorted({read.offset for read in records})
            assert records[0].offset >= offset
            found |= {read.offset: read.record.value for read in records}
            offset = records[-1].offset + 1
        cursor.close()
        return found

    def _fails(self, fault: str) -> bool:
        if self.faults and self.faults[0] == fault:
            self.faults.pop(0)
            return True
        return False

    def _write(self, fd: int, buffers: Sequence[bytes], position: int) -> int:
        if self._fails("write"):
            os.pwritev(fd, buffers[:1], position)
            raise OSError(errno.ENOSPC, "scripted")
        return os.pwritev(fd, buffers, position)

    def _truncate(self, fd: int, size: int) -> None:
        if self._fails("truncate"):
            raise OSError(errno.EIO, "scripted")
        os.ftruncate(fd, size)

    def _sync(self, fd: int) -> None:
        if self._fails("sync"):
            raise OSError(errno.EIO, "scripted")

    def _sync_folder(self, fd: int) -> None:
        if self._fails("folder"):
            raise OSError(errno.EIO, "scripted")


LogMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
test_any_course = LogMachine.TestCase
