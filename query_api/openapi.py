"""The OpenAPI 3.1 document, made of the table of routes. Pure."""

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Final

from query_api.api import Route
from query_api.body import schema_of
from query_api.schemas import ERRORS, UNHEALTHY

_HEADERS: Final = {
    "X-Request-Id": "The request's id, in the log too; yours is taken if you send one.",
    "X-Complete-Until": "Everything received before this time is in the answer.",
    "X-Next-Cursor": "There may be more rows: ask again with it as `cursor`.",
    "X-Row-Limit": "An export has no more rows than this (query.export_max_rows).",
    "X-Total-Capped": "The total counts up to query.total_cap.",
}
_FAILURES: Final = {
    "400": "The request is wrong, or its answer would be too large.",
    "401": "No credential, or one that does not hold.",
    "403": "No role of the caller allows it.",
    "404": "Not there for this caller; as text: no such route.",
    "408": "The body did not come in time.",
    "413": "The body is over query.max_request_bytes.",
    "429": "Too many requests; Retry-After says when to come back.",
    "500": "A defect; the request id finds it in the log.",
    "503": "The store cannot be asked now.",
    "504": "The store did not finish in time: tighten the time range.",
}
_TEXT: Final = {"text/plain": {"schema": {"type": "string"}}}


def document(routes: Sequence[Route], title: str) -> dict[str, Any]:
    """The document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version("headrace"), "description": "Telemetry of your organisations."},
        "paths": paths,
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name.replace(" ", "-"),
        "summary": route.text,
        "parameters": [*_path_parameters(route), *_query_parameters(route)],
        "responses": _responses(route),
    }
    if route.body:
        schema = schema_of(route.body)
        either = schema if "required" in schema else {"anyOf": [schema, {"type": "null"}]}  # null: nothing is asked for
        content = {"application/json": {"schema": either}}
        operation["requestBody"] = {"required": True, "content": content}
    if route.action is not None:
        operation["security"] = [{"bearer": []}]
    return operation


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    schema = {"type": "string", "minLength": 1, "pattern": "^[^/]+$"}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in names]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "in": "query",
            "description": each.text,
            "required": each.is_required,
            "schema": each.schema,
        }
        for each in route.parameters
    ]


def _responses(route: Route) -> dict[str, Any]:
    failure = {"application/json": {"schema": ERRORS[route.style]}}
    responses: dict[str, Any] = {code: {"description": text, "content": failure} for code, text in _FAILURES.items()}
    responses["404"] = {**responses["404"], "content": {**failure, **_TEXT}}
    headers = {name: {"description": text, "schema": {"type": "string"}} for name, text in _HEADERS.items()}
    if route.action is None:
        del responses["401"]
        responses["403"] = {"description": "No.", "content": _TEXT}
    if route.name == "health":
        content = {"application/json": {"schema": UNHEALTHY}}
        responses["503"] = {"description": "Questions cannot be answered now.", "content": content}
    if not route.answer_type:
        return {"204": {"description": "Yes.", "headers": headers}, **responses}
    schema = route.answer if route.answer is not None else {"type": "string"}
    content = {route.answer_type: {"schema": schema}}
    return {"200": {"description": "The answer.", "headers": headers, "content": content}, **responses}
