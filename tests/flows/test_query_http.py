"""The query API as an HTTP server: what it says to requests that are odd, large, slow, many, or none of its own."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import pytest

from bridge.settings_links import HyperDX
from query_api import serving as serving_module
from query_api.api import Rules
from query_api.errors import StoreUnavailable
from query_api.limits import Gate, Rates
from query_api.memory import MemoryStorage
from query_api.routes import MAIN
from query_api.storage import LogPage, LogQuery
from query_api.tenant import Tenant
from tests.query_server import Answer, Served, known, serving
from tests.stored import NOON, Stored, place
from tests.waiting import eventually

PATH: Final = "/api/logs/component/api"
WINDOW: Final = {"startTime": "2025-11-14T09:00:00Z", "endTime": "2025-11-14T11:00:00Z"}


def memory(*bodies: str, component: str = "api") -> MemoryStorage:
    stored = Stored()
    for body in bodies:
        stored.log(body, NOON, place("acme", component=component))
    return stored.to_memory()


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async with serving(memory("INFO <b> & \u2028\u2029 \u00e9"), until={"logs": NOON, "traces": NOON + 1}) as served:
        yield served


async def raw(served: Served, *parts: bytes) -> bytes:
    """What comes back for these bytes until the server closes."""
    host, port = served.main.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 15)
    finally:
        writer.close()


class Blocked(MemoryStorage):
    """A store whose answers wait for `go`; `asked` counts questions."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.asked = asyncio.Event(), 0

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        self.asked += 1
        await self.go.wait()
        return LogPage()


async def test_other_paths_and_methods_get_gos_text(served: Served) -> None:
    """1.1: not the JSON of errors; `Allow` says what there is, and HEAD goes where GET goes."""
    for path in ("/nope", "/api/logs/component/", "/api/logs/component/a/b", "/API/logs/gateway", "/api//logs/gateway"):
        answer = await served.post(path, {})
        assert (answer.status, answer.text) == (404, "404 page not found\n")
        assert answer.headers["Content-Type"].startswith("text/plain")
    for method, path, allowed in (
        ("GET", PATH, "POST"),
        ("PUT", PATH, "POST"),
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/api/costs/export", "GET, HEAD"),
        ("OPTIONS", "/api/traces/component", "POST"),
    ):
        answer = await served.ask(method, path)
        assert (answer.status, answer.text, answer.headers["Allow"]) == (405, "Method Not Allowed\n", allowed)
    for path in (
        "/health",
        "/api/logs/export/csv?organizationId=acme&" + "&".join(f"{k}={v}" for k, v in WINDOW.items()),
    ):
        head = await served.ask("HEAD", path)
        assert (head.status, head.body) == (200, b"")


async def test_answers_are_written_as_gos_encoder_writes_them(served: Served) -> None:
    """1.1: `<`, `>`, `&` and JavaScript's line ends are escaped, other characters are not; health as 1.6 has it."""
    answer = await served.post(PATH, WINDOW)
    assert '"log":"INFO \\u003cb\\u003e \\u0026 \\u2028\\u2029 \u00e9"' in answer.text
    health = await served.get("/health")
    assert (list(health.json), health.json["status"]) == (["status", "timestamp"], "healthy")
    assert health.headers["Content-Type"] == "application/json"


async def test_a_name_may_have_any_character(served: Served) -> None:
    """A path's part is decoded once, slashes, braces and percent signs too."""
    for name, sent in (
        ("a/b", "a%2Fb"),
        ("{x}", "{x}"),
        ("a%2Fb", "a%252Fb"),
        ("\u00e9 +", "%C3%A9%20+"),
        ("..", "%2e%2e"),
    ):
        async with serving(memory("INFO here", component=name)) as other:
            answer = await other.post(f"/api/logs/component/{sent}", WINDOW)
        assert answer.status == 200, sent
        assert answer.json["totalCount"] == 1, sent


async def test_every_answer_has_its_id_and_is_kept_by_nobody(served: Served) -> None:
    """A caller's own id comes back if it is a plain one; errors have one too."""
    for path, told, wanted in ((PATH, "abc-1.2:3", "abc-1.2:3"), (PATH, "a b", None), ("/nope", "x" * 101, None)):
        answer = await served.post(path, WINDOW, X_Request_Id=told)
        found = answer.headers["X-Request-Id"]
        assert found == wanted or (wanted is None and len(found) == 16)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Server"] == "headrace"


