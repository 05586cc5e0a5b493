"""Opening the ClickHouse storage beside the sink that fills it, on tables of a test's own."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from query_api.asking import Asker
from query_api.clickhouse import ClickHouseStorage, ReadLimits
from query_api.clickhouse_embedded import open_embedded
from query_api.clickhouse_server import ServerSettings, open_servers
from sinks.clickhouse import ClickHouseSettings, ClickHouseSink, Connection, open_clickhouse
from sinks.ddl import SchemaOptions
from tests.clickhouse import embedded_settings, server_settings
from tests.stored import Stored

LIMITS: Final = ReadLimits(max_execution_seconds=20.0)


@dataclass
class OpenedStorage:
    """`storage` asks by `asker` and reads what `sink` has written; `connection` may do anything."""

    storage: ClickHouseStorage
    asker: Asker
    sink: ClickHouseSink
    connection: Connection

    @property
    def database(self) -> str:
        return self.connection.settings.database

    async def write(self, stored: Stored) -> None:
        await stored.fill(self.sink)

    async def merge(self) -> None:
        for table in ("otel_logs", "otel_traces", "places", "otel_traces_trace_id_ts"):
            self.connection.run(f"OPTIMIZE TABLE {self.database}.{table} FINAL")

    def limited(self, limits: ReadLimits) -> ClickHouseStorage:
        """Another storage on the same store."""
        return ClickHouseStorage(self.asker, self.database, limits)


def read_settings(*ports: int) -> ServerSettings:
    return ServerSettings(
        hosts=tuple(("127.0.0.1", port) for port in ports),
        interface="http",
        username="default",
        password="",
        connect_timeout_seconds=1.5,
        answer_timeout_seconds=30.0,
        max_connections=8,
    )


# Databases with our schema that nobody uses now, by their store: making one takes a second and a half on chDB.
_IDLE: Final[dict[ClickHouseSettings, str]] = {}
TABLES: Final = ("otel_logs", "otel_traces", "otel_traces_trace_id_ts", "places", "ingest_ledger")


@asynccontextmanager
async def empty_tables(
    settings: ClickHouseSettings, *, is_kept: bool = True
) -> AsyncIterator[tuple[ClickHouseSink, Connection]]:
    """This version's tables, empty, in a database of their own until the block is left; then, if kept, others may
    have it."""
    database = _IDLE.pop(settings, None) if is_kept else None
    mine = replace(settings, database=database or f"t_{uuid.uuid4().hex[:12]}")
    connection = Connection(mine)
    try:
        connection.apply_schema(SchemaOptions(mine.database, 25_000, 25_000))
        for table in TABLES:
            connection.run(f"TRUNCATE TABLE {mine.database}.{table}")
        async with open_clickhouse(mine) as sink:
            yield sink, connection
        if is_kept:
            _IDLE[settings] = mine.database
    finally:
        connection.close()


@asynccontextmanager
async def opened_server(http_port: int, *, is_kept: bool = True) -> AsyncIterator[OpenedStorage]:
    """On a server, with empty tables; `is_kept` False is for who changes their settings."""
    async with (
        empty_tables(server_settings(http_port), is_kept=is_kept) as (sink, connection),
        open_servers(read_settings(http_port)) as asker,
    ):
        storage = ClickHouseStorage(asker, connection.settings.database, LIMITS)
        yield OpenedStorage(storage, asker, sink, connection)


@asynccontextmanager
async def opened_embedded(data_path: Path) -> AsyncIterator[OpenedStorage]:
    """The same on chDB."""
    async with (
        empty_tables(embedded_settings(data_path)) as (sink, connection),
        open_embedded(data_path, 2) as asker,
    ):
        storage = ClickHouseStorage(asker, connection.settings.database, LIMITS)
        yield OpenedStorage(storage, asker, sink, connection)
