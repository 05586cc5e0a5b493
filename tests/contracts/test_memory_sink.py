"""The memory sink keeps the sink contract."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from bridge.errors import RejectedBySink, SinkUnavailable
from bridge.model import Signal
from sinks.memory import MemorySink
from tests.contracts.sink_contract import Opened, SinkContract, batch_of, expected, write


@dataclass
class OpenedMemory:
    sink: MemorySink

    async def ids(self, signal: Signal) -> list[str]:
        tables = [table for token, table in self.sink.tables.items() if f":{signal.topic}:" in token]
        return [name for table in tables for name in table.column("SpanId").to_pylist()]

    async def ids_in_view(self, signal: Signal) -> list[str]:
        return await self.ids(signal)


class TestMemorySink(SinkContract):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Opened]:
        yield OpenedMemory(MemorySink())

    async def test_scripted_failures_come_in_order(self, opened: OpenedMemory) -> None:
        """A lost answer leaves the rows there; a refusal does not."""
        opened.sink.script(SinkUnavailable("down"), RejectedBySink("bad", 6))
        opened.sink.script_after(SinkUnavailable("lost"))
        batch = batch_of(Signal.TRACES, 3)
        with pytest.raises(SinkUnavailable, match="down"):
            await write(opened, batch)
        with pytest.raises(RejectedBySink):
            await write(opened, batch)
        assert await opened.ids(Signal.TRACES) == []
        with pytest.raises(SinkUnavailable, match="lost"):
            await write(opened, batch)
        assert await opened.ids(Signal.TRACES) == expected(3)
