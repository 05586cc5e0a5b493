"""Dead letters: items the store will never take as they are, kept whole until a person replays or drops them.

One letter is one item, encoded as an OTLP request of its own with its resource and scope, or one record of the log that
could not be read at all. Its id comes from where it lay, so writing it again after a crash changes nothing.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final, Protocol

from bridge.errors import Permanent
from bridge.model import Partition, ReadRecord, Signal

WHOLE_RECORD = -1


class LetterState(StrEnum):
    WAITING = "waiting"
    REPLAYED = "replayed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """`index` counts items within the record, `WHOLE_RECORD` for a record that could not be read.

    `code` is the store's error number (0: none), `column` the column it named, if any. `value` is OTLP protobuf
    (`is_otlp`), or the record's bytes as they were; it is empty once the letter is replayed or dropped.
    """

    id: str
    signal: Signal
    topic: str
    partition: int
    offset: int
    index: int
    org: str
    plane: str
    items: int
    received_at_unix_nano: int
    dead_at_unix_nano: int
    reason: str
    code: int
    column: str
    message: str
    is_otlp: bool
    value: bytes
    state: LetterState = LetterState.WAITING

    def settled(self, state: LetterState) -> "DeadLetter":
        """What takes the letter's place: who and why, without the content."""
        return replace(self, state=state, value=b"")


class LetterBox(Protocol):
    """Where dead letters are kept (`tests/contracts/letters_contract.py`)."""

    async def put(self, letters: Sequence[DeadLetter]) -> None:
        """Return when all are durable; a letter replaces one of the same id. Raises `LogUnavailable`."""
        ...

    async def letters(self) -> list[DeadLetter]:
        """The last state of every letter, oldest first. Raises `LogUnavailable`."""
        ...


class TooManyDeadLetters(Permanent):
    reason = "dead_letter_limit"


class LetterLimit:
    """Stops a deliver that would empty the log into the dead letters; once it has, it stays so until a restart."""

    def __init__(self, max_per_minute: int) -> None:
        self._max_per_minute = max_per_minute
        self._since, self._count, self.is_tripped = 0.0, 0, False

    def take(self, count: int, now: float) -> None:
        """Count so many letters at `now` (monotonic seconds). Raises `TooManyDeadLetters`."""
        if now - self._since >= 60.0:
            self._since, self._count = now, 0
        if self.is_tripped or (self._count and self._count + count > self._max_per_minute):
            self.is_tripped = True
            raise TooManyDeadLetters(
                f"over {self._max_per_minute} dead letters in a minute (deliver.max_dead_letters_per_minute): the"
                " store's tables or this version are at fault rather than the data; look at `headrace dlq list`, run"
                " `headrace schema check`, then restart deliver"
            )
        self._count += count

    def give_back(self, count: int) -> None:
        self._count -= count


_LETTER: Final = re.compile(r"(.*):(-?\d{1,18})@([0-9a-f]+)", re.DOTALL)


def letter_id(partition: Partition, read: ReadRecord, index: int) -> str:
    """A replay keeps the id of the letter it came from; the time tells a topic from another one of the same name.

    The items of a whole record that is replayed are told apart as they would have been at first.
    """
    record = read.record
    if (whole := _LETTER.fullmatch(record.dead_letter)) and int(whole[2]) == WHOLE_RECORD:
        return f"{whole[1]}:{index}@{whole[3]}"
    return record.dead_letter or f"{partition}:{read.offset}:{index}@{record.received_at_unix_nano:x}"


def record_name(log_id: str, partition: Partition, read: ReadRecord) -> tuple[str, int]:
    """A name for the record that stays, and the number its first item has in it.

    An item that is replayed from a dead letter has the name that it had where it lay at first: a store that took it
    then has it already.
    """
    record = read.record
    if not record.dead_letter:
        return f"{log_id}:{partition}:{read.offset}@{record.received_at_unix_nano:x}", 0
    if found := _LETTER.fullmatch(record.dead_letter):
        return f"{log_id}:{found[1]}@{found[3]}", max(0, int(found[2]))
    return f"{log_id}:dlq:{record.dead_letter}", 0


def encode_letter(letter: DeadLetter) -> bytes:
    """One line of JSON, the value in base64."""
    fields = asdict(letter) | {"value": base64.b64encode(letter.value).decode()}
    return json.dumps(fields, separators=(",", ":")).encode()


def decode_letter(line: bytes) -> DeadLetter:
    """Raises `ValueError` for anything `encode_letter` has not made."""
    try:
        fields = json.loads(line)
        fields["value"] = base64.b64decode(fields["value"])
        fields["signal"], fields["state"] = Signal(fields["signal"]), LetterState(fields["state"])
        return DeadLetter(**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"not a dead letter: {error}") from error