async def test_the_freshness_header_is_the_signals_own(served: Served) -> None:
    """Logs tell the logs', traces the traces'; what has no signal tells nothing."""
    assert (await served.post(PATH, WINDOW)).headers["X-Complete-Until"] == "2025-11-14T10:00:00.123456789Z"
    spans = {**WINDOW, "serviceName": "api", "limit": 1, "sortOrder": "asc"}
    answer = await served.post("/api/traces/component", spans)
    assert answer.headers["X-Complete-Until"] == "2025-11-14T10:00:00.12345679Z"
    assert "X-Complete-Until" not in (await served.get("/api/places")).headers


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"startTime": "yesterday"}, "startTime must be in RFC3339 format"),
        ({"endTime": "2025-11-14T25:00:00Z"}, "endTime must be in RFC3339 format"),
        ({"endTime": "2025-02-30T00:00:00Z"}, "day out of range"),
        ({"endTime": "2025-02-20T00:00:00+24:00"}, "time zone offset hour out of range"),
        ({"endTime": "2025-02-20T00:00:00+23:60"}, "time zone offset minute out of range"),
        ({"startTime": WINDOW["endTime"], "endTime": WINDOW["startTime"]}, "must be after startTime"),
        ({"limit": 10_001}, "limit cannot exceed 10000"),
        ({"limit": 1 << 70}, "Invalid request format"),
        ({"limit": True}, "Invalid request format"),
        ({"limit": 1.5}, "Invalid request format"),
        ({"logLevels": "ERROR"}, "Invalid request format"),
        ({"logLevels": [None]}, "Invalid request format"),
        ({"versions": ["v"] * 1001}, "Invalid request format"),
        ({"cursor": "AAAA"}, "cursor: take it unchanged"),
    ],
)
async def test_what_is_wrong_with_a_body_is_said(served: Served, body: Any, told: str) -> None:
    """Bad times are 400 and not 500 (section 9, 12); every message names the member."""
    answer = await served.post(PATH, body)
    assert (answer.status, answer.json["error"], answer.json["code"]) == (400, "invalidRequest", "OBS-L-12")
    assert told in answer.json["message"]


async def test_defaults_are_the_contracts(served: Served) -> None:
    """1.3: nulls and nothing are the same; limits of 0 and less are 100; any order but asc is desc; null is a body."""
    stored = memory(*(f"INFO {number}" for number in range(150)))
    async with serving(stored) as many:
        for body in (None, {}, {"limit": None}, {"limit": 0}, {"limit": -5}, {"limit": 100.0}, {"sortOrder": "up"}):
            told = (await many.post(PATH, body)).json
            assert (len(told["logs"]), told["totalCount"]) == (100, 150)
            assert told["logs"][0]["log"] == "INFO 149"
        assert (await many.post(PATH, {"sortOrder": "ASC"})).json["logs"][0]["log"] == "INFO 0"


async def test_a_level_is_told_for_lines_without_one_and_found_by_it() -> None:
    """`query.undefined_level`: INFO as upstream, UNDEFINED as the fork; ERROR finds FATAL."""
    stored = memory("nothing said", "FATAL end", "ERROR oops", "WARN hm")
    for undefined in ("INFO", "UNDEFINED"):
        async with serving(stored, rules=Rules(undefined_level=undefined)) as served:
            told = (await served.post(PATH, {"logLevels": [undefined.lower()]})).json
            assert [(each["log"], each["logLevel"]) for each in told["logs"]] == [("nothing said", undefined)]
            told = (await served.post(PATH, {"logLevels": ["ERROR"]})).json
            assert sorted(each["logLevel"] for each in told["logs"]) == ["ERROR", "FATAL"]


async def test_a_total_says_that_it_is_capped() -> None:
    """Exact below the cap, the cap and a header from there."""
    stored = memory(*("INFO x" for _ in range(7)))
    for cap, total, is_capped in ((100, 7, False), (5, 5, True)):
        stored.total_cap = cap
        async with serving(stored) as served:
            answer = await served.post(PATH, {"limit": 2})
        assert (answer.json["totalCount"], "X-Total-Capped" in answer.headers) == (total, is_capped)


