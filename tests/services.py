"""Real services for tests and benches, without containers: a ClickHouse server from the npm package of libchdb.

The package ships `libchdb.so`, which holds the genuine server; `SYSTEM START LISTEN` opens its HTTP and TCP handlers.
Tests that only talk to a server take the one of HEADRACE_TEST_CLICKHOUSE if it is set.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.program import free_port

ROOT = Path(__file__).parent.parent
PACKAGE = "@chdb/lib-linux-x64-gnu"
VERSION = "26.7.3-stable.1"
CHILD = Path(__file__).with_name("clickhouse_child.py")
START_SECONDS = 60.0


class Unavailable(RuntimeError):
    """A service cannot be had on this machine; the text says why."""


@dataclass(slots=True)
class ClickHouseServer:
    http_port: int
    tcp_port: int
    directory: Path
    library: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers. Raises `Unavailable` with its output."""
        self.spawn()
        self.wait_until_up()

    def spawn(self) -> None:
        """Start on the same data and ports. The server ends with the thread that calls this (PR_SET_PDEATHSIG)."""
        assert self.library is not None
        arguments = [sys.executable, str(CHILD), str(self.library), str(self.http_port), str(self.tcp_port)]
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen([*arguments, str(self.directory / "data")], stdout=log, stderr=log)

    def wait_until_up(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.directory / "server.log").read_text(errors="replace")[-3000:]
                raise Unavailable(f"the ClickHouse server did not start:\n{text}")
            time.sleep(0.05)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/ping", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL, and the end of the process."""
        assert self.process is not None, "a server from HEADRACE_TEST_CLICKHOUSE is not ours to kill"
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def start_clickhouse() -> Iterator[ClickHouseServer]:
    """A fresh server of our own on free ports, gone with the block. Raises `Unavailable`."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-clickhouse-"))
    server = ClickHouseServer(free_port(), free_port(), directory, _library())
    try:
        server.start()
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()
        shutil.rmtree(directory, ignore_errors=True)


def maven_jars(name: str, pom: Path, megabytes: int) -> Path:
    """The folder of a service's jars, fetched from Maven once, below .services/. Raises `Unavailable`."""
    home = ROOT / ".services" / name.lower()
    library = home / "lib"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / "complete").exists():
            return library
        maven = shutil.which("mvn")
        if maven is None:
            advice = f"install it, or set HEADRACE_TEST_{name.upper()}"
            raise Unavailable(f"maven is needed once to fetch {name}; {advice}")
        sys.stderr.write(f"fetching {name} ({megabytes} MB, once) ...\n")
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={library}"]
        command = [maven, "-q", "-B", "-f", str(pom), *goal]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode:
            raise Unavailable(f"maven could not fetch {name}: {done.stdout[-1000:]}")
        (home / "complete").touch()
    return library


def _library() -> Path:
    """The server's library, installed from npm once, below .services/."""
    home = ROOT / ".services" / "clickhouse"
    library = home / "node_modules" / PACKAGE / "libchdb.so"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if library.exists():
            return library
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable(
                f"npm is needed once to fetch {PACKAGE}; install Node.js, or set HEADRACE_TEST_CLICKHOUSE"
            )
        sys.stderr.write(f"fetching {PACKAGE}@{VERSION} (570 MB unpacked, once) ...\n")
        command = [npm, "install", "--no-audit", "--no-fund", "--prefix", str(home), f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        if done.returncode or not library.exists():
            raise Unavailable(f"npm could not install {PACKAGE}: {done.stderr[-1000:]}")
    return library


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouseServer]:
    """One server for all tests that do not kill it; HEADRACE_TEST_CLICKHOUSE=127.0.0.1:port takes one that is there."""
    given = os.environ.get("HEADRACE_TEST_CLICKHOUSE")
    if given:
        yield ClickHouseServer(int(given.rpartition(":")[2]), 0, Path())
        return
    with skipped_if_unavailable(), start_clickhouse() as server:
        yield server


@contextmanager
def skipped_if_unavailable() -> Iterator[None]:
    """A service that cannot be had is a loud skip, and with CI=true a failure."""
    try:
        yield
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"NO REAL SERVICE: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, None, None]:
    """For tests that start a server of their own."""
    with skipped_if_unavailable():
        yield


@pytest.fixture(scope="session")
def chdb_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """chDB takes one data folder a process; tests share it, each in a database of its own."""
    return tmp_path_factory.mktemp("chdb")
