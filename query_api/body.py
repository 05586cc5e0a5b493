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
    """One member of a body; `members` are those of an object.

    What is below `is_required` is for the OpenAPI document alone: who makes the query checks it, in the contract's
    order and words.
    """

    name: str
    kind: Kind
    text: str
    members: tuple["Member", ...] = ()
    format: str = ""
    is_required: bool = False
    values: tuple[str, ...] = ()
    pattern: str = ""
    bounds: tuple[int, int] = (-_INT64, _INT64 - 1)
    max_items: int = MAX_STRINGS


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
    if member.kind == "integer" and isinstance(value, float) and _is_whole(value):
        value = int(value)  # 10.0 is an integer to JSON Schema, and to clients that know one kind of number
    if not _fits(member.kind, value):
        raise InvalidRequest(MALFORMED)
    return tuple(value) if member.kind == "strings" else value


def _is_whole(value: float) -> bool:
    """Beyond 2^53 it may be another number than the one that was sent."""
    return value.is_integer() and abs(value) <= 1 << 53


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
    """What is not required may be null or empty as well, which is the same as not being there."""
    schema = _plain_schema(member)
    if member.is_required:
        return schema | {"description": member.text} | ({"minLength": 1} if member.kind == "string" else {})
    either = [schema, {"type": "null"}]
    if member.kind == "string" and (member.format or member.pattern or member.values):
        either.append({"const": ""})
    return {"anyOf": either, "description": member.text}


def _plain_schema(member: Member) -> dict[str, Any]:
    if member.kind == "object":
        return schema_of(member.members)
    if member.kind == "strings":
        return {"type": "array", "items": _text_schema(member), "maxItems": member.max_items}
    if member.kind == "string map":
        return {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": member.max_items}
    if member.kind == "integer":
        least, most = member.bounds
        return {"type": "integer", "minimum": least, "maximum": most}
    return _text_schema(member) if member.kind == "string" else {"type": member.kind}


def _text_schema(member: Member) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if member.format:
        schema["format"] = member.format
    if member.pattern:
        schema["pattern"] = member.pattern
    if member.values:
        schema["enum"] = list(member.values)
    return schema
