"""What /proc says of a process (Linux), and what one inherits: for the programs of tests and of benches."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


def inherited_environ() -> dict[str, str]:
    """Our environment without settings of headrace."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads so far. Raises `OSError` if the process is gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> dict[str, int]:
    """VmRSS, VmHWM, RssAnon and the others; none of a process that has ended. Raises `OSError` if it is gone."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}


@contextmanager
def watching(look: Callable[[], Mapping[str, int]], every_seconds: float) -> Iterator[dict[str, int]]:
    """Yields the highest of each value seen so far; looked at from a thread until the block is left."""
    ended, peaks = threading.Event(), dict[str, int]()

    def watch() -> None:
        while not ended.wait(every_seconds):
            for name, value in look().items():
                peaks[name] = max(peaks.get(name, 0), value)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def nice(niceness: int) -> list[str]:
    """What goes before a command so that it has that niceness."""
    return ["nice", "-n", str(niceness)] if niceness else []
