"""OTLP/gRPC, whichever engine carries it: what a call goes through, and what it is answered.

The unary Export is served so that the handler runs before the message is read (the same on the wire): credentials are
checked and bytes reserved first. Messages are decompressed by us, with a hard cap on the output: core would inflate
first and look after.
"""

import time
from typing import Any, Final, Protocol

import grpc

from bridge.admission import Hold
from bridge.errors import BridgeError, Malformed, SlowClient
from bridge.model import Signal
from bridge.otlp.compression import GZIP_MAGIC, decompress
from bridge.otlp.receiver import Receiver, log_bug
from bridge.otlp.status import DETAILS_KEY, codes_of, response_of, status_of
from bridge.settings_receive import Tls

TRANSPORT: Final = "grpc"
METHODS: Final = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": Signal.TRACES,
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": Signal.LOGS,
}


class Call(Protocol):
    """A call whose message has not been read."""

    def metadata(self) -> Any:
        """(key, value) pairs."""

    def peer_uris(self) -> tuple[str, ...]:
        """The URI names of the client's certificate, which grpc has checked against `client_ca_file`."""

    async def read(self, timeout_seconds: float) -> bytes | None:
        """The message as sent; None if the call ended without one. Raises `TimeoutError`."""


def options(receiver: Receiver) -> list[tuple[str, int]]:
    """What both engines are made with."""
    return [
        # gzip is hidden by per_message_decompression=0, so this bounds what is on the wire
        ("grpc.max_receive_message_length", receiver.max_grpc_message_bytes),
        ("grpc.per_message_decompression", 0),
        # keeps what grpc core buffers for unread messages at a stream's 64 KiB window; with 64 stalled calls of 3.7 MB
        # 45 MB of memory were seen, against 376 MB of a plain unary handler
        ("grpc.http2.bdp_probe", 0),
        ("grpc.so_reuseport", 0),
    ]


def credentials(tls: Tls) -> grpc.ServerCredentials:
    authorities = tls.client_ca_file.read_bytes() if tls.client_ca_file else None
    pair = (tls.key_file.read_bytes(), tls.cert_file.read_bytes())
    return grpc.ssl_server_credentials([pair], authorities, require_client_auth=authorities is not None)


async def answer(receiver: Receiver, signal: Signal, call: Call) -> bytes | BridgeError:
    """The encoded response, or what the call is refused with, which is counted. Never raises but when cancelled."""
    try:
        return await _export(receiver, signal, call)
    except BridgeError as error:
        # its traceback holds the frames that hold the body; without it they go at once, not at the next collection
        refusal = error.with_traceback(None)
    except Exception as bug:
        refusal = log_bug(bug)
    receiver.count(signal, TRANSPORT, refusal.reason)
    return refusal


def refused_with(error: BridgeError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Code, message and trailing metadata."""
    return codes_of(error)[0], str(error), ((DETAILS_KEY, status_of(error).SerializeToString()),)


async def _export(receiver: Receiver, signal: Signal, call: Call) -> bytes:
    plane = receiver.authenticate(_authorization(call), call.peer_uris() if receiver.is_mtls else ())
    await receiver.admit(plane)
    with Hold(receiver.budget) as hold:
        # the length is not told before it is read, so the largest message's room is held until then
        await hold.reserve(receiver.max_grpc_message_bytes)
        body: bytes | bytearray = await _read(call, receiver.read_timeout_seconds)
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


async def _read(call: Call, timeout_seconds: float) -> bytes:
    try:
        body = await call.read(timeout_seconds)
    except TimeoutError as error:
        raise SlowClient(f"the message did not come within {timeout_seconds:g} s") from error
    if body is None:
        # the client went away, or its message is over max_grpc_message_bytes, which core itself refuses, saying so
        raise Malformed("the call ended without a message", reason="no_message")
    return body


def _authorization(call: Call) -> str | None:
    for key, value in call.metadata() or ():
        if key == "authorization":
            return str(value)
    return None
