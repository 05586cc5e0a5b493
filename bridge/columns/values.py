"""AnyValue -> text, ids -> hex, times -> what can be stored: the rules for single values, each over a whole array.

Text of an attribute value or a body: a string as it is; true, false; an int in decimal; a double in the shortest form
that reads back equal (`1`, `0.1`, `1e+16`, `1e-7`; NaN, Infinity, -Infinity); bytes in base64; an array or a kvlist as
compact JSON with the same rules inside (numbers stay numbers, bytes and non-finite doubles are strings, of duplicate
keys the last one counts); nothing for an absent value.
"""

import base64
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

from bridge.errors import Malformed

# 2096-10-02. ClickHouse's retention counts in 32-bit seconds (until 2106): a later time plus ten years of retention
# wraps around and the row is deleted as expired, seen on 26.7. No clock that is right says such a time.
MAX_TIME_UNIX_NANO: Final = np.uint64(4_000_000_000 * 10**9)
TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8
EMPTY: Final = pa.scalar("")


def field(structs: pa.StructArray, name: str) -> Any:
    """A child column by name. Children of absent messages hold defaults, so parents' validity is not applied."""
    return structs.field(name)


def texts(values: pa.StructArray) -> pa.StringArray:
    """The text of every AnyValue; never null. Raises `Malformed` if one has several: upb would keep the last."""
    strings = field(values, "string_value")
    found = [strings]
    present = [strings]
    for name, render in _RENDERERS.items():
        column = field(values, name)
        if column.null_count < len(column):
            found.append(render(column))
            present.append(column)
    if len(present) > 1 and np.max(sum(map(_is_present, present))) > 1:
        raise Malformed("a value has two alternatives")
    return strings if len(present) == 1 and strings.null_count == 0 else pc.coalesce(*found, EMPTY)


def _is_present(column: Any) -> npt.NDArray[np.int8]:
    found: npt.NDArray[np.int8] = pc.is_valid(column).to_numpy(zero_copy_only=False).view(np.int8)
    return found


def _doubles(column: pa.DoubleArray) -> pa.StringArray:
    text = pc.cast(column, pa.string())
    if pc.all(pc.is_finite(column)).as_py() is not False:
        return text
    infinite = pc.if_else(pc.greater(column, 0.0), "Infinity", "-Infinity")
    return pc.if_else(pc.is_nan(column), "NaN", pc.if_else(pc.is_inf(column), infinite, text))


def _bytes(column: pa.BinaryArray) -> pa.StringArray:
    return pa.array(
        [None if raw is None else base64.b64encode(raw).decode() for raw in column.to_pylist()], pa.string()
    )


def _arrays(column: pa.BinaryArray) -> pa.StringArray:
    return pa.array(
        [None if raw is None else _json(_array(_parse(ArrayValue, raw))) for raw in column.to_pylist()], pa.string()
    )


def _kvlists(column: pa.BinaryArray) -> pa.StringArray:
    return pa.array(
        [None if raw is None else _json(_kvlist(_parse(KeyValueList, raw))) for raw in column.to_pylist()], pa.string()
    )


_RENDERERS: Final = {
    "bool_value": lambda column: pc.if_else(column, "true", "false"),
    "int_value": lambda column: pc.cast(column, pa.string()),
    "double_value": _doubles,
    "bytes_value": _bytes,
    "array_value": _arrays,
    "kvlist_value": _kvlists,
}


def _parse(message: Any, raw: bytes) -> Any:
    try:
        return message.FromString(raw)
    except DecodeError as error:
        raise Malformed(f"a nested value is not {message.DESCRIPTOR.name}") from error


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _array(message: ArrayValue) -> list[Any]:
    return [plain(value) for value in message.values]


def _kvlist(message: KeyValueList) -> dict[str, Any]:
    return {pair.key: plain(pair.value) for pair in message.values}


def plain(value: AnyValue) -> Any:
    """The JSON value of an AnyValue inside an array or a kvlist; null for an absent one."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return _array(value.array_value)
    if kind == "kvlist_value":
        return _kvlist(value.kvlist_value)
    found: Any = getattr(value, kind)
    if kind == "bytes_value":
        return base64.b64encode(found).decode()
    if kind == "double_value" and not math.isfinite(found):
        return "NaN" if math.isnan(found) else "Infinity" if found > 0 else "-Infinity"
    return found


def hex_ids(ids: pa.BinaryArray, id_bytes: int) -> pa.StringArray:
    """Lowercase hex of each id; nothing for an absent one and for `id_bytes` zeros, which OTLP calls invalid."""
    offsets = np.frombuffer(ids.buffers()[1], dtype=np.int32)[ids.offset : ids.offset + len(ids) + 1]
    data = ids.buffers()[2]
    raw = memoryview(data)[offsets[0] : offsets[-1]] if data is not None and len(ids) else memoryview(b"")
    # 2 x 64 MiB of ids would be needed to overflow these offsets; a batch has a few MiB
    hex_offsets = ((offsets - offsets[0]) * 2).astype(np.int32) if len(ids) else np.zeros(1, np.int32)
    found = pa.StringArray.from_buffers(len(ids), pa.py_buffer(hex_offsets), pa.py_buffer(raw.hex().encode()))
    is_zero = pc.equal(found, "0" * 2 * id_bytes)
    return pc.if_else(is_zero, EMPTY, found) if pc.any(is_zero).as_py() else found


def storable_times(times: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Unix nanoseconds, 0 where absent or later than `MAX_TIME_UNIX_NANO`."""
    return np.where(times > MAX_TIME_UNIX_NANO, np.uint64(0), times)


def first_time(*candidates: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Per row the first candidate that is not 0."""
    found = storable_times(candidates[0])
    for candidate in candidates[1:]:
        if found.all():
            break
        found = np.where(found == 0, storable_times(candidate), found)
    return found


def timestamps(times: npt.NDArray[np.uint64]) -> pa.TimestampArray:
    return pa.array(times.view(np.int64), pa.timestamp("ns", "UTC"))
