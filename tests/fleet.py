"""Several roles of `headrace` as processes, on one Kafka and one ClickHouse, with topics and tables of their own."""

import json
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import clickhouse_connect

from bridge.documents import text_at
from bridge.model import Signal
from tests.kafka_service import KafkaBroker
from tests.opensearch_service import OpenSearchNode
from tests.processes import inherited_environ
from tests.program import Program
from tests.services import ClickHouseServer

DRAIN_SECONDS = 120.0
# Of each program, when waiting failed. A broker that is away makes 2 kB in a tenth of a second; what matters is before.
SHOWN_CHARACTERS = 12_000
REPEATED = ("Connection refused", "Unable to update metadata", "NodeNotReadyError")


@dataclass(slots=True)
class Fleet:
    directory: Path
    broker: KafkaBroker
    server: ClickHouseServer
    name: str
    receivers: list[Program] = field(default_factory=list)
    delivers: list[Program] = field(default_factory=list)
    shadows: list[Program] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    began: float = field(default_factory=time.time)
    store_port: int = 0

    def settings(self) -> dict[str, str]:
        return {
            "HEADRACE_KAFKA__BOOTSTRAP_SERVERS": f'["{self.broker.address}"]',
            "HEADRACE_KAFKA__TOPIC_PREFIX": f"{self.name}-",
            "HEADRACE_KAFKA__GROUP_ID": f"{self.name}-deliver",
            "HEADRACE_OPENSEARCH__GROUP_ID": f"{self.name}-shadow",
            "HEADRACE_OPENSEARCH__LOGS_PREFIX": f"{self.name}-logs-",
            "HEADRACE_OPENSEARCH__SPANS_PREFIX": f"{self.name}-spans-",
            "HEADRACE_OPENSEARCH__NUMBER_OF_REPLICAS": "0",
            "HEADRACE_KAFKA__PARTITIONS": "4",
            "HEADRACE_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "HEADRACE_KAFKA__REPLICATION_FACTOR": "1",
            "HEADRACE_CLICKHOUSE__INTERFACE": "http",
            "HEADRACE_CLICKHOUSE__PORT": str(self.store_port or self.server.http_port),
            "HEADRACE_CLICKHOUSE__DATABASE": self.name,
            "HEADRACE_CLICKHOUSE__SEND_RECEIVE_TIMEOUT_SECONDS": "5",
            "HEADRACE_DELIVER__MAX_AGE_SECONDS": "0.2",
            "HEADRACE_DELIVER__RETRY_MAX_SECONDS": "1",
            **self.extra,
        }

    def start(self, receivers: int, delivers: int) -> None:
        """Return when all answer."""
        made = [self.add("receive") for _ in range(receivers)] + [self.add("deliver") for _ in range(delivers)]
        for program in made:
            program.wait_until_up()

    def add(self, role: str, niceness: int = 0) -> Program:
        """One more process, spawned."""
        team = {"receive": self.receivers, "deliver": self.delivers}.get(role, self.shadows)
        folder = self.directory / f"{role.replace(' ', '')}-{len(team)}"
        folder.mkdir(parents=True)
        program = Program(folder, self.settings(), role, niceness=niceness)
        team.append(program)
        program.spawn()
        return program

    @property
    def programs(self) -> list[Program]:
        return [*self.receivers, *self.delivers, *self.shadows]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of `headrace` with the fleet's settings."""
        environ = {**inherited_environ(), **self.settings(), "HEADRACE_DATA_DIR": str(self.directory / "none")}
        command = [sys.executable, "-m", "bridge", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=300)

    def check_ledger(self, wait_seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        since, until = (datetime.fromtimestamp(at, UTC).isoformat() for at in (self.began - 60, time.time() + 120))
        return self.run("ledger", "check", "--from", since, "--to", until, "--wait-seconds", f"{wait_seconds:g}")

    def wait_until(self, is_true: Callable[[], bool], what: str, seconds: float = DRAIN_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not is_true():
            if time.monotonic() > deadline:
                outputs = "\n".join(_shown(program.output()) for program in self.programs)
                raise RuntimeError(f"not {what} after {seconds:g} s\n{outputs}")
            time.sleep(0.1)

    def is_drained(self, team: list[Program] | None = None) -> bool:
        """Every partition has an owner among the delivers, or that team, and none has lag."""
        try:
            lags = [line for program in team or self.delivers for line in _samples(program, "bridge_log_lag_records{")]
        except OSError:
            return False
        wanted = 2 * int(self.settings()["HEADRACE_KAFKA__PARTITIONS"])
        data = [line for line in lags if "headrace_ledger" not in line]
        return len(data) == wanted and all(line.endswith(" 0.0") for line in data)

    def kill(self) -> None:
        for program in self.programs:
            if program.process is not None and program.process.poll() is None:
                program.kill()


def _shown(output: str) -> str:
    """The end of an output without the lines that clients repeat all the time while a broker or a store is away."""
    lines = [line for line in output.splitlines() if not any(text in line for text in REPEATED)]
    return "\n".join(lines)[-SHOWN_CHARACTERS:]


def _samples(program: Program, start: str) -> list[str]:
    return [line for line in program.get("/metrics")[1].splitlines() if line.startswith(start)]


@contextmanager
def fleet(directory: Path, broker: KafkaBroker, server: ClickHouseServer, name: str, **extra: str) -> Iterator[Fleet]:
    """An empty fleet; all its processes are gone with the block. Names of settings as in Program's `running`."""
    made = Fleet(directory, broker, server, name)
    made.extra = {f"HEADRACE_{key.upper()}": value for key, value in extra.items()}
    try:
        yield made
    finally:
        made.kill()


SHADOW: Final = "deliver --sink opensearch"


class Documents:
    """What a node of OpenSearch holds of a fleet."""

    def __init__(self, node: OpenSearchNode, name: str) -> None:
        self._node, self._name = node, name

    def counts(self, signal: Signal) -> Counter[str]:
        """How often each id of an item is there."""
        field = "headrace.row.SpanId" if signal is Signal.LOGS else "spanId"
        return Counter(str(text_at(hit["_source"], *field.split("."))) for hit in self._hits(signal, field))

    def _hits(self, signal: Signal, field: str) -> Iterator[dict[str, Any]]:
        index = f"{self._name}-{'logs' if signal is Signal.LOGS else 'spans'}-*"
        self._call("POST", f"/{index}/_refresh", None)
        body = {"size": 10_000, "_source": [field], "sort": ["_doc"]}
        answer = self._call("POST", f"/{index}/_search?scroll=1m", body)
        while answer["hits"]["hits"]:
            yield from answer["hits"]["hits"]
            answer = self._call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]})

    def _call(self, method: str, path: str, body: object) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._node.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


