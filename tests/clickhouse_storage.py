"""Opening the ClickHouse storage beside the sink that fills it, on a database of a test's own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from query_api.asking import Asker
from query_api.clickhouse import ClickHouseStorage, ReadLimits
from query_api.clickhouse_embedded import open_embedded
from query_api.clickhouse_server import ServerSettings, open_servers
from sinks.clickhouse import ClickHouseSink, Connection
from tests.clickhouse import embedded_settings, opened_clickhouse, server_settings
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


@asynccontextmanager
async def opened_server(http_port: int) -> AsyncIterator[OpenedStorage]:
    """On a server, with a fresh schema that is dropped with the block."""
    async with opened_clickhouse(server_settings(http_port)) as opened, open_servers(read_settings(http_port)) as asker:
        yield OpenedStorage(ClickHouseStorage(asker, opened.database, LIMITS), asker, opened.sink, opened.connection)


@asynccontextmanager
async def opened_embedded(data_path: Path) -> AsyncIterator[OpenedStorage]:
    """The same on chDB."""
    async with opened_clickhouse(embedded_settings(data_path)) as opened, open_embedded(data_path, 2) as asker:
        yield OpenedStorage(ClickHouseStorage(asker, opened.database, LIMITS), asker, opened.sink, opened.connection)
