"""A real OpenSearch node for tests and benches, without containers: the jars come from Maven once, below .services/.

Tests that only talk to a node take the one of HEADRACE_TEST_OPENSEARCH (host:port) if it is set; it must have a
`path.repo` for snapshots, told in HEADRACE_TEST_OPENSEARCH_REPOSITORY.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.processes import nice
from tests.program import free_port
from tests.services import Unavailable, maven_jars, skipped_if_unavailable

POM = Path(__file__).with_name("opensearch-pom.xml")
NODE = Path(__file__).with_name("OpenSearchNode.java")
START_SECONDS = 120.0


@dataclass(slots=True)
class OpenSearchNode:
    """One node; `repository` is where snapshots may go."""

    port: int
    directory: Path
    library: Path | None = None
    niceness: int = 0
    transport_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def repository(self) -> Path:
        return self.directory / "home" / "repository"

    def spawn(self) -> None:
        """Start on the same data and ports."""
        java = shutil.which("java")
        if java is None:
            raise Unavailable("java 17 (a JDK) is needed for OpenSearch; install one, or set HEADRACE_TEST_OPENSEARCH")
        options = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={self.directory}"]
        command = [
            *nice(self.niceness),
            java,
            *options,
            "-cp",
            f"{self.library}/*",
            str(NODE),
            str(self.directory / "home"),
        ]
        with (self.directory / "node.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, str(self.port), str(self.transport_port)], stdout=log, stderr=log
            )

    def wait_until_up(self) -> None:
        """Return when it answers with its shards. Raises `Unavailable` with its output."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                text = (self.directory / "node.log").read_text(errors="replace")[-3000:]
                raise Unavailable(f"OpenSearch did not start:\n{text}")
            time.sleep(0.1)

    def answers(self) -> bool:
        try:
            path = f"{self.url}/_cluster/health?wait_for_status=yellow&timeout=1s"
            with urllib.request.urlopen(path, timeout=3) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def start(self) -> None:
        self.spawn()
        self.wait_until_up()

    def kill(self) -> None:
        """SIGKILL, and the end of the process."""
        assert self.process is not None, "a node from HEADRACE_TEST_OPENSEARCH is not ours to kill"
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)


@contextmanager
def start_opensearch(niceness: int = 0) -> Iterator[OpenSearchNode]:
    """A fresh node of our own on free ports, gone with the block. Raises `Unavailable`."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-opensearch-"))
    node = OpenSearchNode(free_port(), directory, maven_jars("OpenSearch", POM, 53), niceness)
    try:
        node.start()
        yield node
    finally:
        if node.process is not None and node.process.poll() is None:
            node.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def opensearch() -> Iterator[OpenSearchNode]:
    """One node for all tests that do not kill it; tests keep apart by the prefixes of their indices."""
    given = os.environ.get("HEADRACE_TEST_OPENSEARCH")
    if given:
        home = Path(os.environ.get("HEADRACE_TEST_OPENSEARCH_REPOSITORY", "unset"))
        yield OpenSearchNode(int(given.rpartition(":")[2]), home)
        return
    with skipped_if_unavailable(), start_opensearch() as node:
        yield node
