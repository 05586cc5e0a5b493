"""A real Kafka broker for tests and benches, without containers: the jars come from Maven once, below .services/.

Tests that only talk to a broker take the one of HEADRACE_TEST_KAFKA (host:port) if it is set.
"""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.program import free_port
from tests.services import Unavailable, maven_jars, skipped_if_unavailable

POM = Path(__file__).with_name("kafka-pom.xml")
START_SECONDS = 60.0
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners={listeners}
advertised.listeners={advertised}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT,TLS:SSL
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=4
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.flush.interval.messages=1
auto.create.topics.enable=false
"""


@dataclass(slots=True)
class KafkaBroker:
    """One node in KRaft mode. `extra` is added to its properties, `listeners` to its listeners."""

    port: int
    directory: Path
    library: Path | None = None
    extra: str = ""
    listeners: dict[str, int] = field(default_factory=dict)
    scram_users: tuple[str, ...] = ()
    controller_port: int = field(default_factory=free_port)
    advertised_port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def format(self) -> None:
        """Write the properties and an empty data folder."""
        mine = {"PLAINTEXT": self.port, **self.listeners}
        told = {**mine, "PLAINTEXT": self.advertised_port or self.port}
        text = PROPERTIES.format(
            controller=self.controller_port,
            listeners=",".join(f"{n}://127.0.0.1:{p}" for n, p in {**mine, "CONTROLLER": self.controller_port}.items()),
            advertised=",".join(f"{name}://127.0.0.1:{port}" for name, port in told.items()),
            data=self.directory / "data",
        )
        (self.directory / "server.properties").write_text(text + self.extra)
        # one in 64 would begin with "-", and be taken for an option
        cluster = f"h{base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip('=')[1:]}"
        command = [*self._java("128m"), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._properties()]
        command += [part for user in self.scram_users for part in ("--add-scram", user)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode:
            raise Unavailable(f"kafka could not be formatted: {done.stdout[-1000:]}{done.stderr[-1000:]}")

    def spawn(self) -> None:
        """Start on the same data and ports."""
        with (self.directory / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self._java("384m"), "kafka.Kafka", self._properties()], stdout=log, stderr=log
            )

    def wait_until_up(self) -> None:
        """Return when it says that it has started. Raises `Unavailable` with its output."""
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        log = self.directory / "server.log"
        started = log.read_text(errors="replace").count("Kafka Server started") if log.exists() else 0
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"kafka did not start ({started}):\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def start(self) -> None:
        self.spawn()
        self.wait_until_up()

    def kill(self) -> None:
        """SIGKILL, and the end of the process."""
        assert self.process is not None, "a broker from HEADRACE_TEST_KAFKA is not ours to kill"
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _java(self, heap: str) -> list[str]:
        java = shutil.which("java")
        if java is None:
            raise Unavailable("java 17 is needed for Kafka; install a JRE, or set HEADRACE_TEST_KAFKA")
        options = [f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", f"-Djava.io.tmpdir={self.directory}"]
        return [java, *options, "-cp", f"{self.library}/*"]

    def _properties(self) -> str:
        return str(self.directory / "server.properties")


@contextmanager
def start_kafka(
    extra: str = "", listeners: dict[str, int] | None = None, scram_users: tuple[str, ...] = ()
) -> Iterator[KafkaBroker]:
    """A fresh broker of our own on free ports, gone with the block. Raises `Unavailable`.

    `listeners` are more of them, by the names SASL and TLS, with their ports; `extra` says how they let clients in.
    """
    directory = Path(tempfile.mkdtemp(prefix="headrace-kafka-"))
    broker = KafkaBroker(free_port(), directory, maven_jars("Kafka", POM, 43), extra, listeners or {}, scram_users)
    try:
        broker.format()
        broker.start()
        yield broker
    finally:
        if broker.process is not None and broker.process.poll() is None:
            broker.kill()
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker]:
    """One broker for all tests that do not kill it; tests keep apart by topic prefix."""
    given = os.environ.get("HEADRACE_TEST_KAFKA")
    if given:
        yield KafkaBroker(int(given.rpartition(":")[2]), Path())
        return
    with skipped_if_unavailable(), start_kafka() as broker:
        yield broker
