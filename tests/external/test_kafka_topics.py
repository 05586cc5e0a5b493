"""Topics that are missing are made as the settings say, with the defaults too."""

import asyncio
import uuid
from dataclasses import replace

import pytest

from bridge.assembly import kafka_settings, shadow_kafka_settings
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.settings import Settings
from tests.kafka_service import KafkaBroker

pytestmark = pytest.mark.external


async def test_the_brokers_own_replication_factor_is_the_default(kafka: KafkaBroker) -> None:
    """-1 is what the broker understands as its own: nobody has to set a factor, for the store or for the shadow."""
    prefix = f"t{uuid.uuid4().hex[:8]}-"
    settings = Settings()
    assert settings.kafka.replication_factor == -1
    for made in (kafka_settings(settings), shadow_kafka_settings(settings)):
        told = replace(made, bootstrap_servers=(kafka.address,), topic_prefix=prefix)
        async with open_admin_client(told) as client:
            await check_topics(client, told)
            wanted = {f"{prefix}otlp_logs", f"{prefix}otlp_spans", told.topic(told.letters_topic)}
            async with asyncio.timeout(20):
                while not wanted <= set(await client.list_topics()):  # noqa: ASYNC110 - brokers tell of one late
                    await asyncio.sleep(0.05)
