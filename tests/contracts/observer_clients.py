"""The clients of the Observer API as they are (contract 7.2 to 7.4): their requests byte for byte, over HTTP.

Subclasses say what it reads from.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from tests.contracts.observer_vectors import API, BUILD, LABELLED, WINDOW, check_json
from tests.contracts.storage_contract import Opened, StorageCase
from tests.query_server import Served, known, serving
from tests.stored import NOON, Stored, place

PORTAL: Final = "https://portal.example.org"
PER_PAGE: Final = 50
ROWS: Final = 120
WEB: Final = place("acme", component="web", **LABELLED)
FOREIGN: Final = place("evil", **LABELLED)
GATEWAY: Final = place("acme", "", "", "", **{"k8s.pod.label.target": "gateway"})
EARLY, LATE = "2025-11-14T09:00:00.000Z", "2025-11-14T11:00:00.000Z"
TRACE: Final = "ab" * 16


def the_data() -> Stored:
    """A component with three pages, some rows of it at one time; a sibling, a build, a gateway, and somebody else."""
    stored = Stored()
    for number in range(ROWS):
        stored.log(f"INFO line {number:03d}", NOON + number // 3 * 1_000_007, API)
    stored.log("WARN elsewhere", NOON, WEB)
    stored.log("ERROR foreign", NOON, FOREIGN)
    stored.log("INFO built", NOON, BUILD)
    access = '{"apiPath":"/acme/orders","gwHost":"gw.acme.test","apiUuid":"api-1"}'
    stored.log(access, NOON, GATEWAY, attributes={"gateway_vhost": "gw.acme.test", "api_id": "api-1"})
    stored.span("GET /", (TRACE, "01" * 8), NOON, API | {"service.name": "api"}, status="Error")
    return stored


class ObserverClients(StorageCase):
    @pytest.fixture
    async def served(self, opened: Opened) -> AsyncIterator[Served]:
        await opened.write(the_data())
        callers = known({"portal": ["acme"], "other": ["evil"], "nobody": []})
        async with serving(opened.storage, callers=callers, allowed_origins=(PORTAL,)) as served:
            yield served

    async def test_the_old_portal_pages_by_the_time_of_the_last_row(self, served: Served) -> None:
        """7.3: `offset` is always 0, times are in milliseconds, the next page ends where the last row was; all come."""
        sent: dict[str, Any] = {
            "environmentId": "dev",
            "logLevels": ["ERROR", "WARN", "INFO", "DEBUG"],
            "startTime": EARLY,
            "endTime": LATE,
            "limit": PER_PAGE,
            "offset": 0,
        }
        seen: dict[str, Any] = {}
        for _ in range(10):
            answer = await served.post("/api/logs/component/api", sent, X_Original_Authorization="Bearer portal")
            check_json(answer)
            told = answer.json
            assert set(told) == {"logs", "totalCount", "tookMs"}
            seen |= {entry["log"]: entry for entry in told["logs"]}
            has_more = len(told["logs"]) == sent["limit"]
            if not has_more:
                break
            sent["endTime"] = told["logs"][-1]["timestamp"]
        assert sorted(seen) == [f"INFO line {number:03d}" for number in range(ROWS)]
        shown = ("timestamp", "logLevel", "log", "podId", "containerName", "version", "labels")
        assert all(set(shown) <= set(entry) for entry in seen.values())

    async def test_the_old_portal_shows_builds(self, served: Served) -> None:
        """7.3: no times and no environment; with a phrase, and without a limit."""
        sent = {"buildId": "b1", "buildUuid": "u1", "logLevels": ["INFO"], "logType": "BUILD", "searchPhrase": "BUIL"}
        answer = await served.post("/api/logs/component/api", sent, X_Original_Authorization="Bearer portal")
        assert [entry["log"] for entry in answer.json["logs"]] == ["INFO built"]

    async def test_a_browser_may_ask_with_credentials_from_the_portals_origin(self, served: Served) -> None:
        """7.4: the preflight asks for no credential; the answer, and a refusal too, may be read by that page."""
        path, asks = "/api/v1/logs/query", "POST"
        preflight = await served.ask(
            "OPTIONS",
            path,
            Origin=PORTAL,
            Access_Control_Request_Method=asks,
            Access_Control_Request_Headers="authorization,content-type",
        )
        assert (preflight.status, preflight.body) == (204, b"")
        assert preflight.headers["Access-Control-Allow-Origin"] == PORTAL
        assert preflight.headers["Access-Control-Allow-Credentials"] == "true"
        assert asks in preflight.headers["Access-Control-Allow-Methods"]
        assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
        body = {**WINDOW, "searchScope": {"namespace": "acme"}}
        for token, status in (("Bearer portal", 200), ("Bearer wrong", 401), ("Bearer nobody", 403)):
            answer = await served.post(path, body, Authorization=token, Origin=PORTAL)
            assert answer.status == status
            assert answer.headers["Access-Control-Allow-Origin"] == PORTAL
            assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        foreign = await served.post(path, body, Authorization="Bearer portal", Origin="https://evil.example.org")
        assert "Access-Control-Allow-Origin" not in foreign.headers

    async def test_the_portal_of_today_reads_logs_traces_and_spans(self, served: Served) -> None:
        """7.4: logs ascending, all levels meaning none; traces of a component, its spans up to 1000, one of them."""
        headers = {"Authorization": "Bearer portal", "Origin": PORTAL}
        scope = {"namespace": "acme", "project": "shop", "component": "api", "environment": "dev"}
        times = {"startTime": EARLY, "endTime": LATE}
        logs = await served.post(
            "/api/v1/logs/query", {**times, "searchScope": scope, "limit": 100, "sortOrder": "asc"}, **headers
        )
        check_json(logs)
        assert [entry["log"] for entry in logs.json["logs"]][:2] == ["INFO line 000", "INFO line 001"]
        assert logs.json["total"] == ROWS
        assert logs.json["logs"][0]["metadata"]["podNamespace"] == "dp-acme-shop-dev"
        sent = {**times, "searchScope": scope, "limit": 100, "sortOrder": "desc"}
        traces = (await served.post("/api/v1alpha1/traces/query", sent, **headers)).json
        assert [(each["traceId"], each["hasErrors"]) for each in traces["traces"]] == [(TRACE, True)]
        asked = {**sent, "limit": 1000, "sortOrder": "asc", "includeAttributes": False}
        spans = (await served.post(f"/api/v1alpha1/traces/{TRACE}/spans/query", asked, **headers)).json
        (span,) = spans["spans"]
        assert span["startTime"].endswith("Z")
        assert "attributes" not in span
        found = await served.get(f"/api/v1alpha1/traces/{TRACE}/spans/{span['spanId']}", **headers)
        assert found.json["resourceAttributes"]["service.name"] == "api"
        missing = await served.get(f"/api/v1alpha1/traces/{TRACE}/spans/{'0' * 16}", **headers)
        assert (missing.status, missing.json["errorCode"]) == (404, "OBS-V1-T-07")

    async def test_the_command_line_of_upstream_follows_without_a_limit(self, served: Served) -> None:
        """7.2: `occ` sends limit 0 ascending, which is the default of 100; then tail descending."""
        scope = {"namespace": "acme", "project": "shop", "component": "api", "environment": "dev"}
        sent: dict[str, Any] = {**WINDOW, "searchScope": scope, "limit": 0, "sortOrder": "asc"}
        headers = {"Authorization": "Bearer portal"}
        told = (await served.post("/api/v1/logs/query", sent, **headers)).json
        assert (len(told["logs"]), told["total"]) == (100, ROWS)
        told = (await served.post("/api/v1/logs/query", {**sent, "limit": 2, "sortOrder": "desc"}, **headers)).json
        assert {entry["log"] for entry in told["logs"]} <= {f"INFO line {number}" for number in (117, 118, 119)}

    async def test_gateway_and_project_routes_answer_with_their_rows(self, served: Served) -> None:
        """1.3: virtual hosts and API ids with any version; components of a project; everything of the organisation."""
        headers = {"Authorization": "Bearer portal"}
        sent: dict[str, Any] = {
            **WINDOW,
            "organizationId": "acme",
            "gatewayVHosts": ["gw.acme.test"],
            "apiIdToVersionMap": {"api-1": ""},
        }
        told = (await served.post("/api/logs/gateway", sent, **headers)).json
        assert [entry["log"][:10] for entry in told["logs"]] == ['{"apiPath"']
        sent = {**WINDOW, "componentIds": ["web"], "limit": 5}
        told = (await served.post("/api/logs/project/shop", sent, **headers)).json
        assert [entry["log"] for entry in told["logs"]] == ["WARN elsewhere"]
        told = (await served.post("/api/logs/org/acme", {**WINDOW, "logLevels": ["WARN"]}, **headers)).json
        assert [entry["log"] for entry in told["logs"]] == ["WARN elsewhere"]
        missing = await served.post("/api/logs/gateway", WINDOW, **headers)
        assert (missing.status, missing.json["code"]) == (400, "OBS-L-10")

    async def test_nobody_reads_without_a_role_for_it(self, served: Served) -> None:
        """1.12.6's words and codes: no credential, one that does not hold, none of the roles; then an empty answer."""
        path = "/api/logs/component/api"
        nameless = await served.post(path, WINDOW)
        assert (nameless.status, nameless.json["error"], nameless.json["code"]) == (401, "unauthorized", "OBS-AUTH-04")
        assert nameless.headers["WWW-Authenticate"] == "Bearer"
        for body in (WINDOW, b"{", b""):
            denied = await served.post(path, body, Authorization="Bearer nobody")
            assert (denied.status, denied.json["error"], denied.json["code"]) == (403, "forbidden", "OBS-AUTH-01")
        other = await served.post("/api/logs/org/acme", WINDOW, Authorization="Bearer other")
        assert (other.status, other.json["logs"], other.json["totalCount"]) == (200, [], 0)
