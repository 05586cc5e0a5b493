"""Bodies of the log routes to a `LogQuery`: defaults, bounds and what the contract leaves open. Pure.

Deliberate differences from the fork are listed with their reasons in docs/query-api.md.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from query_api.body import Member
from query_api.cursors import PATTERN, from_text
from query_api.errors import InvalidRequest
from query_api.gotime import optional_times
from query_api.storage import LogQuery

DEFAULT_LIMIT: Final = 100
MAX_LIMIT: Final = 10_000
BUILD: Final = "BUILD"
# multiSearchAny takes no more needles than this
MAX_NEEDLES: Final = 255

_TIMES: Final = (
    Member("startTime", "string", "First time, RFC3339, inclusive; empty: no lower bound.", format="date-time"),
    Member("endTime", "string", "Last time, RFC3339, inclusive; empty: no upper bound.", format="date-time"),
)
_PAGE: Final = (
    Member(
        "limit",
        "integer",
        f"Rows of a page, at most {MAX_LIMIT}; 0 or less: {DEFAULT_LIMIT}.",
        bounds=(-(1 << 63), MAX_LIMIT),
    ),
    Member("sortOrder", "string", "asc or desc by time; anything else is desc."),
    Member("cursor", "string", "X-Next-Cursor of the page before, to go on behind it.", pattern=PATTERN),
)
_PHRASE: Final = Member("searchPhrase", "string", "Part of the line, in any case.")
_LOG_TYPE: Final = Member("logType", "string", "BUILD or RUNTIME, in any case; anything else is RUNTIME.")
_COMMON: Final = (
    *_TIMES,
    Member("environmentId", "string", "Environment by name or id; empty: any."),
    Member("namespace", "string", "Kubernetes namespace; empty: any."),
    _PHRASE,
    Member("logLevels", "strings", "DEBUG, INFO, WARN, ERROR, FATAL; ERROR finds FATAL as well. Empty: any."),
    Member("versions", "strings", "Versions; a row matches if its version or its version id is asked for."),
    Member("versionIds", "strings", "Version ids."),
    *_PAGE,
    _LOG_TYPE,
    Member("buildId", "string", "Build name, of build logs."),
    Member("buildUuid", "string", "Build UUID, of build logs."),
)
_ORGANIZATION: Final = Member("organizationId", "string", "Organisation by name or id, to narrow; empty: any readable.")
COMPONENT: Final = (*_COMMON, _ORGANIZATION, Member("projectId", "string", "Project by name or id, to narrow."))
PROJECT: Final = (*_COMMON, Member("componentIds", "strings", "Components by name or id; empty: any."), _ORGANIZATION)
ORGANIZATION: Final = (
    *_COMMON,
    Member("podLabels", "string map", "Labels that a row's pod must have.", max_items=MAX_NEEDLES),
)
GATEWAY: Final = (
    *_TIMES,
    Member("organizationId", "string", "Organisation by name or id.", is_required=True),
    _PHRASE,
    Member(
        "apiIdToVersionMap",
        "string map",
        "API ids, each with its version or an empty text for any.",
        max_items=MAX_NEEDLES,
    ),
    Member("gatewayVHosts", "strings", "Virtual hosts of the gateway.", max_items=MAX_NEEDLES),
    *_PAGE,
    _LOG_TYPE,
)


def component_query(component: str, body: Mapping[str, Any], undefined_level: str) -> LogQuery:
    """Of POST /api/logs/component/{componentId}. Raises `InvalidRequest`."""
    named = {"components": (component,), "project": body["projectId"], "organization": body["organizationId"]}
    return _query(body, undefined_level, **named)


def project_query(project: str, body: Mapping[str, Any], undefined_level: str) -> LogQuery:
    """Of POST /api/logs/project/{projectId}. Raises `InvalidRequest`."""
    named = {"project": project, "components": body["componentIds"], "organization": body["organizationId"]}
    return _query(body, undefined_level, **named)


def organization_query(organization: str, body: Mapping[str, Any], undefined_level: str) -> LogQuery:
    """Of POST /api/logs/org/{orgId}. Raises `InvalidRequest`."""
    return _query(body, undefined_level, organization=organization, labels=_labels(body["podLabels"]))


def gateway_query(body: Mapping[str, Any]) -> LogQuery:
    """Of POST /api/logs/gateway. Raises `InvalidRequest`."""
    if not body["organizationId"]:
        raise InvalidRequest("organizationId is required", is_missing=True)
    hosts, apis = body["gatewayVHosts"], tuple(body["apiIdToVersionMap"].items())
    if max(len(hosts), len(apis)) > MAX_NEEDLES:
        raise InvalidRequest(f"gatewayVHosts and apiIdToVersionMap: at most {MAX_NEEDLES} each")
    start, end = optional_times(body["startTime"], body["endTime"])
    return LogQuery(
        start_unix_nano=start,
        end_unix_nano=end,
        organization=body["organizationId"],
        phrase=body["searchPhrase"],
        vhosts=hosts,
        apis=apis,
        **_page(body),
    )


def export_query(query: Sequence[tuple[str, str]]) -> LogQuery:
    """Of GET /api/logs/export/csv, from its query string's pairs. Raises `InvalidRequest`."""
    first = dict(reversed(query))
    if not first.get("startTime") or not first.get("endTime"):
        raise InvalidRequest("startTime and endTime are required", is_missing=True)
    start, end = optional_times(first["startTime"], first["endTime"])
    components = tuple(value for key, value in query if key == "componentIds" and value)
    prefix = "podLabels."
    labels = tuple((key.removeprefix(prefix), value) for key, value in query if key.startswith(prefix))
    project, organization = first.get("projectId", ""), first.get("organizationId", "")
    if not (components or project or organization):
        raise InvalidRequest("componentIds, projectId or organizationId is required", is_missing=True)
    if max(len(components), len(labels)) > MAX_NEEDLES:
        raise InvalidRequest(f"componentIds and podLabels: at most {MAX_NEEDLES} each")
    return LogQuery(
        start_unix_nano=start,
        end_unix_nano=end,
        organization=organization,
        project=project,
        components=components,
        labels=labels,
    )


