"""Spans -> the columns of otel_traces."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bridge.columns.attributes import Maps
from bridge.columns.schema import SPANS
from bridge.columns.tree import Tree, as_name, decode_tree, resource_columns, spread
from bridge.columns.values import (
    SPAN_ID_BYTES,
    TRACE_ID_BYTES,
    field,
    first_time,
    hex_ids,
    storable_times,
    timestamps,
)
from bridge.model import Record, Signal

# by the enum's number (opentelemetry-proto trace.proto); texts as HyperDX queries them (field notes 2.5)
KINDS: Final = pa.array(["Unspecified", "Internal", "Server", "Client", "Producer", "Consumer"])
STATUS_CODES: Final = pa.array(["Unset", "Ok", "Error"])


def spans_table(records: Sequence[Record]) -> pa.Table:
    """One row a span, in order (`schema.SPANS`)."""
    tree = decode_tree(Signal.TRACES, records)
    spans = tree.items
    columns = resource_columns(tree) | _scope_columns(tree) | _time_columns(tree)
    columns |= {
        "TraceId": hex_ids(field(spans, "trace_id"), TRACE_ID_BYTES),
        "SpanId": hex_ids(field(spans, "span_id"), SPAN_ID_BYTES),
        "ParentSpanId": hex_ids(field(spans, "parent_span_id"), SPAN_ID_BYTES),
        "TraceState": field(spans, "trace_state"),
        "SpanName": as_name(field(spans, "name")),
        "SpanKind": _named(field(spans, "kind"), KINDS),
        "SpanAttributes": Maps(field(spans, "attributes")).to_map(),
        "StatusCode": _named(field(field(spans, "status"), "code"), STATUS_CODES),
        "StatusMessage": field(field(spans, "status"), "message"),
    }
    columns |= _events(field(spans, "events")) | _links(field(spans, "links"))
    return pa.table([columns[name] for name in SPANS.names], schema=SPANS)


def _scope_columns(tree: Tree) -> dict[str, Any]:
    scope = field(tree.scopes, "scope")
    return {
        "ScopeName": spread(field(scope, "name"), tree.scope_of),
        "ScopeVersion": spread(field(scope, "version"), tree.scope_of),
    }


def _time_columns(tree: Tree) -> dict[str, Any]:
    """A span without a start is placed where it was received; without both ends it has no duration."""
    start = storable_times(_numbers(tree.items, "start_time_unix_nano"))
    end = storable_times(_numbers(tree.items, "end_time_unix_nano"))
    has_duration = (start > 0) & (end > start)
    return {
        "Timestamp": timestamps(first_time(start, tree.received)),
        "Duration": pa.array(np.where(has_duration, end - start, np.uint64(0))),
    }


def _numbers(structs: pa.StructArray, name: str) -> npt.NDArray[np.uint64]:
    found: npt.NDArray[np.uint64] = field(structs, name).to_numpy()
    return found


def _named(numbers: Any, names: pa.Array) -> pa.DictionaryArray:
    """Enum numbers as their names; numbers nobody knows as the first name."""
    codes = numbers.to_numpy()
    known = np.where((codes >= 0) & (codes < len(names)), codes, np.int32(0))
    return pa.DictionaryArray.from_arrays(pa.array(known, pa.int32()), names)


def _events(lists: Any) -> dict[str, Any]:
    events, offsets = lists.flatten(), lists.offsets
    return {
        "Events.Timestamp": pa.ListArray.from_arrays(
            offsets, timestamps(storable_times(_numbers(events, "time_unix_nano")))
        ),
        "Events.Name": pa.ListArray.from_arrays(offsets, field(events, "name")),
        "Events.Attributes": pa.ListArray.from_arrays(offsets, Maps(field(events, "attributes")).to_map()),
    }


def _links(lists: Any) -> dict[str, Any]:
    links, offsets = lists.flatten(), lists.offsets
    return {
        "Links.TraceId": pa.ListArray.from_arrays(offsets, hex_ids(field(links, "trace_id"), TRACE_ID_BYTES)),
        "Links.SpanId": pa.ListArray.from_arrays(offsets, hex_ids(field(links, "span_id"), SPAN_ID_BYTES)),
        "Links.TraceState": pa.ListArray.from_arrays(offsets, field(links, "trace_state")),
        "Links.Attributes": pa.ListArray.from_arrays(offsets, Maps(field(links, "attributes")).to_map()),
    }
