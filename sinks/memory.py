"""The sink contract in its plainest form, in memory: the reference for the others, and a fake to look into."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pyarrow as pa

from bridge.errors import BridgeError
from bridge.model import Batch, Encoded


@dataclass(frozen=True, slots=True)
class Hang:
    """A step of a script: the write sets `reached` and goes on once `release` is set."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


class MemorySink:
    """Keeps tables by token, in the order they came; `writes` lists every attempt's token."""

    def __init__(self) -> None:
        self.tables: dict[str, pa.Table] = {}
        self.writes: list[str] = []
        self._before: deque[BridgeError | Hang | None] = deque()
        self._after: deque[BridgeError | Hang | None] = deque()

    def script(self, *steps: BridgeError | Hang | None) -> None:
        """One step for each of the next writes, before anything is stored: raise it, hang in it, or (None) go on."""
        self._before.extend(steps)

    def script_after(self, *steps: BridgeError | Hang | None) -> None:
        """As `script`, once the batch is stored: what fails there is a lost answer."""
        self._after.extend(steps)

    def script_clear(self) -> None:
        """Forget all steps not yet taken."""
        self._before.clear()
        self._after.clear()

    def encode(self, batch: Batch) -> Encoded:
        """The table itself."""
        table = batch.table
        return Encoded(batch.signal, batch.token, table.num_rows, tuple(table.schema.names), table)

    async def write(self, encoded: Encoded) -> None:
        self.writes.append(encoded.token)
        await _take(self._before)
        if encoded.rows:
            self.tables.setdefault(encoded.token, encoded.body)
        await _take(self._after)

    async def ping(self) -> None:
        """Always there."""

    @property
    def rows(self) -> int:
        return sum(table.num_rows for table in self.tables.values())


async def _take(steps: deque[BridgeError | Hang | None]) -> None:
    step = steps.popleft() if steps else None
    if isinstance(step, Hang):
        step.reached.set()
        await step.release.wait()
    elif step is not None:
        raise step
