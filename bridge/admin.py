"""The admin port: /livez, /readyz and /metrics. It reports what others found out; it decides nothing on data.

/sql     only with the embedded store on loopback: the rows of a read-only statement (POST), one JSON array a line.
/livez   200 while every loop has moved recently; 503 names the one that is stuck (restart the process).
/readyz  200 when data is taken and gets through; 503 says which part does not. /readyz/receive and /readyz/deliver ask
         for one part: a store that is down fails deliver, while receive goes on acknowledging into the log.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol

import orjson
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from bridge.errors import BridgeError
from bridge.listen import start_site
from bridge.settings import split_address


@dataclass(frozen=True, slots=True)
class Check:
    """One part's state: `problem` is None when it is well; `details` are shown either way."""

    problem: str | None
    details: Mapping[str, object]


Ask = Callable[[str], Awaitable[bytes]]
_WELL: Final = "ok"
# A page in a browser on this machine can post here too; it sends its Origin, or comes under a name of its own.
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Knows(Protocol):
    """Where the answers come from; `refresh` runs before each scrape."""

    def live(self) -> Mapping[str, Check]: ...
    def ready(self) -> Mapping[str, Check]: ...
    def refresh(self) -> None: ...


@asynccontextmanager
async def open_admin(address: str, health: Knows, registry: CollectorRegistry, ask: Ask | None) -> AsyncIterator[int]:
    """Serve until the block is left; /sql only with `ask`. Yields the port bound."""
    app = web.Application()
    app.add_routes(_routes(health, registry, ask))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    host, port = split_address(address)
    try:
        await start_site(web.TCPSite(runner, host, port, reuse_address=True), "admin.listen", address)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _routes(health: Knows, registry: CollectorRegistry, ask: Ask | None) -> list[web.RouteDef]:
    async def livez(_: web.Request) -> web.Response:
        return _render(health.live())

    async def readyz(request: web.Request) -> web.Response:
        checks = health.ready()
        part = request.match_info.get("part")
        if part is None:
            return _render(checks)
        return _render({part: checks[part]}) if part in checks else web.Response(status=404, text="no such part")

    async def metrics(_: web.Request) -> web.Response:
        health.refresh()
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def sql(request: web.Request) -> web.Response:
        assert ask is not None  # noqa: S101 - the route is there only then
        if "Origin" in request.headers or request.url.host not in _LOCAL_NAMES:
            return web.Response(status=403, text="not for web pages\n")
        try:
            return web.Response(body=await ask(await request.text()), content_type="application/x-ndjson")
        except BridgeError as error:
            return web.Response(status=400, text=f"{error}\n")

    routes = [
        web.get("/livez", livez),
        web.get("/readyz", readyz),
        web.get("/readyz/{part}", readyz),
        web.get("/metrics", metrics),
    ]
    return routes if ask is None else [*routes, web.post("/sql", sql)]


def _render(checks: Mapping[str, Check]) -> web.Response:
    is_well = all(check.problem is None for check in checks.values())
    body = {name: {"status": check.problem or _WELL, **check.details} for name, check in checks.items()}
    return web.Response(
        status=200 if is_well else 503, body=orjson.dumps(body) + b"\n", content_type="application/json"
    )
