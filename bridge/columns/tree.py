"""A decoded batch as flat tables (resources, scopes, items) and, for each item, the row of its resource and scope."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from bridge.columns.attributes import Maps
from bridge.columns.decode import decode_requests
from bridge.columns.schema import NAME, RECEIVED, TENANT
from bridge.columns.values import field
from bridge.model import Record, Signal

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Tree:
    """`resource_of` and `scope_of` have one entry an item; `received` is the item's record's time, unix nanoseconds."""

    resources: pa.StructArray
    scopes: pa.StructArray
    items: pa.StructArray
    resource_of: Ints
    scope_of: Ints
    received: npt.NDArray[np.uint64]


def decode_tree(signal: Signal, records: Sequence[Record]) -> Tree:
    """Raises `Malformed` if a record is not OTLP."""
    requests = decode_requests(signal, [record.value for record in records])
    resources, record_of_resource = _children(requests.column("resources"))
    scopes, resource_of_scope = _children(field(resources, "scopes"))
    items, scope_of = _children(field(scopes, "items"))
    resource_of = resource_of_scope[scope_of]
    received = np.array([record.received_at_unix_nano for record in records], np.uint64)
    return Tree(resources, scopes, items, resource_of, scope_of, received[record_of_resource[resource_of]])


def _children(lists: Any) -> tuple[pa.StructArray, Ints]:
    """All elements in order, and the row of each one's list."""
    lengths = np.diff(lists.offsets.to_numpy())
    return lists.flatten(), np.repeat(np.arange(len(lengths)), lengths)


def spread(column: Any, rows: Ints) -> Any:
    """A resource's or scope's column, repeated for each of its items."""
    return pc.take(column, pa.array(rows))


def spread_name(column: Any, rows: Ints) -> pa.DictionaryArray:
    """As `spread`, for a column of few distinct texts: only its codes are repeated."""
    encoded = column.dictionary_encode()
    return pa.DictionaryArray.from_arrays(pc.take(encoded.indices, pa.array(rows)), encoded.dictionary)


def as_name(column: Any) -> pa.DictionaryArray:
    return column.dictionary_encode().cast(NAME)


def resource_columns(tree: Tree) -> dict[str, Any]:
    """ResourceAttributes, ServiceName, the tenant's columns and the time of receipt, one row an item."""
    maps = Maps(field(field(tree.resources, "resource"), "attributes"))
    rows = tree.resource_of
    columns = {
        "ResourceAttributes": spread(maps.to_map(), rows),
        "ServiceName": spread_name(maps.value_of("service.name"), rows),
        "ReceivedAt": pa.array((tree.received // 1_000_000).view(np.int64), RECEIVED),
    }
    columns |= {name: spread_name(maps.value_of(key), rows) for name, key in TENANT.items()}
    return columns
