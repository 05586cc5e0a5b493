"""`headrace migrate ...` as its user starts it, on a database of its own, and what the stores hold afterwards."""

import http.client
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bridge.migration.state import Kind, State
from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.legacy import call
from tests.opensearch_service import OpenSearchNode
from tests.processes import inherited_environ
from tests.services import ClickHouseServer


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Migrating:
    """Both stores, and the commands between them."""

    node: OpenSearchNode
    connection: Connection
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def database(self) -> str:
        return self.connection.settings.database

    @property
    def state(self) -> State:
        return State(self.connection)

    def with_settings(self, **settings: str) -> "Migrating":
        return replace(self, settings=(*self.settings, *settings.items()))

    def command(self, *arguments: str, crash_at: str = "") -> Done:
        """Return when it has ended; `crash_at` as in tests/crash_at.py."""
        environ = {
            **inherited_environ(),
            "HEADRACE_CLICKHOUSE__INTERFACE": "http",
            "HEADRACE_CLICKHOUSE__PORT": str(self.connection.settings.port),
            "HEADRACE_CLICKHOUSE__DATABASE": self.database,
            "HEADRACE_CLICKHOUSE__LOGS_TTL_DAYS": "3650",
            "HEADRACE_CLICKHOUSE__TRACES_TTL_DAYS": "3650",
            "HEADRACE_OPENSEARCH__HOSTS": json.dumps([self.node.url]),
            "HEADRACE_OPENSEARCH__NUMBER_OF_REPLICAS": "0",
            **{f"HEADRACE_{name.upper()}": value for name, value in self.settings},
        }
        start = ["tests.crash_at", crash_at] if crash_at else ["bridge"]
        done = subprocess.run(
            [sys.executable, "-m", *start, "migrate", *arguments],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def backfill(self, *arguments: str, crash_at: str = "") -> Done:
        return self.command("backfill", "--yes", *arguments, crash_at=crash_at)

    def logs(self, columns: str = "*") -> list[list[Any]]:
        return self.connection.rows(f"SELECT {columns} FROM {self.database}.otel_logs ORDER BY Timestamp, Body")

    def spans(self, columns: str = "*") -> list[list[Any]]:
        return self.connection.rows(f"SELECT {columns} FROM {self.database}.otel_traces ORDER BY Timestamp, SpanId")

    def slices(self) -> int:
        return len(self.state.latest(Kind.SLICE))

    def bulk(self, index: str, documents: Sequence[dict[str, Any]], mapping: dict[str, Any] | None = None) -> None:
        """Return when they can be searched. An index with a mapping is made first."""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        if mapping is not None:
            call(connection, "PUT", f"/{index}", json.dumps(mapping).encode())
        body = "".join(f'{{"create":{{}}}}\n{json.dumps(document)}\n' for document in documents).encode()
        answer = call(connection, "POST", f"/{index}/_bulk?refresh=true", body, "application/x-ndjson")
        assert not answer["errors"], answer
        connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        answer = call(connection, method, path, json.dumps(body).encode() if body is not None else b"")
        connection.close()
        return answer


@contextmanager
def migrating(node: OpenSearchNode, server: ClickHouseServer) -> Iterator[Migrating]:
    """A fresh database with this version's schema, dropped again with the block."""
    connection = Connection(server_settings(server.http_port, f"m_{uuid.uuid4().hex[:12]}"))
    database = connection.settings.database
    connection.apply_schema(SchemaOptions(database, 3_650, 3_650))
    try:
        yield Migrating(node, connection)
    finally:
        connection.run(f"DROP DATABASE {database}")
        connection.close()


def log_document(at: str, body: str, org: str = "acme", pod: str = "api-0") -> dict[str, Any]:
    """As Fluent Bit writes it for family A."""
    labels = {"organization-name": org, "project-name": "shop", "component-name": "api", "environment-name": "dev"}
    kubernetes = {"namespace_name": f"dp-{org}", "pod_name": pod, "container_name": "main", "labels": labels}
    return {"@timestamp": at, "log": body, "stream": "stdout", "kubernetes": kubernetes}
