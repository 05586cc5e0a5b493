"""How far the store is complete, asked every second so that no request has to."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Final

from query_api.errors import QueryError
from query_api.storage import StorageProvider

logger = logging.getLogger(__name__)
EVERY_SECONDS: Final = 1.0


class Watermark:
    """`current()`: by signal, unix nanoseconds; empty while nothing is known. `is_answering`: the store did so last."""

    def __init__(self, storage: StorageProvider) -> None:
        self._storage = storage
        self._until: Mapping[str, int] = {}
        self.is_answering = False

    def current(self) -> Mapping[str, int]:
        return self._until

    async def watch(self, stop: asyncio.Event) -> None:
        """Ask until `stop`. What was known stays true while the store is away."""
        while not stop.is_set():
            try:
                self._until = await self._storage.complete_until()
            except QueryError as error:
                if self.is_answering:
                    logger.warning("the store does not answer: %s", error)
                self.is_answering = False
            except Exception:
                logger.exception("a defect in asking how far the store is complete")  # no reason to end the process
                self.is_answering = False
            else:
                self.is_answering = True
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
