"""Admission: one budget of bytes in flight. It refuses before memory grows; nothing is queued beyond a short wait."""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from bridge.errors import Overloaded

# A request that finds the budget taken may wait this long for its turn; then the client is told to come back.
MAX_WAIT_SECONDS = 1.0
# The hint, spread so that refused clients do not come back together.
RETRY_AFTER_SECONDS = (1.0, 3.0)


def jittered(seconds: float) -> float:
    """A wait with up to a tenth more, so that those who wait do not come back together."""
    return seconds * (1.0 + 0.1 * random.random()) + 0.001  # noqa: S311 - jitter, not a secret


def retry_hint_seconds() -> float:
    return random.uniform(*RETRY_AFTER_SECONDS)  # noqa: S311 - jitter, not a secret


# Requests over this size leave holes in the heap that no ordinary request fills.
LARGE_BYTES = 4 << 20
AFTER_LARGE_SECONDS = 0.05


class Budget:
    """Bytes in flight, first come first served.

    `take` returns when the bytes are ours, `give` returns them. A caller that takes more than it turns out to need
    gives the rest back as soon as it knows.
    """

    def __init__(self, max_bytes: int, after_large: Callable[[], None] | None = None) -> None:
        """`after_large` is called some time after requests over `LARGE_BYTES` are gone."""
        self.max_bytes = max_bytes
        self.taken_bytes = 0
        self._after_large = after_large
        self._is_after_due = False
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, wanted_bytes: int) -> None:
        """Raises `Overloaded` with a hint when the bytes do not become free soon."""
        if not self._waiting and self._fits(wanted_bytes):
            self.taken_bytes += wanted_bytes
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (wanted_bytes, turn)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await turn
        except BaseException as error:
            self._leave(entry)
            if isinstance(error, TimeoutError):
                raise self._refusal() from error
            raise

    def _leave(self, entry: tuple[int, "asyncio.Future[None]"]) -> None:
        """A waiter goes without its bytes; if its turn came while it was leaving, they are handed on."""
        wanted_bytes, turn = entry
        if turn.done() and not turn.cancelled():
            self.give(wanted_bytes)
            return
        if entry in self._waiting:
            self._waiting.remove(entry)
        self._wake()

    def take_now(self, wanted_bytes: int) -> None:
        """For bytes already held, as when a body inflates. Raises `Overloaded` if they do not fit at once."""
        if not self._fits(wanted_bytes):
            raise self._refusal()
        self.taken_bytes += wanted_bytes

    def give(self, free_bytes: int) -> None:
        self.taken_bytes -= free_bytes
        self._wake()

    def let_go_of_large(self) -> None:
        """Say that a large request is about to be gone; several of them end in one call of `after_large`."""
        if self._after_large is not None and not self._is_after_due:
            self._is_after_due = True
            asyncio.get_running_loop().call_later(AFTER_LARGE_SECONDS, self._is_gone)

    def _is_gone(self) -> None:
        self._is_after_due = False
        if self._after_large is not None:
            self._after_large()

    def _fits(self, wanted_bytes: int) -> bool:
        return self.taken_bytes + wanted_bytes <= self.max_bytes

    def _wake(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            wanted_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self.taken_bytes += wanted_bytes
                turn.set_result(None)

    def _refusal(self) -> Overloaded:
        text = f"{self.taken_bytes} of {self.max_bytes} bytes in flight (receive.max_in_flight_bytes)"
        return Overloaded(text, retry_hint_seconds())


class Hold:
    """The bytes one request holds of a budget; grows and shrinks with what is known, and gives all back at the end."""

    __slots__ = ("_budget", "_largest_bytes", "held_bytes")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._largest_bytes = 0
        self.held_bytes = 0

    def __enter__(self) -> "Hold":
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give(self.held_bytes)
        self.held_bytes = 0
        if self._largest_bytes > LARGE_BYTES:
            self._budget.let_go_of_large()

    async def reserve(self, wanted_bytes: int) -> None:
        """Wait shortly for `wanted_bytes` more. Raises `Overloaded`."""
        await self._budget.take(wanted_bytes)
        self.held_bytes += wanted_bytes

    def settle(self, actual_bytes: int) -> None:
        """Hold exactly `actual_bytes` from now on. Raises `Overloaded` if the difference does not fit."""
        self._largest_bytes = max(self._largest_bytes, actual_bytes)
        more = actual_bytes - self.held_bytes
        if more > 0:
            self._budget.take_now(more)
        elif more < 0:
            self._budget.give(-more)
        self.held_bytes = actual_bytes
