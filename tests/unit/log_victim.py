"""A process that fills an embedded log until it is killed: `python -m tests.unit.log_victim FOLDER FIRST_ID`.

Prints `a <id>` once an append is acknowledged, `d <id>` when a record is delivered, and `c <position>` once all that
was delivered before is committed. Ids are appended in ascending order.
"""

import asyncio
import sys
from itertools import count
from pathlib import Path

from bridge.log.embedded import EmbeddedLog, open_embedded_log
from bridge.model import Committed, Intent, Record
from tests.contracts.log_ends import Listener
from tests.unit.log_files import SPANS, record

APPENDERS = 4


async def _append(log: EmbeddedLog, ids: "count[int]") -> None:
    while True:
        number = next(ids)
        await log.append([record(b"%d:" % number + b"x" * (number * 7919 % 3000))])
        _say("a", number)


async def _deliver(log: EmbeddedLog, start: Committed) -> None:
    position = start.position
    while True:
        found = await log.read(SPANS, position, 20_000, 30.0)
        first, last = found[0].offset, found[-1].offset
        await log.commit(Committed(SPANS, first, Intent(first, last, 1)))
        for read in found:
            _say("d", id_of(read.record))
        position = last + 1
        await log.commit(Committed(SPANS, position))
        _say("c", position)


def id_of(record: Record) -> int:
    return int(record.value.partition(b":")[0])


def _say(what: str, number: int) -> None:
    print(what, number, flush=True)  # noqa: T201 - how its parent hears of it


async def _main(folder: Path, first_id: int) -> None:
    async with open_embedded_log(folder, max_bytes=1 << 30, segment_bytes=100_000) as log, asyncio.TaskGroup() as group:
        listener, ids = Listener(), count(first_id)
        await log.subscribe(listener)
        group.create_task(_deliver(log, listener.assigned[SPANS]))
        for _ in range(APPENDERS):
            group.create_task(_append(log, ids))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), int(sys.argv[2])))
