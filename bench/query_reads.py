"""The reads of the Observer routes as SQL on the tables, one named statement each; `bench.queries` measures them.

Every statement filters on the organisation first, as the tables are sorted, and takes its values as server-side
parameters. The log routes also tell a total, which is a read of its own here. Not among them: gateway logs (they ask
for attributes that the made rows do not have) and the CSV of logs, which is project logs with another limit.
"""

from collections.abc import Mapping
from typing import Final

from bridge.model import Signal

_DAY = "Timestamp BETWEEN {start:DateTime64(9, 'UTC')} AND {end:DateTime64(9, 'UTC')}"
_PROJECT = "OrgId = {org:String} AND ProjectId = {project:String}"
_COMPONENT = f"{_PROJECT} AND ComponentId = {{component:String}} AND EnvironmentId = {{environment:String}} AND {_DAY}"
_LOGS = """
SELECT Timestamp, Body, SeverityText, ProjectId, ComponentId, EnvironmentId, ResourceAttributes, LogAttributes
FROM otel_logs"""
_NEWEST = "ORDER BY Timestamp DESC LIMIT 100"
# The same order, in the words of the sorting key: a component is read from its end instead of whole.
_NEWEST_OF_COMPONENT = "ORDER BY toStartOfFiveMinutes(Timestamp) DESC, Timestamp DESC LIMIT 100"

COMPONENT_LOGS: Final = f"{_LOGS} WHERE {_COMPONENT} {_NEWEST_OF_COMPONENT}"
# Whole words in sequence, any case. A substring (LIKE with a space in it, position) does not use the text index.
COMPONENT_LOGS_PHRASE: Final = f"""{_LOGS} WHERE {_COMPONENT} AND SeverityText = {{level:String}}
    AND hasPhrase(lower(Body), lower({{phrase:String}})) {_NEWEST_OF_COMPONENT}"""
COMPONENT_LOGS_TOTAL: Final = f"SELECT count() FROM otel_logs WHERE {_COMPONENT}"  # noqa: S608 - our own words
PROJECT_LOGS: Final = f"{_LOGS} WHERE {_PROJECT} AND {_DAY} {_NEWEST}"
ORGANISATION_LOGS: Final = f"{_LOGS} WHERE OrgId = {{org:String}} AND {_DAY} {_NEWEST}"
LOG_COUNTS: Final = f"""
SELECT ProjectId, ComponentId, count() AS logs, sum(lengthUTF8(Body)) AS characters
FROM otel_logs WHERE OrgId = {{org:String}} AND {_DAY}
GROUP BY ProjectId, ComponentId ORDER BY ProjectId, ComponentId"""  # noqa: S608 - our own words
TRACE_BY_ID: Final = """
WITH (
    SELECT (min(Start), max(End)) FROM otel_traces_trace_id_ts
    WHERE OrgId = {org:String} AND TraceId = {trace:String}
) AS times
SELECT Timestamp, SpanId, ParentSpanId, SpanName, SpanKind, Duration, StatusCode, SpanAttributes, ResourceAttributes
FROM otel_traces
WHERE OrgId = {org:String} AND TraceId = {trace:String} AND Timestamp BETWEEN times.1 AND times.2
ORDER BY Timestamp"""
# The newest traces that touch the component, with their root, which may be another component's.
COMPONENT_TRACES: Final = f"""
SELECT TraceId, count() AS spans, anyIf(SpanId, ParentSpanId = '') AS root, anyIf(SpanName, ParentSpanId = '') AS name,
    min(Timestamp) AS began, max(Timestamp + toIntervalNanosecond(Duration)) AS ended,
    max(StatusCode = 'Error') AS failed
FROM otel_traces
WHERE OrgId = {{org:String}} AND {_DAY} AND TraceId IN (
    SELECT TraceId FROM otel_traces WHERE {_COMPONENT}
    GROUP BY TraceId ORDER BY max(Timestamp) DESC LIMIT 100
)
GROUP BY TraceId ORDER BY began DESC"""  # noqa: S608 - our own words
SERVICE_SPANS: Final = f"""
SELECT Timestamp, TraceId, SpanId, SpanName, Duration
FROM otel_traces WHERE OrgId = {{org:String}} AND ServiceName = {{service:String}} AND {_DAY}
{_NEWEST}"""  # noqa: S608 - our own words

READS: Final[Mapping[str, tuple[Signal, str]]] = {
    "component logs": (Signal.LOGS, COMPONENT_LOGS),
    "component logs, phrase and level": (Signal.LOGS, COMPONENT_LOGS_PHRASE),
    "component logs, total": (Signal.LOGS, COMPONENT_LOGS_TOTAL),
    "project logs": (Signal.LOGS, PROJECT_LOGS),
    "organisation logs": (Signal.LOGS, ORGANISATION_LOGS),
    "log counts of an organisation": (Signal.LOGS, LOG_COUNTS),
    "trace by id": (Signal.TRACES, TRACE_BY_ID),
    "traces of a component": (Signal.TRACES, COMPONENT_TRACES),
    "spans of a service": (Signal.TRACES, SERVICE_SPANS),
}
