"""A request's JSON body as declared members: the same declaration reads bodies and becomes the OpenAPI document.

As Go binds one (contract 1.1): a body that is not there, is not JSON, or has a member of another type is one error
whatever is wrong; members nobody declared are ignored; null and absent are the empty value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from query_api.errors import InvalidRequest

Kind = Literal["string", "integer", "boolean", "strings", "string map", "object"]
EMPTY: Final[Mapping[Kind, Any]] = {
    "string": "",
    "integer": 0,
    "boolean": False,
    "strings": (),
    "string map": {},
    "object": {},
}
MALFORMED: Final = "Invalid request format"
MAX_STRINGS: Final = 1000
_INT64: Final = 1 << 63


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a body; `members` are those of an object. `example` shows up in the OpenAPI document."""

    name: str
    kind: Kind
    text: str
    members: tuple["Member", ...] = ()
    format: str = ""
    is_required: bool = False


def read_body(members: Sequence[Member], content_type: str | None, raw: bytes) -> dict[str, Any]:
    """Every declared member's value, empty where it was not given. Raises `InvalidRequest`."""
    if content_type and not content_type.lower().startswith("application/json"):
        raise InvalidRequest(MALFORMED)
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise InvalidRequest(MALFORMED) from None
    return _read(members, {} if tree is None else tree)


def _read(members: Sequence[Member], tree: Any) -> dict[str, Any]:
    if not isinstance(tree, dict):
        raise InvalidRequest(MALFORMED)
    return {member.name: _value(member, tree.get(member.name)) for member in members}


def _value(member: Member, value: Any) -> Any:
    if value is None:
        return _read(member.members, {}) if member.kind == "object" else EMPTY[member.kind]
    if member.kind == "object":
        return _read(member.members, value)
    if not _fits(member.kind, value):
        raise InvalidRequest(MALFORMED)
    return tuple(value) if member.kind == "strings" else value


def _fits(kind: Kind, value: Any) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    if kind == "strings":
        return isinstance(value, list) and len(value) <= MAX_STRINGS and all(isinstance(each, str) for each in value)
    return (
        isinstance(value, dict) and len(value) <= MAX_STRINGS and all(isinstance(each, str) for each in value.values())
    )


def schema_of(members: Sequence[Member]) -> dict[str, Any]:
    """The JSON schema of such a body."""
    return {
        "type": "object",
        "properties": {member.name: _schema(member) for member in members},
        **({"required": required} if (required := [each.name for each in members if each.is_required]) else {}),
    }


def _schema(member: Member) -> dict[str, Any]:
    text = {"description": member.text}
    if member.kind == "object":
        return {**schema_of(member.members), **text}
    if member.kind == "strings":
        return {"type": "array", "items": {"type": "string"}, "maxItems": MAX_STRINGS, **text}
    if member.kind == "string map":
        return {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "maxProperties": MAX_STRINGS,
            **text,
        }
    return {"type": member.kind, **({"format": member.format} if member.format else {}), **text}
