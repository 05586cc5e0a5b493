"""OTLP/JSON: protobuf's JSON mapping with OTLP's own rules (ids in hex, enums as integers), in and out.

The mapping itself is protobuf's json_format; this turns the ids at their known places into what it expects. JSON is
for browsers and curl: it costs many times what protobuf costs, and less of it is taken (`bridge/guard.py`).
"""

import base64
import binascii
from typing import Any, Final

import orjson
from google.protobuf import json_format
from google.protobuf.message import Message

from bridge.errors import Malformed
from bridge.guard import check_json
from bridge.messages import SHAPES
from bridge.model import Signal

MAX_DEPTH: Final = 64
_IDS: Final = frozenset({"traceId", "trace_id", "spanId", "span_id", "parentSpanId", "parent_span_id"})
# where messages with ids are, from the request down
_WAY: Final = {
    Signal.TRACES: (("resourceSpans", "resource_spans"), ("scopeSpans", "scope_spans"), ("spans",)),
    Signal.LOGS: (("resourceLogs", "resource_logs"), ("scopeLogs", "scope_logs"), ("logRecords", "log_records")),
}


def parse(signal: Signal, body: bytes | bytearray) -> Any:
    """The Export*ServiceRequest of a JSON body. Raises `Malformed`, `TooLarge`."""
    check_json(body)
    try:
        tree = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON as OTLP has it: {error}") from error
    if not isinstance(tree, dict):
        raise Malformed("an OTLP request in JSON is an object")
    _mend_ids(tree, _WAY[signal])
    request = SHAPES[signal].request()
    try:
        json_format.ParseDict(tree, request, ignore_unknown_fields=True, max_recursion_depth=MAX_DEPTH)
    except (json_format.ParseError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise Malformed(f"the body does not fit OTLP's JSON mapping: {str(error)[:300]}") from error
    return request


def _mend_ids(message: dict[str, Any], way: tuple[tuple[str, ...], ...]) -> None:
    """Ids from hex to base64, in the items at the end of the way and in spans' links."""
    if not way:
        _mend(message)
        for link in _children(message, ("links",)):
            _mend(link)
        return
    for child in _children(message, way[0]):
        _mend_ids(child, way[1:])


def _children(message: dict[str, Any], names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The objects in a list field; what is of another shape is left to json_format to refuse."""
    found = (message.get(name) for name in names)
    return [child for children in found if isinstance(children, list) for child in children if isinstance(child, dict)]


def _mend(message: dict[str, Any]) -> None:
    for name in _IDS & message.keys():
        value = message[name]
        if value is None:
            continue
        if not isinstance(value, str):
            raise Malformed(f"{name} must be a text of hex digits")
        try:
            message[name] = base64.b64encode(binascii.unhexlify(value)).decode()
        except ValueError as error:
            raise Malformed(f"{name} {value[:80]!r} is not hex") from error


def render(message: Message) -> bytes:
    """A response or a google.rpc.Status in JSON: camelCase, int64 as text."""
    return orjson.dumps(json_format.MessageToDict(message))
