"""Every letter box keeps the same promises: the memory one, the file, and the topic of a real broker."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.errors import LogUnavailable
from bridge.letters import DeadLetter, LetterBox, LetterState, decode_letter, encode_letter
from bridge.log.kafka_appender import open_kafka_appender
from bridge.log.kafka_client import check_topics, open_admin_client
from bridge.log.kafka_letters import KafkaLetters
from bridge.log.letters_file import FileLetters
from bridge.log.letters_memory import MemoryLetters
from bridge.model import Signal
from tests.contracts.test_kafka_log import settings_for
from tests.kafka_service import KafkaBroker


def letter(number: int, value: bytes = bytes(range(256))) -> DeadLetter:
    return DeadLetter(
        id=f"otlp_spans:0:{number}:2@ff",
        signal=Signal.TRACES,
        topic="otlp_spans",
        partition=0,
        offset=number,
        index=2,
        org="ünïcode\n",
        plane="p",
        items=1,
        received_at_unix_nano=1_700_000_000_000_000_000,
        dead_at_unix_nano=1_700_000_000_000_000_000 + number,
        reason="rejected_by_sink",
        code=53,
        column="Duration",
        message="TYPE_MISMATCH",
        is_otlp=True,
        value=value,
    )


@pytest.fixture(params=["memory", "file", "kafka"])
async def box(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[LetterBox]:
    if request.param == "memory":
        yield MemoryLetters()
    elif request.param == "file":
        yield FileLetters(tmp_path / "below" / "letters.jsonl")
    else:
        broker: KafkaBroker = request.getfixturevalue("kafka")
        settings = settings_for(broker, f"{tmp_path}letters", 1)
        async with AsyncExitStack() as stack:
            await check_topics(await stack.enter_async_context(open_admin_client(settings)), settings)
            yield KafkaLetters(settings, await stack.enter_async_context(open_kafka_appender(settings)))


async def test_letters_come_back_as_they_were_oldest_first(box: LetterBox) -> None:
    """Every field, any bytes, in the order they died."""
    assert await box.letters() == []
    sent = [letter(number) for number in (3, 1, 2)]
    await box.put(sent)
    assert await box.letters() == sorted(sent, key=lambda each: each.offset)


async def test_a_letter_replaces_one_of_the_same_id(box: LetterBox) -> None:
    """Writing it again after a crash, and settling it, leave one letter in its last state."""
    await box.put([letter(1), letter(2)])
    await box.put([letter(1)])
    await box.put([letter(2).settled(LetterState.DROPPED)])
    assert [(each.offset, each.state, len(each.value)) for each in await box.letters()] == [
        (1, LetterState.WAITING, 256),
        (2, LetterState.DROPPED, 0),
    ]


async def test_a_letter_of_a_large_record_is_kept(box: LetterBox) -> None:
    """A whole record of 1 MB that nobody can read."""
    await box.put([letter(1, bytes(1_000_000))])
    assert len((await box.letters())[0].value) == 1_000_000


async def test_a_line_cut_short_costs_no_other_letter(tmp_path: Path) -> None:
    """A crash in the middle of a write leaves half a line; the letters before and after it are there."""
    path = tmp_path / "letters.jsonl"
    box = FileLetters(path)
    await box.put([letter(1)])
    with path.open("ab") as file:
        file.write(encode_letter(letter(2))[:50])
    await box.put([letter(3)])
    assert [each.offset for each in await box.letters()] == [1, 3]


async def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The path is in the error, and the caller waits."""
    (tmp_path / "letters").mkdir()
    with pytest.raises(LogUnavailable, match="letters"):
        await FileLetters(tmp_path / "letters").put([letter(1)])


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b"null", b'{"id":1}', encode_letter(letter(1))[:-9]])
def test_what_is_no_letter_is_a_value_error(line: bytes) -> None:
    """Whoever else writes into the topic or the file."""
    with pytest.raises(ValueError, match="not a dead letter"):
        decode_letter(line)


def test_settling_lets_go_of_the_content() -> None:
    """What stays says who and why."""
    settled = letter(1).settled(LetterState.REPLAYED)
    assert settled == replace(letter(1), state=LetterState.REPLAYED, value=b"")
