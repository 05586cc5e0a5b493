"""When a batch is closed: by rows, by bytes or by age. Pure: it takes what is pending and the time, nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

from bridge.model import ReadRecord


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    max_rows: int
    max_bytes: int
    max_age_seconds: float


@dataclass(frozen=True, slots=True)
class Pending:
    """Records read and not yet cut into a batch; `opened_at` is when the first of them was read (monotonic)."""

    records: tuple[ReadRecord, ...] = ()
    value_bytes: int = 0
    opened_at: float = 0.0

    def add(self, records: Sequence[ReadRecord], now: float) -> "Pending":
        added_bytes = sum(len(read.record.value) for read in records)
        opened_at = self.opened_at if self.records else now
        return Pending((*self.records, *records), self.value_bytes + added_bytes, opened_at)

    def seconds_left(self, policy: BatchPolicy, now: float) -> float:
        """How long the batch may still wait for more."""
        if not self.records:
            return policy.max_age_seconds
        return max(0.0, self.opened_at + policy.max_age_seconds - now)

    def room_bytes(self, policy: BatchPolicy) -> int:
        return max(1, policy.max_bytes - self.value_bytes)

    def cut(self, policy: BatchPolicy, now: float) -> tuple[tuple[ReadRecord, ...], "Pending"]:
        """The records of the next batch, empty if it is too early, and what stays pending.

        A batch holds at least one record, and ends before the record that would take it over a limit. A replayed dead
        letter is a batch of its own, so that its token can be the letter's.
        """
        rows = value_bytes = 0
        for index, read in enumerate(self.records):
            rows += read.record.items
            value_bytes += len(read.record.value)
            is_over = rows > policy.max_rows or value_bytes > policy.max_bytes
            if index and (is_over or read.record.dead_letter or self.records[index - 1].record.dead_letter):
                return self._split(index, now)
        is_full = rows >= policy.max_rows or value_bytes >= policy.max_bytes
        if self.records and (is_full or now >= self.opened_at + policy.max_age_seconds):
            return self._split(len(self.records), now)
        return (), self

    def _split(self, index: int, now: float) -> tuple[tuple[ReadRecord, ...], "Pending"]:
        return self.records[:index], Pending().add(self.records[index:], now)
