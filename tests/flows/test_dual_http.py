"""Dual read behind the real HTTP server: equal stores differ on no route, and the report keeps to its tenant."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api.routes import MAIN
from query_api.sides import Side
from query_api.storage import LogPage
from tests.dual import TRACES, Kept, Odd, Two, odd, telemetry, two
from tests.query_server import Served, known, serving

TIMES: Final = {"startTime": "2025-11-14T09:00:00Z", "endTime": "2025-11-14T11:00:00Z"}
QUERY: Final = "&".join(f"{name}={value}" for name, value in TIMES.items())
SCOPE: Final = {"searchScope": {"namespace": "acme"}}
REPORT: Final = "/api/dual-read/report"
# Of each route, by its name: the path and the body.
ASKED: Final[dict[str, tuple[str, Any]]] = {
    "component logs": ("/api/logs/component/api", TIMES),
    "project logs": ("/api/logs/project/shop", TIMES),
    "organization logs": ("/api/logs/org/acme", TIMES),
    "gateway logs": ("/api/logs/gateway", {**TIMES, "organizationId": "acme"}),
    "log export": (f"/api/logs/export/csv?organizationId=acme&{QUERY}", None),
    "component spans": ("/api/traces/component", {**TIMES, "serviceName": "api", "limit": 50, "sortOrder": "desc"}),
    "cost export": ("/api/costs/export?month=2025-11", None),
    "organization costs": ("/api/costs/organizations?month=2025-11", None),
    "places": ("/api/places", None),
    "public logs": ("/api/v1/logs/query", {**TIMES, **SCOPE}),
    "traces": ("/api/v1alpha1/traces/query", {**TIMES, **SCOPE}),
    "trace spans": (f"/api/v1alpha1/traces/{TRACES[0]}/spans/query", {**TIMES, **SCOPE, "includeAttributes": True}),
    "span details": (f"/api/v1alpha1/traces/{TRACES[0]}/spans/{1:016x}", None),
}
# What asks no store for anything that two could compare.
OTHERS: Final = {"health", "hyperdx link", "hyperdx verify", "freshness", "dual read report"}


@asynccontextmanager
async def opened(clickhouse: Odd, opensearch: Odd, kept: Kept | None = None) -> AsyncIterator[tuple[Served, Two]]:
    callers = known(
        {"acme": ["acme"], "part": ["acme/shop"], "evil": ["evil"], "admin": ["*"], "money": ["costs:acme"]}
    )
    async with (
        two(clickhouse, opensearch, kept=kept) as both,
        serving(both.read.storage, callers=callers, dual_report=both.read.report) as served,
    ):
        yield served, both


async def ask(served: Served, name: str, caller: str = "acme") -> str:
    path, body = ASKED[name]
    headers = {"Authorization": f"Bearer {caller}", "X_Request_Id": f"id-of-{name.replace(' ', '-')}"}
    answer = await (served.get(path, **headers) if body is None else served.post(path, body, **headers))
    assert answer.status == 200, (name, answer.text)
    return answer.text


async def reported(served: Served, caller: str) -> dict[str, Any]:
    answer = await served.get(REPORT, Authorization=f"Bearer {caller}")
    assert answer.status == 200, answer.text
    return {each["organizationId"]: each for each in answer.json["organizations"]}


def test_every_route_is_asked_here() -> None:
    """A route that is added cannot be left out."""
    assert {route.name for route in MAIN} == ASKED.keys() | OTHERS


async def test_equal_stores_do_not_differ_on_any_route() -> None:
    """Each route is compared once at least, and finds nothing."""
    stores = odd(telemetry(), telemetry("evil")), odd(telemetry(), telemetry("evil"))
    async with opened(*stores) as (served, both):
        for number, name in enumerate(ASKED):
            text = await ask(served, name)
            assert "line" in text or "logs" not in name.split()
            await both.compared()
            assert both.number("bridge_dual_comparisons_total", org="acme") == number + 1, name
        found = (await reported(served, "acme"))["acme"]
    assert (found["comparisons"], found["mismatches"], found["driftRatio"]) == (len(ASKED), 0, 0)
    assert (found["notCompared"], found["secondaryErrors"], found["lastMismatches"]) == ({}, {}, [])


@pytest.mark.parametrize("name", sorted(ASKED))
async def test_a_row_that_is_lost_is_found_on_every_route(name: str) -> None:
    """Whatever the route makes of it, the caller's answer is the whole one."""
    stores = odd(telemetry()), odd(telemetry())
    stores[1].log_rows, stores[1].span_rows = stores[1].log_rows[:2], stores[1].span_rows[1:]
    if name == "places":
        stores[1].log_rows, stores[1].span_rows = [], []
    async with opened(*stores) as (served, both):
        await ask(served, name)
        await both.compared()
        found = (await reported(served, "acme"))["acme"]
    assert found["mismatches"] == 1
    (last,) = found["lastMismatches"]
    assert (last["requestId"], last["answeredBy"]) == (f"id-of-{name.replace(' ', '-')}", "clickhouse")


