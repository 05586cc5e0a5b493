"""Connections that are lost at the worst moment, on the loop that the program runs on: no reader falls silent."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiokafka.client import ConnectionGroup
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from bridge.log import kafka_reader
from bridge.log.kafka_reader import KafkaReader
from tests.contracts.log_ends import Listener
from tests.contracts.test_kafka_log import opened, settings_for
from tests.kafka_service import KafkaBroker, start_kafka
from tests.services import skipped_if_unavailable
from tests.waiting import eventually

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


def metadata_task(consumer: Any) -> "asyncio.Task[None]":
    task: asyncio.Task[None] = consumer._client._sync_task
    return task


def fetch_task(consumer: Any) -> "asyncio.Task[None]":
    task: asyncio.Task[None] = consumer._fetcher._fetch_task
    return task


@pytest.mark.parametrize("task_of", [metadata_task, fetch_task])
async def test_a_consumer_that_has_broken_down_is_replaced(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_of: Any
) -> None:
    """Whatever ended a task of aiokafka's: lanes are told, partitions come back with their commits, which are taken."""
    monkeypatch.setattr(kafka_reader, "WATCH_SECONDS", 0.2)
    async with joined(kafka, tmp_path) as (reader, listener):
        start = next(iter(listener.assigned.values()))
        moved = replace(start, position=start.position + 5)
        await reader.commit(moved)
        broken = reader._consumer
        assert broken is not None
        task_of(broken).cancel()
        broken._coordinator.coordinator_dead()
        await eventually(lambda: reader._consumer is not broken and moved in listener.assigned.values(), 40)
        assert start.partition in listener.revoked
        await reader.commit(replace(moved, position=moved.position + 1))


async def test_a_reader_whose_join_has_failed_joins_again_though_nobody_reads(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka rests after such an error until a read has raised it, and without partitions there is no read."""
    monkeypatch.setattr(kafka_reader, "WATCH_SECONDS", 0.2)
    async with joined(kafka, tmp_path) as (reader, listener):
        assert reader._consumer is not None
        coordinator, refused = reader._consumer._coordinator, asyncio.Event()
        rejoin = coordinator._do_rejoin_group

        async def refuse(subscription: object) -> bool:
            coordinator._do_rejoin_group = rejoin
            refused.set()
            raise KafkaError("refused by the test")

        coordinator._do_rejoin_group = refuse
        before = set(listener.assigned)
        coordinator.request_rejoin()
        await refused.wait()
        await eventually(lambda: set(listener.assigned) == before, 20)


async def test_a_reader_is_left_softly_while_no_broker_is_there(tmp_path: Path) -> None:
    """The stop comes to its end within its time, and not as a cancellation that nobody asked for."""
    with skipped_if_unavailable(), start_kafka() as broker:
        async with joined(broker, tmp_path) as (reader, listener):
            assert reader._consumer is not None
            client = reader._consumer._client
            broker.kill()
            await eventually(lambda: not any(each.connected() for each in client._conns.values()))
            async with asyncio.timeout(30):
                await reader.unsubscribe()
            assert not listener.assigned
            assert client._sync_task is None
