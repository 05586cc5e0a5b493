"""The admin port: /livez, /readyz and /metrics. It reports what others found out; it decides nothing on data.

/livez   200 while every loop has moved recently; 503 names the one that is stuck (restart the process).
/readyz  200 when data is taken and gets through; 503 says which part does not. /readyz/receive and /readyz/deliver ask
         for one part: a store that is down fails deliver, while receive goes on acknowledging into the log.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from bridge.listen import start_site
from bridge.settings import split_address


@dataclass(frozen=True, slots=True)
class Check:
    """One part's state: `problem` is None when it is well; `details` are shown either way."""

    problem: str | None
    details: Mapping[str, object]


Checks = Callable[[], Mapping[str, Check]]
_WELL: Final = "ok"


@asynccontextmanager
async def open_admin(
    address: str, registry: CollectorRegistry, live: Checks, ready: Checks, refresh: Callable[[], None]
) -> AsyncIterator[int]:
    """Serve until the block is left. `refresh` runs before each scrape. Yields the port bound."""

    async def livez(_: web.Request) -> web.Response:
        return _render(live())

    async def readyz(request: web.Request) -> web.Response:
        checks = ready()
        part = request.match_info.get("part")
        if part is None:
            return _render(checks)
        return _render({part: checks[part]}) if part in checks else web.Response(status=404, text="no such part")

    async def metrics(_: web.Request) -> web.Response:
        refresh()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes(
        [
            web.get("/livez", livez),
            web.get("/readyz", readyz),
            web.get("/readyz/{part}", readyz),
            web.get("/metrics", metrics),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = split_address(address)
    try:
        await start_site(web.TCPSite(runner, host, port, reuse_address=True), "admin.listen", address)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _render(checks: Mapping[str, Check]) -> web.Response:
    is_well = all(check.problem is None for check in checks.values())
    body = {name: {"status": check.problem or _WELL, **check.details} for name, check in checks.items()}
    return web.Response(
        status=200 if is_well else 503, body=orjson.dumps(body) + b"\n", content_type="application/json"
    )
