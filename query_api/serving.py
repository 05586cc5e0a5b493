"""Listening with an application: what never ends is closed, what is under way at a stop is finished."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from query_api.api import READ_SECONDS

KEEPALIVE_SECONDS: Final = 75.0
# How long an answered client may go on sending what nobody reads.
LINGERING_SECONDS: Final = 2.0
SILENT: Final = web.AppKey("silent", set[Any])


@asynccontextmanager
async def serve(app: web.Application, host: str, port: int, grace_seconds: float, tls: Any) -> AsyncIterator[int]:
    """Listen until the block is left; then requests under way have `grace_seconds`. Yields the port. Raises `OSError`.

    A client that hangs up cancels its request. A connection whose first head is not here in time is closed.
    """
    silent: set[Any] = set()
    app[SILENT] = silent
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGERING_SECONDS,
        handler_cancellation=True,
        shutdown_timeout=grace_seconds,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101 - there after setup
    make, loop = runner.server, asyncio.get_running_loop()

    def accept() -> asyncio.Protocol:
        protocol = make()
        silent.add(protocol)
        loop.call_later(READ_SECONDS, _close_if_silent, silent, protocol)
        return protocol

    try:
        listener = await loop.create_server(accept, host, port, ssl=tls, reuse_address=True, backlog=1024)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
    finally:
        await runner.cleanup()


def _close_if_silent(silent: set[Any], protocol: Any) -> None:
    if protocol in silent:
        silent.discard(protocol)
        protocol.force_close()