async def test_large_bodies_are_refused(served: Served) -> None:
    """413 with the JSON of errors, by declared length, by chunks, and by what a small body unpacks to."""
    async with serving(MemoryStorage(), max_request_bytes=10_000) as small:
        big = b'{"x":"' + b"y" * 20_000 + b'"}'
        answers = [
            await small.post(PATH, big),
            await small.post(PATH, gzip.compress(b'{"x":"' + b"y" * 5_000_000 + b'"}'), Content_Encoding="gzip"),
        ]
        for answer in answers:
            assert (answer.status, answer.json["error"], answer.json["code"]) == (413, "requestTooLarge", "OBS-L-13")
        head = b"POST /api/logs/component/api HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await raw(small, head, b"5000\r\n" + b"x" * 0x5000 + b"\r\n")).startswith(b"HTTP/1.1 413 ")
    broken = await served.post(PATH, b"no gzip", Content_Encoding="gzip")
    assert (broken.status, broken.json["message"]) == (400, "Invalid request format")


async def test_a_slow_body_holds_no_place_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one place for questions, a body that never ends keeps nobody from it, and is answered 408."""
    monkeypatch.setattr("query_api.api.READ_SECONDS", 0.5)
    async with serving(memory("INFO x"), gate=Gate(1, 0.1)) as served:
        head = b"POST /api/logs/component/api HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
        slow = [asyncio.create_task(raw(served, head)) for _ in range(3)]
        await eventually(lambda: all(not task.done() for task in slow))
        assert (await served.post(PATH, {})).status == 200
        for told in await asyncio.gather(*slow):
            assert told.startswith(b"HTTP/1.1 408 ")
            assert b"requestTimeout" in told


async def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that never ends its first head; one that has asked is kept."""
    monkeypatch.setattr(serving_module, "READ_SECONDS", 0.2)
    async with serving(MemoryStorage()) as served:
        for sent in (b"", b"GET /health HTTP/1.1\r\nHost: x\r\n"):
            assert await raw(served, sent) == b""
        assert (await served.get("/health")).status == 200


async def test_an_export_that_nobody_takes_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place at the store is free again, and what was sent has no end that could be taken for one."""
    monkeypatch.setattr("query_api.log_handlers.WRITE_SECONDS", 0.3)
    async with serving(memory(*("x" * 100_000 for _ in range(300))), gate=Gate(1, 5.0)) as served:
        host, port = served.main.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
        times = "&".join(f"{name}={value}" for name, value in WINDOW.items())
        writer.write(
            f"GET /api/logs/export/csv?organizationId=acme&{times} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )
        await eventually(lambda: ("log export", "slowClient") in served.observed)
        assert (await served.post(PATH, {"limit": 1})).status == 200
        received = b""
        try:
            while chunk := await reader.read(1 << 20):
                received += chunk
        except ConnectionResetError:
            pass
        assert received.startswith(b"HTTP/1.1 200 ")
        assert not received.endswith(b"0\r\n\r\n")
        writer.close()


async def test_a_rate_is_each_callers_own() -> None:
    """429 with its body and when to come back; another caller is not concerned."""
    callers = known({"busy": ["acme"], "other": ["acme"]})
    async with serving(memory("INFO x"), callers=callers, rates=Rates(0.5)) as served:
        answers = [await served.post(PATH, {}, Authorization="Bearer busy") for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 429, 429]
        assert (answers[1].json["error"], answers[1].json["code"]) == ("tooManyRequests", "OBS-L-29")
        assert answers[1].headers["Retry-After"] == "2"
        assert (await served.post(PATH, {}, Authorization="Bearer other")).status == 200


async def test_places_at_the_store_are_shared_out() -> None:
    """A caller has at most half of them; who waits too long is told 429; what needs no place is answered."""
    store = Blocked()
    callers = known({"busy": ["acme"], "other": ["acme"]})
    async with serving(store, callers=callers, gate=Gate(2, 0.05)) as served:
        first = asyncio.create_task(served.post(PATH, {}, Authorization="Bearer busy"))
        await eventually(lambda: store.asked == 1)
        second = await served.post(PATH, {}, Authorization="Bearer busy")
        assert (second.status, second.json["error"]) == (429, "tooManyRequests")
        assert int(second.headers["Retry-After"]) >= 1
        third = asyncio.create_task(served.post(PATH, {}, Authorization="Bearer other"))
        await eventually(lambda: store.asked == 2)
        assert (await served.get("/health")).status == 200
        store.go.set()
        assert [(await task).status for task in (first, third)] == [200, 200]


async def test_a_defect_is_told_without_its_words() -> None:
    """500 in the route's own sentence, the words are in the log; a store that is away is 503 in its own."""

    class Broken(MemoryStorage):
        async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
            if query.phrase:
                raise StoreUnavailable("the store cannot be reached now", reason="connection")
            raise ValueError("secret words")

    async with serving(Broken()) as served:
        answer = await served.post(PATH, {})
        assert (answer.status, answer.json) == (
            500,
            {"error": "internalError", "code": "OBS-L-25", "message": "Failed to retrieve logs"},
        )
        away = await served.post(PATH, {"searchPhrase": "x"})
        assert (away.status, away.headers["Retry-After"], away.json["code"]) == (503, "2", "OBS-L-26")
        scope = {**WINDOW, "searchScope": {"namespace": "acme"}}
        adapted = await served.post("/api/v1/logs/query", scope, base=served.logs_adapter)
        assert adapted.json == {"title": "internalServerError", "message": "Failed to retrieve logs"}


