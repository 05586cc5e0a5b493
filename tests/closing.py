"""A migration of a test's own on real servers: its database, prefixes, repository, state and commands."""

import http.client
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from bridge.migration.report import sealed
from bridge.migration.safety import Backup, checked
from bridge.migration.shadow import KEY, Shadow
from bridge.migration.state import Kind, State
from bridge.rfc3339 import SECOND
from query_api.sides import EVERYONE, Route, Side
from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.legacy import call
from tests.opensearch_service import OpenSearchNode
from tests.processes import inherited_environ
from tests.services import ClickHouseServer

COMMAND_SECONDS = 50.0


@dataclass(slots=True)
class Migrating:
    """`name` is in all that is this test's: nothing of another test is seen or deleted."""

    clickhouse: ClickHouseServer
    opensearch: OpenSearchNode
    connection: Connection
    name: str
    http: http.client.HTTPConnection
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def state(self) -> State:
        return State(self.connection)

    def environ(self) -> dict[str, str]:
        return {
            **inherited_environ(),
            "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
            "HEADRACE_CLICKHOUSE__INTERFACE": "http",
            "HEADRACE_CLICKHOUSE__PORT": str(self.clickhouse.http_port),
            "HEADRACE_CLICKHOUSE__DATABASE": self.name,
            "HEADRACE_OPENSEARCH__HOSTS": json.dumps([self.opensearch.url]),
            "HEADRACE_OPENSEARCH__LOGS_PREFIX": f"{self.name}-logs-",
            "HEADRACE_OPENSEARCH__SPANS_PREFIX": f"{self.name}-spans-",
            "HEADRACE_MIGRATION__SNAPSHOT_REPOSITORY": self.name,
            **self.settings,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`headrace migrate ...` as a process, to its end."""
        command = [sys.executable, "-m", "bridge", "migrate", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, env=self.environ(), check=False, timeout=COMMAND_SECONDS
        )

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """The same, to be killed."""
        command = [sys.executable, "-m", "bridge", "migrate", *arguments]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=self.environ()
        )

    def done(self, *arguments: str) -> str:
        """The same; what it printed. Raises `AssertionError` unless it succeeded."""
        ended = self.run(*arguments)
        assert ended.returncode == 0, (ended.stdout, ended.stderr)
        return ended.stdout

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """OpenSearch's answer. Raises `AssertionError` for an error."""
        return call(self.http, method, path, b"" if body is None else json.dumps(body).encode())

    def index_name(self, day: date, kind: str = "logs") -> str:
        return f"{self.name}-{kind}-{day:%Y.%m.%d}"

    def fill(self, *days: date, kind: str = "logs", documents: int = 3) -> list[str]:
        """Indices of these days with so many documents each."""
        names = [self.index_name(day, kind) for day in days]
        for name, day in zip(names, days, strict=True):
            self.ask("PUT", f"/{name}", {"settings": {"number_of_replicas": 0}})
            for number in range(documents):
                at = f"{day:%Y-%m-%d}T12:00:{number:02d}Z"
                self.write(name, {"@timestamp": at, "startTime": at, "log": f"line {number}"})
        return names

    def write(self, index: str, document: dict[str, Any]) -> None:
        self.ask("POST", f"/{index}/_doc?refresh=true", document)

    def there(self) -> list[str]:
        """All indices of this test."""
        return sorted(self.ask("GET", f"/{self.name}-*/_settings?expand_wildcards=all"))

    def register(self) -> None:
        location = str(self.opensearch.repository / self.name)
        self.ask("PUT", f"/_snapshot/{self.name}", {"type": "fs", "settings": {"location": location}})

    def shadow(self, days: float = 8) -> None:
        """Started so long ago, as `shadow start` keeps it."""
        cluster = str(self.ask("GET", "/")["cluster_uuid"])
        kept = Shadow(time.time_ns() // SECOND * SECOND - int(days * 86_400) * SECOND, cluster, "a")
        self.state.put(Kind.SHADOW, KEY, kept.value())

    def report(self, first: date, last: date, **other: Any) -> None:
        """A validation's that passes, over these days."""
        value = {
            "passed": True,
            "from": f"{first:%Y-%m-%d}T00:00:00Z",
            "to": f"{last + timedelta(days=1):%Y-%m-%d}T00:00:00Z",
            **other,
        }
        self.state.put(Kind.REPORT, uuid.uuid4().hex[:8], sealed(value, None))

    def route(self, org: str = EVERYONE, primary: Side = Side.CLICKHOUSE, percent: int = 100) -> None:
        self.state.put(Kind.ROUTE, org, Route(org, primary, percent).value())

    def backup(self) -> None:
        """One that ClickHouse knows, as `backup record` keeps it."""
        self.connection.run(f"BACKUP DATABASE {self.name} TO Memory('{self.name}')")
        kept = checked(self.connection, Backup("before", self.name, time.time_ns()))
        assert kept.is_verified
        self.state.put(Kind.BACKUP, kept.name, kept.value())


def days_ago(days: int) -> date:
    return datetime.now(UTC).date() - timedelta(days=days)


@contextmanager
def migrating(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> Iterator[Migrating]:
    """All of it is gone with the block."""
    name = f"m{uuid.uuid4().hex[:10]}"
    connection = Connection(server_settings(clickhouse.http_port, name))
    connection.apply_schema(SchemaOptions(name, 30, 30))
    channel = http.client.HTTPConnection("127.0.0.1", opensearch.port, timeout=60)
    made = Migrating(clickhouse, opensearch, connection, name, channel)
    try:
        yield made
    finally:
        connection.run(f"DROP DATABASE {name}")
        connection.close()
        for index in made.there():
            made.ask("DELETE", f"/{index}")
        channel.close()
