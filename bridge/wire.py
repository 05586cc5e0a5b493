"""An OTLP request as bytes, cut at its resources without unpacking what is in them (protobuf encoding guide).

    request:  0A len ResourceSpans   0A len ResourceSpans ...
    entry:    0A len Resource        12 len ScopeSpans ...   1A len schema_url

Traces and logs share these numbers. What is written in any other way (a field that OTLP does not have here, a group, a
resource in two pieces, which protobuf merges) is not cut: the caller then takes the message apart with upb.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_RESOURCE_ENTRY: Final = 0x0A
_RESOURCE: Final = 0x0A
_AFTER: Final = (0x12, 0x1A)
_LONGEST_LENGTH_BYTES: Final = 5


class Entry(NamedTuple):
    """One ResourceSpans or ResourceLogs: its encoded Resource (empty if it has none), and all its other fields."""

    resource: bytes
    rest: bytes


class _Unusual(Exception):
    """Not written as encoders write it."""


def entries_of(body: bytes | bytearray) -> list[Entry] | None:
    """The entries of a request that upb has accepted; None if it is not written as encoders write it."""
    try:
        return [_entry(body, *field[1:]) for field in _fields(body, 0, len(body), (_RESOURCE_ENTRY,))]
    except (_Unusual, IndexError):
        return None


def joined(resource: bytes, rest: bytes) -> bytes:
    """An entry again, as a field of a request."""
    head = b"\x0a" + _varint(len(resource)) + resource
    return b"\x0a" + _varint(len(head) + len(rest)) + head + rest


def _entry(body: bytes | bytearray, at: int, end: int) -> Entry:
    resource: bytes | None = None
    rest: list[bytes] = []
    for start, value_at, value_end in _fields(body, at, end, (_RESOURCE, *_AFTER)):
        if body[start] != _RESOURCE:
            rest.append(bytes(body[start:value_end]))
        elif resource is None:
            resource = bytes(body[value_at:value_end])
        else:
            raise _Unusual
    return Entry(resource or b"", rest[0] if len(rest) == 1 else b"".join(rest))


def _fields(body: bytes | bytearray, at: int, end: int, tags: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    """Where each length-delimited field starts, and its value begins and ends. Raises `_Unusual`, `IndexError`."""
    while at < end:
        start, size = at, body[at + 1]
        if body[at] not in tags:
            raise _Unusual
        at += 2
        if size & 128:
            size, at = _long_length(body, size & 127, at)
        if at + size > end:
            raise _Unusual
        yield start, at, at + size
        at += size


def _long_length(body: bytes | bytearray, size: int, at: int) -> tuple[int, int]:
    for shift in range(7, 7 * _LONGEST_LENGTH_BYTES, 7):
        more = body[at]
        at += 1
        size |= (more & 127) << shift
        if not more & 128:
            return size, at
    raise _Unusual


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
