"""A measured process: in a box of CPU and memory if this machine lets us make one, else with its CPU time only."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.box import Box, NoBox, box

CPUS = 0.25
MEMORY_BYTES = 256 << 20
LOOK_SECONDS = 0.02


@dataclass(slots=True)
class Boxed:
    """A command that can be killed and started again; what it used is the sum over its lives."""

    command: Sequence[str]
    environ: Mapping[str, str]
    log_path: Path
    held: Box | None
    peak_rss_bytes: int = 0
    peak_anonymous_bytes: int = 0
    process: "subprocess.Popen[bytes] | None" = None
    _before_seconds: float = 0.0
    _watching: threading.Event = field(default_factory=threading.Event)

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env=dict(self.environ),
                stdout=log,
                stderr=log,
                preexec_fn=self.held.join if self.held else None,
            )

    def cpu_seconds(self) -> float:
        """Of all threads, in all lives."""
        if self.held is not None:
            return self.held.cpu_seconds()
        return self._before_seconds + self._now_seconds()

    def _now_seconds(self) -> float:
        try:
            fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def _pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        self._before_seconds += self._now_seconds() if self.is_alive else 0.0
        if self.is_alive:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def look(self) -> None:
        """Keep the peaks, until told to stop."""
        while not self._watching.wait(LOOK_SECONDS):
            if self.is_alive:
                try:
                    lines = Path(f"/proc/{self._pid}/status").read_text().splitlines()
                except OSError:
                    continue
                sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines if line.endswith(" kB")}
                self.peak_rss_bytes = max(self.peak_rss_bytes, sizes.get("VmHWM", 0))
                self.peak_anonymous_bytes = max(self.peak_anonymous_bytes, sizes.get("RssAnon", 0))

    def stop_looking(self) -> None:
        self._watching.set()


def _inherited() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}


@contextmanager
def boxed(
    command: Sequence[str], environ: Mapping[str, str], log_path: Path, *, is_free: bool = False
) -> Iterator[Boxed]:
    """Started; gone with the block. `is_free`: without a box."""
    with ExitStack() as stack:
        held: Box | None = None
        if not is_free:
            try:
                held = stack.enter_context(box(CPUS, MEMORY_BYTES))
            except NoBox:
                held = None
        made = Boxed(command, {**_inherited(), **environ}, log_path, held)
        watcher = threading.Thread(target=made.look, daemon=True)
        made.spawn()
        watcher.start()
        try:
            yield made
        finally:
            made.end(signal.SIGTERM)
            made.stop_looking()
            watcher.join()


def wait_for(is_true: Callable[[], bool], seconds: float, what: str, every_seconds: float = 0.1) -> None:
    """Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every_seconds)
