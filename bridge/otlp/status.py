"""The only table from an error to its gRPC code, HTTP status and retry hint (OTLP specification 1.x, "Failures").

A refusal that may be repeated carries a hint: `RetryInfo` in the gRPC status details, `Retry-After` on HTTP. The Go
exporters retry RESOURCE_EXHAUSTED only when RetryInfo is there, so its absence is what says "never again".
"""

import math
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from bridge.admission import retry_hint_seconds
from bridge.errors import (
    BridgeError,
    Malformed,
    PermissionDenied,
    QuotaExceeded,
    Retryable,
    SlowClient,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
)
from bridge.ingest import Outcome
from bridge.messages import SHAPES
from bridge.model import Signal

_CODES: Final[dict[type[BridgeError], tuple[grpc.StatusCode, int]]] = {
    Malformed: (grpc.StatusCode.INVALID_ARGUMENT, 400),
    UnsupportedMedia: (grpc.StatusCode.INVALID_ARGUMENT, 415),
    Unauthenticated: (grpc.StatusCode.UNAUTHENTICATED, 401),
    PermissionDenied: (grpc.StatusCode.PERMISSION_DENIED, 403),
    SlowClient: (grpc.StatusCode.DEADLINE_EXCEEDED, 408),
    TooLarge: (grpc.StatusCode.RESOURCE_EXHAUSTED, 413),
    QuotaExceeded: (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
}
_LATER: Final = (grpc.StatusCode.UNAVAILABLE, 503)

DETAILS_KEY = "grpc-status-details-bin"


def codes_of(error: BridgeError) -> tuple[grpc.StatusCode, int]:
    """gRPC code and HTTP status; what is not in the table may succeed later."""
    return _CODES.get(type(error), _LATER)


def retry_after_seconds(error: BridgeError) -> float | None:
    """The hint for the sender; None for an error that sending again does not mend."""
    if not isinstance(error, QuotaExceeded) and codes_of(error) != _LATER:
        return None
    hint = error.retry_after_seconds if isinstance(error, Retryable) else None
    return retry_hint_seconds() if hint is None else hint


def status_of(error: BridgeError) -> Status:
    """google.rpc.Status: the body of an HTTP refusal and the details of a gRPC one."""
    code, _ = codes_of(error)
    status = Status(code=code.value[0], message=str(error))
    hint = retry_after_seconds(error)
    if hint is not None:
        delay = Duration()
        delay.FromMilliseconds(math.ceil(hint * 1000))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def http_retry_after(status: Status) -> str | None:
    """The `Retry-After` header (whole seconds) that says what the status's RetryInfo says."""
    info = RetryInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return str(math.ceil(info.retry_delay.ToMilliseconds() / 1000))
    return None


def response_of(signal: Signal, outcome: Outcome) -> Any:
    """Export*ServiceResponse; `partial_success` only when something was rejected."""
    shape = SHAPES[signal]
    response: Any = shape.response()
    if outcome.rejected:
        setattr(response.partial_success, shape.rejected, outcome.rejected)
        response.partial_success.error_message = outcome.message
    return response
