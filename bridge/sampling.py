"""Which rows a partial shadow holds: a property of the row alone, so that every process and every store agrees. Pure.

By organisation, and by trace: the last 32 bits of a trace id are random (W3C Trace Context level 2, "random trace id"),
so a share of their range is a share of the traces, each with all its spans and log records. What has no trace is taken
by whole seconds of its time, so that a minute of both stores can still be compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from bridge.rfc3339 import SECOND

RANGE: Final = 1 << 32
# Knuth's multiplier: neighbouring seconds land far apart
_SPREAD: Final = 2_654_435_761
_DIGITS: Final = 8


@dataclass(frozen=True, slots=True)
class Sampling:
    """`organizations`: canonical ids, empty for all; `trace_ratio`: above 0, up to 1."""

    organizations: tuple[str, ...] = ()
    trace_ratio: float = 1.0

    @property
    def is_everything(self) -> bool:
        return not self.organizations and self.trace_ratio >= 1.0

    def kept(self, table: pa.Table) -> Sequence[int] | None:
        """The numbers of the rows of `table` (LOGS or SPANS) that are held, in order; None: all of them."""
        if self.is_everything:
            return None
        orgs = table.column("OrgId").to_pylist()
        traces = table.column("TraceId").to_pylist()
        times = table.column("Timestamp").cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()
        rows = enumerate(zip(orgs, traces, times, strict=True))
        return [number for number, row in rows if self.holds(*row)]

    def holds(self, org: str, trace_id: str, at_unix_nano: int) -> bool:
        """Whether a row of this organisation, trace (hexadecimal, empty: none) and time is held."""
        if self.organizations and org not in self.organizations:
            return False
        if self.trace_ratio >= 1.0:
            return True
        if len(trace_id) < _DIGITS:
            return at_unix_nano // SECOND * _SPREAD % RANGE < self._threshold
        return int(trace_id[-_DIGITS:], 16) < self._threshold

    @property
    def condition(self) -> str:
        """The same of the tables of ClickHouse, as an SQL expression without literals of others."""
        if self.is_everything:
            return "1"
        orgs = ", ".join(f"'{_escaped(org)}'" for org in self.organizations)
        by_org = f"OrgId IN ({orgs})" if orgs else "1"
        if self.trace_ratio >= 1.0:
            return by_org
        nano = "toUnixTimestamp64Nano(Timestamp)"
        # intDiv goes towards zero, seconds towards the past; what overflows does so by whole multiples of RANGE
        second = f"(intDiv({nano}, {SECOND}) - ({nano} < 0 AND {nano} % {SECOND} != 0))"
        by_second = f"bitAnd(toInt64({second}) * {_SPREAD}, {RANGE - 1})"
        by_trace = f"reinterpretAsUInt32(reverse(unhex(right(TraceId, {_DIGITS}))))"
        return f"{by_org} AND if(length(TraceId) < {_DIGITS}, {by_second}, {by_trace}) < {self._threshold}"

    @property
    def _threshold(self) -> int:
        return int(self.trace_ratio * RANGE)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
