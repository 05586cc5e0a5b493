"""Requests to every route of the query API with anything in any one text of theirs, made from the table of routes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_from_bytes

from query_api.api import Route
from query_api.body import Member
from tests.contracts.storage_contract import HOSTILE

TRACE, SPAN = "ab" * 16, "cd" * 8
# What a text has to be so that the rest of the request finds something; a route with another required one fails its
# test until it is here.
VALID: Final[Mapping[str, Any]] = {
    "startTime": "2025-11-14T00:00:00Z",
    "endTime": "2025-11-15T00:00:00Z",
    "organizationId": "Same",
    "serviceName": "api",
    "sortOrder": "asc",
    "limit": 1000,
    "componentId": "api",
    "projectId": "shop",
    "orgId": "Same",
    "traceId": TRACE,
    "spanId": SPAN,
    "path": "/search",
    "namespace": "Same",
    "month": "2025-11",
}
HEADERS: Final = (
    *("X-Request-Id", "Origin", "Content-Type", "X-Original-Authorization", "X-Forwarded-User", "Forwarded", "Cookie"),
    *("X-Original-URI", "X-Original-Host", "X-Forwarded-Uri", "X-Forwarded-Host", "X-Scope-OrgID", "Accept", "Range"),
)
# in a path or a query string, as they are sent
RAW: Final = (
    *("%2F", "%00", "%252F", "..%2F..%2Forg%2Fevil-id", "%2e%2e", "..", ".", "%C0%AF", "%FF%FE", "%ED%A0%80", "%0d%0a"),
    *("%", "%zz", "%2", "%u0041", "+", "%2B", "&", ";", "=", "#", "%23", "%3F", "a%2Fb", "evil-id%00", "%E2%80%AE"),
    *("%5C%27)%20OR%201=1%20--%20", "%7Borg:String%7D", "{org:String}", "%24database", "evil%2Did", "*", "%25"),
)
PAYLOADS: Final = (
    *HOSTILE,
    *(
        "evil-id",
        "Same",
        "EVIL-ID",
        "evil-id/shop",
        "evil-id/shop/api",
        "../evil-id",
        "evil-id' --",
        "\ud800",
        "\udfff\ud800",
    ),
    *(r"x\') != toString(1) OR 1=1 -- ", r"x\\') OR OrgId != '' -- ", "x' UNION ALL SELECT * FROM otel_logs -- "),
    *("') FORMAT Null SETTINGS readonly=0 --", "additional_table_filters", "{is_unbound:Bool}", "true", "[]", "{}"),
    *("--include _log_filter", "\n--if org", "${database}", "$namespace", "unhex('65')", "\x1b[31m", "x" * 70_000),
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, without its credential."""

    method: str
    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def sent(self) -> str:
        return f"{self.path} {self.body!r} {dict(self.headers)}"


def plain(route: Route) -> Ask:
    """The request as it finds most."""
    names = [each.name for each in route.parameters]
    return _ask(route, _path(route), _body(route.body), "&".join(f"{each}={_valid(each)}" for each in names))


def asks(route: Route) -> Iterator[Ask]:
    """One text of the request after the other is each of the payloads: values, keys, unknown names and headers."""
    for payload in PAYLOADS:
        yield from with_payload(route, payload)
    query = "&".join(f"{each.name}={_valid(each.name)}" for each in route.parameters)
    for raw in RAW:
        for part in _parts(route):
            yield _ask(route, _path(route, {part: raw}), _body(route.body), query)
        for name in (*(each.name for each in route.parameters), raw, f"podLabels.{raw}", "podLabels.team"):
            yield _ask(route, _path(route), _body(route.body), f"{query}&{name}={raw}")
            yield _ask(route, _path(route), _body(route.body), f"{name}={raw}&{query}")


def with_payload(route: Route, payload: str) -> Iterator[Ask]:
    """The same for one payload."""
    query = [(each.name, str(_valid(each.name))) for each in route.parameters]
    for part in _parts(route):
        yield _ask(route, _path(route, {part: _quoted(payload)}), _body(route.body), _query(query))
    for body in _bodies(route.body, payload):
        yield _ask(route, _path(route), body, _query(query))
    if route.body:
        yield _ask(route, _path(route), _body(route.body) | {payload: payload, f"x{payload}": {payload: [payload]}}, "")
    for name, _ in query:
        others = [each for each in query if each[0] != name]
        yield _ask(route, _path(route), _body(route.body), _query([*others, (name, payload)]))
    labels = [(f"podLabels.{payload}", payload), ("podLabels.team", payload)] if query else []
    for label in (*labels, (payload, payload)):
        yield _ask(route, _path(route), _body(route.body), _query([*query, label]))
    text = "".join(char for char in payload if char.isprintable() and char.isascii())[:2000].strip()
    start = len(payload) * 7  # each payload in a few of the headers
    for number in range(start, start + 2) if text else ():
        ask = _ask(route, _path(route), _body(route.body), _query(query))
        yield Ask(ask.method, ask.path, ask.body, {**ask.headers, HEADERS[number % len(HEADERS)]: text})


def _bodies(members: Sequence[Member], payload: str) -> Iterator[dict[str, Any]]:
    """The body with one of its texts replaced, at any depth; members of other kinds get it too, which is an error."""
    for member in members:
        for value in _values(member, payload):
            yield _body(members) | {member.name: value}


def _values(member: Member, payload: str) -> Iterator[Any]:
    if member.kind == "strings":
        yield from ([payload], [payload, payload, "api"])
    elif member.kind == "string map":
        yield from ({payload: payload}, {payload: ""}, {"team": payload}, {payload: "same", "team": payload})
    elif member.kind == "object":
        yield from _bodies(member.members, payload)
    else:
        yield payload


def _body(members: Sequence[Member]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for member in members:
        if member.kind == "object":
            body[member.name] = _body(member.members)
        elif member.name in VALID and (
            member.is_required or member.name in ("limit", "namespace", "startTime", "endTime")
        ):
            # a scope's namespace is an organisation, a log route's is Kubernetes'
            is_kubernetes = member.name == "namespace" and len(members) > 9
            body[member.name] = "" if is_kubernetes else VALID[member.name]
    return body


def _parts(route: Route) -> list[str]:
    return [part[1:-1] for part in route.path.split("/") if part.startswith("{")]


def _path(route: Route, parts: Mapping[str, str] | None = None) -> str:
    path = route.path
    for part in _parts(route):
        path = path.replace(f"{{{part}}}", (parts or {}).get(part) or str(VALID[part]))
    return path


def _valid(name: str) -> Any:
    return VALID.get(name, "")


def _query(pairs: Sequence[tuple[str, str]]) -> str:
    return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)


def _quoted(text: str) -> str:
    return quote_from_bytes(text.encode("utf-8", "surrogatepass")[:6000], safe="")


def _ask(route: Route, path: str, body: dict[str, Any], query: str) -> Ask:
    raw = json.dumps(body).encode() if route.method == "POST" else None
    headers = {"Content-Type": "application/json"} if raw is not None else {}
    return Ask(route.method, f"{path}?{query}" if query else path, raw, headers)
