"""The ClickHouse storage keeps the storage contract, on a real server over HTTP and on chDB in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.clickhouse_storage import opened_embedded, opened_server
from tests.contracts.storage_contract import IsolationContract, Opened
from tests.contracts.storage_logs import LogsContract
from tests.contracts.storage_names import NamesContract
from tests.contracts.storage_places import PlacesContract
from tests.contracts.storage_spans import SpansContract
from tests.contracts.storage_texts import TextsContract
from tests.services import ClickHouseServer


@pytest.mark.external
class OnServer:
    @pytest.fixture(autouse=True)
    def _server(self, clickhouse: ClickHouseServer) -> None:
        self.server = clickhouse

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_server(self.server.http_port) as opened:
            yield opened


class OnEmbedded:
    @pytest.fixture(autouse=True)
    def _data(self, chdb_path: Path) -> None:
        self.data_path = chdb_path

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        async with opened_embedded(self.data_path) as opened:
            yield opened


class TestIsolationOnServer(OnServer, IsolationContract):
    pass


class TestIsolationEmbedded(OnEmbedded, IsolationContract):
    pass


class TestLogsOnServer(OnServer, LogsContract):
    pass


class TestLogsEmbedded(OnEmbedded, LogsContract):
    pass


class TestSpansOnServer(OnServer, SpansContract):
    pass


class TestPlacesOnServer(OnServer, PlacesContract):
    pass


class TestSpansEmbedded(OnEmbedded, SpansContract):
    pass


class TestPlacesEmbedded(OnEmbedded, PlacesContract):
    pass


class TestTextsOnServer(OnServer, TextsContract):
    pass


class TestTextsEmbedded(OnEmbedded, TextsContract):
    pass


class TestNamesOnServer(OnServer, NamesContract):
    pass


class TestNamesEmbedded(OnEmbedded, NamesContract):
    pass
