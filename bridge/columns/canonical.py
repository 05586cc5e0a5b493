"""A request written again by upb: what the fast decoder cannot read, or would read with two meanings, it can then."""

from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.errors import Malformed
from bridge.model import Signal

_REQUESTS: Final[dict[Signal, Any]] = {
    Signal.TRACES: ExportTraceServiceRequest,
    Signal.LOGS: ExportLogsServiceRequest,
}


def canonical(signal: Signal, value: bytes) -> bytes:
    """The same request as upb encodes it. Raises `Malformed` if upb does not accept it."""
    try:
        encoded: bytes = _REQUESTS[signal].FromString(value).SerializeToString()
    except DecodeError as error:
        raise Malformed(f"a record of the log is not OTLP {signal}") from error
    return encoded
