"""OTLP/gRPC on grpc.aio.

The unary Export is served as stream-unary (the same on the wire): the handler then runs before the message is read, so
credentials are checked and bytes reserved first. `bdp_probe=0` keeps what grpc core buffers for unread messages at a
stream's 64 KiB window; seen here with 64 stalled calls of 3.7 MB: 45 MB of memory, against 376 MB of a plain unary
handler. Messages are decompressed by us, with a hard cap on the output: core would inflate first and look after.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
from grpc import aio

from bridge.admission import Hold
from bridge.errors import BridgeError, Malformed, SlowClient
from bridge.model import Signal
from bridge.otlp.compression import GZIP_MAGIC, decompress
from bridge.otlp.receiver import Receiver, log_bug
from bridge.otlp.status import DETAILS_KEY, codes_of, response_of, status_of
from bridge.settings import Tls

TRANSPORT = "grpc"
METHODS: Final = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": Signal.TRACES,
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": Signal.LOGS,
}
Handler = Callable[[Any, Any], Awaitable[bytes]]


@asynccontextmanager
async def open_grpc(address: str, tls: Tls | None, receiver: Receiver, grace_seconds: float) -> AsyncIterator[int]:
    """Serve until the block is left, then let calls under way finish for `grace_seconds`. Yields the port bound."""
    server = aio.server(
        options=[
            # gzip is hidden by per_message_decompression=0, so this bounds what is on the wire
            ("grpc.max_receive_message_length", receiver.max_request_bytes),
            ("grpc.per_message_decompression", 0),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.so_reuseport", 0),
        ],
    )
    handlers = {method: _handler(receiver, signal) for method, signal in METHODS.items()}
    server.add_generic_rpc_handlers((_Methods(handlers),))
    port = _bind(server, address, tls)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace_seconds)


def _bind(server: aio.Server, address: str, tls: Tls | None) -> int:
    if tls is None:
        port = server.add_insecure_port(address)
    else:
        authorities = tls.client_ca_file.read_bytes() if tls.client_ca_file else None
        pair = (tls.key_file.read_bytes(), tls.cert_file.read_bytes())
        credentials = grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)
        port = server.add_secure_port(address, credentials)
    if port == 0:
        raise OSError(f"receive.grpc_listen: {address} cannot be bound")
    return port


class _Methods(grpc.GenericRpcHandler):
    """What answers a method's name; grpc answers UNIMPLEMENTED for the rest."""

    def __init__(self, handlers: dict[str, Handler]) -> None:
        self._handlers: dict[str, Any] = {}
        for method, handler in handlers.items():
            self._handlers[method] = grpc.stream_unary_rpc_method_handler(handler)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        return self._handlers.get(handler_call_details.method)


def _handler(receiver: Receiver, signal: Signal) -> Handler:
    async def export(_: Any, context: Any) -> bytes:
        try:
            return await _export(receiver, signal, context)
        except BridgeError as error:
            # its traceback holds the frames that hold the body; without it they go at once, not at the next collection
            refusal = error.with_traceback(None)
        except aio.AbortError:
            raise
        except Exception as bug:
            refusal = log_bug(bug)
        receiver.count(signal, TRANSPORT, refusal.reason)
        await _abort(context, refusal)
        raise AssertionError("abort raises")

    return export


async def _export(receiver: Receiver, signal: Signal, context: Any) -> bytes:
    plane = receiver.authenticate(_authorization(context), _uris(context) if receiver.is_mtls else ())
    await receiver.admit(plane)
    with Hold(receiver.budget) as hold:
        # the length is not told before it is read, so a whole request's room is held until then
        await hold.reserve(receiver.max_request_bytes)
        body: bytes | bytearray = await _read(context, receiver.read_timeout_seconds)
        started = time.perf_counter()
        hold.settle(len(body))
        if body[:2] == GZIP_MAGIC:  # no OTLP message starts with these bytes
            body = decompress("gzip", body, receiver.max_request_bytes)
            hold.settle(len(body))
        prepared = receiver.ingest.prepare_bytes(signal, body, plane)
        del body
        hold.settle(prepared.value_bytes)
        outcome = await receiver.ingest.append(prepared, TRANSPORT)
    receiver.done(signal, TRANSPORT, outcome, time.perf_counter() - started)
    return response_of(signal, outcome).SerializeToString() if outcome.rejected else b""


async def _read(context: Any, timeout_seconds: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_seconds):
            body = await context.read()
    except TimeoutError as error:
        raise SlowClient(f"the message did not come within {timeout_seconds:g} s") from error
    if not isinstance(body, bytes):
        raise Malformed("the call ended without a message")
    return body


async def _abort(context: Any, error: BridgeError) -> None:
    code, _ = codes_of(error)
    details = status_of(error).SerializeToString()
    await context.abort(code, str(error), ((DETAILS_KEY, details),))


def _authorization(context: Any) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return str(value)
    return None


def _uris(context: Any) -> tuple[str, ...]:
    """The URI names of the client's certificate, which grpc has checked against `client_ca_file`."""
    names = context.auth_context().get("peer_uri", ())
    return tuple(name.decode(errors="replace") for name in names)
