"""`headrace query` as a process, in front of a ClickHouse server that a test may kill, pause and start again."""

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.program import Program, free_port
from tests.query_server import Served
from tests.services import ClickHouseServer
from tests.waiting import eventually_sync

BODY: Mapping[str, Any] = {"startTime": "2025-11-14T00:00:00Z", "endTime": "2025-11-15T00:00:00Z", "limit": 10}
PATH = "/api/logs/component/api"


@contextmanager
def database(server: ClickHouseServer) -> Iterator[Connection]:
    """A database with this version's schema and nothing in it."""
    settings = server_settings(server.http_port, f"t_{uuid.uuid4().hex[:12]}")
    connection = Connection(settings)
    connection.apply_schema(SchemaOptions(settings.database, 25_000, 25_000))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def querying(directory: Path, server: ClickHouseServer, name: str, **settings: str) -> Iterator[tuple[Program, str]]:
    """The started process and the URL of its API; ended by SIGKILL if the block did not end it."""
    port = free_port()
    told = {
        "clickhouse__interface": "http",
        "clickhouse__port": str(server.http_port),
        "clickhouse__database": name,
        "query__listen": f"127.0.0.1:{port}",
        **settings,
    }
    program = Program(directory, {f"HEADRACE_{key.upper()}": value for key, value in told.items()}, role="query")
    program.start()
    try:
        yield program, f"http://127.0.0.1:{port}"
    finally:
        if program.process is not None and program.process.poll() is None:
            program.resume()
            program.kill()


def wait_until_ready(program: Program) -> None:
    """Return when /readyz says that the store answers."""
    eventually_sync(lambda: program.ready()[0] == 200, 20)


async def asked(served: Served, path: str = PATH, body: Any = BODY) -> tuple[int, Any, float]:
    """Status, JSON and seconds of one question."""
    started = time.monotonic()
    answer = await served.post(path, body)
    return answer.status, json.loads(answer.body), time.monotonic() - started


async def answers_again(served: Served, seconds: float = 15.0) -> None:
    """Return when a question is answered. Raises `AssertionError` if it is not in time."""
    deadline = time.monotonic() + seconds
    while (last := await asked(served))[0] != 200:
        assert time.monotonic() < deadline, last
