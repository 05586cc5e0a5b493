"""Group commit: a single thread does whatever is waiting in one go, while the next group gathers."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import Generic, TypeVar

from bridge.errors import LogUnavailable

W = TypeVar("W")


class GroupCommit(Generic[W]):
    """`perform` runs on the executor's thread and answers for each piece of work in turn: None, or what went wrong.

    `performed` then runs on the loop, before anybody who waits.
    """

    def __init__(
        self,
        executor: Executor,
        perform: Callable[[Sequence[W]], Sequence[Exception | None]],
        performed: Callable[[Sequence[W]], None],
    ) -> None:
        self._executor, self._perform, self._performed = executor, perform, performed
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[W, asyncio.Future[None]]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_over = False

    async def submit(self, work: W) -> None:
        """Return when the work is done, or raise what went wrong with it. Cancelled, it is done all the same."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append((work, done))
        if self._idle.is_set():
            self._idle.clear()
            # Not at once: all that is submitted in this turn of the loop shares the group.
            self._loop.call_soon(self._start)
        await done

    async def drain(self) -> None:
        """Return when nothing is waiting or under way; cut short by cancellation, what still waits is refused."""
        try:
            await self._idle.wait()
        finally:
            self._is_over = True

    def _start(self) -> None:
        group, self._waiting = self._waiting, []
        if self._is_over:
            self._finish(group, [LogUnavailable("the log is closed", reason="log_closed") for _ in group])
            return
        self._executor.submit(self._run, group)

    def _run(self, group: list[tuple[W, asyncio.Future[None]]]) -> None:
        outcomes: Sequence[Exception | None]
        try:
            outcomes = self._perform([work for work, _ in group])
        except Exception as error:  # a bug: those who wait must hear of it, and the thread must live
            outcomes = [error] * len(group)
        with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, group, outcomes)

    def _finish(self, group: list[tuple[W, asyncio.Future[None]]], outcomes: Sequence[Exception | None]) -> None:
        self._performed([work for work, _ in group])
        if self._waiting:
            self._start()
        else:
            self._idle.set()
        for (_, done), outcome in zip(group, outcomes, strict=True):
            if done.done():  # cancelled
                continue
            if outcome is None:
                done.set_result(None)
            else:
                done.set_exception(outcome)