class Tables:
    """What the store holds of a fleet, asked with its own client."""

    def __init__(self, server: ClickHouseServer, database: str) -> None:
        self._client = clickhouse_connect.get_client(host="127.0.0.1", port=server.http_port)
        self.database = database

    def wait(self, seconds: float = 60.0) -> None:
        """Return when the tables are there, with a view on each."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self._create_views()
            except clickhouse_connect.driver.exceptions.DatabaseError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return

    def _create_views(self) -> None:
        for table in ("otel_traces", "otel_logs"):
            seen = f"{self.database}.{table}_seen"
            self.run(
                f"CREATE TABLE IF NOT EXISTS {seen} (SpanId String) ENGINE = MergeTree ORDER BY SpanId"
                " SETTINGS non_replicated_deduplication_window = 10000"
            )
            select = f"SELECT SpanId FROM {self.database}.{table}"
            self.run(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {seen}_mv TO {seen} AS {select}")

    def refuse(self, suffix: str) -> None:
        """From now on the tables take no id that ends so: the poison of the dead-letter faults."""
        for table in ("otel_traces", "otel_logs"):
            self.run(
                f"ALTER TABLE {self.database}.{table} ADD CONSTRAINT no_poison CHECK NOT endsWith(SpanId, '{suffix}')"
            )

    def run(self, sql: str) -> None:
        self._client.command(sql)

    def one(self, sql: str) -> Any:
        """The only value of a query."""
        return self._client.query(sql).result_rows[0][0]

    def rows(self, table: str) -> int:
        return int(self.one(f"SELECT count() FROM {self.database}.{table}"))

    def counts(self, table: str) -> dict[str, int]:
        """How often each id is there."""
        rows = self._client.query(f"SELECT SpanId, count() FROM {self.database}.{table} GROUP BY SpanId").result_rows
        return {str(name): int(count) for name, count in rows}

    def doubles(self) -> str:
        """Rows whose id is there more than once, with the part each is in: what one looks at first."""
        found = []
        for table in ("otel_traces", "otel_logs"):
            name = f"{self.database}.{table}"
            twice = f"SELECT SpanId FROM {name} GROUP BY SpanId HAVING count() > 1 LIMIT 20"
            columns = "_part, _part_offset, SpanId, OrgId, Timestamp, ReceivedAt"
            rows = self._client.query(f"SELECT {columns} FROM {name} WHERE SpanId IN ({twice}) ORDER BY SpanId, _part")
            found += [f"{table} {row}" for row in rows.result_rows]
        return "\n".join(found)

    def close(self) -> None:
        self._client.close()
