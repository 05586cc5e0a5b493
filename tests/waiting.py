"""Waiting for what another task or process will bring about, with a deadline and no guess of how long it takes."""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.002


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return when the condition holds. Raises `TimeoutError`."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - conditions of foreign state have no event
            await asyncio.sleep(POLL_SECONDS)


def eventually_sync(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """The same, where no loop runs."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not true after {seconds:g} s")
        time.sleep(POLL_SECONDS)
