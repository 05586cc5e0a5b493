"""The vectors V1 to V12 of the Observer contract (section 10), asked over HTTP of the real application.

Subclasses say what it reads from. The data are as section 10 assumes them, from OTLP on.
"""

import dataclasses
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from bridge.settings_links import HyperDX
from query_api.api import Rules
from query_api.memory import MemoryStorage
from query_api.storage import Usage
from query_api.tenant import Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.query_server import Answer, Served, serving
from tests.stored import DAY, NOON, Stored, place

MINUTE: Final = 60_000_000_000
LABELLED: Final = {
    "k8s.namespace.name": "dp-acme-shop-dev",
    "k8s.pod.uid": "pod-123",
    "k8s.container.name": "main",
    "k8s.pod.label.version": "v1.2.3",
    "k8s.pod.label.version_id": "ver-456",
    "k8s.pod.label.target": "runtime",
    "k8s.pod.label.component-name": "api",
}
API: Final = place("acme", service__name="api", **LABELLED)
BUILD: Final = place(
    "acme", environment="ci", **{"k8s.pod.label.target": "build", "build-name": "b1", "k8s.pod.label.uuid": "u1"}
)
COMPONENT: Final = "11111111-2222-3333-4444-555555555555"
ADAPTED: Final = place("default", "project-uid", COMPONENT, "dev", component__name="api", service__name="api")
SPAN_START: Final = 1_761_650_036_484_388_000  # 2025-10-28T11:13:56.484388Z
TRACE, SPAN = "b72e731db5edfd1df2658bd78f751862", "614f55c7ccbfffdc"
CHILD: Final = "00f067aa0ba902b7"
WINDOW: Final = {"startTime": "2025-11-14T09:00:00Z", "endTime": "2025-11-14T11:00:00Z"}
TRACE_WINDOW: Final = {"startTime": "2025-10-28T11:00:00Z", "endTime": "2025-10-28T12:00:00Z"}
V1: Final = {**WINDOW, "environmentId": "dev", "logLevels": ["ERROR"], "limit": 10}
V5: Final = {**TRACE_WINDOW, "serviceName": "api", "limit": 10, "sortOrder": "desc"}
MALFORMED: Final = {"error": "invalidRequest", "code": "OBS-L-12", "message": "Invalid request format"}
ENTRY: Final = {
    "timestamp": "2025-11-14T10:00:00.123456789Z",
    "log": "ERROR: Database connection failed",
    "logLevel": "ERROR",
    "componentId": "api",
    "environmentId": "dev",
    "projectId": "shop",
    "version": "v1.2.3",
    "versionId": "ver-456",
    "namespace": "dp-acme-shop-dev",
    "podId": "pod-123",
    "containerName": "main",
    "labels": {"version": "v1.2.3", "version_id": "ver-456", "target": "runtime", "component-name": "api"},
}
KEY: Final = "kind-hdx-signing-secret"
LINKS: Final = HyperDX.model_validate({"base_url": "http://hyperdx:3000", "signing_key": KEY, "mode": "legacy"})
COST_HEADER: Final = "organization_id,project_id,component_id,log_count,estimated_storage_bytes,estimated_cost_usd"


def the_data() -> Stored:
    """The row and the span of section 10, a build's row, and what the adapters are asked for."""
    stored = Stored()
    stored.log("ERROR: Database connection failed", NOON, API)
    stored.log("INFO step 1 of the build", NOON - 40 * DAY, BUILD)
    stored.span("database-query", (TRACE, SPAN), SPAN_START, API, duration=101_018_208)
    stored.log("INFO adapted", NOON, ADAPTED)
    stored.span("GET /cart", ("cd" * 16, SPAN), NOON, ADAPTED, duration=5_000_000)
    stored.span(
        "SELECT",
        ("cd" * 16, CHILD),
        NOON + 1_000_000,
        ADAPTED,
        duration=2_000_000,
        parent=SPAN,
        kind="Client",
        status="Error",
        status_message="no rows",
        attributes={"db.system": "postgresql"},
    )
    return stored


