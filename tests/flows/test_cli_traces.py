"""`headrace traces` as its user runs it, against a real server that speaks the contract."""

import json
from typing import Any

from tests.observer_server import failing, headrace, serving

TRACE = "b72e731db5edfd1df2658bd78f751862"
WINDOW = ("--from", "2026-01-31", "--to", "2026-02-01")


def trace(number: int, *, has_errors: bool = False) -> dict[str, Any]:
    return {
        "traceId": f"{number:032x}",
        "traceName": "GET /",
        "spanCount": 3,
        "rootSpanId": "01",
        "rootSpanName": f"GET /{number}",
        "rootSpanKind": "Server",
        "startTime": "2026-01-31T12:00:00Z",
        "endTime": "2026-01-31T12:00:01Z",
        "durationNs": 10**9,
        "hasErrors": has_errors,
    }


def span(span_id: str, parent: str = "", *, is_error: bool = False) -> dict[str, Any]:
    return {
        "spanId": span_id,
        "spanName": f"name-{span_id}",
        "spanKind": "Server",
        "startTime": "2026-01-31T12:00:00Z",
        "endTime": "2026-01-31T12:00:00.1Z",
        "durationNs": 10**8,
        "parentSpanId": parent,
        "status": {"code": "error", "message": "declined"} if is_error else {"code": "ok"},
        "attributes": {"k": "v"},
        "resourceAttributes": {"service.name": "shop"},
    }


async def test_traces_of_a_component_are_listed() -> None:
    """The scope reaches the server, the newest ones are shown, and how many more there are is told."""
    async with serving(traces=[trace(number) for number in range(30)]) as server:
        at = ("--org", "acme", "--project", "shop", "--env", "dev", "--url", server.url)
        ended = await headrace("traces", "component", "api", *WINDOW, *at)
        scope = {"namespace": "acme", "project": "shop", "component": "api", "environment": "dev"}
        assert server.bodies == [
            {
                "startTime": "2026-01-31T00:00:00Z",
                "endTime": "2026-02-01T00:00:00Z",
                "limit": 20,
                "sortOrder": "desc",
                "searchScope": scope,
            }
        ]
        assert (ended.status, len(ended.lines)) == (0, 21)
        assert "10 older traces match" in ended.err
        ended = await headrace("traces", "component", "api", *WINDOW, *at, "--output", "json", "--limit", "30")
        assert [json.loads(line) for line in ended.lines] == server.traces
        assert ended.err == ""


async def test_only_traces_with_errors_are_shown_when_asked() -> None:
    """More are looked at than shown, and it is told when not all were."""
    many = [trace(number, has_errors=number % 10 == 0) for number in range(1200)]
    async with serving(traces=many) as server:
        at = (*WINDOW, "--url", server.url)
        ended = await headrace("traces", "component", "api", "--errors", "--limit", "5", *at)
    assert [line.split()[-1] for line in ended.lines[1:]] == [f"/{number}" for number in (0, 10, 20, 30, 40)]
    assert "95 more with an error" in ended.err
    assert "only the newest 1,000 of 1,200 traces were looked at" in ended.err


async def test_nothing_found_is_no_error() -> None:
    """Status 0, and the window is told."""
    async with serving() as server:
        ended = await headrace("traces", "component", "api", *WINDOW, "--url", server.url)
    assert (ended.status, ended.out) == (0, "")
    assert "nothing found from 2026-01-31T00:00:00Z" in ended.err


async def test_the_organisation_is_found_where_only_one_has_the_component() -> None:
    """By name or id; several, or none, are told so that one can be named."""
    async with serving() as server:
        at = (*WINDOW, "--url", server.url)
        for name in ("api", "c-1"):
            await headrace("traces", "component", name, *at)
        unknown = await headrace("traces", "component", "other", *at)
        server.orgs = ("acme", "globex")
        several = await headrace("traces", "component", "api", *at)
    scopes = [body["searchScope"] for body in server.bodies]
    assert scopes == [{"component": name, "namespace": "acme"} for name in ("api", "c-1")]
    assert unknown.status != 0
    assert "no organisation that you may read has a component 'other'" in unknown.err
    assert several.status != 0
    assert "2 organisations have a component 'api': acme, globex; name one with --org" in several.err


async def test_a_trace_is_shown_as_a_waterfall() -> None:
    """Spans as a tree with services and errors; attributes on request; JSON is the server's spans."""
    async with serving(spans={TRACE: [span("1"), span("2", "1", is_error=True)]}) as server:
        at = ("--url", server.url)
        ended = await headrace("traces", "show", TRACE.upper(), *at, "--org", "acme")
        assert ended.status == 0
        assert ended.lines[3].startswith("name-1  shop")
        assert ended.lines[4].startswith("  name-2  shop")
        assert "! declined" in ended.lines[5]
        assert server.bodies[0]["searchScope"] == {"namespace": "acme"}
        assert not server.bodies[0]["includeAttributes"]
        ended = await headrace("traces", "show", TRACE, "--attributes", *at)
        assert ended.out.count("k = v") == 2
        ended = await headrace("traces", "show", TRACE, "--output", "json", *at)
        assert [json.loads(line) for line in ended.lines] == server.spans[TRACE]


async def test_a_trace_that_is_not_there_ends_with_1() -> None:
    """It is said so, whether the server answers with nothing or with 404; a mistyped id is wrong usage."""
    told = {"title": "notFound", "errorCode": "OBS-V1-T-07", "message": "no such trace"}
    async with serving() as server:
        ended = await headrace("traces", "show", TRACE, "--url", server.url)
        assert (ended.status, f"there is no trace {TRACE}" in ended.err) == (1, True)
        server.fails.append(failing(404, told))
        ended = await headrace("traces", "show", TRACE, "--url", server.url)
        assert (ended.status, "404 OBS-V1-T-07 notFound: no such trace" in ended.err) == (1, True)
        ended = await headrace("traces", "show", "b72e", "--url", server.url)
        assert (ended.status, "32 hexadecimal digits" in ended.err) == (2, True)


async def test_a_locale_without_the_characters_gets_others() -> None:
    """An encoding that has no blocks is given marks of ASCII, and never an error."""
    async with serving(spans={TRACE: [span("größe")]}) as server:
        ended = await headrace("traces", "show", TRACE, "--url", server.url, PYTHONIOENCODING="ascii")
    assert (ended.status, "====" in ended.out, "\\xf6" in ended.out) == (0, True, True)
