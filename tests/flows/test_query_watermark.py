"""How far the store is complete, asked all the time: what comes in its way."""

import asyncio
from collections.abc import Mapping

from query_api.memory import MemoryStorage
from query_api.watermark import Watermark
from tests.stored import NOON
from tests.waiting import eventually


async def test_a_defect_in_asking_for_freshness_does_not_end_the_process() -> None:
    """An error nobody thought of makes the role not ready; the next answer makes it ready again."""

    class Odd(MemoryStorage):
        is_broken = True

        async def complete_until(self) -> Mapping[str, int]:
            if self.is_broken:
                raise ValueError("not a number")
            return {"logs": NOON}

    store, stop = Odd(), asyncio.Event()
    watermark = Watermark(store)
    watermark.is_answering = True
    async with asyncio.TaskGroup() as group:
        group.create_task(watermark.watch(stop))
        await eventually(lambda: not watermark.is_answering)
        store.is_broken = False
        await eventually(lambda: watermark.is_answering)
        stop.set()
