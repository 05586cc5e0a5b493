"""A cursor: where a page ended, as an opaque text. It names a position, never a tenant, so it opens nothing."""

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from query_api.errors import InvalidRequest
from query_api.storage import Position

_FORMAT: Final = struct.Struct(">BqQQ")
_VERSION: Final = 1
# what base64 makes of 25 bytes that start with the version
PATTERN: Final = "^A[Q-Za-f][A-Za-z0-9_-]{31}[AQgw]$"
_TEXT: Final = re.compile(PATTERN)


def to_text(position: Position) -> str:
    """For a header or a body."""
    packed = _FORMAT.pack(_VERSION, position.time_unix_nano, position.block, position.offset)
    return urlsafe_b64encode(packed).rstrip(b"=").decode()


def from_text(text: str) -> Position:
    """The position. Raises `InvalidRequest` if it is not one of ours."""
    if not _TEXT.fullmatch(text):
        raise InvalidRequest("cursor: take it unchanged from the X-Next-Cursor header of the page before")
    _, time_unix_nano, block, offset = _FORMAT.unpack(urlsafe_b64decode(text + "=="))
    return Position(time_unix_nano, block, offset)
