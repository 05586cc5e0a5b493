"""A request on a connection that is being lost fails as aiokafka's own error, on every event loop.

Between the loss of a connection and aiokafka's notice of it lie a few turns of the loop. What is sent then, asyncio
drops and uvloop refuses with a RuntimeError, which aiokafka 0.14 expects nowhere. The task that keeps its metadata
ended of it without a word, and all that waits for metadata waited for ever: the search for the coordinator, so every
commit and every join. It also ended the fetcher, and came out of a commit.
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def send(self: Any, request: Any, expect_response: bool = True) -> Any:
    """As `AIOKafkaConnection.send`, which raises the same when it knows already that the connection is gone."""
    if self._writer is not None and self._writer.transport.is_closing():
        error = KafkaConnectionError(f"Connection at {self.host}:{self.port} is being lost")
        self.close(reason=CloseReason.CONNECTION_BROKEN, exc=error)
        raise error
    return _send(self, request, expect_response)


def mend_send() -> None:
    """Every client of this process sends so from here on."""
    AIOKafkaConnection.send = send
