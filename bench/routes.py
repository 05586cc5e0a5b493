"""What a caller of the query API waits: every route on 20 million logs and 5 million spans of 50 organisations.

    python -m bench.routes [--rows 20000000] [--spans 5000000] [--repeats 40] [--growth] [--json FILE]

The real `headrace query` in a box of 250m CPU and 256 MiB beside a real ClickHouse server, rows of `query_data.py` over
24 hours. Every caller has a token of its own organisation. Every repeat asks for another component and trace, drawn by
size; the same repeats went before, untimed. Each request is then asked again as its statements alone, straight to the
store: what is over is the API's own part, and the server's count of rows read is taken from there. `--growth` does it
at 1, 5 and 20 million rows.
"""

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
from clickhouse_connect.driver.client import Client

from bench.boxed import Boxed, boxed, wait_for
from bench.queries import MERGE_SECONDS, MERGES, _number, client_of, percentile
from bench.query_data import Sizes, fill, targets
from bench.route_questions import Floor, floor_of
from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.program import free_port
from tests.services import start_clickhouse

DATABASE: Final = "routes"
CALLERS: Final = 50
ORGS: Final = tuple(f"org-{number}" for number in range(50))
CALLS_OF_EACH: Final = 10
START: Final = "2026-01-01T12:00:00Z"
END: Final = "2026-01-02T12:00:00Z"
Target = Mapping[str, str]
Call = tuple[str, str, dict[str, Any] | None]


def token_of(org: str) -> str:
    """The bearer token of an organisation's caller."""
    return f"token-of-{org}"


@dataclass(frozen=True, slots=True)
class RouteResult:
    """Of one route. `added_p50_seconds`: what the API adds to its statements, the median over the repeats."""

    read: str
    repeats: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    added_p50_seconds: float
    rows_read_p50: int
    rows_read_max: int
    component_rows_p50: int
    table_rows: int
    errors: int = 0


def calls(target: Target) -> dict[str, Call]:
    """The reads, by name: method, path and body, all over 24 hours."""
    times = {"startTime": START, "endTime": END}
    here = {"organizationId": target["org"], "projectId": target["project"], "environmentId": target["environment"]}
    logs = f"/api/logs/component/{target['component']}"
    scope = {"namespace": target["org"], "project": target["project"], "component": target["component"]}
    spans = f"/api/v1alpha1/traces/{target['trace']}/spans/query"
    month = f"/api/costs/organizations?month={START[:7]}"
    words = {"searchPhrase": target["phrase"], "logLevels": ["ERROR"]}
    return {
        "component logs": ("POST", logs, {**times, **here}),
        "component logs, phrase and level": ("POST", logs, {**times, **here, **words}),
        "component logs, only named": ("POST", logs, {**times, "environmentId": target["environment"]}),
        "project logs": (
            "POST",
            f"/api/logs/project/{target['project']}",
            {**times, "organizationId": target["org"]},
        ),
        "organisation logs": ("POST", f"/api/logs/org/{target['org']}", times),
        "trace by id": ("POST", spans, {"searchScope": {"namespace": target["org"]}, "includeAttributes": True}),
        "trace by id, no organisation": ("POST", spans, {"includeAttributes": True}),
        "traces of a component": ("POST", "/api/v1alpha1/traces/query", {**times, "searchScope": scope}),
        "spans of a service": (
            "POST",
            "/api/traces/component",
            {**times, "serviceName": target["service"], "limit": 100, "sortOrder": "desc"},
        ),
        "costs of a month": ("GET", month, None),
        "places": ("GET", "/api/places", None),
    }


