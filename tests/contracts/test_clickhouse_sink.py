"""The ClickHouse sink keeps the sink contract, on a real server over HTTP and on chDB in this process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from bridge.errors import RejectedBySink, SinkUnavailable
from bridge.model import Signal
from sinks.clickhouse import open_clickhouse
from tests.clickhouse import OpenedClickHouse, embedded_settings, opened_clickhouse, server_settings
from tests.contracts.sink_contract import Opened, SinkContract, batch_of, expected, write
from tests.services import ClickHouseServer, start_clickhouse


class ClickHouseContract(SinkContract):
    async def test_a_batch_over_many_days_is_not_retried_for_ever(self, opened: OpenedClickHouse) -> None:
        """150 day partitions in one insert are over the server's default limit, whose error looks retryable."""
        batch = batch_of(Signal.LOGS, 150)
        day = 86_400_000_000_000
        times = pa.array([(1 + number) * day for number in range(150)], pa.timestamp("ns", "UTC"))
        table = batch.table.set_column(0, "Timestamp", times)
        await write(opened, replace(batch, table=table))
        await write(opened, replace(batch, table=table))
        assert sorted(await opened.ids(Signal.LOGS)) == expected(150)

    async def test_a_missing_table_is_waited_for_and_says_what_to_do(self, opened: OpenedClickHouse) -> None:
        """An operator can mend it, so no batch is given up for it."""
        opened.connection.run(f"RENAME TABLE {opened.database}.otel_logs TO {opened.database}.away")
        batch = batch_of(Signal.LOGS, 5)
        with pytest.raises(SinkUnavailable, match="headrace schema apply") as caught:
            await write(opened, batch)
        assert caught.value.reason == "schema"
        opened.connection.run(f"RENAME TABLE {opened.database}.away TO {opened.database}.otel_logs")
        await write(opened, batch)
        assert sorted(await opened.ids(Signal.LOGS)) == expected(5)

    async def test_a_value_the_table_cannot_hold_is_refused_for_good(self, opened: OpenedClickHouse) -> None:
        """A column that cannot be converted is Permanent, with the store's number."""
        batch = batch_of(Signal.LOGS, 5)
        wrong = pa.array(["not a number"] * 5)
        position = batch.table.schema.get_field_index("SeverityNumber")
        table = batch.table.set_column(position, "SeverityNumber", wrong)
        with pytest.raises(RejectedBySink) as caught:
            await write(opened, replace(batch, table=table))
        assert caught.value.code > 0

    async def test_questions_cannot_change_anything(self, opened: OpenedClickHouse) -> None:
        """What /sql is answered with is read-only, and does not make the writer so."""
        assert await opened.sink.json_rows("SELECT 1, 'a'") == b'[1, "a"]\n'
        with pytest.raises(SinkUnavailable):
            await opened.sink.json_rows(f"DROP TABLE {opened.database}.otel_logs")
        await write(opened, batch_of(Signal.LOGS, 5))
        assert sorted(await opened.ids(Signal.LOGS)) == expected(5)


@pytest.mark.external
class TestClickHouseServer(ClickHouseContract):
    @pytest.fixture(autouse=True)
    def _server(self, clickhouse: ClickHouseServer) -> None:
        self.server = clickhouse

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_clickhouse(server_settings(self.server.http_port)) as opened:
            yield opened


class TestEmbeddedClickHouse(ClickHouseContract):
    @pytest.fixture(autouse=True)
    def _data(self, chdb_path: Path) -> None:
        self.data_path = chdb_path

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_clickhouse(embedded_settings(self.data_path)) as opened:
            yield opened


async def test_a_store_that_is_down_is_unavailable_and_comes_back(tmp_path: Path) -> None:
    """Nothing has to be there when the sink is opened; the same sink works once it is."""
    with start_clickhouse() as server:
        async with opened_clickhouse(server_settings(server.http_port)) as opened:
            server.kill()
            batch = batch_of(Signal.TRACES, 20)
            with pytest.raises(SinkUnavailable) as caught:
                await write(opened, batch)
            assert caught.value.reason == "connection"
            with pytest.raises(SinkUnavailable):
                await opened.sink.ping()
            server.start()
            await write(opened, batch)
            assert sorted(await opened.ids(Signal.TRACES)) == expected(20)


async def test_a_sink_opens_while_nothing_listens(tmp_path: Path) -> None:
    """The bridge starts without its store."""
    async with open_clickhouse(server_settings(1)) as sink:
        with pytest.raises(SinkUnavailable):
            await sink.ping()


@pytest.mark.external
@pytest.mark.timeout(180)
async def test_a_server_killed_inside_an_insert_leaves_nothing_twice() -> None:
    """SIGKILL at any moment of inserts over three days and a view; the batch written again is there once in both."""
    with start_clickhouse() as server:
        async with opened_clickhouse(server_settings(server.http_port)) as opened:
            items, first = 3_000, 1
            for attempt in range(8):
                batch = batch_of(Signal.LOGS, items, f"log:otlp_logs:0:{attempt}-{attempt}:1", first)
                writing = asyncio.create_task(write(opened, batch))
                await asyncio.sleep(0.004 * attempt)
                server.kill()
                await asyncio.gather(writing, return_exceptions=True)
                server.start()
                await write(opened, batch)
                first += items
            assert sorted(await opened.ids(Signal.LOGS)) == expected(8 * items)
            assert sorted(await opened.ids_in_view(Signal.LOGS)) == expected(8 * items)
