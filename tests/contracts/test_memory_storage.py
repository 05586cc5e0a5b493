"""The memory storage keeps the storage contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from query_api.memory import MemoryStorage
from tests.contracts.storage_contract import IsolationContract, Opened
from tests.contracts.storage_logs import LogsContract
from tests.contracts.storage_names import NamesContract
from tests.contracts.storage_places import PlacesContract
from tests.contracts.storage_spans import SpansContract
from tests.contracts.storage_texts import TextsContract
from tests.stored import Stored


@dataclass
class OpenedMemory:
    storage: MemoryStorage = field(default_factory=MemoryStorage)

    async def write(self, stored: Stored) -> None:
        stored.to_memory(self.storage)

    async def merge(self) -> None:
        """There are no parts."""


class OnMemory:
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        yield OpenedMemory()


class TestIsolation(OnMemory, IsolationContract):
    pass


class TestLogs(OnMemory, LogsContract):
    pass


class TestSpans(OnMemory, SpansContract):
    pass


class TestPlaces(OnMemory, PlacesContract):
    pass


class TestTexts(OnMemory, TextsContract):
    pass


class TestNames(OnMemory, NamesContract):
    pass
