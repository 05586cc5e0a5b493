"""In the flows a blocking call inside the event loop is a failure, and so is a task that outlives its test."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import pytest
from blockbuster import BlockBuster

from tests.listeners import grpc_engine

__all__ = ["grpc_engine"]


@pytest.fixture(autouse=True)
def blockbuster() -> Iterator[None]:
    """What runs between a request and its record, and between the log and the sink, never blocks."""
    guard = BlockBuster(scanned_modules=["bridge.ingest", "bridge.deliver", "bridge.log"])
    guard.activate()
    yield
    guard.deactivate()
    # gRPC's objects shut its threads down when they are collected, which blocks: here, and not in a later test
    gc.collect()


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Whatever a test started has ended with it."""
    before = asyncio.all_tasks()
    yield
    async with asyncio.timeout(5):
        while left := asyncio.all_tasks() - before - {asyncio.current_task()}:
            await asyncio.wait(left)
