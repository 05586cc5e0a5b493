"""OTLP bytes -> Arrow structs with ptars, over a *view* of the OTLP messages: the only place that meets ptars.

The view has OTLP's field numbers and types, so the bytes are the same; what differs is how deep it looks. Attributes
stay bytes (`repeated bytes`), to be dictionary-encoded before anything is decoded; enums are int32, so unknown numbers
survive; the alternatives of AnyValue are separate optional fields, because Arrow has no oneof worth reading.

Input is what a sender encoded and upb has accepted. Encoders write at most one alternative of a value and no singular
message twice. Other bytes do not crash: the first is noticed (`values.texts`), the second may be read unlike upb.
"""

from collections.abc import Sequence
from typing import Any, Final

import ptars
import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool

from bridge.errors import Malformed
from bridge.model import Signal

_PACKAGE: Final = "headrace.view"
_TYPES: Final = {
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "int32": descriptor_pb2.FieldDescriptorProto.TYPE_INT32,
    "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "fixed32": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED32,
    "fixed64": descriptor_pb2.FieldDescriptorProto.TYPE_FIXED64,
}
# name: [(number, type, field)]; `?` is optional (absent is null), `*` is repeated, a capital letter is a message
_VIEW: Final[dict[str, list[tuple[int, str, str]]]] = {
    "AnyValue": [
        (1, "string?", "string_value"),
        (2, "bool?", "bool_value"),
        (3, "int64?", "int_value"),
        (4, "double?", "double_value"),
        (5, "bytes?", "array_value"),
        (6, "bytes?", "kvlist_value"),
        (7, "bytes?", "bytes_value"),
    ],
    "KeyValue": [(1, "string", "key"), (2, "AnyValue", "value")],
    "Resource": [(1, "bytes*", "attributes")],
    "Scope": [(1, "string", "name"), (2, "string", "version"), (3, "bytes*", "attributes")],
    "Event": [(1, "fixed64", "time_unix_nano"), (2, "string", "name"), (3, "bytes*", "attributes")],
    "Link": [
        (1, "bytes", "trace_id"),
        (2, "bytes", "span_id"),
        (3, "string", "trace_state"),
        (4, "bytes*", "attributes"),
    ],
    "Status": [(2, "string", "message"), (3, "int32", "code")],
    "Span": [
        (1, "bytes", "trace_id"),
        (2, "bytes", "span_id"),
        (3, "string", "trace_state"),
        (4, "bytes", "parent_span_id"),
        (5, "string", "name"),
        (6, "int32", "kind"),
        (7, "fixed64", "start_time_unix_nano"),
        (8, "fixed64", "end_time_unix_nano"),
        (9, "bytes*", "attributes"),
        (11, "Event*", "events"),
        (13, "Link*", "links"),
        (15, "Status", "status"),
    ],
    "ScopeSpans": [(1, "Scope", "scope"), (2, "Span*", "items"), (3, "string", "schema_url")],
    "ResourceSpans": [(1, "Resource", "resource"), (2, "ScopeSpans*", "scopes"), (3, "string", "schema_url")],
    "Traces": [(1, "ResourceSpans*", "resources")],
    "LogRecord": [
        (1, "fixed64", "time_unix_nano"),
        (2, "int32", "severity_number"),
        (3, "string", "severity_text"),
        (5, "bytes?", "body"),
        (6, "bytes*", "attributes"),
        (8, "fixed32", "flags"),
        (9, "bytes", "trace_id"),
        (10, "bytes", "span_id"),
        (11, "fixed64", "observed_time_unix_nano"),
        (12, "string", "event_name"),
    ],
    "ScopeLogs": [(1, "Scope", "scope"), (2, "LogRecord*", "items"), (3, "string", "schema_url")],
    "ResourceLogs": [(1, "Resource", "resource"), (2, "ScopeLogs*", "scopes"), (3, "string", "schema_url")],
    "Logs": [(1, "ResourceLogs*", "resources")],
}


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="headrace/view.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _VIEW.items():
        message = file.message_type.add(name=name)
        for number, kind, field_name in fields:
            _add_field(message, number, kind, field_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)


def _add_field(message: Any, number: int, kind: str, name: str) -> None:
    field = message.field.add(name=name, number=number)
    base = kind.rstrip("?*")
    field.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
    if base in _TYPES:
        field.type = _TYPES[base]
    else:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{base}"
    if kind.endswith("?"):  # how proto3 spells a field whose absence can be told
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


_FILE: Final = _file()
_POOL: Final = ptars.HandlerPool([_FILE])


def _handler(name: str) -> Any:
    return _POOL.get_for_message(_FILE.message_types_by_name[name])


_REQUESTS: Final = {Signal.TRACES: _handler("Traces"), Signal.LOGS: _handler("Logs")}
_KEY_VALUE: Final = _handler("KeyValue")
_ANY_VALUE: Final = _handler("AnyValue")


def decode_requests(signal: Signal, values: Sequence[bytes]) -> pa.RecordBatch:
    """One row per request, its `resources` as a list of structs. Raises `Malformed` if one is not OTLP."""
    try:
        return _REQUESTS[signal].list_to_record_batch(list(values))
    except ValueError as error:
        raise Malformed(f"a record of the log is not OTLP {signal}: {error}") from error


def decode_key_values(encoded: pa.BinaryArray) -> tuple[pa.StringArray, pa.StructArray]:
    """Keys, and values as AnyValue structs. Raises `Malformed`."""
    try:
        batch = _KEY_VALUE.array_to_record_batch(encoded)
    except ValueError as error:
        raise Malformed(f"an attribute is not a KeyValue: {error}") from error
    return batch.column(0), batch.column(1)


def decode_any_values(encoded: pa.BinaryArray) -> pa.StructArray:
    """AnyValue structs. Raises `Malformed`."""
    try:
        return _ANY_VALUE.array_to_record_batch(encoded).to_struct_array()
    except ValueError as error:
        raise Malformed(f"a body is not an AnyValue: {error}") from error