def less(page: LogPage) -> LogPage:
    return replace(page, rows=page.rows[1:], total=page.total - 1)


async def test_the_report_tells_who_answers_and_what_differs() -> None:
    """Route, counts by kind and store, times, and the last differences, without anything that was logged."""
    kept = Kept()
    kept.put("acme", Side.OPENSEARCH, 100, by="ops@host")
    stores = odd(telemetry()), odd(telemetry())
    stores[0].changes["logs"] = less
    async with opened(*stores, kept) as (served, both):
        for _ in range(25):
            await ask(served, "component logs")
            await both.compared()
        found = (await reported(served, "acme"))["acme"]
        answer = await served.get(REPORT, Authorization="Bearer acme")
    route = found["route"]
    assert (route["primary"], route["percent"], route["automatic"]) == ("opensearch", 100, False)
    assert (route["reason"], route["by"], route["setFor"]) == ("cutover", "ops@host", "acme")
    assert route["since"] == "1970-01-01T00:00:00.000000001Z"
    assert (found["comparisons"], found["mismatches"], found["driftRatio"]) == (25, 25, 1)
    assert found["mismatchesByKind"] == {"count": 25, "missing": 25}
    assert len(found["lastMismatches"]) == 20
    last = found["lastMismatches"][0]
    assert (last["method"], last["kinds"]) == ("logs", ["count", "missing"])
    assert last["counts"] == {"opensearch": 6, "clickhouse": 5}
    for store in found["stores"].values():
        assert store["questions"] == 25
        assert 0 < store["p50Seconds"] <= store["p95Seconds"]
    assert "line" not in answer.text
    assert answer.json["countedSince"].endswith("Z")


async def test_the_report_keeps_to_its_tenant() -> None:
    """Organisations of which the caller may read the whole; what belongs to several is for who reads everything."""
    stores = odd(telemetry(), telemetry("evil")), odd(telemetry(), telemetry("evil"))
    kept = Kept()
    kept.put("evil", Side.OPENSEARCH)
    async with opened(*stores, kept) as (served, both):
        for caller in ("acme", "evil", "admin"):
            await ask(served, "component logs", caller)
            await both.compared()
        assert set(await reported(served, "acme")) == {"acme"}
        assert set(await reported(served, "evil")) == {"evil"}
        assert set(await reported(served, "part")) == set()
        assert set(await reported(served, "admin")) == {"*", "acme", "evil"}
        for token, status in (("money", 403), ("nobody", 401)):
            assert (await served.get(REPORT, Authorization=f"Bearer {token}")).status == status


async def test_with_one_store_there_is_no_report() -> None:
    """404, in the words of errors."""
    async with serving(odd(telemetry())) as served:
        answer = await served.get(REPORT)
    assert answer.status == 404
    assert "query.dual" in answer.json["message"]


async def test_the_report_is_what_its_document_says() -> None:
    """Every member is described, and no other."""
    stores = odd(telemetry()), odd(telemetry())
    stores[1].changes["logs"] = less
    async with opened(*stores) as (served, both):
        await ask(served, "component logs")
        await both.compared()
        document = (await served.get("/openapi.json")).json
        answer = await served.get(REPORT, Authorization="Bearer acme")
    schema = document["paths"][REPORT]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    def check(value: Any, of: Any) -> None:
        if isinstance(value, dict) and "properties" in of:
            assert value.keys() == of["properties"].keys() == set(of["required"])
            for name, each in value.items():
                check(each, of["properties"][name])
        elif isinstance(value, list):
            for each in value:
                check(each, of["items"])

    check(answer.json, schema)
    assert answer.json["organizations"][0]["lastMismatches"]
