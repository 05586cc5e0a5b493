"""The Observer contract's vectors hold on a real ClickHouse server, on chDB and on the memory storage."""

from tests.contracts.observer_vectors import ObserverVectors
from tests.contracts.test_clickhouse_storage import OnEmbedded, OnServer
from tests.contracts.test_memory_storage import OnMemory


class TestVectorsOnServer(OnServer, ObserverVectors):
    pass


class TestVectorsEmbedded(OnEmbedded, ObserverVectors):
    pass


class TestVectorsOnMemory(OnMemory, ObserverVectors):
    pass
