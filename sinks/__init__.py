"""Where batches end: the protocol every sink keeps (`tests/contracts/sink_contract.py`)."""

from typing import Protocol

from bridge.model import Batch


class Sink(Protocol):
    async def write(self, batch: Batch) -> None:
        """Return when every row of the batch is durable and visible, once, here and in dependent views.

        Writing a batch with the same token again is harmless, at once or after a crash, as long as fewer than the
        deduplication window's number of batches came between. An empty table is a no-op. A cancelled call leaves the
        sink usable and the batch in an unknown state: write it again.
        Raises `SinkUnavailable` (write the same batch later) or `RejectedBySink` (it will never be taken as it is).
        """
        ...

    async def ping(self) -> None:
        """Return if the store answers. Raises `SinkUnavailable`."""
        ...
