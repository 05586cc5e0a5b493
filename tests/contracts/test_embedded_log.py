"""The embedded log keeps the log contract, with segments large and small."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from bridge.log.embedded import open_embedded_log
from tests.contracts.log_contract import LogContract
from tests.contracts.log_ends import MIB, Ends


@asynccontextmanager
async def _opened(folder: Path, segment_bytes: int) -> AsyncIterator[Ends]:
    async with open_embedded_log(folder / "log", max_bytes=64 * MIB, segment_bytes=segment_bytes) as log:
        yield Ends(log, log, log.close)


class TestEmbeddedLog(LogContract):
    shares_partitions = False

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return _opened(folder, MIB)


class TestEmbeddedLogInManySegments(LogContract):
    shares_partitions = False

    def open(self, folder: Path) -> AbstractAsyncContextManager[Ends]:
        return _opened(folder, 100)
