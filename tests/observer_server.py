"""A query API for the client's tests: a real HTTP server that speaks the contract over rows in memory."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

from aiohttp import web

from bridge.cli.moments import parse_moment, rfc3339
from tests import processes

Entry = dict[str, Any]
NOON = "2026-01-31T12:00:00Z"


def entry(timestamp: str, log: str, level: str = "INFO", component: str = "checkout", container: str = "main") -> Entry:
    """One with the twelve keys of the contract (1.4)."""
    return {
        "timestamp": timestamp,
        "log": log,
        "logLevel": level,
        "componentId": component,
        "environmentId": "dev",
        "projectId": "shop",
        "version": "v1",
        "versionId": "ver-1",
        "namespace": "dp-acme-shop-dev",
        "podId": "pod-1",
        "containerName": container,
        "labels": {"component-name": component},
    }


def rows(count: int) -> list[Entry]:
    """`row 0`, `row 1`, ... of noon, a nanosecond apart."""
    start = parse_moment(NOON)
    return [entry(rfc3339(start + number), f"row {number}") for number in range(count)]


@dataclass(slots=True)
class QueryServer:
    """`rows` in order of arrival. `fails` are answers for the next requests, in turn; `asked` is what came."""

    rows: list[Entry] = field(default_factory=list)
    traces: list[Entry] = field(default_factory=list)
    spans: dict[str, list[Entry]] = field(default_factory=dict)
    orgs: tuple[str, ...] = ("acme",)
    headers: dict[str, str] = field(default_factory=dict)
    fails: list[Callable[[], web.Response]] = field(default_factory=list)
    asked: list[tuple[str, Entry]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    max_page: int = 10_000
    url: str = ""

    @property
    def bodies(self) -> list[Entry]:
        return [body for _, body in self.asked]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.raw_path, body))
        self.tokens.append(request.headers.get("Authorization", ""))
        if self.fails:
            return self.fails.pop(0)()
        if request.path.startswith("/api/logs/"):
            return self._logs(body)
        if request.path == "/api/v1alpha1/traces/query":
            found = self.traces[: body["limit"]]
            return web.json_response({"traces": found, "total": len(self.traces), "tookMs": 1}, headers=self.headers)
        spans = self.spans.get(request.match_info["tail"].split("/")[0], [])
        return web.json_response({"spans": spans, "total": len(spans), "tookMs": 1}, headers=self.headers)

    async def places(self, _: web.Request) -> web.StreamResponse:
        """Component `api` of each organisation."""
        found = [{"organizationId": org, "componentId": "c-1", "componentName": "api"} for org in self.orgs]
        return web.json_response({"places": found})

    def _logs(self, body: Entry) -> web.Response:
        start = parse_moment(body.get("startTime", "0001-01-01"))
        end = parse_moment(body.get("endTime", "9999-12-31"))
        placed = [(parse_moment(row["timestamp"]), number, row) for number, row in enumerate(self.rows)]
        found = sorted((each for each in placed if start <= each[0] <= end), key=lambda each: each[:2])
        total = len(found)
        is_descending = body["sortOrder"] == "desc"
        if "cursor" in body:
            at, number = map(int, body["cursor"].split("-"))
            found = [each for each in found if (each[:2] < (at, number)) == is_descending and each[:2] != (at, number)]
        found = found[::-1] if is_descending else found
        page = found[: min(body["limit"], self.max_page)]
        headers = dict(self.headers)
        if len(page) < len(found):
            headers["X-Next-Cursor"] = "-".join(map(str, page[-1][:2]))
        told = {"logs": [row for _, _, row in page], "totalCount": total, "tookMs": 1}
        return web.json_response(told, headers=headers)


def failing(status: int, body: Entry | None = None, **headers: str) -> Callable[[], web.Response]:
    """An answer with that status."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.json_response(body, status=status, headers=told)


@asynccontextmanager
async def serving(port: int = 0, ssl: SSLContext | None = None, **state: Any) -> AsyncIterator[QueryServer]:
    """A server on loopback, answering as long as the block lasts; its fields may be changed meanwhile."""
    server = QueryServer(**state)
    async with listening(server, port, ssl):
        yield server


@asynccontextmanager
async def listening(server: QueryServer, port: int = 0, ssl: SSLContext | None = None) -> AsyncIterator[None]:
    """The same for a server that was made before: it may come and go."""
    app = web.Application()
    app.router.add_post("/{tail:api/logs/.*}", server.answer)
    app.router.add_get("/api/places", server.places)
    app.router.add_post("/api/v1alpha1/traces/query", server.answer)
    app.router.add_post("/api/v1alpha1/traces/{tail:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=ssl).start()
        host, port = runner.addresses[0][:2]
        server.url = f"http{'s' if ssl else ''}://{'localhost' if ssl else host}:{port}"
        yield
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


async def headrace(*arguments: str, **environ: str) -> Ended:
    """The real command, to its end."""
    command = await started(*arguments, stdout=asyncio.subprocess.PIPE, **environ)
    out, err = await asyncio.wait_for(command.communicate(), 30)
    return Ended(command.returncode or 0, out.decode(), err.decode())


async def started(*arguments: str, stdout: int = asyncio.subprocess.PIPE, **environ: str) -> asyncio.subprocess.Process:
    """The real command, running; its output is read by the caller."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bridge",
        *arguments,
        env={**processes.inherited_environ(), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
    )