async def test_the_access_log_and_the_metric_have_no_words_of_requests(caplog: pytest.LogCaptureFixture) -> None:
    """Neither path, query, body nor token; routes by name, `none` for what is no route, so labels stay few."""
    caplog.set_level(logging.INFO, "query_api.access")
    callers = known({"token-word": ["acme"]})
    async with serving(memory("INFO x"), callers=callers) as served:
        await served.post(
            "/api/logs/component/path-word?q=query-word",
            {"searchPhrase": "body-word"},
            Authorization="Bearer token-word",
        )
        await served.post("/api/logs/component/api", {})
        for number in range(20):
            await served.get(f"/nowhere/path-word-{number}")
        await served.ask("PATCH", PATH)
    lines = [vars(record)["fields"] for record in caplog.records if record.name == "query_api.access"]
    assert len(lines) == 23
    assert "-word" not in str([{**line, "caller": ""} for line in lines])
    assert {line["caller"] for line in lines} == {"token-word", ""}  # the holder's name in settings, here the same word
    assert set(lines[0]) == {"id", "method", "route", "status", "outcome", "ms", "caller"}
    names = {route.name for route in MAIN} | {"none"}
    assert {route for route, _ in served.observed} <= names
    assert set(served.observed) == {
        *(("component logs", "200"), ("component logs", "unauthorized")),
        *(("none", "404"), ("none", "405")),
    }


async def test_without_authentication_only_this_machine_may_ask() -> None:
    """A page elsewhere that makes its own name lead here (DNS rebinding) sends that name, and is refused."""
    async with serving(memory("INFO x")) as served:
        for host, status in (("localhost:9", 200), ("127.0.0.1", 200), ("[::1]:80", 200), ("evil.example.org", 403)):
            assert (await served.post(PATH, {}, Host=host)).status == status


async def test_a_link_is_made_for_an_organisation_of_the_caller_and_verified() -> None:
    """Signed mode through HTTP: own organisation, several, another's, part of one; then the proxy's question."""
    links = HyperDX.model_validate({"base_url": "https://hdx.example.org", "signing_key": "0123456789abcdef"})
    roles: Mapping[str, Sequence[str]] = {
        "one": ["acme"],
        "two": ["acme", "evil"],
        "part": ["acme/shop"],
        "logs": ["logs:acme"],
    }
    async with serving(MemoryStorage(), rules=Rules(hyperdx=links), callers=known(roles)) as served:

        async def ask(token: str, **more: Any) -> Answer:
            return await served.post("/api/hyperdx/link", {"path": "/search", **more}, Authorization=f"Bearer {token}")

        made = await ask("one", params={"q": "a b"})
        assert "&org=acme&" in made.json["url"]
        statuses = [
            (await ask("two")).status,
            (await ask("two", organizationId="evil")).status,
            (await ask("one", organizationId="evil")).status,
            (await ask("part")).status,
            (await ask("logs")).status,
            (await ask("one", params={"expires": "1"})).status,
            (await ask("one", path="/settings")).status,
        ]
        assert statuses == [400, 200, 403, 403, 403, 400, 400]
        target = made.json["url"].removeprefix("https://hdx.example.org")
        good = await served.get("/api/hyperdx/verify", X_Original_URI=target, X_Original_Host="hdx.example.org")
        assert (good.status, good.headers["X-Headrace-Organization"]) == (204, "acme")
        for uri, host in ((target.replace("acme", "evil"), ""), (target, "other.example.org"), ("", "")):
            bad = await served.get("/api/hyperdx/verify", X_Original_URI=uri, X_Original_Host=host)
            assert (bad.status, "X-Headrace-Organization" in bad.headers) == (403, False)
