"""A box of CPU and memory for a process: a cgroup, version 1 or 2, where this user may make one.

The process is put in before it starts; what it used is read afterwards, all threads counted, page cache apart.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000


class NoBox(RuntimeError):
    """This machine does not let us make a cgroup; the text says why."""


@dataclass(frozen=True, slots=True)
class Box:
    """`join` runs in the child before it becomes the program."""

    folders: tuple[Path, ...]

    def join(self) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def peak_bytes(self) -> int:
        """Most memory ever charged, page cache included."""
        return self._number("memory.max_usage_in_bytes", "memory.peak")

    def oom_kills(self) -> int:
        for name in ("memory.oom_control", "memory.events"):
            for folder in self.folders:
                if (folder / name).exists():
                    lines = dict(line.split() for line in (folder / name).read_text().splitlines())
                    return int(lines.get("oom_kill", 0))
        return 0

    def cpu_seconds(self) -> float:
        for folder in self.folders:
            if (folder / "cpuacct.usage").exists():
                return int((folder / "cpuacct.usage").read_text()) / 1e9
            if (folder / "cpu.stat").exists() and "usage_usec" in (folder / "cpu.stat").read_text():
                return (
                    int(dict(line.split() for line in (folder / "cpu.stat").read_text().splitlines())["usage_usec"])
                    / 1e6
                )
        return 0.0

    def _number(self, *names: str) -> int:
        for folder in self.folders:
            for name in names:
                if (folder / name).exists():
                    return int((folder / name).read_text())
        return 0


@contextmanager
def box(cpus: float, memory_bytes: int) -> Iterator[Box]:
    """An empty box, gone with the block. Raises `NoBox`."""
    name = f"headrace-{uuid.uuid4().hex[:8]}"
    made: list[Path] = []
    try:
        try:
            _make(name, cpus, memory_bytes, made)
        except OSError as error:
            raise NoBox(f"no cgroup can be made here: {error}") from error
        yield Box(tuple(made))
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()


def _make(name: str, cpus: float, memory_bytes: int, made: list[Path]) -> None:
    quota_us = int(cpus * PERIOD_US)
    if (ROOT / "cgroup.controllers").exists():
        _folder(ROOT / name, made, {"cpu.max": f"{quota_us} {PERIOD_US}", "memory.max": str(memory_bytes)})
        with suppress(OSError):
            (ROOT / name / "memory.swap.max").write_text("0")
        return
    _folder(ROOT / "memory" / name, made, {"memory.limit_in_bytes": str(memory_bytes)})
    _folder(ROOT / "cpu" / name, made, {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(quota_us)})
    _folder(ROOT / "cpuacct" / name, made, {})


def _folder(path: Path, made: list[Path], values: dict[str, str]) -> None:
    if not path.exists():
        path.mkdir()
        made.append(path)
    for key, value in values.items():
        (path / key).write_text(value)


Join = Callable[[], None]
