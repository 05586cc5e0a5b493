"""How much one caller gets: a rate, and places at the store of which it never has more than its share."""

import asyncio
import math
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final

from query_api.errors import TooManyRequests

MAX_CALLERS: Final = 10_000
ROOM_RETRY_SECONDS: Final = 1.0
# at least; one body of query.max_request_bytes has room in any case
BODIES_BYTES: Final = 24 << 20
# of the store's text; a page takes four times as much of memory while it is made (60 MiB of 15, measured)
ANSWERS_BYTES: Final = 33 << 20


class Rates:
    """A token bucket a caller, of `per_second` and twice as many at once. Takes `now`; the eldest are forgotten."""

    def __init__(self, per_second: float) -> None:
        self._per_second, self._burst = per_second, max(1.0, 2 * per_second)
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, now: float) -> None:
        """Count one request. Raises `TooManyRequests`."""
        left, since = self._left.pop(caller, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        is_taken = left >= 1
        self._left[caller] = (left - 1 if is_taken else left, now)
        if len(self._left) > MAX_CALLERS:
            self._left.popitem(last=False)
        if not is_taken:
            raise TooManyRequests("too many requests from this caller", (1 - left) / self._per_second)


class Room:
    """Bytes that requests in hand may have together; one caller has at most half of them, or one piece alone."""

    def __init__(self, max_bytes: int, what: str) -> None:
        self._left_bytes, self._share_bytes, self._what = max_bytes, max_bytes // 2, what
        self._of_caller: Counter[str] = Counter()

    def take(self, caller: str, size_bytes: int) -> None:
        """Room for so many more. Raises `TooManyRequests` if there is none now."""
        held_bytes = self._of_caller[caller] + size_bytes
        if size_bytes > self._left_bytes or (held_bytes > self._share_bytes and held_bytes > size_bytes):
            raise TooManyRequests(f"too many {self._what} at once", ROOM_RETRY_SECONDS)
        self._left_bytes -= size_bytes
        self._of_caller[caller] = held_bytes

    def give_back(self, caller: str, size_bytes: int) -> None:
        self._left_bytes += size_bytes
        self._of_caller[caller] -= size_bytes
        if not self._of_caller[caller]:
            del self._of_caller[caller]

    @contextmanager
    def hold(self, caller: str, size_bytes: int) -> Iterator[None]:
        """Room until the block is left. Raises `TooManyRequests` if there is none now."""
        self.take(caller, size_bytes)
        try:
            yield
        finally:
            self.give_back(caller, size_bytes)


class _Held:
    """What one request has taken of a room, piece by piece."""

    __slots__ = ("caller", "room", "size_bytes")

    def __init__(self, room: Room, caller: str) -> None:
        self.room, self.caller, self.size_bytes = room, caller, 0


_ANSWER: Final[ContextVar[_Held | None]] = ContextVar("answer", default=None)


@contextmanager
def answering(room: Room, caller: str) -> Iterator[None]:
    """What `take_answer_bytes` takes inside the block comes out of this room, and is given back when it is left."""
    held = _Held(room, caller)
    before = _ANSWER.set(held)
    try:
        yield
    finally:
        _ANSWER.reset(before)
        room.give_back(caller, held.size_bytes)


def take_answer_bytes(size_bytes: int) -> None:
    """So much of a store's answer is in this process now. Raises `TooManyRequests` if others take all the room."""
    held = _ANSWER.get()
    if held is not None:
        held.room.take(held.caller, size_bytes)
        held.size_bytes += size_bytes


class Gate:
    """Places for requests that the store works on."""

    def __init__(self, places: int, wait_seconds: float) -> None:
        self._places, self._wait_seconds = asyncio.Semaphore(places), wait_seconds
        self._share = max(1, math.ceil(places / 2))
        self._of_caller: dict[str, asyncio.Semaphore] = {}
        self._users: Counter[str] = Counter()

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """A place until the block is left. Raises `TooManyRequests` if none is free in time."""
        mine = self._of_caller.setdefault(caller, asyncio.Semaphore(self._share))
        self._users[caller] += 1
        try:
            await self._wait(mine)
            try:
                await self._wait(self._places)
                try:
                    yield
                finally:
                    self._places.release()
            finally:
                mine.release()
        finally:
            self._users[caller] -= 1
            if not self._users[caller]:
                del self._users[caller], self._of_caller[caller]

    async def _wait(self, places: asyncio.Semaphore) -> None:
        try:
            async with asyncio.timeout(self._wait_seconds):
                await places.acquire()
        except TimeoutError:
            raise TooManyRequests("all places for queries are taken", self._wait_seconds) from None
