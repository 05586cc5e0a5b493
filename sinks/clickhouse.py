"""The ClickHouse sink: one code path for a server over HTTP(S) and for chDB inside this process.

clickhouse_connect's sync client does the talking, in threads this sink owns; nothing else imports it. The client is
made at the first call and not before, so the bridge starts while ClickHouse is down.

A batch is one INSERT of one ArrowStream record batch with a deduplication token. ClickHouse drops a repeated insert
only if it makes the same blocks, so everything that could cut the input differently is pinned in `ONE_BLOCK`; the
settings belong to the codec version in the token (`bridge/columns`).
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import clickhouse_connect
import pyarrow as pa
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from bridge.errors import BridgeError, SinkUnavailable
from bridge.model import Batch, Encoded, Signal
from sinks.codes import error_of
from sinks.ddl import SchemaOptions, Step, drift, missing_steps, recorded_sql

T = TypeVar("T")
TABLES: Final = {Signal.TRACES: "otel_traces", Signal.LOGS: "otel_logs", Signal.LEDGER: "ingest_ledger"}

# One insert is one block, on every path through the server, so that a repeat makes the same one.
ONE_BLOCK: Final[Mapping[str, int]] = {
    "max_insert_block_size": 10_000_000,
    "min_insert_block_size_rows": 0,
    "min_insert_block_size_bytes": 0,
    "min_insert_block_size_rows_for_materialized_views": 0,
    "min_insert_block_size_bytes_for_materialized_views": 0,
    "max_block_size": 10_000_000,
    "max_insert_threads": 1,
    "max_threads": 1,
    "input_format_parallel_parsing": 0,
    "parallel_view_processing": 0,
}
EVERY_INSERT: Final[Mapping[str, int]] = {
    **ONE_BLOCK,
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    # over its limit this answers 252, as too many parts does, and a batch of old items would be retried for ever
    "max_partitions_per_insert_block": 0,
}


@dataclass(frozen=True, slots=True)
class ClickHouseSettings:
    """Where the store is. `data_path` is chDB's folder; the rest is the server's. Names as in clickhouse_connect."""

    interface: Literal["chdb", "http", "https"]
    host: str
    port: int
    username: str
    password: str
    database: str
    data_path: Path
    compression: Literal["lz4", "zstd", "none"]
    connect_timeout_seconds: int
    send_receive_timeout_seconds: int
    verify: bool = True
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_cert_key: Path | None = None
    threads: int = 4


@asynccontextmanager
async def open_clickhouse(settings: ClickHouseSettings) -> AsyncIterator["ClickHouseSink"]:
    """A sink that connects when it is first used; calls under way are waited for when the block is left."""
    with ThreadPoolExecutor(settings.threads, thread_name_prefix="clickhouse") as threads:
        sink = ClickHouseSink(settings, threads)
        try:
            yield sink
        finally:
            await asyncio.get_running_loop().run_in_executor(threads, sink.close)


class ClickHouseSink:
    """Safe to use from several tasks at once."""

    def __init__(self, settings: ClickHouseSettings, threads: ThreadPoolExecutor) -> None:
        self.settings = settings
        self._threads = threads
        self._connection = Connection(settings)
        # read-only is a state of chDB's session that cannot be left again, so questions have a session of their own
        self._questions = Connection(settings, is_readonly=True)

    def encode(self, batch: Batch) -> Encoded:
        """As `Sink.encode`: an ArrowStream of one record batch, its buffers compressed."""
        table = batch.table
        body = arrow_stream(table, self.settings.compression) if table.num_rows else b""
        return Encoded(batch.signal, batch.token, table.num_rows, tuple(table.schema.names), body)

    async def write(self, encoded: Encoded) -> None:
        """As `Sink.write`."""
        if encoded.rows:
            await self._in_thread(partial(self._connection.insert, encoded))

    async def ping(self) -> None:
        """As `Sink.ping`."""
        await self._in_thread(partial(self._connection.rows, "SELECT 1"))

    async def json_rows(self, sql: str) -> bytes:
        """The answer of a read-only statement, one JSON array a line. Raises as `write` does."""
        return await self._in_thread(partial(self._questions.json_rows, sql))

    async def apply_schema(self, options: SchemaOptions) -> list[str]:
        """Create what is missing; the names of the steps taken. Raises as `write` does."""
        return await self._in_thread(partial(self._connection.apply_schema, options))

    def close(self) -> None:
        self._connection.close()
        self._questions.close()

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


class Connection:
    """The same, for callers without a loop: the client and the calls made with it. Raises the sink's errors."""

    def __init__(self, settings: ClickHouseSettings, *, is_readonly: bool = False) -> None:
        self.settings = settings
        self._session_settings: dict[str, Any] = {"readonly": 1} if is_readonly else {}
        self._client: Any = None

    def insert(self, encoded: Encoded) -> None:
        table = TABLES[encoded.signal]
        self._call(
            "raw_insert",
            table=f"{self.settings.database}.{table}",
            column_names=encoded.columns,
            insert_block=encoded.body,
            settings={**EVERY_INSERT, "insert_deduplication_token": f"{encoded.token}:{table}"},
            fmt="ArrowStream",
        )

    def rows(self, sql: str) -> list[list[object]]:
        return [list(row) for row in self._call("query", sql).result_rows]

    def run(self, statement: str) -> None:
        self._call("command", statement)

    def json_rows(self, sql: str) -> bytes:
        answer: bytes = self._call("raw_query", sql, fmt="JSONCompactEachRow")
        return answer

    def plan_schema(self, options: SchemaOptions) -> list[Step]:
        """The steps this store has not had yet."""
        version = str(self.rows("SELECT version()")[0][0])
        exists = f"SELECT count() FROM system.tables WHERE database = '{options.database}' AND name = 'headrace_schema'"  # noqa: S608
        recorded = self.rows(recorded_sql(options)) if self.rows(exists)[0][0] else []
        return missing_steps(options, version, {int(str(number)) for (number,) in recorded})

    def apply_schema(self, options: SchemaOptions) -> list[str]:
        steps = self.plan_schema(options)
        for step in steps:
            for statement in step.statements:
                self.run(statement)
        return [step.name for step in steps]

    def check_schema(self, options: SchemaOptions) -> list[str]:
        """What differs from this version's schema, a sentence each."""
        columns = self.rows(
            f"SELECT table, name, type FROM system.columns WHERE database = '{options.database}'"  # noqa: S608
        )
        tables = self.rows(
            f"SELECT name, create_table_query FROM system.tables WHERE database = '{options.database}'"  # noqa: S608
        )
        found = {(str(table), str(name)): str(kind) for table, name, kind in columns}
        return drift(options, found, {str(name): str(text) for name, text in tables})

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        try:
            return getattr(self._connected(), method)(*args, **kwargs)
        except Error as error:
            raise error_of(error.code, str(error)) from error
        except (ClickHouseError, OSError) as error:
            raise SinkUnavailable(str(error), reason="connection") from error

    def _connected(self) -> Any:
        if self._client is None:
            self._client = _connect(self.settings, self._session_settings)
        return self._client


