"""Opening the ClickHouse sink on a database of a test's own, with views beside the base tables."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bridge.model import OTLP_SIGNALS, Signal
from sinks.clickhouse import TABLES, ClickHouseSettings, ClickHouseSink, Connection, open_clickhouse
from sinks.ddl import SchemaOptions


def server_settings(http_port: int, database: str = "telemetry") -> ClickHouseSettings:
    return ClickHouseSettings(
        interface="http",
        host="127.0.0.1",
        port=http_port,
        username="default",
        password="",
        database=database,
        data_path=Path("unused"),
        compression="lz4",
        connect_timeout_seconds=5,
        send_receive_timeout_seconds=30,
    )


def embedded_settings(data_path: Path) -> ClickHouseSettings:
    return replace(server_settings(1), interface="chdb", data_path=data_path)


@dataclass
class OpenedClickHouse:
    sink: ClickHouseSink
    connection: Connection

    @property
    def database(self) -> str:
        return self.connection.settings.database

    def _ids(self, table: str) -> list[str]:
        return [str(name) for (name,) in self.connection.rows(f"SELECT SpanId FROM {self.database}.{table}")]

    async def ids(self, signal: Signal) -> list[str]:
        return self._ids(TABLES[signal])

    async def ids_in_view(self, signal: Signal) -> list[str]:
        return self._ids(f"{TABLES[signal]}_seen")


@asynccontextmanager
async def opened_clickhouse(settings: ClickHouseSettings) -> AsyncIterator[OpenedClickHouse]:
    """The sink on a fresh database with this version's schema, dropped again with the block."""
    settings = replace(settings, database=f"t_{uuid.uuid4().hex[:12]}")
    connection = Connection(settings)
    connection.apply_schema(SchemaOptions(settings.database, 25_000, 25_000))
    for table in (TABLES[signal] for signal in OTLP_SIGNALS):
        connection.run(
            f"CREATE TABLE {settings.database}.{table}_seen (SpanId String) ENGINE = MergeTree ORDER BY SpanId"
            " SETTINGS non_replicated_deduplication_window = 1000"
        )
        connection.run(
            f"CREATE MATERIALIZED VIEW {settings.database}.{table}_seen_mv TO {settings.database}.{table}_seen"
            f" AS SELECT SpanId FROM {settings.database}.{table}"
        )
    try:
        async with open_clickhouse(settings) as sink:
            yield OpenedClickHouse(sink, connection)
    finally:
        connection.run(f"DROP DATABASE {settings.database}")
        connection.close()
