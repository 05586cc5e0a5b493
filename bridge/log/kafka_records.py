"""Records as Kafka messages, and back; and the commit metadata that carries an intent. Pure: no client here.

Headers as in design section 4: org, signal, received_at (unix ns), items, plane, v=1, and dead_letter on a replay. A
message without `v` was written by somebody else, as the collector's kafka exporter does; one whose headers cannot be
read is told apart, so that it can be set aside without stopping its partition.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from bridge.model import Committed, Intent, Origin, Partition, Record, Signal

logger = logging.getLogger(__name__)

VERSION: Final = b"1"
Headers: TypeAlias = Sequence[tuple[str, bytes]]
MAX_ITEMS: Final = 10_000_000


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    letter = [("dead_letter", record.dead_letter.encode())] if record.dead_letter else []
    if record.origin is not Origin.OURS:  # a replay of what others wrote
        return letter
    return [
        *letter,
        ("v", VERSION),
        ("org", record.org.encode()),
        ("signal", record.signal.encode()),
        ("received_at", b"%d" % record.received_at_unix_nano),
        ("items", b"%d" % record.items),
        ("plane", record.plane.encode()),
    ]


def key_of(record: Record, *, by_trace: bool) -> bytes:
    """The organisation, so that it stays in one partition; or organisation and trace, so that a huge one does not."""
    org = record.org.encode()
    return b"%b|%b" % (org, record.spread_by.hex().encode()) if by_trace and record.spread_by else org


def record_of(signal: Signal, headers: Headers, value: bytes | None, timestamp_ms: int) -> Record:
    """The record in a message. What is not ours keeps its bytes and the message's time."""
    found = dict(headers)
    body = value or b""
    if "v" not in found:
        letter = found.get("dead_letter", b"").decode(errors="replace")
        return replace(_other(signal, body, timestamp_ms, Origin.FOREIGN), dead_letter=letter)
    try:
        return _ours(signal, found, body)
    except (KeyError, ValueError):
        return _other(signal, body, timestamp_ms, Origin.UNREADABLE)


def _ours(signal: Signal, found: Mapping[str, bytes], value: bytes) -> Record:
    """Raises `KeyError` or `ValueError`, also for a version that we do not know."""
    received_at_unix_nano, items = int(found["received_at"]), int(found["items"])
    if found["v"] != VERSION or found["signal"].decode() != signal or (not value and items):
        raise ValueError("not a record of this version and signal")
    if not 0 <= received_at_unix_nano < 1 << 63 or not 0 <= items <= MAX_ITEMS:
        raise ValueError("numbers out of bounds")
    return Record(
        signal,
        found["org"].decode(),
        found["plane"].decode(),
        received_at_unix_nano,
        items,
        value,
        dead_letter=found.get("dead_letter", b"").decode(),
    )


def _other(signal: Signal, value: bytes, timestamp_ms: int, origin: Origin) -> Record:
    return Record(signal, "", "", max(0, timestamp_ms) * 1_000_000, 0, value, origin=origin)


def metadata_of(intent: Intent | None) -> str:
    """What is committed beside the offset."""
    if intent is None:
        return ""
    told: dict[str, object] = {"next": [intent.first, intent.last], "codec": intent.codec}
    if intent.rows is not None:
        told["rows"] = list(intent.rows)
    return json.dumps(told, separators=(",", ":"))


def committed_of(partition: Partition, offset: int, metadata: str | None) -> Committed:
    """The commit as read back. Metadata that is not ours, as after a reset of offsets by hand, is no intent."""
    if not metadata:
        return Committed(partition, offset)
    try:
        told = json.loads(metadata)
        first, last = (int(number) for number in told["next"])
        span = _rows_of(told.get("rows"))
        if first == offset and first <= last:
            return Committed(partition, offset, Intent(first, last, int(told["codec"]), span))
    except (ValueError, KeyError, TypeError):
        pass
    logger.warning(
        "commit metadata is not ours and is ignored",
        extra={"fields": {"partition": str(partition), "offset": offset, "metadata": metadata[:200]}},
    )
    return Committed(partition, offset)


def _rows_of(told: Any) -> tuple[int, int] | None:
    """Raises `ValueError` or `TypeError` for anything but two numbers."""
    if told is None:
        return None
    first, last = (int(number) for number in told)
    return first, last
