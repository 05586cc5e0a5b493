"""Where batches end: the protocol every sink keeps (`tests/contracts/sink_contract.py`)."""

from typing import Protocol

from bridge.model import Batch, Encoded


class Sink(Protocol):
    def encode(self, batch: Batch) -> Encoded:
        """The batch as `write` takes it. CPU only, a few milliseconds: called in a thread, from several at once.

        The table can go then: columns are several times as large, and an insert takes its time.
        """
        ...

    async def write(self, encoded: Encoded) -> None:
        """Return when every row of the batch is durable and visible, once, here and in dependent views.

        Writing a batch with the same token again is harmless, at once or after a crash, as long as fewer than the
        deduplication window's number of batches came between. A batch without rows is a no-op. A cancelled call leaves
        the sink usable and the batch in an unknown state: write it again.
        Raises `SinkUnavailable` (write the same batch later) or `RejectedBySink` (it will never be taken as it is).
        """
        ...

    async def ping(self) -> None:
        """Return if the store answers. Raises `SinkUnavailable`."""
        ...
