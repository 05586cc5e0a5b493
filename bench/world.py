"""Where the legs run: a real Kafka and a real ClickHouse, and for every measurement topics and tables of its own."""

import asyncio
import itertools
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import clickhouse_connect
from aiokafka import AIOKafkaConsumer, TopicPartition
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from bench.backlog import fill
from bench.boxed import Boxed, wait_for
from bench.peers import Ports
from bridge.assembly import kafka_settings
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import Signal
from bridge.settings import load_settings
from sinks.clickhouse import TABLES
from tests.kafka_service import KafkaBroker, start_kafka
from tests.program import free_port
from tests.services import ClickHouseServer, start_clickhouse

PARTITIONS = 4


@dataclass(slots=True)
class World:
    broker: KafkaBroker
    server: ClickHouseServer
    client: Client
    folder: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def place(self) -> "Place":
        """Ports, topics and tables that nobody has used."""
        name = f"b{next(self.numbers)}"
        folder = self.folder / name
        folder.mkdir()
        ports = Ports(
            free_port(),
            free_port(),
            self.broker.address,
            self.server.http_port,
            self.server.tcp_port,
            name,
            f"{name}-",
        )
        self.client.command(f"CREATE DATABASE {name}")
        return Place(self, ports, folder)


@dataclass(slots=True)
class Place:
    world: World
    ports: Ports
    folder: Path

    def environ(self, **extra: str) -> dict[str, str]:
        ports = self.ports
        return {
            "HEADRACE_DATA_DIR": str(self.folder / "data"),
            "HEADRACE_RECEIVE__GRPC_LISTEN": f"127.0.0.1:{ports.grpc}",
            "HEADRACE_RECEIVE__HTTP_LISTEN": f"127.0.0.1:{ports.http}",
            "HEADRACE_ADMIN__LISTEN": f"127.0.0.1:{free_port()}",
            "HEADRACE_QUERY__LISTEN": "127.0.0.1:0",
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": f'["{ports.kafka}"]',
            "HEADRACE_KAFKA__TOPIC_PREFIX": ports.prefix,
            "HEADRACE_KAFKA__GROUP_ID": f"{ports.prefix}deliver",
            "HEADRACE_KAFKA__PARTITIONS": str(PARTITIONS),
            "HEADRACE_KAFKA__REPLICATION_FACTOR": "1",
            "HEADRACE_CLICKHOUSE__INTERFACE": "http",
            "HEADRACE_CLICKHOUSE__PORT": str(ports.clickhouse_http),
            "HEADRACE_CLICKHOUSE__DATABASE": ports.database,
            # the generated items are of a fixed day, which must not be past its retention
            "HEADRACE_CLICKHOUSE__TRACES_TTL_DAYS": "3650",
            "HEADRACE_CLICKHOUSE__LOGS_TTL_DAYS": "3650",
            **extra,
        }

    def headrace(self, role: str, **extra: str) -> tuple[list[str], dict[str, str], Path]:
        """Command, environment and log of a role."""
        return [sys.executable, "-m", "bridge", role], self.environ(**extra), self.folder / f"{role}.log"

    def kafka_settings(self) -> KafkaSettings:
        return kafka_settings(load_settings(None, self.environ()))

    def create_topics(self) -> None:
        asyncio.run(_check_topics(self.kafka_settings()))

    def fill(self, signal: Signal, mib_a_partition: int) -> int:
        """A backlog in the topic; how many items."""
        return asyncio.run(fill(self.kafka_settings(), signal, mib_a_partition))

    def create_schema(self) -> None:
        command, environ, _ = self.headrace("schema")
        subprocess.run([*command, "apply"], env=environ, check=True, capture_output=True)

    def number(self, sql: str) -> int:
        """The only value of a query; 0 as long as what it asks for is not there."""
        try:
            return int(self.world.client.query(sql).result_rows[0][0] or 0)
        except ClickHouseError:
            return 0

    def rows(self, signal: Signal) -> int:
        return self.number(f"SELECT count() FROM {self.ports.database}.{TABLES[signal]}")  # noqa: S608

    def twice(self, signal: Signal) -> int:
        """Rows too many: no two generated spans have one id."""
        return self.number(f"SELECT count() - uniqExact(SpanId) FROM {self.ports.database}.{TABLES[signal]}")  # noqa: S608

    def stored_bytes(self, signal: Signal) -> int:
        where = f"active AND database = '{self.ports.database}' AND table = '{TABLES[signal]}'"
        return self.number(f"SELECT sum(bytes_on_disk) FROM system.parts WHERE {where}")  # noqa: S608

    def records(self, signal: Signal) -> int:
        """Records in the topic."""
        return asyncio.run(_end(self.kafka_settings(), signal))

    def kafka_bytes(self, signal: Signal) -> int:
        """Of the topic's log segments on the broker's disk."""
        topic = self.kafka_settings().topic(signal.topic)
        return sum(path.stat().st_size for path in self.world.broker.directory.glob(f"data/{topic}-*/*.log"))

    @contextmanager
    def driven(
        self, transport: str, signal: Signal, items: int, callers: int, seconds: float, *extra: str
    ) -> "Iterator[Load]":
        """A generator that has made its bodies and waits for `go`."""
        port = self.ports.grpc if transport == "grpc" else self.ports.http
        arguments = [transport, str(port), str(signal), str(items), str(callers), str(seconds), *extra]
        command = [sys.executable, "-m", "bench.drive", *arguments]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Load(process)


@dataclass(frozen=True, slots=True)
class Load:
    process: "subprocess.Popen[str]"

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def outcome(self) -> dict[str, Any]:
        """What it counted, when it is through."""
        assert self.process.stdout is not None
        told: dict[str, Any] = json.loads(self.process.stdout.readline())
        return told


async def _check_topics(settings: KafkaSettings) -> None:
    async with open_admin_client(settings) as admin:
        await check_topics(admin, replace(settings, create_topics=True))


async def _end(settings: KafkaSettings, signal: Signal) -> int:
    async with AIOKafkaConsumer(bootstrap_servers=list(settings.bootstrap_servers)) as consumer:
        topic = settings.topic(signal.topic)
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in range(PARTITIONS)])
    return sum(ends.values())


def listening(process: Boxed, port: int) -> None:
    """Return when somebody listens on the port. Raises `RuntimeError` with the output if the process ends."""

    def is_up() -> bool:
        if not process.is_alive:
            raise RuntimeError(f"{process.command[0]} ended:\n{process.log_path.read_text()[-2000:]}")
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_for(is_up, 60, f"port {port}")


@contextmanager
def open_world() -> Iterator[World]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="headrace-bench-")))
        broker, server = stack.enter_context(start_kafka()), stack.enter_context(start_clickhouse())
        # of no session: rows are looked at from a thread beside
        client = clickhouse_connect.get_client(host="127.0.0.1", port=server.http_port, autogenerate_session_id=False)
        stack.callback(client.close)
        yield World(broker, server, client, folder)
