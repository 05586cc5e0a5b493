"""`headrace dlq list|show|replay|drop`: look at dead letters, put them back, or let them go.

With clickhouse.interface = chdb (the settings of `headrace run`) the letters are a file below data_dir and a replay
writes to the embedded log, which must not be in use; else they are in Kafka. A replayed item is appended with the
letter's id, and deliver inserts it under a token made of that id: replaying twice, also after a crash between the
append and the note of it, writes one row.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from google.protobuf.json_format import MessageToDict

from bridge.assembly import kafka_settings, letters_path, shadow_kafka_settings
from bridge.errors import SettingsInvalid
from bridge.letters import DeadLetter, LetterBox, LetterState
from bridge.log import LogAppender
from bridge.log.embedded import open_embedded_log
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_letters import KafkaLetters
from bridge.log.kafka_settings import KafkaSettings
from bridge.log.letters_file import FileLetters
from bridge.messages import parse
from bridge.model import Origin, Record
from bridge.settings import Settings

REPLAY_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Filter:
    """Which letters; None and empty match all. Times are unix seconds of when the item died."""

    org: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    ids: tuple[str, ...] = ()
    states: tuple[LetterState, ...] = (LetterState.WAITING,)

    def matches(self, letter: DeadLetter) -> bool:
        dead_at = letter.dead_at_unix_nano / 1e9
        return (
            letter.state in self.states
            and self.org in (None, letter.org)
            and self.reason in (None, letter.reason)
            and (self.since is None or dead_at >= self.since)
            and (self.until is None or dead_at < self.until)
            and (not self.ids or letter.id in self.ids)
        )


@dataclass(frozen=True, slots=True)
class Ends:
    """Where letters are kept, and the log they go back to."""

    letters: LetterBox
    appender: LogAppender | None


def dlq(settings: Settings, action: str, wanted: Filter, *, as_json: bool, is_shadow: bool = False) -> int:
    """0 done, 1 if nothing matched where something was to be done. Raises the log's errors.

    `is_shadow`: of the letters of `deliver --sink opensearch`. They cannot be replayed: the log is also the store's,
    which has these items.
    """
    if is_shadow and action == "replay":
        raise SettingsInvalid(
            "dead letters of the shadow are not put back into the log, where the store would get them a second time;"
            " once OpenSearch takes them, bring them over with `headrace migrate backfill --direction to-opensearch`,"
            " then `headrace dlq drop --sink opensearch`"
        )
    return asyncio.run(_dlq(settings, action, wanted, as_json=as_json, is_shadow=is_shadow))


async def _dlq(settings: Settings, action: str, wanted: Filter, *, as_json: bool, is_shadow: bool) -> int:
    async with open_shadow_ends(settings) if is_shadow else open_ends(settings, is_replay=action == "replay") as ends:
        found = [letter for letter in await ends.letters.letters() if wanted.matches(letter)]
        if action == "list":
            _print_list(found, as_json=as_json)
            return 0
        if not found:
            print("no dead letter matches", file=sys.stderr)
            return 1
        if action == "show":
            for letter in found:
                print(json.dumps(shown(letter), indent=2, ensure_ascii=False))
        elif action == "drop":
            await ends.letters.put([letter.settled(LetterState.DROPPED) for letter in found])
            print(f"dropped {len(found)} dead letter(s)")
        elif ends.appender is not None:
            await replay(ends.letters, ends.appender, found, _progress)
            print(f"put {len(found)} dead letter(s) back into the log")
    return 0


async def replay(
    box: LetterBox, appender: LogAppender, letters: Sequence[DeadLetter], tell: Callable[[int, int], None]
) -> None:
    """Return when all are in the log again and marked so. Raises `LogUnavailable`; what was done stays done."""
    for start in range(0, len(letters), REPLAY_AT_ONCE):
        part = letters[start : start + REPLAY_AT_ONCE]
        await appender.append([record_of(letter) for letter in part])
        await box.put([letter.settled(LetterState.REPLAYED) for letter in part])
        tell(start + len(part), len(letters))


def record_of(letter: DeadLetter) -> Record:
    """The letter as it goes back: an item as ours, a whole record that we had not written as that again."""
    is_foreign = not letter.is_otlp
    return Record(
        letter.signal,
        letter.org,
        letter.plane,
        letter.received_at_unix_nano,
        letter.items,
        letter.value,
        dead_letter=letter.id,
        origin=Origin.FOREIGN if is_foreign else Origin.OURS,
    )


def shown(letter: DeadLetter) -> dict[str, Any]:
    """The letter with its content readable."""
    fields = summary(letter) | {"message": letter.message, "plane": letter.plane}
    if letter.is_otlp and letter.value and letter.signal in ("traces", "logs"):
        fields["otlp"] = MessageToDict(parse(letter.signal, letter.value))
    else:
        fields["bytes_hex"] = letter.value[:4096].hex()
    return fields


def summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "id": letter.id,
        "state": str(letter.state),
        "signal": str(letter.signal),
        "org": letter.org,
        "items": letter.items,
        "reason": letter.reason,
        "code": letter.code,
        "column": letter.column,
        "origin": f"{letter.topic}:{letter.partition}:{letter.offset}:{letter.index}",
        "received_at": _time(letter.received_at_unix_nano),
        "dead_at": _time(letter.dead_at_unix_nano),
    }


def _print_list(letters: Sequence[DeadLetter], *, as_json: bool) -> None:
    if as_json:
        for letter in letters:
            print(json.dumps(summary(letter)))
        return
    for line in _lines(letters):
        print(line)


def _lines(letters: Sequence[DeadLetter]) -> Iterator[str]:
    for letter in letters:
        what = f"{letter.reason} {letter.code or ''} {letter.column}".strip()
        dead_at = _time(letter.dead_at_unix_nano)
        yield f"{dead_at}  {letter.state:<8}  {letter.signal:<6}  {letter.org or '-':<20}  {what}  {letter.id}"
    yield f"{len(letters)} dead letter(s)"


def _time(unix_nano: int) -> str:
    return datetime.fromtimestamp(unix_nano / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


@asynccontextmanager
async def open_ends(settings: Settings, *, is_replay: bool) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        if settings.clickhouse.interface == "chdb" or _is_embedded(settings):
            log = None
            if is_replay:
                log = await stack.enter_async_context(
                    open_embedded_log(settings.data_dir / "log", max_bytes=settings.log.max_bytes)
                )
            yield Ends(FileLetters(letters_path(settings)), log)
            return
        yield await _kafka_ends(stack, kafka_settings(settings))


@asynccontextmanager
async def open_shadow_ends(settings: Settings) -> AsyncIterator[Ends]:
    async with AsyncExitStack() as stack:
        yield await _kafka_ends(stack, shadow_kafka_settings(settings))


async def _kafka_ends(stack: AsyncExitStack, kafka: KafkaSettings) -> Ends:
    admin = await stack.enter_async_context(open_admin_client(kafka))
    await check_topics(admin, kafka)
    appender = await stack.enter_async_context(open_kafka_appender(kafka))
    return Ends(KafkaLetters(kafka, appender), appender)


def _is_embedded(settings: Settings) -> bool:
    """Whether these settings have been run with the embedded log: its folder is there."""
    return (settings.data_dir / "log").is_dir()


def parse_time(text: str) -> float:
    """ISO 8601, UTC unless it says otherwise, as unix seconds. Raises `SettingsInvalid`."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise SettingsInvalid(f"{text!r} is not a time as 2026-01-31T12:00:00Z") from error
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
