"""Every route, as a table. The OpenAPI document is made of it, and the app serves it."""

from dataclasses import replace
from typing import Final

from query_api import log_handlers, log_params, other_handlers, schemas, trace_handlers, trace_params
from query_api.api import Parameter, Route
from query_api.body import Member
from query_api.costs import MONTHS
from query_api.dual_report import SCHEMA as DUAL_REPORT
from query_api.tenant import Action

LINK: Final = (
    Member("path", "string", "Page of HyperDX, as /search.", is_required=True),
    Member("params", "string map", "Its query parameters."),
    Member("organizationId", "string", "Organisation the link is for, where the caller has several."),
)
MONTH: Final = Parameter(
    "month", "YYYY-MM; default: the current month, UTC.", schema={"type": "string", "pattern": MONTHS}
)
TIMES: Final = (
    Parameter("startTime", "RFC3339, inclusive.", is_required=True, schema=schemas.TIME),
    Parameter("endTime", "RFC3339, inclusive.", is_required=True, schema=schemas.TIME),
)
EXPORT: Final = (
    *TIMES,
    Parameter("projectId", "Project by name or id."),
    Parameter("organizationId", "Organisation by name or id."),
    Parameter(
        "componentIds",
        "Component by name or id; may be repeated.",
        schema={**schemas.list_of(schemas.TEXT), "maxItems": log_params.MAX_NEEDLES},
    ),
)

