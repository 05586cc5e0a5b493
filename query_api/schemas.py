"""JSON schemas of answers, for the OpenAPI document; schemathesis holds the real answers against them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Schema = Mapping[str, Any]
TEXT: Final[Schema] = {"type": "string"}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
INTEGER: Final[Schema] = {"type": "integer"}
NUMBER: Final[Schema] = {"type": "number"}
FLAG: Final[Schema] = {"type": "boolean"}
TEXTS: Final[Schema] = {"type": "object", "additionalProperties": TEXT}


def exactly(optional: Sequence[str] = (), **members: Schema) -> Schema:
    """An object with all of these members but the optional ones, and no others."""
    required = [name for name in members if name not in optional]
    return {"type": "object", "properties": members, "required": required, "additionalProperties": False}


def list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


LOG_ENTRY: Final = exactly(
    timestamp=TIME,
    log=TEXT,
    logLevel=TEXT,
    componentId=TEXT,
    environmentId=TEXT,
    projectId=TEXT,
    version=TEXT,
    versionId=TEXT,
    namespace=TEXT,
    podId=TEXT,
    containerName=TEXT,
    labels=TEXTS,
)
LOGS: Final = exactly(logs=list_of(LOG_ENTRY), totalCount=COUNT, tookMs=COUNT)
SPAN_ENTRY: Final = exactly(durationInNanos=INTEGER, endTime=TIME, name=TEXT, spanId=TEXT, startTime=TIME, traceId=TEXT)
SPANS: Final = exactly(spans=list_of(SPAN_ENTRY), totalCount=COUNT, tookMs=COUNT)
ADAPTER_LOGS: Final = exactly(
    logs=list_of(exactly(timestamp=TIME, log=TEXT, level=TEXT, metadata=TEXTS)), total=COUNT, tookMs=COUNT
)
TRACES: Final = exactly(
    traces=list_of(
        exactly(
            traceId=TEXT,
            traceName=TEXT,
            spanCount=COUNT,
            rootSpanId=TEXT,
            rootSpanName=TEXT,
            rootSpanKind=TEXT,
            startTime=TIME,
            endTime=TIME,
            durationNs=INTEGER,
            hasErrors=FLAG,
        )
    ),
    total=COUNT,
    tookMs=COUNT,
)
ADAPTER_SPAN: Final = exactly(
    ("attributes", "resourceAttributes"),
    spanId=TEXT,
    spanName=TEXT,
    spanKind=TEXT,
    startTime=TIME,
    endTime=TIME,
    durationNs=INTEGER,
    parentSpanId=TEXT,
    status=exactly(("message",), code={"enum": ["ok", "error", "unset"]}, message=TEXT),
    attributes=TEXTS,
    resourceAttributes=TEXTS,
)
TRACE_SPANS: Final = exactly(spans=list_of(ADAPTER_SPAN), total=COUNT, tookMs=COUNT)
PLACES: Final = exactly(
    places=list_of(
        exactly(
            organizationId=TEXT,
            organizationName=TEXT,
            projectId=TEXT,
            projectName=TEXT,
            componentId=TEXT,
            componentName=TEXT,
            environmentId=TEXT,
            environmentName=TEXT,
            serviceName=TEXT,
            lastSeen=TIME,
        )
    )
)
FRESHNESS: Final = exactly(
    freshness=list_of(
        exactly(
            organizationId=TEXT,
            signal=TEXT,
            completeUntil=or_null(TIME),
            behindSeconds=or_null(NUMBER),
            lastMinuteItems=or_null(COUNT),
        )
    )
)
URL: Final = exactly(url=TEXT)
COSTS: Final = exactly(month=TEXT, organizations=list_of({"type": "object"}))
HEALTH: Final = exactly(("timestamp",), status={"const": "healthy"}, timestamp=TIME)
UNHEALTHY: Final = exactly(status={"const": "unhealthy"}, error=TEXT)
ERRORS: Final[Mapping[str, Schema]] = {
    "observer": exactly(error=TEXT, code=TEXT, message=TEXT),
    "public": exactly(("errorCode",), title=TEXT, errorCode=TEXT, message=TEXT),
    "tracing adapter": exactly(("errorCode",), title=TEXT, errorCode=TEXT, detail=TEXT),
}
