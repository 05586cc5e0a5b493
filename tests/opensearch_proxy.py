"""An HTTP proxy before OpenSearch that spoils bulk requests: throttles some documents, refuses large bodies, loses
answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import orjson
from aiohttp import web

from tests.program import free_port

MAX_BYTES = 256 * 1024 * 1024
BUSY = {"type": "rejected_execution_exception", "reason": "rejected by the proxy"}


@dataclass(slots=True)
class BulkProxy:
    """`throttled`: in so many bulk requests to come every second document is answered 429; `lost`: so many are done but
    not answered; `limit_bytes`: larger bodies are answered 413. `sizes` counts the documents of each bulk request."""

    upstream: str
    port: int = field(default_factory=free_port)
    throttled: int = 0
    lost: int = 0
    limit_bytes: int = MAX_BYTES
    sizes: list[int] = field(default_factory=list)
    session: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path != "/_bulk":
            return await self._forward(request, body)
        lines = body.split(b"\n")[:-1]
        pairs = [b"%b\n%b\n" % pair for pair in zip(lines[::2], lines[1::2], strict=True)]
        self.sizes.append(len(pairs))
        if len(body) > self.limit_bytes:
            return web.Response(status=413)
        if self.throttled:
            self.throttled -= 1
            return await self._throttle(request, pairs)
        answer = await self._forward(request, body)
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _throttle(self, request: web.Request, pairs: list[bytes]) -> web.Response:
        """Only every second document reaches the node."""
        answer = await self._forward(request, b"".join(pairs[::2]))
        assert isinstance(answer.body, bytes)
        taken = orjson.loads(answer.body)["items"] if answer.status == 200 else []
        busy = {"create": {"status": 429, "error": BUSY}}
        items = [taken[number // 2] if number % 2 == 0 else busy for number in range(len(pairs))]
        return web.Response(body=orjson.dumps({"items": items}), content_type="application/json")

    async def _forward(self, request: web.Request, body: bytes) -> web.Response:
        assert self.session is not None
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        try:
            async with self.session.request(
                request.method, f"{self.upstream}{request.path_qs}", data=body or None, headers=headers
            ) as answer:
                return web.Response(
                    status=answer.status, body=await answer.read(), content_type="application/json", charset="utf-8"
                )
        except aiohttp.ClientError:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=502)


@asynccontextmanager
async def bulk_proxy(upstream: str) -> AsyncIterator[BulkProxy]:
    """One that listens, until the block is left."""
    proxy = BulkProxy(upstream)
    application = web.Application(client_max_size=MAX_BYTES)
    application.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(application, access_log=None)
    async with aiohttp.ClientSession() as session:
        proxy.session = session
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", proxy.port).start()
            yield proxy
        finally:
            await runner.cleanup()
            await asyncio.sleep(0)
