"""A measured process: in a box of CPU and memory if this machine lets us make one, else with its CPU time only."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.box import Box, NoBox, box
from tests import processes

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
    peaks: Mapping[str, int] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    _before_seconds: float = 0.0

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
        return processes.cpu_seconds(self._pid) if self.is_alive else 0.0

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
        self._before_seconds += self._now_seconds()
        if self.is_alive:
            self.process.send_signal(number)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def memory_now(self) -> dict[str, int]:
        return processes.memory_bytes(self._pid) if self.is_alive else {}


@contextmanager
def boxed(command: Sequence[str], environ: Mapping[str, str], log_path: Path) -> Iterator[Boxed]:
    """Started, in a box where one can be made; gone with the block."""
    with ExitStack() as stack:
        held: Box | None = None
        with suppress(NoBox):
            held = stack.enter_context(box(CPUS, MEMORY_BYTES))
        made = Boxed(command, {**processes.inherited_environ(), **environ}, log_path, held)
        made.peaks = stack.enter_context(processes.watching(made.memory_now, LOOK_SECONDS))
        made.spawn()
        try:
            yield made
        finally:
            made.end(signal.SIGTERM)


def wait_for(is_true: Callable[[], bool], seconds: float, what: str, every_seconds: float = 0.1) -> None:
    """Raises `TimeoutError`."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(every_seconds)
