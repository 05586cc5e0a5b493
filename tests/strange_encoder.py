"""Encodes a message in ways that protobuf allows and no encoder we know uses; upb reads the same message from them.

Not made: a singular message in two pieces, which protobuf merges (the receiver looks for it where it matters).
"""

import random
import struct
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = 0, 1, 2, 3, 4, 5
UNKNOWN_NUMBER = 1000


def strange(message: Any, dice: random.Random) -> bytes:
    """The message with fields out of order, set twice (the last one counts), with long varints and unknown fields."""
    fields: list[bytes] = []
    for descriptor, value in message.ListFields():
        encoded = [_field(descriptor, each, dice) for each in (value if descriptor.is_repeated else (value,))]
        is_scalar = descriptor.type != FieldDescriptor.TYPE_MESSAGE and not descriptor.is_repeated
        if is_scalar and dice.random() < 0.3:
            encoded.insert(0, _field(descriptor, _other(descriptor), dice))
        if descriptor.containing_oneof is not None and dice.random() < 0.3:
            encoded.insert(0, _other_alternative(descriptor, dice))
        fields.append(b"".join(encoded))
    dice.shuffle(fields)
    for _ in range(dice.choice((0, 0, 1, 2))):
        fields.insert(dice.randrange(len(fields) + 1), _unknown(dice))
    return b"".join(fields)


def _varint(number: int, dice: random.Random) -> bytes:
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    if dice.random() < 0.2 and len(found) < 4:
        found[-1] |= 128
        found.append(0)
    return bytes(found)


def _tag(number: int, kind: int, dice: random.Random) -> bytes:
    return _varint(number << 3 | kind, dice)


def _field(descriptor: FieldDescriptor, value: Any, dice: random.Random) -> bytes:
    number = descriptor.number
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        raw = strange(value, dice)
    elif descriptor.type == FieldDescriptor.TYPE_STRING:
        raw = value.encode()
    elif descriptor.type == FieldDescriptor.TYPE_BYTES:
        raw = value
    else:
        return _number(descriptor, value, dice)
    return _tag(number, LENGTH, dice) + _varint(len(raw), dice) + raw


def _number(descriptor: FieldDescriptor, value: Any, dice: random.Random) -> bytes:
    number = descriptor.number
    if descriptor.type == FieldDescriptor.TYPE_DOUBLE:
        return _tag(number, FIXED64, dice) + struct.pack("<d", value)
    if descriptor.type == FieldDescriptor.TYPE_FIXED64:
        return _tag(number, FIXED64, dice) + struct.pack("<Q", value)
    if descriptor.type == FieldDescriptor.TYPE_FIXED32:
        return _tag(number, FIXED32, dice) + struct.pack("<I", value)
    return _tag(number, VARINT, dice) + _varint(int(value), dice)


def _other(descriptor: FieldDescriptor) -> Any:
    if descriptor.type == FieldDescriptor.TYPE_STRING:
        return "other"
    return b"other" if descriptor.type == FieldDescriptor.TYPE_BYTES else 1


def _other_alternative(descriptor: FieldDescriptor, dice: random.Random) -> bytes:
    oneof = descriptor.containing_oneof
    assert oneof is not None
    others = [each for each in oneof.fields if each.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BOOL)]
    other = dice.choice([each for each in others if each.number != descriptor.number])
    return _field(other, _other(other), dice)


def _unknown(dice: random.Random) -> bytes:
    number = UNKNOWN_NUMBER + dice.randrange(5)
    kind = dice.choice((VARINT, FIXED64, LENGTH, FIXED32, GROUP))
    if kind == VARINT:
        return _tag(number, kind, dice) + _varint(dice.randrange(10**6), dice)
    if kind == GROUP:
        return _tag(number, kind, dice) + _tag(number, END_GROUP, dice)
    body = dice.randbytes({FIXED64: 8, FIXED32: 4}.get(kind, 3))
    return _tag(number, kind, dice) + (_varint(3, dice) if kind == LENGTH else b"") + body
