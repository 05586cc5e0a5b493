"""Log records -> the columns of otel_logs."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.columns.attributes import Maps
from bridge.columns.decode import decode_any_values
from bridge.columns.schema import LOGS
from bridge.columns.tree import Tree, as_name, decode_tree, resource_columns, spread, spread_name
from bridge.columns.values import SPAN_ID_BYTES, TRACE_ID_BYTES, field, first_time, hex_ids, texts, timestamps
from bridge.model import Record, Signal

MAX_SEVERITY_NUMBER: Final = 24  # opentelemetry-proto logs.proto, FATAL4


def logs_table(records: Sequence[Record]) -> pa.Table:
    """One row a log record, in order (`schema.LOGS`)."""
    tree = decode_tree(Signal.LOGS, records)
    logs = tree.items
    columns = resource_columns(tree) | _scope_columns(tree)
    columns |= {
        "Timestamp": timestamps(
            first_time(
                field(logs, "time_unix_nano").to_numpy(),
                field(logs, "observed_time_unix_nano").to_numpy(),
                tree.received,
            )
        ),
        "TraceId": hex_ids(field(logs, "trace_id"), TRACE_ID_BYTES),
        "SpanId": hex_ids(field(logs, "span_id"), SPAN_ID_BYTES),
        "TraceFlags": pa.array((field(logs, "flags").to_numpy() & 0xFF).astype(np.uint8)),
        "SeverityText": as_name(field(logs, "severity_text")),
        "SeverityNumber": _severity_numbers(field(logs, "severity_number")),
        "Body": texts(decode_any_values(pc.fill_null(field(logs, "body"), b""))),
        "LogAttributes": Maps(field(logs, "attributes")).to_map(),
        "EventName": field(logs, "event_name"),
    }
    return pa.table([columns[name] for name in LOGS.names], schema=LOGS)


def _scope_columns(tree: Tree) -> dict[str, Any]:
    scope = field(tree.scopes, "scope")
    return {
        "ResourceSchemaUrl": spread_name(field(tree.resources, "schema_url"), tree.resource_of),
        "ScopeSchemaUrl": spread_name(field(tree.scopes, "schema_url"), tree.scope_of),
        "ScopeName": spread(field(scope, "name"), tree.scope_of),
        "ScopeVersion": spread_name(field(scope, "version"), tree.scope_of),
        "ScopeAttributes": spread(Maps(field(scope, "attributes")).to_map(), tree.scope_of),
    }


def _severity_numbers(numbers: Any) -> pa.UInt8Array:
    """0, unspecified, for numbers the protocol does not have."""
    codes = numbers.to_numpy()
    return pa.array(np.where((codes >= 0) & (codes <= MAX_SEVERITY_NUMBER), codes, 0).astype(np.uint8))
