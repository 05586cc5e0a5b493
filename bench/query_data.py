"""Logs and spans for `bench.queries`, made inside ClickHouse: millions of rows without a sender.

The same numbers give the same rows, always. Eight spans are a trace of one project; a log is of a span's component and
time, and half of them name its trace. 50 organisations of 10 projects of 5 components: the first of each has most
(14 %, 32 %, 45 %), as tenants differ. One log in 1,000 is an error that says "payment declined", 20 in 1,000 say one
of the two words. Rows come in the order of their time over 24 hours from noon, so in two partitions. Attributes are as
in `generate.py`.
"""

from dataclasses import dataclass
from typing import Final

from clickhouse_connect.driver.client import Client

SPANS_A_TRACE: Final = 8
CHUNK_ROWS: Final = 100_000  # about 0.5 GB of the server's memory, with the indexes of the tables
START: Final = "2026-01-01 12:00:00"
END: Final = "2026-01-02 12:00:00"
PHRASE: Final = "Payment declined"

# Both tables are made from the number of a span.
_IDENTITY: Final = """
    intDiv(span, 8) AS trace,
    concat('org-', toString(toUInt8(50 * pow((cityHash64('o', trace) % 1000000) / 1e6, 2)))) AS OrgId,
    concat('project-', toString(toUInt8(10 * pow((cityHash64('p', trace) % 1000000) / 1e6, 2)))) AS ProjectId,
    concat('component-', toString(toUInt8(5 * pow((cityHash64('c', span) % 1000000) / 1e6, 2)))) AS ComponentId,
    if(cityHash64('e', trace) % 4 = 0, 'staging', 'production') AS EnvironmentId,
    'local' AS DataPlaneId,
    ComponentId AS ServiceName,
    lower(hex(MD5(toString(trace)))) AS TraceId,
    substring(lower(hex(MD5(concat('s', toString(span))))), 1, 16) AS SpanId,
    ['GET', 'POST'][1 + cityHash64('v', span) % 2] AS verb,
    concat(verb, ' /api/v1/', substring('abcdefghij', 1 + cityHash64('n', span) % 10, 1)) AS operation,
    parseDateTime64BestEffort({start:String}, 9, 'UTC')
        + toIntervalNanosecond(intDiv(trace * 86400000, intDiv({spans:UInt64}, 8) + 1) * 1000000
            + cityHash64('t', span) % 500000000) AS started,
    map('service.name', ServiceName, 'openchoreo.dev/namespace', OrgId, 'openchoreo.dev/project', ProjectId,
        'openchoreo.dev/component', ComponentId, 'openchoreo.dev/environment', EnvironmentId,
        'k8s.pod.name', concat(ComponentId, '-5d8f7c9b6-x2x', toString(cityHash64('k', span) % 3)),
        'k8s.namespace.name', concat('dp-', OrgId, '-', ProjectId, '-', EnvironmentId), 'k8s.node.name', 'node-17',
        'telemetry.sdk.language', 'go', 'service.version', '1.4.2', 'organization.id', OrgId, 'project.id', ProjectId,
        'component.id', ComponentId, 'environment.id', EnvironmentId, 'data_plane.id', DataPlaneId
    ) AS ResourceAttributes"""

FILL_SPANS: Final = f"""
INSERT INTO otel_traces (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, SpanKind, ServiceName, ResourceAttributes,
    ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode, `Events.Timestamp`, `Events.Name`,
    `Events.Attributes`, OrgId, ProjectId, ComponentId, EnvironmentId, DataPlaneId, ReceivedAt)
WITH {_IDENTITY},
    span % 8 AS place,
    cityHash64('x', span) % 10 = 0 AS failed
SELECT started, TraceId, SpanId,
    if(place = 0, '', substring(lower(hex(MD5(concat('s', toString(span - place + intDiv(place - 1, 2)))))), 1, 16)),
    operation, if(place = 0, 'Server', 'Client'), ServiceName, ResourceAttributes, 'otelhttp', '0.55.0',
    map('request.id', lower(hex(MD5(concat('r', toString(span))))), 'http.request.method', verb, 'url.path', operation,
        'http.response.status_code', ['200', '201', '404', '500'][1 + cityHash64('h', span) % 4],
        'server.address', concat('10.0.', toString(cityHash64('a', span) % 200)),
        'retry.count', toString(cityHash64('y', span) % 3), 'cache.ratio', toString((span % 100) / 100),
        'sampled', 'true'),
    if(place = 0, 700000000, 1 + cityHash64('d', span) % 200000000), if(failed, 'Error', 'Unset'),
    if(failed, [started], []), if(failed, ['exception'], []),
    if(failed, [map('exception.type', 'TimeoutError', 'exception.message', 'no answer')], []),
    OrgId, ProjectId, ComponentId, EnvironmentId, DataPlaneId, started + toIntervalSecond(1)
FROM (SELECT number AS span FROM numbers({{first:UInt64}}, {{count:UInt64}}))"""  # noqa: S608 - put together from our own words

