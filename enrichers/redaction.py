"""Attribute keys that are not stored as sent: dropped, or replaced by a hash of their value."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

DROP = "drop"


@dataclass(frozen=True, slots=True)
class RedactionRules:
    """Action by exact attribute key; false when there are none."""

    actions: Mapping[str, str] = field(default_factory=dict)
    salt: bytes = b""
    needles: tuple[bytes, ...] = ()

    @classmethod
    def of(cls, actions: Mapping[str, str], salt: str) -> "RedactionRules":
        return cls(dict(actions), salt.encode(), tuple(key.encode() for key in actions))

    def __bool__(self) -> bool:
        return bool(self.actions)


def mentions(raw: bytes | bytearray, rules: RedactionRules) -> bool:
    """Whether any of the keys can be an attribute in these bytes: a key that is not in them is not in the message."""
    return any(needle in raw for needle in rules.needles)


def redact(request: Any, rules: RedactionRules) -> int:
    """Apply the rules everywhere in an Export*ServiceRequest, in place; how many attributes were changed."""
    changed = 0
    for entry in _first(request, "resource_spans", "resource_logs"):
        changed += _pairs(entry.resource.attributes, rules)
        for scope in _first(entry, "scope_spans", "scope_logs"):
            changed += _pairs(scope.scope.attributes, rules)
            for item in _first(scope, "spans", "log_records"):
                changed += _item(item, rules)
    return changed


def _first(message: Any, *names: str) -> Any:
    for name in names:
        if name in message.DESCRIPTOR.fields_by_name:
            return getattr(message, name)
    raise TypeError(f"{message.DESCRIPTOR.full_name} is not an OTLP request of traces or logs")


def _item(item: Any, rules: RedactionRules) -> int:
    changed = _pairs(item.attributes, rules)
    if "body" in item.DESCRIPTOR.fields_by_name:
        return changed + _value(item.body, rules)
    return changed + sum(_pairs(part.attributes, rules) for parts in (item.events, item.links) for part in parts)


def _pairs(pairs: Any, rules: RedactionRules) -> int:
    """A list of KeyValue, and the values inside its values."""
    changed = 0
    for index in range(len(pairs) - 1, -1, -1):
        pair = pairs[index]
        action = rules.actions.get(pair.key)
        if action is None:
            changed += _value(pair.value, rules)
            continue
        changed += 1
        if action == DROP:
            del pairs[index]
        else:
            _hash(pair, rules.salt)
    return changed


def _value(value: AnyValue, rules: RedactionRules) -> int:
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return _pairs(value.kvlist_value.values, rules)
    if kind == "array_value":
        return sum(_value(each, rules) for each in value.array_value.values)
    return 0


def _hash(pair: Any, salt: bytes) -> None:
    """Equal values keep equal hashes, so that they can still be counted and joined."""
    kind = pair.value.WhichOneof("value")
    raw = (
        pair.value.string_value.encode() if kind == "string_value" else pair.value.SerializeToString(deterministic=True)
    )
    digest = hashlib.sha256(salt + raw).hexdigest()
    pair.value.Clear()
    pair.value.string_value = f"sha256:{digest}"
