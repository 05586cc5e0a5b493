"""Bodies of the trace routes and of the adapters' routes to queries. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from query_api.body import Member
from query_api.cursors import PATTERN, from_text
from query_api.errors import InvalidRequest
from query_api.gotime import optional_times, required_times
from query_api.log_params import levels_of
from query_api.storage import LogQuery, SpanQuery, TraceQuery, TraceSpansQuery

MAX_SPANS: Final = 10_000
MAX_PAGE: Final = 1000
DEFAULT_PAGE: Final = 100
MAX_RANGE_NANOSECONDS: Final = 30 * 86_400 * 1_000_000_000
LEVELS: Final = ("DEBUG", "INFO", "WARN", "ERROR")
ORDERS: Final = ("asc", "desc")

SPANS: Final = (
    Member("startTime", "string", "RFC3339, inclusive.", format="date-time", is_required=True),
    Member("endTime", "string", "RFC3339, inclusive.", format="date-time", is_required=True),
    Member("serviceName", "string", "Service whose spans are asked for.", is_required=True),
    Member("limit", "integer", f"1 to {MAX_SPANS}.", is_required=True, bounds=(1, MAX_SPANS)),
    Member("sortOrder", "string", "asc or desc, by start time.", is_required=True, values=ORDERS),
)
_TIMES: Final = (
    Member("startTime", "string", "RFC3339, inclusive.", format="date-time", is_required=True),
    Member("endTime", "string", "RFC3339, inclusive.", format="date-time", is_required=True),
)
_PAGE: Final = (
    Member("limit", "integer", f"1 to {MAX_PAGE}; 0 is the default, {DEFAULT_PAGE}.", bounds=(0, MAX_PAGE)),
    Member("sortOrder", "string", "asc or desc, default desc.", values=ORDERS),
)
# The logs adapter is given uids, the tracing adapter uids under the names' members (contract 1.12.5); both take both.
SCOPE: Final = Member(
    "searchScope",
    "object",
    "What to search; names and uids are both taken.",
    tuple(
        Member(name, "string", text, is_required=name == "namespace")
        for name, text in (
            ("namespace", "Organisation (the control plane's namespace)."),
            ("project", "Project."),
            ("component", "Component."),
            ("environment", "Environment."),
            ("projectUid", "Project by uid."),
            ("componentUid", "Component by uid."),
            ("environmentUid", "Environment by uid."),
            ("workflowRunName", "Workflow run: its build logs, instead of a component's."),
            ("taskName", "Task of the workflow run."),
        )
    ),
    is_required=True,
)
ADAPTER_LOGS: Final = (
    *_TIMES,
    SCOPE,
    *_PAGE,
    Member("logLevels", "strings", f"Of {', '.join(LEVELS)}; ERROR finds FATAL as well.", values=LEVELS),
    Member("searchPhrase", "string", "Part of the line, in any case."),
    Member("cursor", "string", "X-Next-Cursor of the page before.", pattern=PATTERN),
)
ADAPTER_TRACES: Final = (*_TIMES, SCOPE, *_PAGE)
ADAPTER_SPANS: Final = (
    *(Member(each.name, each.kind, "RFC3339, inclusive; may be left out.", format=each.format) for each in _TIMES),
    Member(
        SCOPE.name,
        SCOPE.kind,
        SCOPE.text,
        tuple(Member(each.name, each.kind, each.text) for each in SCOPE.members),
    ),
    Member("limit", "integer", f"1 to {MAX_SPANS}; 0 is the default, {MAX_PAGE}.", bounds=(0, MAX_SPANS)),
    Member("sortOrder", "string", "asc or desc, default asc.", values=ORDERS),
    Member("includeAttributes", "boolean", "With attributes and resource attributes."),
)


def span_query(body: Mapping[str, Any]) -> SpanQuery:
    """Of POST /api/traces/component, checked in the contract's order (1.3, V6). Raises `InvalidRequest`."""
    start, end = required_times(body["startTime"], body["endTime"])
    if body["sortOrder"] not in ORDERS:
        raise InvalidRequest("sortOrder must be either 'asc' or 'desc'")
    if body["limit"] <= 0:
        raise InvalidRequest("limit must be a positive integer")
    if body["limit"] > MAX_SPANS:
        raise InvalidRequest(f"limit cannot exceed {MAX_SPANS}. If you need to fetch more logs, please use pagination")
    if not body["serviceName"]:
        raise InvalidRequest("Required field serviceName not found", is_missing=True)
    return SpanQuery(start, end, body["serviceName"], body["limit"], is_descending=body["sortOrder"] == "desc")