def _connect(settings: ClickHouseSettings, session_settings: dict[str, Any]) -> Any:
    if settings.interface == "chdb":
        settings.data_path.mkdir(parents=True, exist_ok=True)
        try:
            return clickhouse_connect.get_client(
                interface="chdb", path=str(settings.data_path), settings=session_settings
            )
        except (ImportError, clickhouse_connect.driver.exceptions.NotSupportedError) as error:
            raise SinkUnavailable(
                "clickhouse.interface is chdb but chDB is not installed: pip install 'headrace[embedded]'",
                reason="not_installed",
            ) from error
    options: dict[str, Any] = {
        "interface": settings.interface,
        "host": settings.host,
        "port": settings.port,
        "username": settings.username,
        "password": settings.password,
        "settings": session_settings,
        "connect_timeout": settings.connect_timeout_seconds,
        "send_receive_timeout": settings.send_receive_timeout_seconds,
        "verify": settings.verify,
        "compress": False,  # the Arrow buffers are compressed already
        "query_retries": 0,  # retrying is deliver's, with its metrics
        "autogenerate_session_id": False,  # sessions would forbid calls side by side
    }
    for name in ("ca_cert", "client_cert", "client_cert_key"):
        path: Path | None = getattr(settings, name)
        options[name] = str(path) if path is not None else None
    return clickhouse_connect.get_client(**options)


def arrow_stream(table: pa.Table, compression: Literal["lz4", "zstd", "none"]) -> bytes:
    """The table as an IPC stream of exactly one record batch."""
    batches = table.combine_chunks().to_batches()
    if len(batches) != 1:
        raise AssertionError(f"a batch is one block, not {len(batches)}")
    options = pa.ipc.IpcWriteOptions(compression=None if compression == "none" else compression)
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema, options=options) as writer:
        writer.write_batch(batches[0])
    body: bytes = stream.getvalue().to_pybytes()
    return body


__all__ = ["BridgeError", "ClickHouseSettings", "ClickHouseSink", "Connection", "open_clickhouse"]
