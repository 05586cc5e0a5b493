"""Load whose every item has an id of its own, and the book of what was acknowledged."""

import asyncio
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.model import OTLP_SIGNALS, Signal

PATH = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs"}
METHOD = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
DAY = 86_400_000_000_000
REST_SECONDS = 0.05
DETAILS_KEY = "grpc-status-details-bin"
HEADERS = {"Content-Type": "application/x-protobuf"}


@dataclass(slots=True)
class Book:
    """Ids (16 hex digits, the span id of a span or a log record) by what became of their request."""

    sent: dict[Signal, set[str]] = field(default_factory=lambda: {signal: set() for signal in OTLP_SIGNALS})
    acknowledged: dict[Signal, set[str]] = field(default_factory=lambda: {signal: set() for signal in OTLP_SIGNALS})
    refused: int = 0
    refused_with_hint: int = 0
    unanswered: int = 0
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def total_acknowledged(self) -> int:
        return sum(len(ids) for ids in self.acknowledged.values())

    def request(self, signal: Signal, items: int, dice: random.Random) -> tuple[bytes, set[str]]:
        """A request of `items` items on up to three days, and their ids; noted as sent."""
        numbers = [next(self.ids) for _ in range(items)]
        message = _traces(numbers, dice) if signal is Signal.TRACES else _logs(numbers, dice)
        ids = {f"{number:016x}" for number in numbers}
        self.sent[signal] |= ids
        return message.SerializeToString(), ids


def _resource(resource: Resource, dice: random.Random) -> None:
    org = f"org-{dice.randrange(3)}"
    for key, value in (("service.name", "load"), ("openchoreo.dev/namespace", org), ("openchoreo.dev/project", "p")):
        resource.attributes.add(key=key).value.string_value = value


def _traces(numbers: list[int], dice: random.Random) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    entry = request.resource_spans.add()
    _resource(entry.resource, dice)
    scope = entry.scope_spans.add()
    for number in numbers:
        start = time.time_ns() - dice.randrange(3) * DAY
        span = scope.spans.add(
            name="load", start_time_unix_nano=start, end_time_unix_nano=start + 5, span_id=number.to_bytes(8, "big")
        )
        span.trace_id = dice.randbytes(16)
        span.attributes.add(key="random").value.string_value = dice.randbytes(16).hex()
    return request


def _logs(numbers: list[int], dice: random.Random) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    entry = request.resource_logs.add()
    _resource(entry.resource, dice)
    scope = entry.scope_logs.add()
    for number in numbers:
        at = time.time_ns() - dice.randrange(3) * DAY
        record = scope.log_records.add(time_unix_nano=at, severity_text="INFO", span_id=number.to_bytes(8, "big"))
        record.body.string_value = f"line {number} {dice.randbytes(8).hex()}"
    return request


async def send(
    book: Book, stop: asyncio.Event, grpc_port: int, http_port: int, seed: int, pause_seconds: float
) -> None:
    """One client that sends until `stop`, whatever happens to the server; odd seeds use gRPC, even ones HTTP."""
    dice = random.Random(seed)
    timeout = aiohttp.ClientTimeout(total=20)
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200)]
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        aio.insecure_channel(f"127.0.0.1:{grpc_port}", options=options) as channel,
    ):
        while not stop.is_set():
            signal = dice.choice(list(OTLP_SIGNALS))
            body, ids = book.request(signal, dice.choice((1, 10, 100)), dice)
            try:
                is_taken, has_hint = await _send_one(
                    session, channel, signal, body, grpc_port if seed % 2 else 0, http_port
                )
            except (aiohttp.ClientError, TimeoutError, OSError):
                book.unanswered += 1
                await asyncio.sleep(REST_SECONDS)
                continue
            if is_taken:
                book.acknowledged[signal] |= ids
            else:
                book.refused += 1
                book.refused_with_hint += has_hint
                await asyncio.sleep(REST_SECONDS)
            await asyncio.sleep(pause_seconds)


async def _send_one(
    session: aiohttp.ClientSession, channel: aio.Channel, signal: Signal, body: bytes, grpc_port: int, http_port: int
) -> tuple[bool, bool]:
    """Whether the request was taken, and if it was refused, whether a hint said when to come back."""
    if grpc_port:
        call: Any = channel.unary_unary(METHOD[signal])
        try:
            await call(body, timeout=20)
        except aio.AioRpcError as error:
            if DETAILS_KEY not in dict(error.trailing_metadata() or ()):
                raise ConnectionError(error.details()) from error
            status = Status.FromString(dict(error.trailing_metadata() or ())[DETAILS_KEY])
            return False, any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status.details)
        return True, False
    url = f"http://127.0.0.1:{http_port}{PATH[signal]}"
    async with session.post(url, data=body, headers=HEADERS) as answer:
        await answer.read()
        return answer.status == 200, "Retry-After" in answer.headers
