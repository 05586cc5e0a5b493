"""A process that runs into a real limit on the size of files: `python -m tests.unit.log_full_disk FOLDER`."""

import asyncio
import resource
import sys
from pathlib import Path

from bridge.errors import LogUnavailable
from bridge.log.embedded import EmbeddedLog, open_embedded_log
from tests.contracts.log_ends import MIB, Listener, take, values
from tests.unit.log_files import record

LIMIT_BYTES = 50_000  # the kernel writes up to it, then refuses in the middle of a record


async def _main(folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with open_embedded_log(folder, max_bytes=MIB) as log:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, hard))
        kept = await _fill(log)
        assert LIMIT_BYTES - 4_100 < log.size_bytes <= LIMIT_BYTES
        await log.append([record(b"small")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        await log.append([record(b"x" * 4_000)])
        listener = Listener()
        await log.subscribe(listener)
        assert values(await take(log, listener, len(kept) + 2)) == [*kept, b"small", b"x" * 4_000]


async def _fill(log: EmbeddedLog) -> list[bytes]:
    """Append until the disk refuses; returns what was acknowledged."""
    kept: list[bytes] = []
    while True:
        value = b"%d:" % len(kept) + b"x" * 4_000
        try:
            await log.append([record(value)])
        except LogUnavailable as error:
            assert error.reason == "log_disk_full", error  # noqa: PT017 - the loop ends only here
            return kept
        kept.append(value)


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
