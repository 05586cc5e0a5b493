"""The program as its user starts it: `headrace run` as a process, on free ports, with its own data folder."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests import processes

START_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class Program:
    """A role of `headrace`, with its arguments, that can be killed and started again on the same data and ports.

    `crash_at` makes it kill itself at a step (tests/crash_at.py); `niceness` is that of nice(1).
    """

    directory: Path
    settings: dict[str, str]
    role: str = "run"
    crash_at: str = ""
    niceness: int = 0
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    admin_port: int = field(default_factory=free_port)
    query_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log_path(self) -> Path:
        return self.directory / "headrace.log"

    def environ(self) -> dict[str, str]:
        return {
            **processes.inherited_environ(),
            "HEADRACE_DATA_DIR": str(self.directory / "data"),
            "HEADRACE_RECEIVE__GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "HEADRACE_RECEIVE__HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "HEADRACE_ADMIN__LISTEN": f"127.0.0.1:{self.admin_port}",
            "HEADRACE_QUERY__LISTEN": f"127.0.0.1:{self.query_port}",
            **self.settings,
        }

    def start(self) -> None:
        """Return when the process answers on its admin port. Raises `RuntimeError` with its output if it ends."""
        self.spawn()
        self.wait_until_up()

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            role = self.role.split()
            command = ["tests.crash_at", self.crash_at, *role] if self.crash_at else ["bridge", *role]
            self.process = subprocess.Popen(
                [*processes.nice(self.niceness), sys.executable, "-m", *command],
                env=self.environ(),
                stdout=log,
                stderr=log,
            )

    def wait_until_up(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}:\n{self.output()}")
            try:
                self.get("/livez")
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"not up after {START_SECONDS} s:\n{self.output()}")

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is finished."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, as an orchestrator does; the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def output(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET on the admin port. Raises `OSError` if nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that carry these labels; 0 if there is none."""
        total = 0.0
        for line in self.get("/metrics")[1].splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.split("{")[0] == name and all(f'{key}="{text}"' in sample for key, text in labels.items()):
                total += float(value)
        return total

    def ready(self, part: str = "") -> tuple[int, Mapping[str, Mapping[str, object]]]:
        status, body = self.get(f"/readyz/{part}".rstrip("/"))
        return status, json.loads(body)

    def rss_bytes(self) -> int:
        return self._memory_bytes()["VmRSS"]

    def peak_rss_bytes(self) -> int:
        return self._memory_bytes()["VmHWM"]

    @contextmanager
    def watching_memory(self) -> Iterator[Callable[[], int]]:
        """Yields what tells the most anonymous memory seen since: a cgroup can reclaim pages of libraries, not that."""
        with processes.watching(self._memory_now, 0.005) as peaks:
            yield lambda: peaks.get("RssAnon", 0)

    def _memory_now(self) -> dict[str, int]:
        return self._memory_bytes() if self.process is not None and self.process.poll() is None else {}

    def _memory_bytes(self) -> dict[str, int]:
        assert self.process is not None
        return processes.memory_bytes(self.process.pid)

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far."""
        assert self.process is not None
        return processes.cpu_seconds(self.process.pid)


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Program]:
    """A started program, ended by SIGKILL if the block did not end it."""
    program = Program(directory, {f"HEADRACE_{name.upper()}": value for name, value in settings.items()})
    program.start()
    try:
        yield program
    finally:
        if program.process is not None and program.process.poll() is None:
            program.kill()
