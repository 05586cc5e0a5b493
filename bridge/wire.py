"""An OTLP request as bytes, cut at its resources without unpacking what is in them (protobuf encoding guide).

    request:  0A len ResourceSpans   0A len ResourceSpans ...
    entry:    0A len Resource        12 len ScopeSpans ...   1A len schema_url

Traces and logs share these numbers. What is written in any other way (a field that OTLP does not have here, a group, a
resource in two pieces, which protobuf merges) is not cut: the caller then takes the message apart with upb.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

_LENGTH_DELIMITED: Final = 2
# The kind of a field, and whether its number needs more than this one byte.
_KIND_BITS: Final = 0x87
_RESOURCE_ENTRY: Final = 0x0A
_RESOURCE: Final = 0x0A
_AFTER: Final = (0x12, 0x1A)
_LONGEST_VARINT_BYTES: Final = 10


class Entry(NamedTuple):
    """One ResourceSpans or ResourceLogs: its encoded Resource (empty if it has none), and all its other fields."""

    resource: bytes
    rest: bytes


class Unusual(Exception):
    """Not written as encoders of OTLP write it."""


def fields(body: bytes | bytearray, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field: its tag, where it starts, where its value begins, and where it ends, which may be beyond `end`.

    Raises `Unusual` for what is not length-delimited or has a number over 15, `IndexError` where the body ends.
    """
    while at < end:
        start, tag, size = at, body[at], body[at + 1]
        if tag & _KIND_BITS != _LENGTH_DELIMITED:
            raise Unusual
        at += 2
        if size & 128:
            size, at = _long_length(body, size & 127, at)
        yield tag, start, at, at + size
        at += size


def entries_of(body: bytes | bytearray) -> list[Entry] | None:
    """The entries of a request that upb has accepted; None if it is not written as encoders write it."""
    found = []
    try:
        for tag, _, value_at, value_end in fields(body, 0, len(body)):
            if tag != _RESOURCE_ENTRY or value_end > len(body):
                return None
            found.append(_entry(body, value_at, value_end))
    except (Unusual, IndexError):
        return None
    return found


def joined(resource: bytes, rest: bytes) -> bytes:
    """An entry again, as a field of a request."""
    head = b"\x0a" + _varint(len(resource)) + resource
    return b"\x0a" + _varint(len(head) + len(rest)) + head + rest


def _entry(body: bytes | bytearray, at: int, end: int) -> Entry:
    resource: bytes | None = None
    rest: list[bytes] = []
    for tag, start, value_at, value_end in fields(body, at, end):
        if value_end > end:
            raise Unusual
        if tag in _AFTER:
            rest.append(bytes(body[start:value_end]))
        elif tag == _RESOURCE and resource is None:
            resource = bytes(body[value_at:value_end])
        else:
            raise Unusual
    return Entry(resource or b"", rest[0] if len(rest) == 1 else b"".join(rest))


def _long_length(body: bytes | bytearray, size: int, at: int) -> tuple[int, int]:
    for shift in range(7, 7 * _LONGEST_VARINT_BYTES, 7):
        more = body[at]
        at += 1
        size |= (more & 127) << shift
        if not more & 128:
            return size, at
    raise Unusual


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
