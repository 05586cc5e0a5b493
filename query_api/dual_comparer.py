"""Asking the second store behind the caller's back: in tasks of its own, few at once, none for long."""

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from contextvars import Context
from typing import Final

from bridge.settings_dual import Dual
from query_api.compare import compare
from query_api.dual_records import Asked, Records
from query_api.errors import QueryError, QueryTimeout, StoreFailed, StoreUnavailable
from query_api.questions import COMPARED, Answer, Method, TooLong, ask
from query_api.sides import Side
from query_api.storage import LogPage, SpanPage, StorageProvider, TracePage

logger = logging.getLogger(__name__)
NANO: Final = 1_000_000_000
# More rows are compared in a thread, so that they hold up nobody's answer.
MANY_ROWS: Final = 200


class Comparer:
    """Holds `max_concurrent` places; its tasks end with the block that has opened it."""

    def __init__(
        self,
        sides: Mapping[Side, StorageProvider],
        settings: Dual,
        records: Records,
        group: asyncio.TaskGroup,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._sides, self._settings, self._records, self._group, self._draw = sides, settings, records, group, draw
        self._taken = 0
        self.tasks = set[asyncio.Task[None]]()

    def claim(self, asked: Asked) -> bool:
        """Whether this answer is to be compared; its place is taken then, until `start` or `give_back`."""
        if asked.question.method not in COMPARED or self._draw() >= self._settings.sample_rate:
            return False
        if asked.question.cursor is not None:  # the other store cannot go on where this one has ended
            self._records.not_compared(asked, "cursor")
            return False
        if self._taken >= self._settings.max_concurrent:
            self._records.not_compared(asked, "no_room")
            return False
        self._taken += 1
        return True

    def give_back(self) -> None:
        """The place of a claim that came to nothing."""
        self._taken -= 1

    def start(self, asked: Asked, answer: Answer) -> None:
        """Compare in the background. The caller's context stays with the caller: its limits are not for us."""
        task = self._group.create_task(self._run(asked, answer), name="compare", context=Context())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        task.add_done_callback(lambda _: self.give_back())

    def skip(self, asked: Asked, reason: str) -> None:
        """A claim that cannot be kept."""
        self.give_back()
        self._records.not_compared(asked, reason)

    async def _run(self, asked: Asked, answer: Answer) -> None:
        try:
            found = await self._other(asked)
            if found is None:
                return
            (other,) = found
            settled = asked.at_unix_nano - int(self._settings.settle_seconds * NANO)
            if max(_rows(answer), _rows(other)) > MANY_ROWS:
                comparison = await asyncio.to_thread(compare, asked.question, answer, other, settled)
            else:
                comparison = compare(asked.question, answer, other, settled)
            self._records.compared(asked, comparison)
        except Exception:
            logger.exception("a defect in comparing", extra={"fields": {"method": str(asked.question.method)}})
            self._records.not_compared(asked, "defect")

    async def _other(self, asked: Asked) -> tuple[Answer] | None:
        """The second store's answer; None, counted, if there is none."""
        side, started = asked.side.other, time.perf_counter()
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                answer = await ask(self._sides[side], asked.question)
        except TooLong:
            self._records.not_compared(asked, "too_long")
            return None
        except Exception as error:
            if not is_store_failure(error):
                self._records.not_compared(asked, "refused")
                return None
            if (reason := reason_of(error)) == "defect":
                logger.exception("a defect in asking the second store")
            self._records.question(asked, side, is_failure=True)
            self._records.secondary_error(asked, reason)
            return None
        # an export's time is not known of the store that answers: counted of one alone, it would make that one slow
        is_timed = asked.question.method is not Method.EXPORT_LOGS
        self._records.question(asked, side, took_seconds=time.perf_counter() - started if is_timed else None)
        return (answer,)


@asynccontextmanager
async def open_comparer(
    sides: Mapping[Side, StorageProvider],
    settings: Dual,
    records: Records,
    draw: Callable[[], float] = random.random,
) -> AsyncIterator[Comparer]:
    """Compare until the block is left; what is under way then is dropped."""
    async with asyncio.TaskGroup() as group:
        comparer = Comparer(sides, settings, records, group, draw)
        try:
            yield comparer
        finally:
            for task in comparer.tasks:
                task.cancel()


def is_store_failure(error: Exception) -> bool:
    """Whether the store is at fault, and not the question."""
    return not isinstance(error, QueryError) or isinstance(error, StoreUnavailable | QueryTimeout | StoreFailed)


def reason_of(error: Exception) -> str:
    """A short constant, for the metric."""
    if isinstance(error, StoreUnavailable):
        return "unavailable"
    if isinstance(error, QueryTimeout):
        return "timeout"
    if isinstance(error, TimeoutError):
        return "deadline"
    return "failed" if isinstance(error, StoreFailed) else "defect"


def _rows(answer: Answer) -> int:
    match answer:
        case LogPage():
            return len(answer.rows)
        case SpanPage():
            return len(answer.spans)
        case TracePage():
            return len(answer.traces)
        case list() | tuple():
            return len(answer)
    return 1