def _query(body: Mapping[str, Any], undefined_level: str, **named: Any) -> LogQuery:
    """Build logs are of no environment and no time: the portal sends neither, or those of the page it is on."""
    is_build = body["logType"].upper() == BUILD
    start, end = optional_times(body["startTime"], body["endTime"])
    return LogQuery(
        start_unix_nano=None if is_build else start,
        end_unix_nano=None if is_build else end,
        environment="" if is_build else body["environmentId"],
        namespace=body["namespace"],
        phrase=body["searchPhrase"],
        levels=levels_of(body["logLevels"], undefined_level),
        versions=body["versions"],
        version_ids=body["versionIds"],
        is_build=is_build,
        build_id=body["buildId"],
        build_uuid=body["buildUuid"],
        **_page(body),
        **named,
    )


def _page(body: Mapping[str, Any]) -> dict[str, Any]:
    limit = body["limit"]
    if limit > MAX_LIMIT:
        raise InvalidRequest(f"limit cannot exceed {MAX_LIMIT}. If you need to fetch more logs, please use pagination")
    return {
        "limit": limit if limit > 0 else DEFAULT_LIMIT,
        "is_descending": body["sortOrder"].lower() != "asc",
        "cursor": from_text(body["cursor"]) if body["cursor"] else None,
    }


def levels_of(asked: Sequence[str], undefined_level: str) -> tuple[str, ...]:
    """Canonical levels; a row without one counts as `undefined_level`. A level nobody knows finds nothing."""
    levels = {level.strip().upper() for level in asked}
    if "WARNING" in levels:
        levels.add("WARN")
    if "ERROR" in levels:
        levels.add("FATAL")  # the portal has no box for it, and the worst lines would be in none
    if undefined_level in levels:
        levels.add("")
    return tuple(sorted(levels))


def _labels(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    if len(labels) > MAX_NEEDLES:
        raise InvalidRequest(f"podLabels: at most {MAX_NEEDLES}")
    return tuple(labels.items())
