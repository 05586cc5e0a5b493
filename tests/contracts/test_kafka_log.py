"""The Kafka log keeps the log contract, against a real broker."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, cluster_id, open_admin_client
from bridge.log.kafka_reader import KafkaReader, open_kafka_reader
from bridge.log.kafka_settings import KafkaSettings
from tests.contracts.log_contract import LogContract
from tests.contracts.log_ends import MIB, Ends
from tests.kafka_service import KafkaBroker


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


class TestKafkaLogByTrace(TestKafkaLog):
    """With one partition and keys of organisation and trace."""

    partitions = 1
    # one partition a topic: of two readers one may have the spans and one the logs
    shares_partitions = True

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return opened(replace(settings_for(self.broker, f"{folder}one", 1), by_trace=True))
