"""Quotas per organisation: a token bucket of bytes and one of items. Pure but for what is left in the buckets.

A bucket holds `burst_seconds` of its rate. A request passes when the buckets hold what it costs, or are full: a request
larger than the burst goes into debt rather than never getting through. The time to wait is when it would pass.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bridge.admission import jittered
from bridge.errors import QuotaExceeded
from enrichers.catalog import Quota

# A bucket that has filled up again is the same as none; they are thrown away when there are so many.
MAX_BUCKETS = 10_000


@dataclass(frozen=True, slots=True)
class Cost:
    size_bytes: int
    items: int


@dataclass(slots=True)
class Bucket:
    """What is left at `at` (monotonic seconds), below zero is debt; and when the last refused request would pass."""

    quota: Quota
    left_bytes: float
    left_items: float
    at: float
    closed_until: float = 0.0

    @classmethod
    def full(cls, quota: Quota, now: float) -> "Bucket":
        return cls(quota, quota.burst_bytes, quota.burst_items, now)

    def refill(self, quota: Quota, now: float) -> None:
        """Bring up to `now`. A changed quota applies from here on, with the buckets as full as they were."""
        seconds = max(0.0, now - self.at)
        old = self.quota
        self.left_bytes = min(old.burst_bytes, self.left_bytes + seconds * old.bytes_per_second)
        self.left_items = min(old.burst_items, self.left_items + seconds * old.items_per_second)
        if quota != old:
            self.left_bytes *= quota.burst_bytes / old.burst_bytes
            self.left_items *= quota.burst_items / old.burst_items
        self.quota, self.at = quota, now

    def wait_seconds(self, cost: Cost) -> float:
        """0 if the cost can be taken now."""
        quota = self.quota
        lacks_bytes = min(cost.size_bytes, quota.burst_bytes) - self.left_bytes
        lacks_items = min(cost.items, quota.burst_items) - self.left_items
        return max(0.0, lacks_bytes / quota.bytes_per_second, lacks_items / quota.items_per_second)

    def take(self, cost: Cost) -> None:
        self.left_bytes -= cost.size_bytes
        self.left_items -= cost.items

    @property
    def ratio(self) -> float:
        """What is left of the scarcer one, from 0 to 1."""
        shares = (self.left_bytes / self.quota.burst_bytes, self.left_items / self.quota.burst_items)
        return max(0.0, min(shares))


@dataclass(slots=True)
class Quotas:
    """The buckets of all organisations that have a quota; `quota_of` is the catalog's, asked every time."""

    quota_of: Callable[[str], Quota | None]
    buckets: dict[str, Bucket] = field(default_factory=dict)

    def take(self, costs: Mapping[str, Cost], now: float) -> None:
        """Take what every organisation of a request costs, or, if one of them has not enough, nothing.

        Raises `QuotaExceeded` that says when the request would pass.
        """
        found = [(org, bucket, costs[org]) for org in costs if (bucket := self._bucket(org, now)) is not None]
        waits = [(bucket.wait_seconds(cost), org, bucket) for org, bucket, cost in found]
        wait_seconds, org, bucket = max(waits, key=lambda wait: wait[0], default=(0.0, "", None))
        if bucket is not None and wait_seconds > 0:
            bucket.closed_until = now + wait_seconds
            raise _exceeded(wait_seconds, org, bucket.quota)
        for _, bucket, cost in found:
            bucket.take(cost)

    def give_back(self, costs: Mapping[str, Cost]) -> None:
        """Undo a `take`: the log did not take the request."""
        for org, cost in costs.items():
            bucket = self.buckets.get(org)
            if bucket is not None:
                bucket.take(Cost(-cost.size_bytes, -cost.items))

    def check(self, org: str, now: float) -> None:
        """Refuse before anything is read, in debt or before the last refused request passes. Raises `QuotaExceeded`."""
        bucket = self._bucket(org, now)
        if bucket is not None and (wait := max(bucket.wait_seconds(Cost(1, 1)), bucket.closed_until - now)) > 0:
            raise _exceeded(wait, org, bucket.quota)

    def _bucket(self, org: str, now: float) -> Bucket | None:
        quota = self.quota_of(org)
        if quota is None:
            self.buckets.pop(org, None)
            return None
        bucket = self.buckets.get(org)
        if bucket is None:
            if len(self.buckets) >= MAX_BUCKETS:
                self.buckets = {name: each for name, each in self.buckets.items() if each.ratio < 1}
            bucket = self.buckets[org] = Bucket.full(quota, now)
        bucket.refill(quota, now)
        return bucket


def _exceeded(wait_seconds: float, org: str, quota: Quota) -> QuotaExceeded:
    text = (
        f"organisation {org} is over its quota of {quota.bytes_per_second:g} bytes/s and"
        f" {quota.items_per_second:g} items/s"
    )
    return QuotaExceeded(text, jittered(wait_seconds))
