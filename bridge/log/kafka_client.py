"""What every Kafka client of the bridge has in common: connecting, topics, and what an error means."""

import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code
from aiokafka.helpers import create_ssl_context

from bridge.errors import LogUnavailable, SettingsInvalid
from bridge.log.kafka_connection import mend_send
from bridge.log.kafka_settings import KafkaSettings
from bridge.model import Signal

logger = logging.getLogger(__name__)


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """Keyword arguments that every aiokafka client takes. Raises `SettingsInvalid` if a certificate cannot be read."""
    mend_send()
    return {
        "bootstrap_servers": list(settings.bootstrap_servers),
        "client_id": "headrace",
        "security_protocol": settings.security_protocol,
        "sasl_mechanism": settings.sasl_mechanism,
        "sasl_plain_username": settings.sasl_plain_username,
        "sasl_plain_password": settings.sasl_plain_password,
        "ssl_context": _ssl_context(settings),
    }


def _ssl_context(settings: KafkaSettings) -> ssl.SSLContext | None:
    if not settings.security_protocol.endswith("SSL"):
        return None
    files = (settings.ssl_cafile, settings.ssl_certfile, settings.ssl_keyfile)
    cafile, certfile, keyfile = (None if path is None else str(path) for path in files)
    try:
        context: ssl.SSLContext = create_ssl_context(cafile=cafile, certfile=certfile, keyfile=keyfile)
    except (OSError, ssl.SSLError) as error:
        raise SettingsInvalid(f"kafka.ssl_cafile, ssl_certfile or ssl_keyfile cannot be used: {error}") from error
    context.check_hostname = settings.ssl_check_hostname
    return context


def unavailable(error: BaseException, doing: str) -> LogUnavailable:
    """A client's error as the log's. `reason` is the client's name for it, so that metrics tell them apart."""
    text = str(error) or type(error).__name__
    return LogUnavailable(f"kafka: {doing}: {text}", reason=f"kafka_{type(error).__name__}")


@asynccontextmanager
async def open_admin_client(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client. Raises `LogUnavailable` if no broker answers."""
    client = AIOKafkaAdminClient(**connection_options(settings), request_timeout_ms=10_000)
    try:
        try:
            await client.start()
        except (TimeoutError, KafkaError, OSError) as error:
            servers = ", ".join(settings.bootstrap_servers)
            raise unavailable(error, f"no broker answers at kafka.bootstrap_servers ({servers})") from error
        yield client
    finally:
        await client.close()


async def cluster_id(client: AIOKafkaAdminClient) -> str:
    try:
        return str((await client.describe_cluster())["cluster_id"])
    except KafkaError as error:
        raise unavailable(error, "cannot describe the cluster") from error


async def check_topics(client: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
    """Return when every topic is there and takes our largest record; missing ones are created if allowed.

    Raises `SettingsInvalid` naming topics that are missing or too small, `LogUnavailable` if the cluster cannot say.
    """
    try:
        there = set(await client.list_topics())
        missing = [topic for topic in wanted_topics(settings) if topic.name not in there]
        if missing and not settings.create_topics:
            names = ", ".join(topic.name for topic in missing)
            raise SettingsInvalid(f"kafka: missing topics: {names}; create them, or allow it with kafka.create_topics")
        if missing:
            await _create(client, missing)
        await _check_sizes(client, settings)
    except KafkaError as error:
        raise unavailable(error, "cannot check the topics") from error


def wanted_topics(settings: KafkaSettings) -> list[NewTopic]:
    size = {"max.message.bytes": str(max(1_048_588, settings.max_message_bytes))}
    factor = settings.replication_factor
    data = [_topic(settings.topic(signal.topic), _partitions(signal, settings), factor, size) for signal in Signal]
    # compacted: a letter's later states replace it, letters that wait are kept for ever; its JSON is base64 of an item
    letters = {"cleanup.policy": "compact", "max.message.bytes": str(2 * settings.max_message_bytes)}
    return [*data, _topic(settings.topic(settings.letters_topic), 1, factor, letters)]


def _topic(name: str, partitions: int, replication_factor: int, configs: Mapping[str, str]) -> NewTopic:
    """-1, the broker's own factor, is a number that the protocol knows and the client's constructor refuses."""
    topic = NewTopic(name, partitions, 1, topic_configs=dict(configs))
    topic.replication_factor = replication_factor
    return topic


def _partitions(signal: Signal, settings: KafkaSettings) -> int:
    return 1 if signal is Signal.LEDGER else settings.partitions


async def _create(client: AIOKafkaAdminClient, missing: Sequence[NewTopic]) -> None:
    answer = await client.create_topics(list(missing), timeout_ms=30_000)
    for topic, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise SettingsInvalid(f"kafka: topic {topic} cannot be created: {error.__name__}: {error.description}")
        logger.info("created topic", extra={"fields": {"topic": topic}})


async def _check_sizes(client: AIOKafkaAdminClient, settings: KafkaSettings) -> None:
    names = [settings.topic(signal.topic) for signal in Signal]
    for name, limit in (await _message_limits(client, names)).items():
        if limit < settings.max_message_bytes:
            raise SettingsInvalid(
                f"kafka: topic {name} has max.message.bytes {limit}, smaller than the largest record"
                f" ({settings.max_message_bytes}); raise it, or lower log.max_record_bytes"
            )


async def _message_limits(client: AIOKafkaAdminClient, names: Sequence[str]) -> Mapping[str, int]:
    """`max.message.bytes` of each topic; a cluster that does not let us look leaves it to the first produce."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, name, {"max.message.bytes": None}) for name in names]
    limits: dict[str, int] = {}
    for answer in await client.describe_configs(asked):
        for code, _, _, name, entries in (resource[:5] for resource in answer.resources):
            if not code:
                found = {key: value for key, value, *_ in entries}
                limits[name] = int(found["max.message.bytes"])
    return limits