async def measure(client: Client, base: str, asked: Sequence[Target]) -> list[RouteResult]:
    """All routes, one after the other, then together from many callers."""
    found = []
    async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(limit=CALLERS)) as http:
        for name in calls(asked[0]):
            some = asked[: max(3, len(asked) // 8)] if name in ("costs of a month", "places") else asked
            found.append(await _route(client, http, name, some))
            print(f"{name}: {found[-1].p50_seconds * 1e3:.1f} ms", file=sys.stderr, flush=True)
        found.append(await _crowd(client, http, asked))
    return found


async def _route(client: Client, http: aiohttp.ClientSession, name: str, asked: Sequence[Target]) -> RouteResult:
    for target in asked:
        await _ask(http, calls(target)[name], target)
    seconds, added, floors = [], [], list[Floor]()
    for target in asked:
        seconds.append(await _ask(http, calls(target)[name], target))
        floors.append(await floor_of(client, DATABASE, name, target))
        added.append(seconds[-1] - floors[-1].seconds)
    rows = [floor.rows_read for floor in floors]
    return RouteResult(
        name,
        len(asked),
        percentile(seconds, 50),
        percentile(seconds, 95),
        percentile(seconds, 99),
        percentile(added, 50),
        int(percentile(rows, 50)),
        max(rows),
        int(percentile([_component_rows(client, target) for target in asked], 50)),
        _number(client, "SELECT count() FROM otel_logs"),
    )


async def _crowd(client: Client, http: aiohttp.ClientSession, asked: Sequence[Target]) -> RouteResult:
    """50 callers of component logs with phrase and level at once, each again as soon as it is answered."""
    seconds: list[float] = []
    errors = 0

    async def caller(number: int) -> None:
        nonlocal errors
        for turn in range(CALLS_OF_EACH):
            target = asked[(number + turn * 7) % len(asked)]
            try:
                seconds.append(await _ask(http, calls(target)["component logs, phrase and level"], target))
            except RuntimeError:
                errors += 1

    await asyncio.gather(*(caller(number) for number in range(CALLERS)))
    return RouteResult(
        f"{CALLERS} callers, phrase and level",
        len(seconds),
        percentile(seconds, 50),
        percentile(seconds, 95),
        percentile(seconds, 99),
        0.0,
        0,
        0,
        0,
        _number(client, "SELECT count() FROM otel_logs"),
        errors,
    )


async def _ask(http: aiohttp.ClientSession, call: Call, target: Target) -> float:
    method, path, body = call
    headers = {"Authorization": f"Bearer {token_of(target['org'])}"}
    started = time.perf_counter()
    async with http.request(method, path, json=body, headers=headers) as answer:
        raw = await answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {raw[:300]!r}")
        orjson.loads(raw)
    return seconds


def _component_rows(client: Client, target: Target) -> int:
    sql = (
        "SELECT count() FROM otel_logs WHERE OrgId = {org:String} AND ProjectId = {project:String}"
        " AND ComponentId = {component:String}"
    )
    return _number(client, sql, **{name: target[name] for name in ("org", "project", "component")})


@contextmanager
def query_process(http_port: int, folder: Path) -> Iterator[tuple[Boxed, str]]:
    """`headrace query` in its box, answering; its base URL."""
    port, admin = free_port(), free_port()
    tokens = [
        {"name": org, "token_sha256": hashlib.sha256(token_of(org).encode()).hexdigest(), "roles": [org]}
        for org in ORGS
    ]
    environ = {
        "HEADRACE_QUERY__AUTH__TOKENS": json.dumps(tokens),
        "HEADRACE_QUERY__LISTEN": f"127.0.0.1:{port}",
        "HEADRACE_ADMIN__LISTEN": f"127.0.0.1:{admin}",
        "HEADRACE_QUERY__REQUESTS_PER_SECOND": "100000",
        "HEADRACE_QUERY__MAX_WAIT_SECONDS": "60",
        "HEADRACE_CLICKHOUSE__INTERFACE": "http",
        "HEADRACE_CLICKHOUSE__PORT": str(http_port),
        "HEADRACE_CLICKHOUSE__DATABASE": DATABASE,
        "HEADRACE_LOGGING__LEVEL": "warning",
    }
    with boxed([sys.executable, "-m", "bridge", "query"], environ, folder / "query.log") as process:
        wait_for(lambda: _answers(f"http://127.0.0.1:{port}/health"), 30.0, "headrace query")
        yield process, f"http://127.0.0.1:{port}"


def _answers(url: str) -> bool:
    async def ask() -> bool:
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            return answer.status == 200

    try:
        return asyncio.run(ask())
    except aiohttp.ClientError:
        return False


def table(results: Sequence[RouteResult]) -> str:
    """Markdown, one line a route."""
    lines = [
        "| read | p50 / p95 / p99 ms | the API adds, ms | rows read p50 / max | of the component, p50 | errors |",
        "|---|---|---|---|---|---|",
    ]
    for row in results:
        waits = " / ".join(f"{each * 1e3:.1f}" for each in (row.p50_seconds, row.p95_seconds, row.p99_seconds))
        added = f"{row.added_p50_seconds * 1e3:.1f}" if row.rows_read_max else "-"
        lines.append(
            f"| {row.read} | {waits} | {added} | {row.rows_read_p50:,} / {row.rows_read_max:,}"
            f" | {row.component_rows_p50:,} | {row.errors} |"
        )
    return "\n".join(lines)


def run(sizes: Sizes) -> tuple[list[RouteResult], int, float]:
    """The results, the process's peak RSS in bytes, and its CPU seconds."""
    with start_clickhouse() as server, tempfile.TemporaryDirectory() as folder:
        Connection(server_settings(server.http_port, DATABASE)).apply_schema(SchemaOptions(DATABASE, 3650, 3650))
        client = client_of(server.http_port, DATABASE)
        fill(client, sizes)
        wait_for(lambda: _number(client, MERGES) == 0, MERGE_SECONDS, "the merges", 0.5)
        asked = targets(client, sizes)
        with query_process(server.http_port, Path(folder)) as (process, base):
            results = asyncio.run(measure(client, base, asked))
            cpu_seconds = process.cpu_seconds()
        return results, process.peaks.get("VmHWM", 0), cpu_seconds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.routes", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000_000, help="of otel_logs")
    parser.add_argument("--spans", type=int, default=5_000_000, help="of otel_traces, eight a trace")
    parser.add_argument("--repeats", type=int, default=40, help="of each read, each for another component")
    parser.add_argument("--growth", action="store_true", help="also at a twentieth and a quarter of the rows")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    written = []
    for share in (20, 4, 1) if arguments.growth else (1,):
        sizes = Sizes(arguments.rows // share, arguments.spans // share, arguments.repeats)
        results, peak_bytes, cpu_seconds = run(sizes)
        written += [{**asdict(result), "peak_rss_bytes": peak_bytes} for result in results]
        print(f"\n{sizes.rows:,} logs, {sizes.spans:,} spans; peak RSS {peak_bytes / 2**20:.0f} MiB\n")
        print(table(results), flush=True)
        print(f"\nCPU of the API: {cpu_seconds:.1f} s", flush=True)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
