"""OTLP/gRPC on grpc.aio: the engine to fall back to. Stream-unary, so that the handler runs before the message."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from bridge.errors import BridgeError
from bridge.model import Signal
from bridge.otlp.grpc import METHODS, answer, credentials, options, refused_with
from bridge.otlp.receiver import Receiver
from bridge.settings_receive import Tls

Handler = Callable[[Any, Any], Awaitable[bytes]]


@asynccontextmanager
async def open_grpc_aio(address: str, tls: Tls | None, receiver: Receiver, grace_seconds: float) -> AsyncIterator[int]:
    """Serve until the block is left, then let calls under way finish for `grace_seconds`. Yields the port bound."""
    server = aio.server(options=options(receiver))
    handlers = {method: _handler(receiver, signal) for method, signal in METHODS.items()}
    server.add_generic_rpc_handlers((_Methods(handlers),))
    port = server.add_secure_port(address, credentials(tls)) if tls else server.add_insecure_port(address)
    if port == 0:
        raise OSError(f"receive.grpc_listen: {address} cannot be bound")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace_seconds)


class _Methods(grpc.GenericRpcHandler):
    """What answers a method's name; grpc answers UNIMPLEMENTED for the rest."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers: dict[str, Any] = {}
        for method, handler in handlers.items():
            self._handlers[method] = grpc.stream_unary_rpc_method_handler(handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


class _AioCall:
    """A `Call`."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def metadata(self) -> Any:
        return self._context.invocation_metadata()

    def peer_uris(self) -> tuple[str, ...]:
        names = self._context.auth_context().get("peer_uri", ())
        return tuple(name.decode(errors="replace") for name in names)

    async def read(self, timeout_seconds: float) -> bytes | None:
        async with asyncio.timeout(timeout_seconds):
            body = await self._context.read()
        return body if isinstance(body, bytes) else None


def _handler(receiver: Receiver, signal: Signal) -> Handler:
    async def export(_: Any, context: Any) -> bytes:
        found = await answer(receiver, signal, _AioCall(context))
        if not isinstance(found, BridgeError):
            return found
        code, text, trailing = refused_with(found)
        await context.abort(code, text, trailing)
        raise AssertionError("abort raises")

    return export
