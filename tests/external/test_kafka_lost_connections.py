"""Connections that are lost at the worst moment, on the loop that the program runs on: no reader falls silent."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from bridge.log.kafka_reader import KafkaReader
from tests.contracts.log_ends import Listener
from tests.contracts.test_kafka_log import opened, settings_for
from tests.kafka_service import KafkaBroker

pytestmark = pytest.mark.external


def on_uvloop(test: Coroutine[Any, Any, None]) -> None:
    """As `headrace` runs. The loop of the suite is asyncio's, which drops what is sent on a lost connection."""
    uvloop.run(test)


@asynccontextmanager
async def joined(kafka: KafkaBroker, name: Path) -> AsyncIterator[tuple[KafkaReader, Listener]]:
    """A reader that owns all partitions."""
    async with opened(settings_for(kafka, f"{name}", 1)) as log:
        assert isinstance(log.reader, KafkaReader)
        listener = Listener()
        await log.reader.subscribe(listener)
        yield log.reader, listener


def lose(client: Any, group: ConnectionGroup) -> Any:
    """Reset a connection to the broker: the loop closes the transport at its next turn, aiokafka sees it two later."""
    connection = client._conns[1, group]
    connection._writer.transport._force_close(ConnectionResetError("reset by the test"))
    return connection


def test_a_connection_lost_under_the_search_for_metadata_does_not_end_all_commits(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    """Metadata is asked for while its connection is being lost, and the coordinator is to be found again: both come."""

    async def commits() -> None:
        async with joined(kafka, tmp_path) as (reader, listener):
            assert reader._consumer is not None
            client = reader._consumer._client
            lose(client, ConnectionGroup.DEFAULT)
            renewed = client.force_metadata_update()
            reader._consumer._coordinator.coordinator_dead()
            for start in listener.assigned.values():
                await reader.commit(start)
            await renewed
            assert not client._sync_task.done()

    on_uvloop(commits())


def test_a_request_on_a_connection_that_is_being_lost_fails_as_aiokafkas_error(
    kafka: KafkaBroker, tmp_path: Path
) -> None:
    """Before the loop has told of the loss as after it; the connection is not used again."""

    async def sends() -> None:
        async with joined(kafka, tmp_path) as (reader, listener):
            assert reader._consumer is not None
            connection = lose(reader._consumer._client, ConnectionGroup.COORDINATION)
            with pytest.raises(KafkaConnectionError):
                connection.send(MetadataRequest([]))
            assert not connection.connected()
            for start in listener.assigned.values():
                await reader.commit(start)

    on_uvloop(sends())
