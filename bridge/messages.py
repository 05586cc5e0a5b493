"""The OTLP messages of each signal and the walks over them that the bridge needs: never deeper than a scope."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from bridge.errors import Malformed
from bridge.guard import MAX_RECORD_ITEMS
from bridge.model import Signal


@dataclass(frozen=True, slots=True)
class Shape:
    """The field names that differ between signals; the messages are otherwise built alike (opentelemetry-proto)."""

    request: type[Message]
    response: type[Message]
    resources: str
    scopes: str
    items: str
    rejected: str


SHAPES: Final = {
    Signal.TRACES: Shape(
        ExportTraceServiceRequest,
        ExportTraceServiceResponse,
        "resource_spans",
        "scope_spans",
        "spans",
        "rejected_spans",
    ),
    Signal.LOGS: Shape(
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
        "resource_logs",
        "scope_logs",
        "log_records",
        "rejected_log_records",
    ),
}


def parse(signal: Signal, body: bytes | bytearray) -> Any:
    """The validated Export*ServiceRequest. Raises `Malformed` for anything upb does not accept."""
    request = SHAPES[signal].request()
    try:
        request.ParseFromString(cast("bytes", body))  # upb takes any buffer
    except DecodeError as error:
        raise Malformed(f"the body is not an OTLP {type(request).__name__} in protobuf") from error
    return request


def count_items(shape: Shape, resource_entry: Any) -> int:
    """Spans or log records under one ResourceSpans or ResourceLogs."""
    found, name = 0, shape.items
    for scope in getattr(resource_entry, shape.scopes):  # a sum over a generator takes twice as long, for every request
        found += len(getattr(scope, name))
    return found


def item_at(signal: Signal, value: bytes, index: int) -> bytes:
    """Item number `index` of an encoded request as a request of its own, with its resource and scope.

    Raises `Malformed` or `IndexError`. A ledger record is a JSON list; an entry of it is a list of one.
    """
    if signal is Signal.LEDGER:
        return json.dumps([json.loads(value)[index]]).encode()
    shape = SHAPES[signal]
    for entry in getattr(parse(signal, value), shape.resources):
        for scope in getattr(entry, shape.scopes):
            items = getattr(scope, shape.items)
            if index < len(items):
                return cast("bytes", _one_item(shape, entry, scope, items[index]).SerializeToString())
            index -= len(items)
    raise IndexError(f"the request has no item {index}")


def _one_item(shape: Shape, entry: Any, scope: Any, item: Any) -> Any:
    request: Any = shape.request()
    copy = getattr(request, shape.resources).add(schema_url=entry.schema_url)
    copy.resource.CopyFrom(entry.resource)
    scope_copy = getattr(copy, shape.scopes).add(schema_url=scope.schema_url)
    scope_copy.scope.CopyFrom(scope.scope)
    getattr(scope_copy, shape.items).append(item)
    return request


def first_trace_id(signal: Signal, request: Any) -> bytes:
    """The trace of the first item; what spreads one organisation over partitions."""
    shape = SHAPES[signal]
    found = (trace_id_of(shape, entry) for entry in getattr(request, shape.resources))
    return next((trace for trace in found if trace), b"")


def trace_id_of(shape: Shape, resource_entry: Any) -> bytes:
    """The trace of the first item under one ResourceSpans or ResourceLogs; empty if it has none."""
    for scope in getattr(resource_entry, shape.scopes):
        for item in getattr(scope, shape.items):
            return bytes(item.trace_id)
    return b""


def serialize_within(signal: Signal, request: Any, max_bytes: int) -> Iterator[tuple[bytes | None, int]]:
    """`request` as (encoding, items) pairs of at most `max_bytes` each, in order; (None, 1) for an item over it.

    Halves the resources, then the scopes, then the items until a piece fits; a request that fits is encoded once.
    """
    shape = SHAPES[signal]
    value = request.SerializeToString()
    items = sum(count_items(shape, entry) for entry in getattr(request, shape.resources))
    if len(value) <= max_bytes and items <= MAX_RECORD_ITEMS:
        yield value, items
        return
    halves = _halves(shape, request)
    if halves is None:
        yield None, 1
        return
    del value
    for half in halves:
        yield from serialize_within(signal, half, max_bytes)


def _halves(shape: Shape, request: Any) -> tuple[Any, Any] | None:
    """Two requests that together hold what `request` held; None for a single item."""
    resources = getattr(request, shape.resources)
    if len(resources) > 1:
        return _of_resources(shape, resources, slice(None, len(resources) // 2)), _of_resources(
            shape, resources, slice(len(resources) // 2, None)
        )
    scopes = getattr(resources[0], shape.scopes) if resources else ()
    if len(scopes) > 1:
        middle = len(scopes) // 2
        return _of_scopes(shape, resources[0], scopes[:middle]), _of_scopes(shape, resources[0], scopes[middle:])
    items = getattr(scopes[0], shape.items) if scopes else ()
    if len(items) > 1:
        middle = len(items) // 2
        return _of_items(shape, resources[0], items[:middle]), _of_items(shape, resources[0], items[middle:])
    return None


def _of_resources(shape: Shape, resources: Any, part: slice) -> Any:
    request: Any = shape.request()
    getattr(request, shape.resources).extend(resources[part])
    return request


def _of_scopes(shape: Shape, entry: Any, scopes: Any) -> Any:
    request: Any = shape.request()
    copy = getattr(request, shape.resources).add(schema_url=entry.schema_url)
    copy.resource.CopyFrom(entry.resource)
    getattr(copy, shape.scopes).extend(scopes)
    return request


def _of_items(shape: Shape, entry: Any, items: Any) -> Any:
    request: Any = shape.request()
    scope = getattr(entry, shape.scopes)[0]
    copy = getattr(request, shape.resources).add(schema_url=entry.schema_url)
    copy.resource.CopyFrom(entry.resource)
    scope_copy = getattr(copy, shape.scopes).add(schema_url=scope.schema_url)
    scope_copy.scope.CopyFrom(scope.scope)
    getattr(scope_copy, shape.items).extend(items)
    return request
