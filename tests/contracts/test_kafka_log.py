"""The Kafka log keeps the log contract, against a real broker."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from bridge.errors import Revoked
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, cluster_id, open_admin_client
from bridge.log.kafka_reader import KafkaReader, open_kafka_reader
from bridge.log.kafka_settings import KafkaSettings
from tests.contracts.log_contract import LogContract
from tests.contracts.log_ends import MIB, Ends, Listener
from tests.kafka_service import KafkaBroker
from tests.waiting import eventually


def settings_for(broker: KafkaBroker, name: str, partitions: int = 4) -> KafkaSettings:
    """Topics and a group of their own for each name."""
    prefix = f"t{hashlib.sha256(name.encode()).hexdigest()[:12]}-"
    return KafkaSettings(
        bootstrap_servers=(broker.address,),
        group_id=f"{prefix}deliver",
        topic_prefix=prefix,
        partitions=partitions,
        replication_factor=1,
        create_topics=True,
        by_trace=False,
        max_record_bytes=9 * MIB,
        append_timeout_seconds=10.0,
        linger_ms=0,
        fetch_max_bytes=4 * MIB,
        max_partition_fetch_bytes=MIB,
        session_timeout_ms=6000,
        rebalance_timeout_ms=20_000,
    )


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(open_admin_client(settings))
        await check_topics(admin, settings)
        appender = await stack.enter_async_context(open_kafka_appender(settings))
        reader = await stack.enter_async_context(open_kafka_reader(settings, admin))
        others: list[KafkaReader] = []
        log_id = await cluster_id(admin)

        def another() -> KafkaReader:
            others.append(KafkaReader(settings, admin, log_id, None))
            return others[-1]

        async def close() -> None:
            await appender.close()
            await reader.close()

        yield Ends(appender, reader, close, another)
        for other in others:
            await other.close()


class TestKafkaLog(LogContract):
    partitions = 4

    @pytest.fixture(autouse=True)
    def _take_broker(self, kafka: KafkaBroker) -> None:
        self.broker = kafka

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return opened(settings_for(self.broker, f"{folder}{self.partitions}", self.partitions))


def _have_partitions(*listeners: Listener) -> bool:
    return all(listener.assigned for listener in listeners)


async def test_two_readers_that_start_together_settle(kafka: KafkaBroker, tmp_path: Path) -> None:
    """Both have partitions within seconds, and the group then stays as it is, however often they start at once.

    With two assignors aiokafka joins twice, and two members that do so at once were seen rebalancing for ever.
    """
    for turn in range(5):
        async with opened(settings_for(kafka, f"{tmp_path}{turn}")) as log:
            assert log.another_reader is not None
            first, second, other = Listener(), Listener(), log.another_reader()
            async with asyncio.timeout(15):
                await asyncio.gather(log.reader.subscribe(first), other.subscribe(second))
                await eventually(partial(_have_partitions, first, second), 15)
            assert not set(first.assigned) & set(second.assigned)
            await other.unsubscribe()


async def test_an_expelled_reader_cannot_commit_into_the_empty_group(kafka: KafkaBroker, tmp_path: Path) -> None:
    """It has no generation any more, and the broker takes a commit without one from a group that has no members."""
    async with opened(settings_for(kafka, f"{tmp_path}")) as log:
        listener = Listener()
        await log.reader.subscribe(listener)
        start = next(iter(listener.assigned.values()))
        coordinator = log.reader._consumer._coordinator  # type: ignore[attr-defined]
        coordinator.request_rejoin = lambda: None  # it has not noticed yet
        await coordinator._maybe_leave_group()
        with pytest.raises(Revoked):
            await log.reader.commit(replace(start, position=start.position + 5))


async def test_an_answer_without_offsets_is_not_taken_for_a_group_without_commits(
    kafka: KafkaBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator that is still loading names no partition; starting from the beginning would write all again."""
    answers = AIOKafkaAdminClient.list_consumer_group_offsets
    loading = [True, True]

    async def at_first_nothing(self: AIOKafkaAdminClient, *arguments: Any, **named: Any) -> Any:
        return {} if loading and loading.pop() else await answers(self, *arguments, **named)

    async with opened(settings_for(kafka, f"{tmp_path}")) as log:
        listener = Listener()
        await log.reader.subscribe(listener)
        moved = [replace(start, position=start.position + 5) for start in listener.assigned.values()]
        for committed in moved:
            await log.reader.commit(committed)
        await log.reader.unsubscribe()
        monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", at_first_nothing)
        again = Listener()
        await log.reader.subscribe(again)
        assert not loading
        assert sorted(again.assigned.values(), key=str) == sorted(moved, key=str)


class TestKafkaLogByTrace(TestKafkaLog):
    """With one partition and keys of organisation and trace."""

    partitions = 1
    # one partition a topic: of two readers one may have the spans and one the logs
    shares_partitions = True

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return opened(replace(settings_for(self.broker, f"{folder}one", 1), by_trace=True))
