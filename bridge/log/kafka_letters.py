"""Dead letters in a compacted topic, `otlp_dlq` or the shadow's: key = the letter's id; later states replace it."""

import logging
from collections.abc import Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from bridge.letters import DeadLetter, decode_letter, encode_letter
from bridge.log.kafka_appender import KafkaAppender
from bridge.log.kafka_client import connection_options, unavailable
from bridge.log.kafka_settings import KafkaSettings

logger = logging.getLogger(__name__)

POLL_MS = 1000


class KafkaLetters:
    """A `LetterBox`; writes through the appender's producer, reads with a consumer of no group."""

    def __init__(self, settings: KafkaSettings, appender: KafkaAppender) -> None:
        self._settings, self._appender = settings, appender
        self._topic = settings.topic(settings.letters_topic)

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        headers = [("content-type", b"application/json")]
        await self._appender.send([(self._topic, each.id.encode(), encode_letter(each), headers) for each in letters])

    async def letters(self) -> list[DeadLetter]:
        consumer = AIOKafkaConsumer(
            **connection_options(self._settings), enable_auto_commit=False, auto_offset_reset="earliest"
        )
        found: dict[str, DeadLetter] = {}
        try:
            await consumer.start()
            at = TopicPartition(self._topic, 0)
            consumer.assign([at])
            end = (await consumer.end_offsets([at]))[at]
            await consumer.seek_to_beginning(at)
            while await consumer.position(at) < end:
                for message in (await consumer.getmany(at, timeout_ms=POLL_MS)).get(at, ()):
                    self._keep(found, message.key, message.value)
        except (KafkaError, OSError) as error:
            raise unavailable(error, "cannot read the dead letters") from error
        finally:
            await consumer.stop()
        return sorted(found.values(), key=lambda letter: (letter.dead_at_unix_nano, letter.id))

    def _keep(self, found: dict[str, DeadLetter], key: bytes | None, value: bytes | None) -> None:
        try:
            letter = decode_letter(value or b"")
        except ValueError:
            logger.warning("a record of the dead-letter topic is no letter", extra={"fields": {"key": repr(key)}})
        else:
            found[letter.id] = letter
