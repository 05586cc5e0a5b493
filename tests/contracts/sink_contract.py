"""What every sink owes, whatever store is behind it. Subclasses say how to open one and how to look inside."""

import asyncio
import random
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import pytest

from bridge.columns import to_table
from bridge.model import OTLP_SIGNALS, Batch, Record, Signal
from sinks import Sink
from tests.load import Book


class Opened(Protocol):
    """A sink under test and its store."""

    @property
    def sink(self) -> Sink: ...

    async def ids(self, signal: Signal) -> list[str]:
        """The span ids of all rows of the base table, as often as they are there."""
        ...

    async def ids_in_view(self, signal: Signal) -> list[str]:
        """The same of a table that a materialized view feeds."""
        ...


def batch_of(signal: Signal, items: int, token: str | None = None, first: int = 1) -> Batch:
    """A batch on three days, its ids counted from `first`."""
    book = Book()
    for _ in range(first - 1):
        next(book.ids)
    body, _ = book.request(signal, items, random.Random(first))
    table = to_table(signal, [Record(signal, "o", "p", 1, items, body)])
    return Batch(signal, token or f"log:{signal.topic}:0:{uuid.uuid4().hex}:1", table)


async def write(opened: Opened, batch: Batch) -> None:
    """Encoded and written."""
    await opened.sink.write(opened.sink.encode(batch))


def expected(items: int, first: int = 1) -> list[str]:
    return [f"{number:016x}" for number in range(first, first + items)]


class SinkContract(ABC):
    has_views = True
    large_batch_rows = 200_000

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Opened]:
        """A sink on an empty store."""

    @pytest.fixture
    async def opened(self) -> AsyncIterator[Opened]:
        async with self.open() as opened:
            yield opened

    @pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
    async def test_what_is_written_is_there_on_return(self, opened: Opened, signal: Signal) -> None:
        """Every row of the batch is visible, once, when `write` has returned."""
        await write(opened, batch_of(signal, 100))
        assert sorted(await opened.ids(signal)) == expected(100)

    @pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
    async def test_the_same_token_again_changes_nothing(self, opened: Opened, signal: Signal) -> None:
        """A repeat is dropped, in the base table and in the view's target, also with other batches between."""
        batch = batch_of(signal, 50, first=1)
        await write(opened, batch)
        await write(opened, batch_of(signal, 50, first=51))
        await write(opened, batch)
        assert sorted(await opened.ids(signal)) == expected(100)
        if self.has_views:
            assert sorted(await opened.ids_in_view(signal)) == expected(100)

    async def test_the_same_token_from_four_callers_at_once_is_one_batch(self, opened: Opened) -> None:
        """A writer that was thought dead may come back while another repeats its batch."""
        batch = batch_of(Signal.TRACES, 500)
        await asyncio.gather(*(write(opened, batch) for _ in range(4)))
        assert sorted(await opened.ids(Signal.TRACES)) == expected(500)
        if self.has_views:
            assert sorted(await opened.ids_in_view(Signal.TRACES)) == expected(500)

    async def test_equal_rows_under_two_tokens_are_two_batches(self, opened: Opened) -> None:
        """Only the token says what is a repeat; clients may send equal items."""
        await write(opened, batch_of(Signal.LOGS, 10))
        await write(opened, batch_of(Signal.LOGS, 10))
        assert sorted(await opened.ids(Signal.LOGS)) == sorted(expected(10) * 2)

    async def test_an_empty_batch_is_nothing(self, opened: Opened) -> None:
        """Requests without items become batches without rows."""
        table = to_table(Signal.TRACES, [])
        await write(opened, Batch(Signal.TRACES, "log:otlp_spans:0:0-0:1", table))
        assert await opened.ids(Signal.TRACES) == []

    async def test_a_large_batch_is_one_block(self, opened: Opened) -> None:
        """More rows than any default block holds, over several days: written again they are still there once."""
        rows = self.large_batch_rows
        batch = batch_of(Signal.LOGS, rows)
        await write(opened, batch)
        await write(opened, batch)
        assert len(await opened.ids(Signal.LOGS)) == rows
        if self.has_views:
            assert len(await opened.ids_in_view(Signal.LOGS)) == rows

    async def test_batches_side_by_side_are_all_there(self, opened: Opened) -> None:
        """Concurrent writes do not mix up their tokens or rows."""
        batches = [batch_of(signal, 20, first=1 + 20 * n) for n in range(8) for signal in OTLP_SIGNALS]
        await asyncio.gather(*(write(opened, batch) for batch in batches))
        for signal in OTLP_SIGNALS:
            assert sorted(await opened.ids(signal)) == expected(160)

    async def test_a_cancelled_write_can_be_repeated(self, opened: Opened) -> None:
        """Cancellation leaves the sink usable; the batch, written again, is there once."""
        batch = batch_of(Signal.TRACES, 2_000)
        writing = asyncio.create_task(write(opened, batch))
        await asyncio.sleep(0)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await write(opened, batch)
        assert sorted(await opened.ids(Signal.TRACES)) == expected(2_000)

    async def test_ping_returns_while_the_store_answers(self, opened: Opened) -> None:
        """The cheapest question works on an empty store."""
        await opened.sink.ping()
