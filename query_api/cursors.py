"""A cursor: where a page ended, as an opaque text. It names a position, never a tenant, so it opens nothing."""

import binascii
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from query_api.errors import InvalidRequest
from query_api.storage import Position

_FORMAT: Final = struct.Struct(">BqQQ")
_VERSION: Final = 1


def to_text(position: Position) -> str:
    """For a header or a body."""
    packed = _FORMAT.pack(_VERSION, position.time_unix_nano, position.block, position.offset)
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def from_text(text: str) -> Position:
    """The position. Raises `InvalidRequest` if it is not one of ours."""
    try:
        packed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        version, time_unix_nano, block, offset = _FORMAT.unpack(packed)
    except (ValueError, binascii.Error, struct.error):
        version = 0
    if version != _VERSION:
        raise InvalidRequest("cursor: take it unchanged from the X-Next-Cursor header of the page before")
    return Position(time_unix_nano, block, offset)
