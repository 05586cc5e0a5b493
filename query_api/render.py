"""Values to the contract's JSON and errors to its bodies. Pure; nothing here knows a web framework."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bridge.fields import labels_of, value_of
from bridge.rfc3339 import format_time
from query_api.csv_text import rfc3339_seconds
from query_api.errors import (
    AnswerTooLarge,
    InvalidRequest,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    QueryError,
    QueryTimeout,
    RequestTooLarge,
    SlowBody,
    StoreUnavailable,
    TooManyRequests,
)
from query_api.storage import LogRow, Span, TraceSummary


@dataclass(frozen=True, slots=True)
class Failure:
    """How an error is told: status, the fork's type and code (contract 1.5; Gen B's for 401 and 403, 1.12.6), Gen C's
    title (1.12.3). What had no code before has one of ours."""

    status: int
    type: str
    code: str
    title: str


_INVALID: Final = Failure(400, "invalidRequest", "OBS-L-12", "badRequest")
_MISSING: Final = Failure(400, "missingParameter", "OBS-L-10", "badRequest")
_INTERNAL: Final = Failure(500, "internalError", "OBS-L-25", "internalServerError")
_FAILURES: Final[Mapping[type[QueryError], Failure]] = {
    SlowBody: Failure(408, "requestTimeout", "OBS-L-28", "requestTimeout"),
    InvalidRequest: _INVALID,
    AnswerTooLarge: _INVALID,
    NotAuthenticated: Failure(401, "unauthorized", "OBS-AUTH-04", "unauthorized"),
    NotAllowed: Failure(403, "forbidden", "OBS-AUTH-01", "forbidden"),
    NotFound: Failure(404, "notFound", "OBS-L-14", "notFound"),
    RequestTooLarge: Failure(413, "requestTooLarge", "OBS-L-13", "badRequest"),
    TooManyRequests: Failure(429, "tooManyRequests", "OBS-L-29", "tooManyRequests"),
    StoreUnavailable: Failure(503, "serviceUnavailable", "OBS-L-26", "serviceUnavailable"),
    QueryTimeout: Failure(504, "queryTimeout", "OBS-L-27", "gatewayTimeout"),
}


_ESCAPES: Final = tuple((char.encode(), f"\\u{ord(char):04x}".encode()) for char in "<>&\u2028\u2029")


def failure_of(error: Exception) -> Failure:
    """Anything that is not a `QueryError` is an internal error."""
    if isinstance(error, InvalidRequest) and error.is_missing:
        return _MISSING
    return next((told for kind, told in _FAILURES.items() if isinstance(error, kind)), _INTERNAL)


def json_bytes(value: Any, max_bytes: int | None = None) -> bytes:
    """As Go's encoder writes it: one line, `<`, `>`, `&` and JavaScript's line ends escaped (contract 1.1), so it may
    stand in a page. Raises `AnswerTooLarge` before more than `max_bytes` are made of it: an escape is six for one."""
    text = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE)
    escapes = [(plain, escaped, text.count(plain)) for plain, escaped in _ESCAPES]
    made_bytes = len(text) + sum((len(escaped) - len(plain)) * count for plain, escaped, count in escapes)
    if max_bytes is not None and made_bytes > max_bytes:
        raise AnswerTooLarge
    for plain, escaped, count in escapes:
        if count:
            text = text.replace(plain, escaped)
    return text


def log_entry(row: LogRow, undefined_level: str) -> dict[str, Any]:
    """The 12 fields of Gen A, all of them always (contract 1.4)."""
    resource, attributes = row.resource, row.attributes
    return {
        "timestamp": format_time(row.position.time_unix_nano),
        "log": row.body,
        "logLevel": row.level or undefined_level,
        "componentId": row.component,
        "environmentId": row.environment,
        "projectId": row.project,
        "version": value_of("version", resource, attributes),
        "versionId": value_of("version_id", resource, attributes),
        "namespace": value_of("namespace", resource, attributes),
        "podId": value_of("pod_id", resource, attributes),
        "containerName": value_of("container", resource, attributes),
        "labels": labels_of(resource),
    }


def csv_cells(row: LogRow, undefined_level: str) -> tuple[str, ...]:
    """The 9 columns of the log export (contract 1.8); the time in whole seconds."""
    return (
        rfc3339_seconds(row.position.time_unix_nano),
        row.level or undefined_level,
        row.component,
        row.environment,
        row.project,
        *(value_of(name, row.resource, row.attributes) for name in ("namespace", "pod_id", "container")),
        row.body,
    )


def span_entry(span: Span) -> dict[str, Any]:
    """The 6 fields of Gen A (contract 1.4)."""
    return {
        "durationInNanos": span.duration_nano,
        "endTime": format_time(span.start_unix_nano + span.duration_nano),
        "name": span.name,
        "spanId": span.span_id,
        "startTime": format_time(span.start_unix_nano),
        "traceId": span.trace_id,
    }


# keys of a Gen C log entry's metadata; empty ones are left out (contract 1.12.3)
def adapter_log_entry(row: LogRow, undefined_level: str) -> dict[str, Any]:
    """A log entry of Gen C and of the logs adapter."""
    resource, attributes = row.resource, row.attributes
    metadata = {
        "componentName": resource.get("component.name") or row.component,
        "projectName": resource.get("project.name") or row.project,
        "environmentName": resource.get("environment.name") or row.environment,
        "namespaceName": resource.get("organization.name") or row.org,
        "componentUid": row.component,
        "projectUid": row.project,
        "environmentUid": row.environment,
        "containerName": value_of("container", resource, attributes),
        "podName": value_of("pod_name", resource, attributes),
        "podNamespace": value_of("namespace", resource, attributes),
    }
    return {
        "timestamp": format_time(row.position.time_unix_nano),
        "log": row.body,
        "level": row.level or undefined_level,
        "metadata": {key: value for key, value in metadata.items() if value},
    }


def trace_entry(trace: TraceSummary) -> dict[str, Any]:
    """A trace summary of Gen C and of the tracing adapter."""
    return {
        "traceId": trace.trace_id,
        "traceName": trace.root_span_name,
        "spanCount": trace.span_count,
        "rootSpanId": trace.root_span_id,
        "rootSpanName": trace.root_span_name,
        "rootSpanKind": trace.root_span_kind,
        "startTime": format_time(trace.start_unix_nano),
        "endTime": format_time(trace.end_unix_nano),
        "durationNs": trace.end_unix_nano - trace.start_unix_nano,
        "hasErrors": trace.has_errors,
    }


def adapter_span_entry(span: Span, *, with_attributes: bool) -> dict[str, Any]:
    """A span of Gen C and of the tracing adapter."""
    status = {"code": span.status.lower() or "unset"}
    if span.status_message:
        status["message"] = span.status_message
    entry: dict[str, Any] = {
        "spanId": span.span_id,
        "spanName": span.name,
        "spanKind": span.kind,
        "startTime": format_time(span.start_unix_nano),
        "endTime": format_time(span.start_unix_nano + span.duration_nano),
        "durationNs": span.duration_nano,
        "parentSpanId": span.parent_span_id,
        "status": status,
    }
    if with_attributes:
        entry |= {"attributes": dict(span.attributes), "resourceAttributes": dict(span.resource)}
    return entry
