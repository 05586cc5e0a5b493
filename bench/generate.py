"""Deterministic OTLP load. Payloads differ from request to request: equal ones would flatter compression and caches.

Mix of spans: 5 resources a request with 10 attributes each (OpenChoreo labels, service, host); 8 attributes a span, of
which one is a random 128-bit hex text, three are from small sets of texts, two are ints, one a double, one a bool;
every tenth span has an event with two attributes, every twentieth a link; names from 20 operations. About 400 bytes.
Mix of logs: the same resources; a body of about 100 characters with a random number in it; 5 attributes, one of them
random; trace context on every second record. About 300 bytes.
"""

import random
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.model import Signal

START_UNIX_NANO = 1_767_225_600_000_000_000
OPERATIONS = [f"{verb} /api/v1/{noun}" for verb in ("GET", "POST") for noun in "abcdefghij"]
LEVELS = [("DEBUG", 5), ("INFO", 9), ("WARN", 13), ("ERROR", 17)]


def requests_of(signal: Signal, requests: int, items: int, *, seed: int = 0, is_canonical: bool = False) -> list[bytes]:
    """Serialized Export*ServiceRequests of `items` items each.

    `is_canonical` adds the attributes that the enricher would write, for benches that begin at the log.
    """
    make = _traces if signal is Signal.TRACES else _logs
    return [make(random.Random(f"{seed}:{number}"), items, is_canonical) for number in range(requests)]


def _resource(resource: Any, number: int, is_canonical: bool) -> None:
    values = {
        "service.name": f"component-{number}",
        "openchoreo.dev/namespace": "acme",
        "openchoreo.dev/project": "shop",
        "openchoreo.dev/component": f"component-{number}",
        "openchoreo.dev/environment": "production",
        "k8s.pod.name": f"component-{number}-5d8f7c9b6-x2x{number}",
        "k8s.namespace.name": "dp-acme-shop-production",
        "k8s.node.name": "node-17",
        "telemetry.sdk.language": "go",
        "service.version": "1.4.2",
    }
    if is_canonical:
        values |= {
            "organization.id": "acme",
            "project.id": "shop",
            "component.id": f"component-{number}",
            "environment.id": "production",
            "data_plane.id": "local",
        }
    for key, value in values.items():
        resource.attributes.add(key=key).value.string_value = value


def _split(items: int, parts: int) -> list[int]:
    return [items // parts + (number < items % parts) for number in range(min(parts, items))]


def _traces(dice: random.Random, items: int, is_canonical: bool) -> bytes:
    request = ExportTraceServiceRequest()
    for number, count in enumerate(_split(items, 5)):
        entry = request.resource_spans.add()
        _resource(entry.resource, number, is_canonical)
        scope = entry.scope_spans.add()
        scope.scope.name, scope.scope.version = "otelhttp", "0.55.0"
        for _ in range(count):
            _span(scope.spans.add(), dice)
    return request.SerializeToString()


def _span(span: Any, dice: random.Random) -> None:
    start = START_UNIX_NANO + dice.randrange(3_600_000_000_000)
    span.trace_id, span.span_id, span.parent_span_id = dice.randbytes(16), dice.randbytes(8), dice.randbytes(8)
    span.name, span.kind = dice.choice(OPERATIONS), dice.randrange(1, 6)
    span.start_time_unix_nano, span.end_time_unix_nano = start, start + dice.randrange(1, 200_000_000)
    add = span.attributes.add
    add(key="request.id").value.string_value = dice.randbytes(16).hex()
    add(key="http.request.method").value.string_value = span.name[:4].strip()
    add(key="url.path").value.string_value = span.name
    add(key="http.response.status_code").value.int_value = dice.choice((200, 201, 404, 500))
    add(key="server.address").value.string_value = f"10.0.{dice.randrange(4)}.{dice.randrange(50)}"
    add(key="retry.count").value.int_value = dice.randrange(3)
    add(key="cache.ratio").value.double_value = dice.randrange(100) / 100
    add(key="sampled").value.bool_value = True
    if dice.randrange(10) == 0:
        event = span.events.add(name="exception", time_unix_nano=start + 5)
        event.attributes.add(key="exception.type").value.string_value = "TimeoutError"
        event.attributes.add(key="exception.message").value.string_value = f"no answer in {dice.randrange(500)} ms"
        span.status.code, span.status.message = 2, "failed"
    if dice.randrange(20) == 0:
        span.links.add(trace_id=dice.randbytes(16), span_id=dice.randbytes(8))


def _logs(dice: random.Random, items: int, is_canonical: bool) -> bytes:
    request = ExportLogsServiceRequest()
    for number, count in enumerate(_split(items, 5)):
        entry = request.resource_logs.add()
        _resource(entry.resource, number, is_canonical)
        scope = entry.scope_logs.add()
        scope.scope.name = "filelog"
        for _ in range(count):
            _log(scope.log_records.add(), dice)
    return request.SerializeToString()


def _log(record: Any, dice: random.Random) -> None:
    at = START_UNIX_NANO + dice.randrange(3_600_000_000_000)
    record.time_unix_nano, record.observed_time_unix_nano = at, at + 1_000_000
    record.severity_text, record.severity_number = dice.choice(LEVELS)
    record.body.string_value = (
        f"{dice.choice(OPERATIONS)} finished in {dice.randrange(1000)} ms for user {dice.randrange(10**8)}"
        " (cache miss, 3 upstream calls, 0 retries)"
    )
    add = record.attributes.add
    add(key="log.file.path").value.string_value = f"/var/log/pods/component-{dice.randrange(5)}/0.log"
    add(key="log.iostream").value.string_value = "stdout"
    add(key="line").value.int_value = dice.randrange(10**6)
    add(key="thread").value.string_value = f"worker-{dice.randrange(16)}"
    add(key="request.id").value.string_value = dice.randbytes(8).hex()
    if dice.randrange(2):
        record.trace_id, record.span_id = dice.randbytes(16), dice.randbytes(8)
