"""The clients of the Observer API are served from a real ClickHouse server, from chDB and from memory."""

from tests.contracts.observer_clients import ObserverClients
from tests.contracts.test_clickhouse_storage import OnEmbedded, OnServer
from tests.contracts.test_memory_storage import OnMemory


class TestClientsOnServer(OnServer, ObserverClients):
    pass


class TestClientsEmbedded(OnEmbedded, ObserverClients):
    pass


class TestClientsOnMemory(OnMemory, ObserverClients):
    pass