FILL_LOGS: Final = f"""
INSERT INTO otel_logs (Timestamp, TraceId, SpanId, SeverityText, SeverityNumber, ServiceName, Body, ResourceAttributes,
    ScopeName, LogAttributes, OrgId, ProjectId, ComponentId, EnvironmentId, DataPlaneId, ReceivedAt)
WITH {_IDENTITY},
    cityHash64('w', log) % 1000 AS word,
    if(word = 0, 3, cityHash64('l', log) % 4) AS level,
    multiIf(word = 0, 'payment declined', word < 11, 'payment accepted', word < 21, 'card declined', 'finished')
        AS verdict
SELECT started + toIntervalNanosecond(cityHash64('u', log) % 200000000) AS at,
    if(log % 2 = 0, TraceId, ''), if(log % 2 = 0, SpanId, ''),
    ['DEBUG', 'INFO', 'WARN', 'ERROR'][1 + level], 5 + 4 * level, ServiceName,
    concat(operation, ' ', verdict, ' in ', toString(cityHash64('m', log) % 1000), ' ms for user ',
        toString(cityHash64('i', log) % 100000000), ' (cache miss, 3 upstream calls, 0 retries)'),
    ResourceAttributes, 'filelog',
    map('log.file.path', concat('/var/log/pods/', ComponentId, '/0.log'), 'log.iostream', 'stdout',
        'line', toString(cityHash64('f', log) % 1000000), 'thread', concat('worker-', toString(log % 16)),
        'request.id', substring(lower(hex(MD5(concat('r', toString(log))))), 1, 16)),
    OrgId, ProjectId, ComponentId, EnvironmentId, DataPlaneId, at + toIntervalSecond(1)
FROM (
    SELECT number AS log, intDiv(number * {{spans:UInt64}}, {{rows:UInt64}}) AS span
    FROM numbers({{first:UInt64}}, {{count:UInt64}})
)"""  # noqa: S608 - put together from our own words

# Drawn by chance, so the larger a component the likelier; no component twice.
TARGETS: Final = """
SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, TraceId
FROM otel_traces
ORDER BY cityHash64(SpanId)
LIMIT 1 BY OrgId, ProjectId, ComponentId
LIMIT {repeats:UInt32}"""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is stored, and how often each read asks: at most as often as there are components."""

    rows: int = 10_000_000
    spans: int = 2_500_000
    repeats: int = 20


def fill(client: Client, sizes: Sizes) -> None:
    """So many logs and spans are in the tables of the client's database, which were empty."""
    for statement, count in ((FILL_SPANS, sizes.spans), (FILL_LOGS, sizes.rows)):
        for first in range(0, count, CHUNK_ROWS):
            values = {"first": first, "count": min(CHUNK_ROWS, count - first), "start": START}
            client.command(statement, parameters={**values, "spans": sizes.spans, "rows": sizes.rows})


def targets(client: Client, sizes: Sizes) -> list[dict[str, str]]:
    """Whom and what the reads ask for: one set of parameters a repeat, of components that have rows."""
    found = client.query(TARGETS, parameters={"repeats": sizes.repeats}).result_rows
    names = ("org", "project", "component", "environment", "service", "trace")
    fixed = {"start": START, "end": END, "phrase": PHRASE, "level": "ERROR"}
    return [dict(zip(names, row, strict=True)) | fixed for row in found]
