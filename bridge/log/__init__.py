"""The durable log between receive and deliver: the two protocols every log keeps (`tests/contracts/log_contract.py`).

A log is opened as an async context manager that yields an object with both roles; using it after that block raises
`LogUnavailable`. Offsets in a partition grow by at least one per record and are never reused, not even after a crash.
"""

from collections.abc import Sequence
from typing import Protocol

from bridge.model import Committed, Partition, PartitionLag, ReadRecord, Record


class LogAppender(Protocol):
    async def append(self, records: Sequence[Record]) -> None:
        """Return when every record is durable and will be read in the order given, per partition.

        Raises `LogFull` or another `LogUnavailable`: none of the records is acknowledged (some may still be read
        later), and the caller refuses the request with the error's hint. A cancelled call may or may not append.
        """
        ...


class PartitionListener(Protocol):
    async def on_assigned(self, committed: Sequence[Committed]) -> None:
        """These partitions are ours from now on; start at `position`, replaying `intent` first."""
        ...

    async def on_revoked(self, partitions: Sequence[Partition]) -> None:
        """These partitions go away when this returns: finish and commit the batch at hand, take no new one."""
        ...


class LogReader(Protocol):
    @property
    def log_id(self) -> str:
        """Names this log for ever: offsets are unique within it, so tokens that carry it never collide."""
        ...

    async def subscribe(self, listener: PartitionListener) -> None:
        """Return when the listener has been told of its first partitions; it is told of every later change."""
        ...

    async def unsubscribe(self) -> None:
        """Give all partitions back through `on_revoked`; harmless if there is no subscription."""
        ...

    async def read(
        self, partition: Partition, offset: int, max_bytes: int, max_wait_seconds: float
    ) -> Sequence[ReadRecord]:
        """Records from `offset` on, in order: at least one if there is any, more while their values fit `max_bytes`.

        Waits up to `max_wait_seconds` for the first one, then returns nothing. Raises `Revoked` if the partition is
        not ours, `LogUnavailable` if the log cannot be read now.
        """
        ...

    async def commit(self, committed: Committed) -> None:
        """Return when position and intent are durable. Raises `Revoked` or `LogUnavailable`."""
        ...

    def lag(self) -> Sequence[PartitionLag]:
        """One entry for each assigned partition, from what is known now; no I/O."""
        ...
