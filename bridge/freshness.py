"""How far the store is complete, from what the lanes know. Pure: it takes `now`.

An item is stamped when its request has been read and may take until `SETTLE_NANOSECONDS` later to be in the log, where
it is refused otherwise. So behind a partition that holds nothing more, all is complete until that long ago.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from bridge.ledger import Progress
from bridge.model import OTLP_SIGNALS, PartitionLag, Signal
from bridge.patience import LaneHealth

SETTLE_NANOSECONDS: Final = 10_000_000_000


def progress(lanes: Sequence[LaneHealth], lags: Sequence[PartitionLag], now_unix_nano: int) -> list[Progress]:
    """One entry for each lane of which something is known."""
    lag_of = {lag.partition: lag.records for lag in lags}
    found = []
    for lane in lanes:
        if lane.partition.signal in OTLP_SIGNALS:
            until = _until(lane, lag_of.get(lane.partition, 0), now_unix_nano, lane.oldest_received_at_unix_nano)
            if until is not None:
                found.append(Progress(lane.partition.signal, lane.partition.number, until))
    return found


def complete_until(
    lanes: Sequence[LaneHealth], lags: Sequence[PartitionLag], now_unix_nano: int
) -> Mapping[tuple[Signal, str], int]:
    """By signal and organisation seen here: nothing of it that was received before is still on its way through us."""
    lag_of = {lag.partition: lag.records for lag in lags}
    found: dict[tuple[Signal, str], int] = {}
    for signal in OTLP_SIGNALS:
        mine = [lane for lane in lanes if lane.partition.signal is signal]
        for org in sorted({org for lane in mine for org in lane.orgs}):
            times = [
                _until(lane, lag_of.get(lane.partition, 0), now_unix_nano, lane.oldest_by_org.get(org)) for lane in mine
            ]
            known = [at for at in times if at is not None]
            if len(known) == len(times):
                found[signal, org] = min(known)
    return found


def _until(lane: LaneHealth, waiting: int, now_unix_nano: int, oldest: int | None) -> int | None:
    """None if there is something in the log of which nothing has been read yet."""
    if waiting:
        newest = lane.newest_received_at_unix_nano
        if newest is None:
            return None
        behind = newest - SETTLE_NANOSECONDS
        return behind if oldest is None else min(oldest, behind)
    return now_unix_nano - SETTLE_NANOSECONDS