class ObserverVectors(StorageCase):
    @pytest.fixture
    async def served(self, opened: Opened) -> AsyncIterator[Served]:
        await opened.write(the_data())
        async with serving(opened.storage, rules=Rules(hyperdx=LINKS)) as served:
            yield served

    async def test_v01_component_logs_in_the_twelve_keys_at_full_precision(self, served: Served) -> None:
        """V1: exact keys of the answer and of its entry, nanoseconds, level, labels."""
        answer = await served.post("/api/logs/component/api", V1)
        check_json(answer)
        told = answer.json
        assert list(told) == ["logs", "totalCount", "tookMs"]
        assert told["totalCount"] == 1
        assert isinstance(told["tookMs"], int)
        assert told["tookMs"] >= 0
        assert told["logs"] == [ENTRY]
        assert list(told["logs"][0]) == list(ENTRY)

    async def test_v02_no_match_is_an_empty_list_and_not_null(self, served: Served) -> None:
        """V2: another environment, byte for byte but for the time it took."""
        answer = await served.post("/api/logs/component/api", {**V1, "environmentId": "prod"})
        check_json(answer)
        took = answer.json["tookMs"]
        assert answer.text == f'{{"logs":[],"totalCount":0,"tookMs":{took}}}\n'

    async def test_v03_what_is_no_body_is_one_error_and_unknown_members_are_none(self, served: Served) -> None:
        """V3: half a body, none at all, another type of content; `offset` is ignored."""
        path = "/api/logs/project/shop"
        for answer in (
            await served.post(path, b"{"),
            await served.post(path, b""),
            await served.post(path, b"[]"),
            await served.post(path, b'{"limit":"ten"}'),
            await served.post(path, WINDOW, Content_Type="text/plain"),
        ):
            check_json(answer, 400)
            assert answer.json == MALFORMED
        for content_type in ("", "application/json; charset=utf-8", "APPLICATION/JSON"):
            answer = await served.post(path, {**WINDOW, "offset": 0}, Content_Type=content_type)
            assert answer.status == 200
            assert answer.json["totalCount"] == 1

    async def test_v04_build_logs_without_times_and_environment(self, served: Served) -> None:
        """V4: as Backstage sends it; times and environment of the page it is on would not narrow it either."""
        sent = {"buildId": "b1", "buildUuid": "u1", "logLevels": ["INFO"], "logType": "BUILD", "limit": 50}
        for body in (sent, {**sent, **WINDOW, "environmentId": "dev"}, {**sent, "logType": "build"}):
            told = (await served.post("/api/logs/component/api", body)).json
            assert [entry["log"] for entry in told["logs"]] == ["INFO step 1 of the build"]
            assert told["totalCount"] == 1
        told = (await served.post("/api/logs/component/api", {**sent, "buildId": "b2"})).json
        assert told["logs"] == []

    async def test_v05_spans_of_a_service_in_the_six_keys(self, served: Served) -> None:
        """V5: byte for byte but for the time it took."""
        answer = await served.post("/api/traces/component", V5)
        check_json(answer)
        took = answer.json["tookMs"]
        assert answer.text == (
            '{"spans":[{"durationInNanos":101018208,"endTime":"2025-10-28T11:13:56.585406208Z",'
            f'"name":"database-query","spanId":"{SPAN}","startTime":"2025-10-28T11:13:56.484388Z",'
            f'"traceId":"{TRACE}"}}],"totalCount":1,"tookMs":{took}}}\n'
        )

    async def test_v06_spans_are_asked_for_strictly_and_checked_in_order(self, served: Served) -> None:
        """V6: times, order, limit, service; each is told only when all before it are right."""
        too_many = "limit cannot exceed 10000. If you need to fetch more logs, please use pagination"
        backwards = {"startTime": V5["endTime"], "endTime": V5["startTime"]}
        example = "startTime must be in RFC3339 format (e.g., 2024-01-01T00:00:00Z)"
        layout = 'parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006"'
        order = "endTime (2025-10-28 11:00:00 +0000 UTC) must be after startTime (2025-10-28 12:00:00 +0000 UTC)"
        asked: Sequence[tuple[dict[str, Any], str]] = (
            ({}, "Required field startTime not found"),
            ({"startTime": "soon"}, "Required field endTime not found"),
            ({"startTime": "soon", "endTime": "later"}, f"{example}: {layout}"),
            ({**backwards, "serviceName": "api"}, order),
            ({**TRACE_WINDOW, "limit": 0}, "sortOrder must be either 'asc' or 'desc'"),
            ({**TRACE_WINDOW, "limit": 10, "sortOrder": "DESC"}, "sortOrder must be either 'asc' or 'desc'"),
            ({**TRACE_WINDOW, "sortOrder": "asc"}, "limit must be a positive integer"),
            ({**TRACE_WINDOW, "sortOrder": "asc", "limit": -1}, "limit must be a positive integer"),
            ({**TRACE_WINDOW, "sortOrder": "asc", "limit": 10001}, too_many),
        )
        for body, message in asked:
            answer = await served.post("/api/traces/component", body)
            check_json(answer, 400)
            assert answer.json == {"error": "invalidRequest", "code": "OBS-L-12", "message": message}
        answer = await served.post("/api/traces/component", {**TRACE_WINDOW, "sortOrder": "asc", "limit": 10000})
        assert answer.json == {
            "error": "missingParameter",
            "code": "OBS-L-10",
            "message": "Required field serviceName not found",
        }
        same = {**V5, "endTime": V5["startTime"]}
        assert (await served.post("/api/traces/component", same)).status == 200

    async def test_v07_links_are_the_old_observers(self, served: Served) -> None:
        """V7: the URL by its parts (bytes and signatures are held in test_query_links.py), and both errors."""
        body = {"path": "/search", "params": {"component": "greeter", "from": "now-1h"}}
        answer = await served.post("/api/hyperdx/link", body)
        check_json(answer)
        assert list(answer.json) == ["url"]
        assert answer.json["url"].startswith("http://hyperdx:3000/search?component=greeter&expires=")
        assert "&from=now-1h&signature=" in answer.json["url"]
        assert "\\u0026signature=" in answer.text
        for path in ("", "  "):
            blank = await served.post("/api/hyperdx/link", {"path": path})
            assert (blank.status, blank.json) == (
                400,
                {"error": "missingParameter", "code": "OBS-L-10", "message": "Path is required"},
            )
        async with serving(MemoryStorage()) as unsigned:
            answer = await unsigned.post("/api/hyperdx/link", body)
        assert (answer.status, answer.json) == (
            500,
            {"error": "internalError", "code": "OBS-L-25", "message": "Failed to generate HyperDX link"},
        )

    async def test_v08_costs_as_csv(self, served: Served) -> None:
        """V8: the six columns first, for what is stored and for the vector's sums; other months have the header."""
        answer = await served.get("/api/costs/export?month=2025-11")
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/csv"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="clickstack-cost-2025-11.csv"'
        header, *lines = answer.text.splitlines()
        assert header.startswith(f"{COST_HEADER},")
        assert [line.split(",")[:6] for line in lines] == [
            ["acme", "shop", "api", "1", "33", "0.0000"],
            ["default", "project-uid", COMPONENT, "1", "12", "0.0000"],
        ]
        async with serving(Sums()) as sums:
            rows = (await sums.get("/api/costs/export?month=2025-11")).text.splitlines()[1:]
        assert [row.split(",")[:6] for row in rows] == [
            ["acme", "shop", "api", "1000000", "1099511627776", "2.5000"],
            ["acme", "shop", "web", "1234567", "987654321", "2.4696"],
        ]
        assert (await served.get("/api/costs/export?month=2024-02")).text == f"{header}\n"
        name = f"clickstack-cost-{datetime.now(UTC):%Y-%m}.csv"
        assert name in (await served.get("/api/costs/export")).headers["Content-Disposition"]
        for month in ("2025-13", "Nov", "2025-1", "2025-11-01", "%27", "0000-01"):
            wrong = await served.get(f"/api/costs/export?month={month}")
            assert (wrong.status, wrong.json) == (
                400,
                {**MALFORMED, "message": "invalid month format, expected YYYY-MM"},
            )

    async def test_v09_the_logs_adapter(self, served: Served) -> None:
        """V9: entries with `level` and `metadata`, the scope's own error, health."""
        times = {"startTime": WINDOW["startTime"], "endTime": WINDOW["endTime"]}
        scope = {"namespace": "default", "componentUid": COMPONENT}
        body = {**times, "searchScope": scope, "limit": 100, "sortOrder": "desc"}
        answer = await served.post("/api/v1/logs/query", body, base=served.logs_adapter)
        check_json(answer)
        assert list(answer.json) == ["logs", "total", "tookMs"]
        assert answer.json["total"] == 1
        assert answer.json["logs"] == [
            {
                "timestamp": "2025-11-14T10:00:00.123456789Z",
                "log": "INFO adapted",
                "level": "INFO",
                "metadata": {
                    "componentName": "api",
                    "projectName": "project-uid",
                    "environmentName": "dev",
                    "namespaceName": "default",
                    "componentUid": COMPONENT,
                    "projectUid": "project-uid",
                    "environmentUid": "dev",
                },
            }
        ]
        wrong = await served.post("/api/v1/logs/query", {**body, "searchScope": {}}, base=served.logs_adapter)
        check_json(wrong, 400)
        assert wrong.json == {
            "title": "badRequest",
            "message": "searchScope with a valid namespace is required",
        }
        assert (await served.get("/health", base=served.logs_adapter)).text == '{"status":"healthy"}\n'
        events = await served.post("/api/v1/events/query", body, base=served.logs_adapter)
        assert (events.status, events.json["title"]) == (501, "notImplemented")

    async def test_v10_the_tracing_adapter(self, served: Served) -> None:
        """V10: summaries, spans, one span, `detail` in errors, 404 for a span that is not there, health."""
        base, scope = served.tracing_adapter, {"namespace": "default", "project": "project-uid"}
        body = {**WINDOW, "searchScope": scope, "limit": 20}
        answer = await served.post("/api/v1alpha1/traces/query", body, base=base)
        check_json(answer)
        assert list(answer.json) == ["traces", "total", "tookMs"]
        assert answer.json["traces"] == [
            {
                "traceId": "cd" * 16,
                "traceName": "GET /cart",
                "spanCount": 2,
                "rootSpanId": SPAN,
                "rootSpanName": "GET /cart",
                "rootSpanKind": "Server",
                "startTime": "2025-11-14T10:00:00.123456789Z",
                "endTime": "2025-11-14T10:00:00.128456789Z",
                "durationNs": 5_000_000,
                "hasErrors": True,
            }
        ]
        wrong = await served.post("/api/v1alpha1/traces/query", {**body, "searchScope": {}}, base=base)
        check_json(wrong, 400)
        assert wrong.json == {"title": "badRequest", "detail": "namespace is required"}
        trace = f"/api/v1alpha1/traces/{'cd' * 16}/spans"
        spans = (await served.post(f"{trace}/query", {**body, "sortOrder": "asc", "limit": 1000}, base=base)).json
        assert [span["spanName"] for span in spans["spans"]] == ["GET /cart", "SELECT"]
        assert list(spans) == ["spans", "total", "tookMs"]
        assert (await served.get(f"{trace}/{CHILD}", base=base)).json == {
            "spanId": CHILD,
            "spanName": "SELECT",
            "spanKind": "Client",
            "startTime": "2025-11-14T10:00:00.124456789Z",
            "endTime": "2025-11-14T10:00:00.126456789Z",
            "durationNs": 2_000_000,
            "parentSpanId": SPAN,
            "status": {"code": "error", "message": "no rows"},
            "attributes": {"db.system": "postgresql"},
            "resourceAttributes": dict(ADAPTED),
        }
        missing = await served.get(f"{trace}/{'0' * 16}", base=base)
        check_json(missing, 404)
        assert missing.json == {"title": "notFound", "errorCode": "OBS-V1-T-07", "detail": "span not found"}
        assert (await served.get("/healthz", base=base)).status == 200

    async def test_v11_a_label_that_is_sql_finds_nothing(self, served: Served) -> None:
        """V11: no row of anybody, by the body and by the query string."""
        for key in (r"x\') != toString(1) OR 1=1 -- ", "x') = '' OR 1=1 --", "?", "{org:String}", "a'b\\"):
            answer = await served.post("/api/logs/org/acme", {**WINDOW, "podLabels": {key: ""}})
            assert (answer.status, answer.json["logs"]) == (200, [])
            for raw in (key, key.replace("\\", "\\\\")):
                name = "".join(f"%{byte:02X}" for byte in raw.encode())
                times = "&".join(f"{name}={value}" for name, value in WINDOW.items())
                csv = await served.get(f"/api/logs/export/csv?{times}&organizationId=acme&podLabels.{name}=x")
                assert (csv.status, csv.text.count("\n")) == (200, 1)

    async def test_v12_every_row_can_be_paged_to(self, served: Served, opened: Opened) -> None:
        """V12: rows of one time are reachable by an inclusive bound, and by cursor each comes once."""
        twins = Stored()
        for number in range(3):
            twins.log(f"twin {number}", NOON + MINUTE, API)
        await opened.write(twins)
        body: dict[str, Any] = {**WINDOW, "limit": 1, "sortOrder": "desc"}
        first = (await served.post("/api/logs/component/api", body)).json["logs"][0]
        again = {**body, "endTime": first["timestamp"], "limit": 10}
        seen = {entry["log"] for entry in (await served.post("/api/logs/component/api", again)).json["logs"]}
        assert {"twin 0", "twin 1", "twin 2", ENTRY["log"]} <= seen
        for path, base, scope in (
            ("/api/logs/component/api", served.main, {"organizationId": "acme"}),
            ("/api/v1/logs/query", served.logs_adapter, {"searchScope": {"namespace": "acme"}}),
        ):
            for order in ("asc", "desc"):
                told = await all_pages(served, path, {**body, **scope, "sortOrder": order}, base)
                assert sorted(told) == ["ERROR: Database connection failed", "twin 0", "twin 1", "twin 2"]


async def all_pages(served: Served, path: str, body: dict[str, Any], base: str) -> list[str]:
    """Every line, by following the cursors to their end."""
    found = []
    cursor = ""
    for _ in range(20):
        answer = await served.post(path, {**body, "cursor": cursor}, base=base)
        found += [entry["log"] for entry in answer.json["logs"]]
        cursor = answer.headers.get("X-Next-Cursor", "")
        if not cursor:
            return found
    raise AssertionError(f"no end after {len(found)} rows")


def check_json(answer: Answer, status: int = 200) -> None:
    """As Go's encoder and net/http send it: no charset, one line with its end."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body.endswith(b"}\n")
    assert answer.body.count(b"\n") == 1


@dataclasses.dataclass(slots=True)
class Sums(MemoryStorage):
    """A month too large to be stored by a test."""

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        return [
            Usage("acme", "shop", "api", logs=1_000_000, log_characters=1_099_511_627_776),
            Usage("acme", "shop", "web", logs=1_234_567, log_characters=987_654_321),
        ]
