"""An OTLP request as bytes, cut at its resources without unpacking what is in them (protobuf encoding guide).

    request:  0A len ResourceSpans   0A len ResourceSpans ...
    entry:    0A len Resource        12 len ScopeSpans ...   1A len schema_url

Traces and logs share these numbers. What is written in any other way (a field that OTLP does not have here, a group, a
resource in two pieces, which protobuf merges) is not cut: the caller then takes the message apart with upb.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_LENGTH_DELIMITED: Final = 2
# The kind of a field, and whether its number needs more than this one byte.
_KIND_BITS: Final = 0x87
_RESOURCE_ENTRY: Final = 0x0A
_RESOURCE: Final = 0x0A
_AFTER: Final = (0x12, 0x1A)
_LONGEST_VARINT_BYTES: Final = 10


class Entry(NamedTuple):
    """One ResourceSpans or ResourceLogs: its encoded Resource (empty if it has none), and all its other fields.

    `rest` are views of the request's own bytes, in one piece wherever they are in one piece there.
    """

    resource: bytes
    rest: list[memoryview]


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
    view = memoryview(body)
    try:
        for tag, _, value_at, value_end in fields(body, 0, len(body)):
            if tag != _RESOURCE_ENTRY or value_end > len(body):
                return None
            found.append(_entry(body, view, value_at, value_end))
    except (Unusual, IndexError):
        return None
    return found


def head_of(resource: bytes) -> bytes:
    """A Resource as the first field of its entry."""
    return b"\x0a" + _varint(len(resource)) + resource


def joined(head: bytes, rest: Sequence[memoryview]) -> list[bytes | memoryview]:
    """An entry again, as a field of a request, in pieces: `head` is `head_of` its resource."""
    size = len(head)
    for piece in rest:
        size += len(piece)
    return [b"\x0a" + _varint(size), head, *rest]


def _entry(body: bytes | bytearray, view: memoryview, at: int, end: int) -> Entry:
    """As `fields`, unrolled: it is a tenth of what a request costs. Raises `Unusual`."""
    resource: bytes | None = None
    rest: list[memoryview] = []
    run_at = at  # of fields that stay together
    while at < end:
        start, tag, size = at, body[at], body[at + 1]
        at += 2
        if size & 128:
            size, at = _long_length(body, size & 127, at)
        value_at, at = at, at + size
        if at > end:
            raise Unusual
        if tag in _AFTER:
            continue
        if tag != _RESOURCE or resource is not None:
            raise Unusual
        resource = bytes(view[value_at:at])
        if run_at < start:
            rest.append(view[run_at:start])
        run_at = at
    if run_at < end:
        rest.append(view[run_at:end])
    return Entry(resource or b"", rest)


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
