"""The embedded log in processes of its own: killed at random moments, and out of disk for real."""

import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.log_files import SPANS, opened, read_all
from tests.unit.log_victim import id_of

ROUNDS = 10
MAX_LINES = 600  # heard of one victim, about a quarter of a second's work
ROOT = Path(__file__).parents[2]


@dataclass
class Heard:
    """What all victims so far have said."""

    acknowledged: set[int] = field(default_factory=set)
    delivered: set[int] = field(default_factory=set)
    committed: set[int] = field(default_factory=set)
    position: int = 0

    def line(self, line: str) -> None:
        what, _, number = line.rstrip("\n").partition(" ")
        if what == "a":
            self.acknowledged.add(int(number))
        elif what == "d":
            self.delivered.add(int(number))
        else:
            self.position, self.committed = int(number), set(self.delivered)

    @property
    def next_id(self) -> int:
        return max(self.acknowledged | self.delivered, default=0) + 100  # beyond those it did not live to say


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_process_loses_nothing(tmp_path: Path, seed: int) -> None:
    """After kill -9 at any moment, all acknowledged records are delivered or still there, once and in order."""
    chance, heard = random.Random(seed), Heard()
    for _ in range(ROUNDS // 2):
        _run_and_kill(tmp_path, heard, chance.randrange(1, MAX_LINES))
        with opened(tmp_path) as store:
            committed = store.partitions[SPANS].committed
            found = read_all(store)
        ids, offsets = [id_of(read.record) for read in found], [read.offset for read in found]
        assert heard.acknowledged <= heard.delivered | set(ids)
        assert not heard.committed & set(ids)
        assert ids == sorted(set(ids))
        assert offsets == sorted(set(offsets))
        assert committed.position >= heard.position
        if committed.intent is not None:
            assert {committed.intent.first, committed.intent.last} <= set(offsets)
    assert len(heard.acknowledged) > ROUNDS


def _run_and_kill(folder: Path, heard: Heard, after_lines: int) -> None:
    command = [sys.executable, "-m", "tests.unit.log_victim", str(folder), str(heard.next_id)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        for _ in range(after_lines):
            heard.line(victim.stdout.readline())
        victim.kill()
        for line in victim.stdout:
            if line.endswith("\n"):  # else it was killed in the middle of saying it
                heard.line(line)


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """When the kernel refuses to let the file grow, the log refuses, keeps what it has, and goes on when it may."""
    command = [sys.executable, "-m", "tests.unit.log_full_disk", str(tmp_path / "log")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
