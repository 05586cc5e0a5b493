"""How long a caller waits for OpenSearch: `python -m bench.opensearch_reads [ROWS]` on a node of its own.

ROWS log records (200,000) of 5 organisations over a day, 20 components each, as our sink writes them; as many of others
as a Fluent Bit does, in days of their own; ROWS / 10 spans in traces of 20.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from bridge.documents import Family, layout_of
from query_api.storage import LogQuery, TraceQuery, TraceSpansQuery
from query_api.tenant import Tenant
from tests.legacy import Past, fill
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.opensearch_storage import OpenedOpenSearch, opened_opensearch
from tests.stored import DAY, NOON, Stored, place

AT_ONCE = 5_000
QUESTIONS = 60
START = NOON // DAY * DAY
TENANT = Tenant.of("o0")


async def write(opened: OpenedOpenSearch, rows: int) -> None:
    """In order of time; each line is another one."""
    for first in range(0, rows, AT_ONCE):
        stored = Stored()
        for number in range(first, min(rows, first + AT_ONCE)):
            resource = place(f"o{number % 5}", "shop", f"c{number // 5 % 20}", "dev", service__name="api")
            level = "ERROR" if number % 50 == 0 else "INFO"
            at = START + number * (DAY // rows)
            stored.log(f"{level} request {number} to /orders/{number % 977} served", at, resource, severity=level)
            if number % 10 == 0:
                ids = (f"{number // 200 + 1:032x}", f"{number + 1:016x}")
                stored.span(f"span {number}", ids, at, resource, parent="" if number % 200 == 0 else "ab" * 8)
        await opened.write(stored)


async def measured(name: str, ask: Callable[[int], Awaitable[object]]) -> None:
    """Print the median and the 95th in milliseconds."""
    seconds = []
    for number in range(QUESTIONS):
        started = time.perf_counter()
        await ask(number)
        seconds.append(time.perf_counter() - started)
    seconds.sort()
    print(f"{name:44} p50 {seconds[len(seconds) // 2] * 1000:7.1f} ms   p95 {seconds[-3] * 1000:7.1f} ms", flush=True)


async def ours(node: OpenSearchNode, rows: int) -> None:
    async with opened_opensearch(node, Family.A) as opened:
        await write(opened, rows)
        storage, day = opened.storage, LogQuery(START, START + DAY)
        await measured("ours: page of 100", lambda n: storage.logs(TENANT, day))
        await measured(
            "ours: page of 100 of a component",
            lambda n: storage.logs(TENANT, replace(day, components=(f"c{n % 20}",))),
        )
        await measured(
            "ours: page of 100 with a phrase",
            lambda n: storage.logs(TENANT, replace(day, phrase=f"/orders/{n} served")),
        )
        await measured("ours: page of 100 errors", lambda n: storage.logs(TENANT, replace(day, levels=("ERROR",))))
        await measured("one trace", lambda n: storage.trace(TENANT, TraceSpansQuery(f"{n * 7 + 1:032x}")))
        await measured("20 traces of a day", lambda n: storage.traces(TENANT, TraceQuery(START, START + DAY, limit=20)))


async def theirs(node: OpenSearchNode, rows: int) -> None:
    past = Past(rows, days=2)
    await asyncio.to_thread(fill, node, past)
    async with opened_opensearch(node, Family.A) as opened:
        storage = type(opened.storage)(opened.client, layout_of(Family.A))
        tenant = Tenant.of("org4")
        await measured("others': page of 100", lambda n: storage.logs(tenant, LogQuery()))
        await measured("others': page with a word", lambda n: storage.logs(tenant, LogQuery(phrase=str(n * 1000 + 4))))
        await measured(
            "others': page with a phrase", lambda n: storage.logs(tenant, LogQuery(phrase=f"request {n * 1000 + 4}"))
        )
        await measured(
            "others': page of errors, counted to 10,000", lambda n: storage.logs(tenant, LogQuery(levels=("ERROR",)))
        )


async def run(rows: int) -> None:
    with start_opensearch() as node:
        await ours(node, rows)
        await theirs(node, rows)


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
