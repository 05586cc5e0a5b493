"""A broker that hangs (SIGSTOP): what an append, a close and a batch do then, against a broker of their own."""

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from bridge.errors import LogUnavailable
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.model import Signal
from tests.contracts.log_ends import record
from tests.contracts.test_kafka_log import settings_for
from tests.kafka_service import KafkaBroker, start_kafka
from tests.services import skipped_if_unavailable

pytestmark = pytest.mark.external


@pytest.fixture(scope="module")
def mine() -> Iterator[KafkaBroker]:
    with skipped_if_unavailable(), start_kafka() as broker:
        yield broker


async def test_refused_appends_do_not_pile_up(mine: KafkaBroker, tmp_path: Path) -> None:
    """Each append is refused after its time and its bytes are gone with it; what gets in later is one batch."""
    settings = replace(settings_for(mine, f"{tmp_path}", 1), append_timeout_seconds=0.3)
    async with open_admin_client(settings) as admin:
        await check_topics(admin, settings)
    async with open_kafka_appender(replace(settings, append_timeout_seconds=10)) as appender:
        await appender.append([record(b"x", org="o")])
        appender._settings = settings
        mine.pause()
        refused = 0
        try:
            for _ in range(10):
                answers = await asyncio.gather(
                    *(appender.append([record(os.urandom(1 << 20), org="o")]) for _ in range(4)), return_exceptions=True
                )
                refused += sum(isinstance(each, LogUnavailable) for each in answers)
            assert appender._gatherer is not None
            held = sum(len(sent.message[2]) for each in appender._gatherer._gathered.values() for sent in each)
        finally:
            mine.resume()
        assert refused == 40
        await asyncio.sleep(3)
        consumer = AIOKafkaConsumer(bootstrap_servers=mine.address)
        await consumer.start()
        at = TopicPartition(settings.topic(Signal.TRACES.topic), 0)
        written = (await consumer.end_offsets([at]))[at]
        await consumer.stop()
        assert held == 0
        assert written - 1 <= 2, "more than the batch under way of what was refused is in the log"


async def test_append_keeps_its_time_when_metadata_is_missing(mine: KafkaBroker, tmp_path: Path) -> None:
    """A topic that is not there is asked for within `append_timeout_seconds`, not within aiokafka's 10 s."""
    settings = replace(settings_for(mine, f"{tmp_path}", 1), append_timeout_seconds=1.0)
    async with open_kafka_appender(settings) as appender:
        started = time.monotonic()
        with pytest.raises(LogUnavailable) as raised:
            await appender.append([record(b"x", org="o")])
        took = time.monotonic() - started
        assert raised.value.reason == "kafka_timeout"
        assert took < 3


async def test_close_stops_the_producer(mine: KafkaBroker, tmp_path: Path) -> None:
    """A hanging broker takes its time from the gathering, not from the stop of the producer."""
    settings = replace(settings_for(mine, f"{tmp_path}", 1), append_timeout_seconds=1.0)
    async with open_admin_client(settings) as admin:
        await check_topics(admin, settings)
    async with open_kafka_appender(settings) as appender:
        await appender.append([record(b"x", org="o")])
        producer = appender._producer
        mine.pause()
        with pytest.raises(LogUnavailable):
            await appender.append([record(b"y", org="o")])
    mine.resume()
    assert producer is not None
    assert producer._closed


async def test_a_batch_is_not_larger_than_the_topic_takes(mine: KafkaBroker, tmp_path: Path) -> None:
    """Topics that pass `check_topics` take every record, and gathered ones do not become too large together."""
    settings = replace(settings_for(mine, f"{tmp_path}", 1), max_record_bytes=100_000)
    async with open_admin_client(settings) as admin:
        await admin.create_topics(
            [
                NewTopic(settings.topic(signal.topic), 1, 1, topic_configs={"max.message.bytes": "200000"})
                for signal in Signal
            ]
        )
        await check_topics(admin, settings)
        async with open_kafka_appender(settings) as appender:
            for _ in range(3):
                await appender.append([record(os.urandom(90_000), org="o")])
            answers = await asyncio.gather(
                *(appender.append([record(os.urandom(90_000), org=f"o{n}")]) for n in range(6)), return_exceptions=True
            )
            assert answers == [None] * 6