def adapter_log_query(body: Mapping[str, Any], undefined_level: str) -> LogQuery:
    """Of POST /api/v1/logs/query. Raises `InvalidRequest`."""
    scope = body["searchScope"]
    if not scope["namespace"]:
        raise InvalidRequest("searchScope with a valid namespace is required")
    places = _places(scope)
    start, end = _range(body)
    unknown = sorted(set(body["logLevels"]) - set(LEVELS))
    if unknown:
        raise InvalidRequest(f"logLevels must be of {', '.join(LEVELS)}, not {unknown[0][:40]!r}")
    build = scope["workflowRunName"]
    return LogQuery(
        start_unix_nano=start,
        end_unix_nano=end,
        organization=scope["namespace"],
        project=places["project"],
        components=(places["component"],) if places["component"] else (),
        environment=places["environment"],
        phrase=body["searchPhrase"],
        levels=levels_of(body["logLevels"], undefined_level),
        is_build=bool(build),
        build_id=build,
        cursor=from_text(body["cursor"]) if body["cursor"] else None,
        **_page(body),
    )


def trace_query(body: Mapping[str, Any]) -> TraceQuery:
    """Of POST /api/v1alpha1/traces/query. Raises `InvalidRequest`."""
    scope = body["searchScope"]
    if not scope["namespace"]:
        raise InvalidRequest("namespace is required")
    places = _places(scope)
    start, end = _range(body)
    return TraceQuery(
        start,
        end,
        scope["namespace"],
        places["project"],
        places["component"],
        places["environment"],
        **_page(body),
    )


def trace_spans_query(trace_id: str, body: Mapping[str, Any]) -> TraceSpansQuery:
    """Of POST /api/v1alpha1/traces/{traceId}/spans/query; times and scope may be left out. Raises `InvalidRequest`."""
    scope = body["searchScope"]
    start, end = optional_times(body["startTime"], body["endTime"])
    places, page = _places(scope), _page(body, MAX_PAGE, "asc", MAX_SPANS)
    return TraceSpansQuery(
        trace_id.lower(),
        scope["namespace"],
        places["project"],
        places["component"],
        places["environment"],
        start,
        end,
        **page,
    )


def _places(scope: Mapping[str, Any]) -> dict[str, str]:
    places = {name: scope[f"{name}Uid"] or scope[name] for name in ("project", "component", "environment")}
    if scope["workflowRunName"] and any(places.values()):
        raise InvalidRequest("searchScope: workflowRunName cannot be combined with project, component or environment")
    return places


def _range(body: Mapping[str, Any]) -> tuple[int, int]:
    start, end = required_times(body["startTime"], body["endTime"])
    if end - start > MAX_RANGE_NANOSECONDS:
        raise InvalidRequest("the time range cannot be longer than 30 days")
    return start, end


def _page(
    body: Mapping[str, Any], default_limit: int = DEFAULT_PAGE, default_order: str = "desc", max_limit: int = MAX_PAGE
) -> dict[str, Any]:
    limit = body["limit"] or default_limit
    if not 1 <= limit <= max_limit:
        raise InvalidRequest(f"limit must be from 1 to {max_limit}")
    order = body["sortOrder"] or default_order
    if order not in ORDERS:
        raise InvalidRequest("sortOrder must be either 'asc' or 'desc'")
    return {"limit": limit, "is_descending": order == "desc"}
