"""What may be committed when, per partition: the exactly-once protocol of design section 5 as pure steps.

    position 7 --begin(7..19)--> position 7, intent 7-19 --insert--> finish() --> position 20

Both committed values are durable before the next step. A crash between them leaves an intent: the next owner replays
exactly that range (`replays`), under the same token, so the store drops it if it was written.
"""

from collections.abc import Sequence
from dataclasses import replace

from bridge.errors import LogUnavailable
from bridge.model import Committed, Intent, ReadRecord


def begin(committed: Committed, records: Sequence[ReadRecord], codec: int) -> Committed:
    """What to commit before inserting `records`, which start at or, where the log has gaps, after the position."""
    first, last = records[0].offset, records[-1].offset
    if committed.intent is not None or first < committed.position:
        raise AssertionError(f"batch {first}-{last} cannot begin at {committed}")
    return Committed(committed.partition, first, Intent(first, last, codec))


def finish(begun: Committed) -> Committed:
    """What to commit once the intended batch is durable in the sink."""
    if begun.intent is None:
        raise AssertionError(f"nothing was begun at {begun}")
    return Committed(begun.partition, begun.intent.last + 1)


def within(intent: Intent, records: Sequence[ReadRecord]) -> Sequence[ReadRecord]:
    """The records of an intended range among those read from its first offset on."""
    return [read for read in records if intent.first <= read.offset <= intent.last]


def check_replay(intent: Intent, records: Sequence[ReadRecord]) -> None:
    """Raises `LogUnavailable` unless `records` is the whole intended range: a shorter one must not use its token."""
    if not records or records[0].offset != intent.first or records[-1].offset != intent.last:
        got = f"{records[0].offset}-{records[-1].offset}" if records else "nothing"
        raise LogUnavailable(
            f"the log no longer holds the range {intent.first}-{intent.last} that was being delivered (it has {got});"
            " restore it, or move the committed position by hand",
            reason="intent_lost",
        )


def narrow(begun: Committed, rows: tuple[int, int]) -> Committed:
    """What to commit before inserting only `rows` of the intended batch, all rows before them being settled."""
    if begun.intent is None or not 0 <= rows[0] < rows[1]:
        raise AssertionError(f"rows {rows} cannot be announced at {begun}")
    return Committed(begun.partition, begun.position, replace(begun.intent, rows=rows))


def token_of(log_id: str, begun: Committed, records: Sequence[ReadRecord]) -> str:
    """The batch's name for deduplication: which log, which range of it, made by which codec.

    The first record's time is in it because offsets start again when a topic is made anew under its old name. A
    replayed dead letter, always alone in its batch, is named after the letter: replaying it twice is one insert.
    """
    intent = begun.intent
    if intent is None:
        raise AssertionError(f"nothing was begun at {begun}")
    first = records[0].record
    if first.dead_letter:
        return token_of_letter(log_id, first.dead_letter)
    when = f"{first.received_at_unix_nano:x}"
    return f"{log_id}:{begun.partition}:{intent.first}-{intent.last}:{intent.codec}:{when}"


def token_of_letter(log_id: str, letter_id: str) -> str:
    return f"{log_id}:dlq:{letter_id}"
