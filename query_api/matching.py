"""What a `LogQuery` asks of one row, in Python: what every store means by it. Pure."""

import json

from bridge.fields import has_label, value_of
from query_api.phrases import contains
from query_api.storage import LogQuery, LogRow


def is_within(at: int, start: int | None, end: int | None) -> bool:
    """Bounds are inclusive; None: there is none."""
    return (start is None or at >= start) and (end is None or at <= end)


def log_matches(row: LogRow, query: LogQuery) -> bool:
    """Whether a row answers a query, its places aside."""
    return (
        is_within(row.position.time_unix_nano, query.start_unix_nano, query.end_unix_nano)
        and (not query.levels or row.level in query.levels)
        and contains(row.body, query.phrase)
        and _fields_match(row, query)
        and all(has_label(row.resource, key, value) for key, value in query.labels)
        and _gateway_matches(row, query)
    )


def _fields_match(row: LogRow, query: LogQuery) -> bool:
    def has(name: str) -> str:
        return value_of(name, row.resource, row.attributes)

    return (
        (not query.namespace or has("namespace") == query.namespace)
        and (not query.build_id or has("build_id") == query.build_id)
        and (not query.build_uuid or has("build_uuid") == query.build_uuid)
        and (not query.is_build or has("target").lower() == "build")
        and (
            not (query.versions or query.version_ids)
            or has("version") in query.versions
            or has("version_id") in query.version_ids
        )
    )


def _gateway_matches(row: LogRow, query: LogQuery) -> bool:
    def has(name: str) -> str:
        return value_of(name, row.resource, row.attributes)

    hosts = not query.vhosts or any(has("vhost") == host or member("gwHost", host) in row.body for host in query.vhosts)
    apis = not query.apis or any(
        (has("api_id") == api and version in ("", has("api_version"))) or member("apiUuid", api) in row.body
        for api, version in query.apis
    )
    return hosts and apis


def member(key: str, value: str) -> str:
    """As a gateway's access log line has it (contract 2.5)."""
    return f'"{key}":{json.dumps(value, ensure_ascii=False)}'
