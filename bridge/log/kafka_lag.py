"""How far a consumer group is behind, asked from outside of it: without joining, and so without moving anything."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError, NotCoordinatorForGroupError

from bridge.log.kafka_client import connection_options, open_admin_client, unavailable
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import OTLP_SIGNALS, Signal

MAX_SECONDS: Final = 20.0
RETRY_SECONDS: Final = 0.2


async def group_lag(settings: KafkaSettings, group_id: str) -> dict[Signal, int | None]:
    """Records of each signal that the group has not delivered yet; None: it has never committed anything of it.

    Raises `LogUnavailable` if the brokers do not say.
    """
    try:
        async with asyncio.timeout(MAX_SECONDS), open_admin_client(settings) as admin:
            committed = await _committed(admin, group_id)
            topics = {signal: settings.topic(signal.topic) for signal in OTLP_SIGNALS}
            described = await admin.describe_topics(list(topics.values()))
            at = [TopicPartition(each["topic"], part["partition"]) for each in described for part in each["partitions"]]
            begins, ends = await _bounds(settings, at)
    except (TimeoutError, KafkaError, OSError) as error:
        raise unavailable(error, f"cannot tell the lag of the group {group_id}") from error
    lag: dict[Signal, int | None] = {}
    for signal, topic in topics.items():
        parts = [part for part in at if part.topic == topic]
        is_known = any(part in committed and committed[part].offset >= 0 for part in parts)
        behind = (ends[part] - max(committed[part].offset if part in committed else 0, begins[part]) for part in parts)
        lag[signal] = sum(behind) if is_known else None
    return lag


async def _committed(admin: AIOKafkaAdminClient, group_id: str) -> dict[Any, Any]:
    """What the group has committed; a cluster that never had a group makes a coordinator when it is asked."""
    while True:
        try:
            return dict(await admin.list_consumer_group_offsets(group_id))
        except (GroupCoordinatorNotAvailableError, NotCoordinatorForGroupError):
            await asyncio.sleep(RETRY_SECONDS)


async def _bounds(settings: KafkaSettings, at: Sequence[TopicPartition]) -> tuple[dict[Any, int], dict[Any, int]]:
    """First and last offsets."""
    if not at:
        return {}, {}
    consumer = AIOKafkaConsumer(**connection_options(settings), enable_auto_commit=False)
    try:
        await consumer.start()
        consumer.assign(at)
        return await consumer.beginning_offsets(at), await consumer.end_offsets(at)
    finally:
        await consumer.stop()
