"""Which rows a partial shadow holds: a property of the row alone, so that every process and every store agrees. Pure.

By organisation, and by trace: the last 32 bits of a trace id are random (W3C Trace Context level 2, "random trace id"),
so a share of their range is a share of the traces, each with all its spans and log records. What has no trace is taken
by whole seconds of its time, so that a minute of both stores can still be compared.

Also left out is what was received long before or after its own time: every day is an index, and a sender whose clock is
wrong could make as many as the cluster bears (seen: forty log lines, and nobody's today could be made any more).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bridge.rfc3339 import SECOND

RANGE: Final = 1 << 32
# Knuth's multiplier: neighbouring seconds land far apart
_SPREAD: Final = 2_654_435_761
_DIGITS: Final = 8
DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Sampling:
    """`organizations`: canonical ids, empty for all; `trace_ratio`: above 0, up to 1; `max_days_off`: between an item's
    own time and its receipt."""

    organizations: tuple[str, ...] = ()
    trace_ratio: float = 1.0
    max_days_off: int = 31

    @property
    def is_everything(self) -> bool:
        """Whether nobody is left out: no organisation, no trace."""
        return not self.organizations and self.trace_ratio >= 1.0

    def kept(self, table: pa.Table) -> Sequence[int] | None:
        """The numbers of the rows of `table` (LOGS or SPANS) that are held, in order; None: all of them."""
        is_near = ~self._is_far(table)
        if self.is_everything:
            return None if is_near.all() else np.flatnonzero(is_near).tolist()
        orgs, traces = table.column("OrgId").to_pylist(), table.column("TraceId").to_pylist()
        times = nano_of(table.column("Timestamp")).tolist()
        rows = enumerate(zip(orgs, traces, times, is_near.tolist(), strict=True))
        return [number for number, (*row, near) in rows if near and self.holds(*row)]

    def far(self, table: pa.Table) -> int:
        """How many rows of `table` are left out for their time."""
        return int(self._is_far(table).sum())

    def _is_far(self, table: pa.Table) -> npt.NDArray[np.bool_]:
        at, received = nano_of(table.column("Timestamp")), nano_of(table.column("ReceivedAt"))
        far: npt.NDArray[np.bool_] = (np.abs(received - at) > self._max_nano) & (received != 0)
        return far

    def holds(self, org: str, trace_id: str, at_unix_nano: int) -> bool:
        """Whether a row of this organisation, trace (hexadecimal, empty: none) and time is held, if it came in time."""
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
        nano = "toUnixTimestamp64Nano(Timestamp)"
        received = "toUnixTimestamp64Milli(ReceivedAt) * 1000000"
        by_time = f"({received} = 0 OR abs({received} - {nano}) <= {self._max_nano})"
        return f"{by_time} AND {self._chosen(nano)}"

    def _chosen(self, nano: str) -> str:
        if self.is_everything:
            return "1"
        orgs = ", ".join(f"'{_escaped(org)}'" for org in self.organizations)
        by_org = f"OrgId IN ({orgs})" if orgs else "1"
        if self.trace_ratio >= 1.0:
            return by_org
        # intDiv goes towards zero, seconds towards the past; what overflows does so by whole multiples of RANGE
        second = f"(intDiv({nano}, {SECOND}) - ({nano} < 0 AND {nano} % {SECOND} != 0))"
        by_second = f"bitAnd(toInt64({second}) * {_SPREAD}, {RANGE - 1})"
        by_trace = f"reinterpretAsUInt32(reverse(unhex(right(TraceId, {_DIGITS}))))"
        return f"{by_org} AND if(length(TraceId) < {_DIGITS}, {by_second}, {by_trace}) < {self._threshold}"

    @property
    def _max_nano(self) -> int:
        return self.max_days_off * DAY_SECONDS * SECOND

    @property
    def _threshold(self) -> int:
        return int(self.trace_ratio * RANGE)


def nano_of(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """Unix nanoseconds of a column of times."""
    times: npt.NDArray[np.int64] = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
    return times


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
