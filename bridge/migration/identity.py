"""What names a row on both sides, as 64 bits: the store works it out in SQL, we in Python, and they agree.

A log record is its time, organisation, component, pod, ids and body; a span is its time, organisation, ids and name.
Two rows that agree in all of this are counted, not told apart. A store that is asked for the names of a range says
what it has already: nothing is written twice, however often and wherever a move was killed.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bridge.model import Signal

POD: Final = "k8s.pod.name"
_MASK: Final = (1 << 64) - 1
_COLUMNS: Final[Mapping[Signal, tuple[str, ...]]] = {
    Signal.LOGS: ("OrgId", "ComponentId", "TraceId", "SpanId", POD, "Body"),
    Signal.TRACES: ("OrgId", "ComponentId", "TraceId", "SpanId", "ParentSpanId", "SpanName"),
}


def identity_sql(signal: Signal) -> str:
    """As an expression of ClickHouse over the signal's table, a UInt64."""
    columns = [f"`__hdx_materialized_{POD}`" if name == POD else name for name in _COLUMNS[signal]]
    parts = ["toString(toUnixTimestamp64Nano(Timestamp))", *(f"toString({name})" for name in columns)]
    joined = ", '\\n', ".join(parts)
    return f"reinterpretAsUInt64(substring(MD5(concat({joined})), 1, 8))"


def identities(table: pa.Table, signal: Signal) -> list[int]:
    """Of each row, in order."""
    times = table.column("Timestamp").cast(pa.int64()).to_pylist()
    columns = [_pods(table) if name == POD else table.column(name).to_pylist() for name in _COLUMNS[signal]]
    return [_hash("\n".join((str(at), *texts))) for at, *texts in zip(times, *columns, strict=True)]


def _hash(text: str) -> int:
    digest = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:8], "little")


def _pods(table: pa.Table) -> list[str]:
    """`k8s.pod.name` of each row's resource, looked up in the columns of the map and not row by row."""
    maps: Any = table.column("ResourceAttributes").combine_chunks()
    keys, items, offsets = maps.keys, maps.items, maps.offsets.to_numpy()
    if isinstance(keys, pa.DictionaryArray):
        wanted = [at for at, key in enumerate(keys.dictionary.to_pylist()) if key == POD]
        places = np.flatnonzero(np.isin(keys.indices.to_numpy(), wanted))
    else:
        places = np.flatnonzero(np.array([key == POD for key in keys.to_pylist()], bool))
    found = [""] * len(maps)
    start = offsets[0]
    rows = np.searchsorted(offsets, places + start, side="right") - 1 if len(keys) != len(maps.keys) else None
    rows = np.searchsorted(offsets - start, places, side="right") - 1 if rows is None else rows
    for row, text in zip(rows.tolist(), items.take(pa.array(places)).to_pylist(), strict=True):
        found[row] = text
    return found


def missing(wanted: Sequence[int], there: Mapping[int, int]) -> list[int]:
    """Which of the wanted rows, by number, are not there: of equal ones the last so many."""
    left, found = dict(there), []
    for number, identity in enumerate(wanted):
        if left.get(identity, 0):
            left[identity] -= 1
        else:
            found.append(number)
    return found


def checksum(names: Iterable[int]) -> str:
    """Of a set of rows in any order: their names added up, 64 bits in hexadecimal."""
    return f"{sum(names) & _MASK:016x}"


def counted(names: Iterable[int]) -> Counter[int]:
    return Counter(names)
