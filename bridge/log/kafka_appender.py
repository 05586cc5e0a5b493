"""The Kafka log's way in: idempotent, acks=all, zstd. `append` returns when every in-sync replica has the records."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownError,
)

from bridge.errors import LogUnavailable
from bridge.log.kafka_client import connection_options, unavailable
from bridge.log.kafka_gather import Gatherer, Message
from bridge.log.kafka_records import headers_of, key_of
from bridge.log.kafka_settings import KafkaSettings
from bridge.log.kafka_zstd import use_level
from bridge.model import Record

logger = logging.getLogger(__name__)

# After these an idempotent producer's sequence numbers are of no use; a new one gets a new id.
BROKEN = (OutOfOrderSequenceNumber, InvalidProducerEpoch, ProducerFenced, ProducerClosed, UnknownError)
# Of records before compression; so much is decompressed at once where they are read.
BATCH_BYTES = 512 << 10
STOP_SECONDS = 5.0
TROUBLE_SECONDS = 15.0


@asynccontextmanager
async def open_kafka_appender(settings: KafkaSettings) -> AsyncIterator["KafkaAppender"]:
    """A connected appender; what it was given is sent, or refused, before the block is left."""
    appender = KafkaAppender(settings)
    await appender.start()
    try:
        yield appender
    finally:
        await appender.close()


class KafkaAppender:
    """A `LogAppender`. Records of one call go out together; those of one partition keep their order."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._gatherer: Gatherer | None = None
        self._renewing = asyncio.Lock()
        self._failed: tuple[float, str] | None = None

    def trouble(self) -> str | None:
        """What the last append failed with, if it was the last and not long ago."""
        if self._failed is None or time.monotonic() - self._failed[0] > TROUBLE_SECONDS:
            return None
        return self._failed[1]

    async def start(self) -> None:
        """Raises `LogUnavailable` if no broker answers."""
        self._use(await self._connected())

    def _use(self, producer: AIOKafkaProducer) -> None:
        self._producer, self._gatherer = producer, Gatherer(producer, self._settings.linger_ms / 1000)

    async def close(self) -> None:
        """Harmless when repeated."""
        producer, gatherer = self._producer, self._gatherer
        self._producer = self._gatherer = None
        if producer is not None and gatherer is not None:
            await gatherer.close(STOP_SECONDS)
            await _stop(producer)

    async def append(self, records: Sequence[Record]) -> None:
        """As `LogAppender.append`. A refused record may reach the log later: then the client has sent it twice."""
        settings = self._settings
        for record in records:
            if len(record.value) > settings.max_record_bytes:
                raise LogUnavailable(
                    f"a record of {len(record.value)} bytes is over log.max_record_bytes", reason="record_too_large"
                )
        messages = [
            (settings.topic(each.signal.topic), key_of(each, by_trace=settings.by_trace), each.value, headers_of(each))
            for each in records
        ]
        await self.send(messages)

    async def send(self, messages: Sequence[Message]) -> None:
        """Return when all (topic, key, value, headers) are durable. Raises `LogUnavailable`."""
        try:
            await self._try_to_send(messages)
        except LogUnavailable as error:
            self._failed = (time.monotonic(), str(error))
            raise
        self._failed = None

    async def _try_to_send(self, messages: Sequence[Message]) -> None:
        producer, gatherer = self._producer, self._gatherer
        if producer is None or gatherer is None:
            raise LogUnavailable("the log is closed", reason="log_closed")
        try:
            await gatherer.send(messages, self._settings.append_timeout_seconds)
        except TimeoutError as error:
            seconds = self._settings.append_timeout_seconds
            text = f"kafka has not acknowledged within {seconds:g} s (kafka.append_timeout_seconds)"
            raise LogUnavailable(text, reason="kafka_timeout") from error
        except MessageSizeTooLargeError as error:
            text = "kafka refuses the record's size: raise max.message.bytes or lower log.max_record_bytes"
            raise LogUnavailable(text, reason="record_too_large") from error
        except BROKEN as error:
            await self._renew(producer, gatherer)
            raise unavailable(error, "the producer was renewed") from error
        except KafkaError as error:
            raise unavailable(error, "cannot append") from error

    async def _renew(self, broken: AIOKafkaProducer, gatherer: Gatherer) -> None:
        """Put a new producer in the place of a broken one; the first who sees it broken does it."""
        async with self._renewing:
            if self._producer is not broken:
                return
            logger.warning("the kafka producer is broken and is made anew")
            with suppress(LogUnavailable):
                self._use(await self._connected())
                await gatherer.close(STOP_SECONDS)
                await _stop(broken)

    async def _connected(self) -> AIOKafkaProducer:
        settings = self._settings
        use_level()
        producer = AIOKafkaProducer(
            **connection_options(settings),
            acks="all",
            enable_idempotence=True,
            compression_type="zstd",
            # a topic need take no more than our largest record
            max_batch_size=min(BATCH_BYTES, settings.max_record_bytes),
            max_request_size=2 * settings.max_message_bytes,
            request_timeout_ms=10_000,
        )
        try:
            async with asyncio.timeout(settings.append_timeout_seconds):
                await producer.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await _stop(producer)
            servers = ", ".join(settings.bootstrap_servers)
            raise unavailable(error, f"no broker answers at kafka.bootstrap_servers ({servers})") from error
        return producer


async def _stop(producer: AIOKafkaProducer) -> None:
    with suppress(KafkaError, KafkaTimeoutError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