HEALTH: Final = Route(
    "health",
    "GET",
    "/health",
    other_handlers.health,
    None,
    "Whether questions can be answered now (503 if not). For liveness use /livez of the admin port.",
    answer=schemas.HEALTH,
    is_heavy=False,
)
# Generation A (contract 1.2): what the portal and the Observer's clients of the fork call.
GEN_A: Final = (
    HEALTH,
    Route(
        "component logs",
        "POST",
        "/api/logs/component/{componentId}",
        log_handlers.component_logs,
        Action.LOGS,
        "Log records of a component, by time.",
        body=log_params.COMPONENT,
        signal="logs",
        answer=schemas.LOGS,
    ),
    Route(
        "project logs",
        "POST",
        "/api/logs/project/{projectId}",
        log_handlers.project_logs,
        Action.LOGS,
        "Log records of a project, by time.",
        body=log_params.PROJECT,
        signal="logs",
        answer=schemas.LOGS,
    ),
    Route(
        "gateway logs",
        "POST",
        "/api/logs/gateway",
        log_handlers.gateway_logs,
        Action.LOGS,
        "Access log records of an organisation's API gateways, by time.",
        body=log_params.GATEWAY,
        signal="logs",
        answer=schemas.LOGS,
    ),
    Route(
        "organization logs",
        "POST",
        "/api/logs/org/{orgId}",
        log_handlers.organization_logs,
        Action.LOGS,
        "Log records of an organisation, by time.",
        body=log_params.ORGANIZATION,
        signal="logs",
        answer=schemas.LOGS,
    ),
    Route(
        "log export",
        "GET",
        "/api/logs/export/csv",
        log_handlers.export_logs,
        Action.LOGS,
        "Log records as CSV, oldest first, up to query.export_max_rows. `podLabels.<key>=<value>` filters by label.",
        parameters=EXPORT,
        signal="logs",
        failure="Failed to export logs to CSV",
        answer_type="text/csv",
    ),
    Route(
        "component spans",
        "POST",
        "/api/traces/component",
        trace_handlers.component_spans,
        Action.TRACES,
        "Spans of a service that start within the times.",
        body=trace_params.SPANS,
        signal="traces",
        answer=schemas.SPANS,
    ),
    Route(
        "cost export",
        "GET",
        "/api/costs/export",
        other_handlers.export_costs,
        Action.COSTS,
        "A month's items, bytes and costs by component, as CSV.",
        parameters=(MONTH,),
        failure="Failed to generate cost report",
        answer_type="text/csv",
    ),
    Route(
        "hyperdx link",
        "POST",
        "/api/hyperdx/link",
        other_handlers.hyperdx_link,
        Action.LINKS,
        "A signed link into HyperDX.",
        body=LINK,
        failure="Failed to generate HyperDX link",
        answer=schemas.URL,
        is_heavy=False,
    ),
)
# Ours: what the page and the command line need beside the above.
OWN: Final = (
    Route(
        "hyperdx verify",
        "GET",
        "/api/hyperdx/verify",
        other_handlers.hyperdx_verify,
        None,
        "For a reverse proxy's auth_request: 204 if the signed link in X-Original-URI holds, 403 if not.",
        answer_type="",
        is_heavy=False,
    ),
    Route(
        "organization costs",
        "GET",
        "/api/costs/organizations",
        other_handlers.organization_costs,
        Action.COSTS,
        "A month's costs by organisation, for dashboards.",
        parameters=(MONTH,),
        failure="Failed to generate cost report",
        answer=schemas.COSTS,
    ),
    Route(
        "places",
        "GET",
        "/api/places",
        other_handlers.places,
        Action.LOGS,
        "Organisations, projects, components and environments that have sent something.",
        failure="Failed to retrieve places",
        answer=schemas.PLACES,
    ),
    Route(
        "freshness",
        "GET",
        "/api/freshness",
        other_handlers.freshness,
        Action.LOGS,
        "By organisation and signal: until when everything received can be read.",
        failure="Failed to retrieve freshness",
        answer=schemas.FRESHNESS,
    ),
    Route(
        "dual read report",
        "GET",
        "/api/dual-read/report",
        other_handlers.dual_report,
        Action.LOGS,
        "By organisation: which store answers, and how far the two agree (404 where one store alone is asked).",
        failure="Failed to report on the dual read",
        answer=DUAL_REPORT,
        is_heavy=False,
    ),
)
# Generation C (contract 1.12.3, 1.12.5), on the main port with credentials, and as adapters on ports of their own.
PUBLIC_LOGS: Final = Route(
    "public logs",
    "POST",
    "/api/v1/logs/query",
    log_handlers.adapter_logs,
    Action.LOGS,
    "Log records of a scope.",
    style="public",
    body=trace_params.ADAPTER_LOGS,
    signal="logs",
    answer=schemas.ADAPTER_LOGS,
)
PUBLIC_TRACES: Final = (
    Route(
        "traces",
        "POST",
        "/api/v1alpha1/traces/query",
        trace_handlers.traces,
        Action.TRACES,
        "Summaries of the traces that touch a scope.",
        style="public",
        body=trace_params.ADAPTER_TRACES,
        signal="traces",
        failure="Failed to retrieve traces",
        answer=schemas.TRACES,
    ),
    Route(
        "trace spans",
        "POST",
        "/api/v1alpha1/traces/{traceId}/spans/query",
        trace_handlers.trace_spans,
        Action.TRACES,
        "Spans of a trace.",
        style="public",
        body=trace_params.ADAPTER_SPANS,
        signal="traces",
        failure="Failed to retrieve spans",
        answer=schemas.TRACE_SPANS,
    ),
    Route(
        "span details",
        "GET",
        "/api/v1alpha1/traces/{traceId}/spans/{spanId}",
        trace_handlers.span_details,
        Action.TRACES,
        "A span with all its attributes.",
        style="public",
        signal="traces",
        failure="Failed to retrieve span",
        answer=schemas.ADAPTER_SPAN,
    ),
)
MAIN: Final = (*GEN_A, *OWN, PUBLIC_LOGS, *PUBLIC_TRACES)
EVENTS: Final = Route(
    "adapter events",
    "POST",
    "/api/v1/events/query",
    other_handlers.no_events,
    Action.LOGS,
    "Kubernetes events: not here, and the Observer passes that on as 501.",
    style="public",
    is_heavy=False,
)
LOGS_ADAPTER: Final = (
    replace(HEALTH, handler=other_handlers.adapter_health),
    replace(PUBLIC_LOGS, name="adapter logs"),
    EVENTS,
)
TRACING_ADAPTER: Final = (
    replace(HEALTH, handler=other_handlers.adapter_health, path="/healthz"),
    *(replace(route, name=f"adapter {route.name}", style="tracing adapter") for route in PUBLIC_TRACES),
)
