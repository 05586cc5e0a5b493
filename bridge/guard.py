"""What a large body may unpack to, found out before it is unpacked.

An empty span is 2 bytes on the wire and about 175 once parsed: 4 MiB of them took 353 MB (upb, protobuf 7.36; empty
events 124 MB, attributes 108 MB). Below `SMALL_BYTES` the worst case is bearable and nothing is checked.
"""

from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from bridge.errors import Malformed, TooLarge

SMALL_BYTES: Final = 1 << 20
MAX_ITEMS: Final = 200_000
# Telemetry is text, ids and times: seen 3-6 % of bytes below 7. Nothing but tags and lengths comes near a quarter.
MAX_LOW_BYTE_SHARE: Final = 0.25
_LOW_BYTES: Final = bytes(range(7))

MAX_JSON_BYTES: Final = 4 << 20
MAX_JSON_OBJECTS: Final = 100_000


def check_protobuf(body: bytes) -> None:
    """Raises `TooLarge` for a body that would unpack to many times its size, `Malformed` if it is not protobuf."""
    if len(body) <= SMALL_BYTES:
        return
    low_bytes = len(body) - len(body.translate(None, _LOW_BYTES))
    if low_bytes > MAX_LOW_BYTE_SHARE * len(body):
        raise TooLarge(f"nearly nothing but empty messages; such a request may have at most {SMALL_BYTES} bytes")
    items = _count_items(body)
    if items > MAX_ITEMS:
        raise TooLarge(f"{items} items in one request; at most {MAX_ITEMS} are taken, send smaller batches")


def check_json(body: bytes) -> None:
    """Raises `TooLarge` for JSON that would unpack to more memory and time than a request may take."""
    if len(body) > MAX_JSON_BYTES:
        raise TooLarge(f"JSON is taken up to {MAX_JSON_BYTES} bytes a request; send smaller batches or protobuf")
    if len(body) > SMALL_BYTES // 8 and body.count(b"{") > MAX_JSON_OBJECTS:
        raise TooLarge(f"more than {MAX_JSON_OBJECTS} JSON objects in one request; send smaller batches or protobuf")


def _count_items(body: bytes) -> int:
    view = _VIEW()
    try:
        view.ParseFromString(body)
    except DecodeError as error:
        raise Malformed("the body is not protobuf") from error
    return sum(len(scope.items) for resource in view.resources for scope in resource.scopes)


def _build_view() -> Any:
    """Traces and logs share the numbers of these fields; items stay bytes, 16 bytes each instead of a message."""
    file = descriptor_pb2.FileDescriptorProto(name="headrace/guard.proto", package="headrace.guard", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    for message, name, number, inner in (
        ("Request", "resources", 1, "Resource"),
        ("Resource", "scopes", 2, "Scope"),
        ("Scope", "items", 2, None),
    ):
        file.message_type.add(name=message).field.add(
            name=name,
            number=number,
            label=field.LABEL_REPEATED,
            type=field.TYPE_MESSAGE if inner else field.TYPE_BYTES,
            type_name=f".headrace.guard.{inner}" if inner else None,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("headrace.guard.Request"))


_VIEW: Final = _build_view()
