"""Large bodies, cut into pieces before they are unpacked, so that no body unpacks to many times its size.

An empty span is 2 bytes on the wire and about 175 once parsed: 4 MiB of them took 353 MB (upb, protobuf 7.36; empty
links 172 MB, events 124 MB). Small bodies are parsed whole. A large one is first read through a view in which items
stay bytes, 16 bytes of memory each, and then parsed piece by piece, a piece being at most one record of the log.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from bridge.errors import Malformed, TooLarge
from bridge.wire import Unusual, fields

# Up to this size the worst case (45 MB) is bearable, and the view would cost more than it saves.
SMALL_BYTES: Final = 512 << 10
MAX_ITEMS: Final = 100_000
# A record becomes rows of one batch: its columns must stay small however short its items are.
MAX_RECORD_ITEMS: Final = 20_000
# Telemetry is text, ids and times: seen 3-6 % of bytes below 7. Nothing but tags and lengths comes near a quarter.
MAX_LOW_BYTE_SHARE: Final = 0.25
_LOW_BYTES: Final = bytes(range(7))

# Of a request's resources, a resource's scopes, a scope's items: as the view has them.
_RESOURCES, _SCOPES, _ITEMS = 0x0A, 0x12, 0x12

MAX_JSON_BYTES: Final = 2 << 20
MAX_JSON_OBJECTS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Oversized:
    """Items that no record can hold: one alone is too large, or its resource and scope are."""

    items: int


def pieces(body: bytes | bytearray, max_bytes: int) -> Iterator[bytes | bytearray | Oversized]:
    """`body`, an Export*ServiceRequest of traces or logs, as requests of about `max_bytes` each, in order.

    Raises `TooLarge` for more items than a request may have, or hardly anything but empty messages; `Malformed` if it
    is not protobuf. What is inside the items is not looked at.
    """
    if len(body) <= SMALL_BYTES:
        yield body
        return
    low_bytes = len(body) - len(body.translate(None, _LOW_BYTES)) if len(body) > 2 * SMALL_BYTES else 0
    if low_bytes > MAX_LOW_BYTE_SHARE * len(body):
        raise TooLarge(f"nearly nothing but empty messages; such a request may have at most {2 * SMALL_BYTES} bytes")
    if len(body) > 2 * SMALL_BYTES and _has_too_many(body):
        raise _too_many(f"over {MAX_ITEMS}")
    view = _parse(body)
    items = sum(len(scope.items) for resource in view.resources for scope in resource.scopes)
    if items > MAX_ITEMS:
        raise _too_many(str(items))
    if len(body) <= max_bytes and items <= MAX_RECORD_ITEMS:
        yield body
        return
    yield from _cut(view, max_bytes)


def _too_many(items: str) -> TooLarge:
    return TooLarge(f"{items} items in one request; at most {MAX_ITEMS} are taken, send smaller batches")


def _has_too_many(body: bytes | bytearray) -> bool:
    """Whether the view of `body` would hold more items than are taken; it is 32 bytes an item while it grows.

    Walks over items without looking inside. What cannot be walked is left to the parser.
    """
    left = MAX_ITEMS
    try:
        for resource in _values(body, _RESOURCES, 0, len(body)):
            for scope in _values(body, _SCOPES, *resource):
                for _ in _values(body, _ITEMS, *scope):
                    left -= 1
                    if left < 0:
                        return True
    except (IndexError, Unusual):
        return False
    return False


def _values(body: bytes | bytearray, wanted: int, at: int, end: int) -> Iterator[tuple[int, int]]:
    """Where the values of the fields with this tag begin and end."""
    return ((begin, min(stop, end)) for tag, _, begin, stop in fields(body, at, end) if tag == wanted)


def _cut(view: Any, max_bytes: int) -> Iterator[bytes | Oversized]:
    """Pieces of one scope each: a resource is worth its own piece in a body this large."""
    for resource in view.resources:
        for scope in resource.scopes:
            head_bytes = len(resource.resource) + len(scope.scope) + len(resource.schema_url) + len(scope.schema_url)
            room_bytes = max_bytes - head_bytes
            if room_bytes <= 0:
                yield Oversized(len(scope.items))
                continue
            for part in _runs(scope.items, room_bytes):
                yield part if isinstance(part, Oversized) else _piece(resource, scope, part)


def _runs(items: Any, room_bytes: int) -> Iterator[list[bytes] | Oversized]:
    """Runs of items that fit together, in order."""
    run: list[bytes] = []
    left_bytes = room_bytes
    for item in items:
        if len(item) > room_bytes:
            yield Oversized(1)
            continue
        if run and (len(item) > left_bytes or len(run) >= MAX_RECORD_ITEMS):
            yield run
            run, left_bytes = [], room_bytes
        run.append(item)
        left_bytes -= len(item)
    if run:
        yield run


def _piece(resource: Any, scope: Any, items: list[bytes]) -> bytes:
    request = _VIEW()
    entry = request.resources.add(schema_url=resource.schema_url)
    if resource.HasField("resource"):
        entry.resource = resource.resource
    part = entry.scopes.add(schema_url=scope.schema_url, items=items)
    if scope.HasField("scope"):
        part.scope = scope.scope
    encoded: bytes = request.SerializeToString()
    return encoded


def check_json(body: bytes | bytearray) -> None:
    """Raises `TooLarge` for JSON that would unpack to more memory and time than a request may take."""
    if len(body) > MAX_JSON_BYTES:
        raise TooLarge(f"JSON is taken up to {MAX_JSON_BYTES} bytes a request; send smaller batches or protobuf")
    if len(body) > SMALL_BYTES // 4 and body.count(b"{") + body.count(b"[") > MAX_JSON_OBJECTS:
        raise TooLarge(f"over {MAX_JSON_OBJECTS} JSON objects and lists in a request; send smaller batches or protobuf")


def _parse(body: bytes | bytearray) -> Any:
    view = _VIEW()
    try:
        view.ParseFromString(body)
    except DecodeError as error:
        raise Malformed("the body is not an OTLP request in protobuf") from error
    return view


def _build_view() -> Any:
    """Traces and logs share the numbers of these fields."""
    file = descriptor_pb2.FileDescriptorProto(name="headrace/guard.proto", package="headrace.guard", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    for message, name, number, kind in (
        ("Request", "resources", 1, "Resource"),
        ("Resource", "resource", 1, "bytes"),
        ("Resource", "scopes", 2, "Scope"),
        ("Resource", "schema_url", 3, "bytes"),
        ("Scope", "scope", 1, "bytes"),
        ("Scope", "items", 2, "bytes*"),
        ("Scope", "schema_url", 3, "bytes"),
    ):
        known = next((each for each in file.message_type if each.name == message), None)
        is_message = not kind.startswith("bytes")
        (known or file.message_type.add(name=message)).field.add(
            name=name,
            number=number,
            label=field.LABEL_REPEATED if is_message or kind.endswith("*") else field.LABEL_OPTIONAL,
            type=field.TYPE_MESSAGE if is_message else field.TYPE_BYTES,
            type_name=f".headrace.guard.{kind}" if is_message else None,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("headrace.guard.Request"))


_VIEW: Final = _build_view()
