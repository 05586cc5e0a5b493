"""OTLP/HTTP on aiohttp's low-level server: POST /v1/traces and /v1/logs, protobuf or JSON.

Checks come in the order of their cost: path, credentials, declared size, room in the budget, body, decompression,
parse. A refusal before the body is read is answered at once; the rest of the body is read for a moment and thrown away
(so that the client sees the answer instead of a reset), then the connection is closed.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import ClientPayloadError, web

from bridge.admission import Hold
from bridge.errors import BridgeError, Malformed, SlowClient, TooLarge, Unauthenticated, UnsupportedMedia
from bridge.ingest import Outcome
from bridge.listen import start_site
from bridge.model import Signal
from bridge.otlp import json as otlp_json
from bridge.otlp.compression import decompress
from bridge.otlp.receiver import Receiver, log_bug
from bridge.otlp.status import codes_of, http_retry_after, response_of, status_of
from bridge.otlp.tls import server_context
from bridge.settings import split_address
from bridge.settings_receive import Tls

TRANSPORT = "http"
PATHS: Final = {"/v1/traces": Signal.TRACES, "/v1/logs": Signal.LOGS}
PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"
# How long an answered client may go on sending what nobody reads.
LINGERING_SECONDS = 2.0
KEEPALIVE_SECONDS = 75.0
# A body of undeclared length is given room in steps of this size.
CHUNKED_STEP_BYTES = 1 << 20


@asynccontextmanager
async def open_http(address: str, tls: Tls | None, receiver: Receiver, grace_seconds: float) -> AsyncIterator[int]:
    """Serve until the block is left, then let requests under way finish for `grace_seconds`. Yields the port bound."""
    server = _Server(receiver)
    runner = web.ServerRunner(server, shutdown_timeout=grace_seconds)
    await runner.setup()
    host, port = split_address(address)
    context = server_context(tls, receiver.metrics) if tls else None
    site = web.TCPSite(runner, host, port, ssl_context=context, reuse_address=True)
    try:
        await start_site(site, "receive.http_listen", address)
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


class _Server(web.Server):
    """One handler for everything, and a clock on connections that never finish their first headers."""

    def __init__(self, receiver: Receiver) -> None:
        super().__init__(
            self._handle,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGERING_SECONDS,
        )
        self._receiver = receiver
        self._silent: set[Any] = set()

    def __call__(self) -> Any:
        protocol = super().__call__()
        self._silent.add(protocol)
        loop = asyncio.get_running_loop()
        loop.call_later(self._receiver.read_timeout_seconds, self._close_if_silent, protocol)
        return protocol

    def _close_if_silent(self, protocol: Any) -> None:
        if protocol in self._silent:
            self._silent.discard(protocol)
            protocol.force_close()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        self._silent.discard(request.protocol)
        signal = PATHS.get(request.path)
        if signal is None:
            return web.Response(status=404, text=f"OTLP is at {' and '.join(PATHS)}")
        if request.method != "POST":
            return web.Response(status=405, text="OTLP is sent with POST", headers={"Allow": "POST"})
        try:
            outcome = await _export(self._receiver, signal, request)
        except BridgeError as error:
            # its traceback holds the frames that hold the body; without it they go at once, not at the next collection
            refusal = error.with_traceback(None)
        except Exception as bug:
            refusal = log_bug(bug)
        else:
            return _answer(signal, request, outcome)
        self._receiver.count(signal, TRANSPORT, refusal.reason)
        return _refusal(request, refusal)


async def _export(receiver: Receiver, signal: Signal, request: web.BaseRequest) -> Outcome:
    plane = receiver.authenticate(request.headers.get("Authorization"), _uris(request))
    await receiver.admit(plane)
    content_type = request.content_type
    if content_type not in (PROTOBUF, JSON):
        raise UnsupportedMedia(f"Content-Type {content_type[:80]!r} is not {PROTOBUF} or {JSON}")
    with Hold(receiver.budget) as hold:
        body = await _read(receiver, request, hold)
        started = time.perf_counter()
        encoding = request.headers.get("Content-Encoding", "")
        if encoding:
            body = decompress(encoding, body, receiver.max_request_bytes)
            hold.settle(len(body))
        if content_type == JSON:
            prepared = receiver.ingest.prepare(signal, otlp_json.parse(signal, body), plane)
        else:
            prepared = receiver.ingest.prepare_bytes(signal, body, plane)
        del body
        hold.settle(prepared.value_bytes)
        outcome = await receiver.ingest.append(prepared, TRANSPORT)
    receiver.done(signal, TRANSPORT, outcome, time.perf_counter() - started)
    return outcome


async def _read(receiver: Receiver, request: web.BaseRequest, hold: Hold) -> bytes | bytearray:
    """The body as sent, of at most `max_request_bytes`, held in the budget before it is read."""
    declared = request.content_length
    if declared is not None and declared > receiver.max_request_bytes:
        raise _too_large(receiver)
    await hold.reserve(declared if declared is not None else min(CHUNKED_STEP_BYTES, receiver.max_request_bytes))
    try:
        async with asyncio.timeout(receiver.read_timeout_seconds):
            body = await _read_within(receiver, request, hold)
    except TimeoutError as error:
        raise SlowClient(f"the body did not come within {receiver.read_timeout_seconds:g} s") from error
    except ClientPayloadError as error:
        raise Malformed(f"the body ended early or is not framed as its headers say: {error}") from error
    hold.settle(len(body))
    return body


async def _read_within(receiver: Receiver, request: web.BaseRequest, hold: Hold) -> bytearray:
    """The body, gathered in place: joining its parts would hold it twice."""
    body = bytearray()
    while part := await request.content.readany():
        body += part
        if len(body) > receiver.max_request_bytes:
            raise _too_large(receiver)
        if len(body) > hold.held_bytes:
            hold.settle(len(body) + CHUNKED_STEP_BYTES)
    return body


def _too_large(receiver: Receiver) -> TooLarge:
    return TooLarge(
        f"the body is over {receiver.max_request_bytes} bytes (receive.max_request_bytes); send smaller batches"
    )


def _uris(request: web.BaseRequest) -> tuple[str, ...]:
    """The URI names of the client's certificate, which TLS has checked against `client_ca_file`."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    if not certificate:
        return ()
    return tuple(value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI")


def _answer(signal: Signal, request: web.BaseRequest, outcome: Outcome) -> web.Response:
    response = response_of(signal, outcome)
    if request.content_type == JSON:
        return web.Response(body=otlp_json.render(response), content_type=JSON)
    return web.Response(body=response.SerializeToString(), content_type=PROTOBUF)


def _refusal(request: web.BaseRequest, error: BridgeError) -> web.Response:
    """google.rpc.Status in the request's own encoding; the connection ends if the body was not read whole."""
    status = status_of(error)
    _, code = codes_of(error)
    is_json = request.content_type == JSON
    body = otlp_json.render(status) if is_json else status.SerializeToString()
    response = web.Response(status=code, body=body, content_type=JSON if is_json else PROTOBUF)
    if (hint := http_retry_after(status)) is not None:
        response.headers["Retry-After"] = hint
    if isinstance(error, Unauthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    if not request.content.is_eof():
        response.force_close()
    return response
