"""What `headrace demo` sent, read back as its users do: by the command line, and with the portal's request bodies."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.program import Program, running

pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]

ORDERS = 18  # every ninth is declined
DECLINED = ["order 8: card declined", "order 17: card declined"]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """`headrace run` on its embedded store, with the demo's telemetry in it."""
    with running(tmp_path_factory.mktemp("demo")) as program:
        assert run(program, "demo", "--orders", str(ORDERS)).returncode == 0
        yield program


def run(program: Program, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A command with the program's own settings, its query API among them."""
    environ = {**program.environ(), "HEADRACE_CLIENT__URL": f"http://127.0.0.1:{program.query_port}"}
    command = [sys.executable, "-m", "bridge", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)


def ask(program: Program, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer to a POST as the portal's backend sends it."""
    headers = {"Content-Type": "application/json", "X-Original-Authorization": "Bearer portal"}
    url = f"http://127.0.0.1:{program.query_port}{path}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        told: dict[str, Any] = json.loads(answer.read())
    return told


def test_the_command_line_reads_logs_of_a_component(program: Program) -> None:
    """Lines of contract 7.2, oldest first, by name; levels and phrases narrow them."""
    lines = run(program, "logs", "component", "payment", "--org", "acme").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "[main] order 8: card declined",
        "[main] order 17: card declined",
    ]
    found = run(program, "logs", "org", "acme", "--search", "CARD DECL", "--level", "ERROR", "--output", "json")
    assert [json.loads(line)["log"] for line in found.stdout.splitlines()] == DECLINED


def test_the_command_line_reads_traces(program: Program) -> None:
    """From the list of a component to the waterfall of one of its traces, which crosses components."""
    listed = run(program, "traces", "component", "payment", "--errors", "--output", "json")
    failed = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [(trace["traceName"], trace["hasErrors"]) for trace in failed] == [("POST /checkout", True)] * 2
    shown = run(program, "traces", "show", failed[0]["traceId"], "--no-color").stdout
    for text in ("POST /checkout", "GetCart", "Charge", "card declined"):
        assert text in shown


def test_the_portal_of_fork_time_reads_it(program: Program) -> None:
    """The runtime body of contract 7.3, `offset` and all, and its paging by the last row's time."""
    body = {"environmentId": "production", "logLevels": ["INFO", "DEBUG"], "limit": 10, "offset": 0}
    seen: list[str] = []
    page = ask(program, "/api/logs/component/cart", body)
    assert page["totalCount"] == ORDERS
    while True:
        seen += [row["log"] for row in page["logs"]]
        if len(page["logs"]) < 10:
            break
        page = ask(program, "/api/logs/component/cart", {**body, "endTime": page["logs"][-1]["timestamp"]})
    assert set(seen) == {f"cart of order {number} read" for number in range(ORDERS)}


def test_the_portal_of_today_reads_it(program: Program) -> None:
    """The bodies of contract 7.4: logs, traces, spans and one span's details."""
    scope = {"namespace": "acme", "project": "shop", "component": "frontend", "environment": "production"}
    now = window(program)
    times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-30T00:00:00Z"}
    logs = ask(program, "/api/v1/logs/query", {**now, "searchScope": scope, "limit": 50, "sortOrder": "asc"})
    assert [row["metadata"]["componentName"] for row in logs["logs"]] == ["frontend"] * ORDERS
    assert ask(program, "/api/v1/logs/query", {**times, "searchScope": scope})["logs"] == []
    traces = ask(program, "/api/v1alpha1/traces/query", {**now, "searchScope": scope, "limit": 100})
    assert traces["total"] == ORDERS
    trace_id = traces["traces"][0]["traceId"]
    path = f"/api/v1alpha1/traces/{trace_id}/spans/query"
    spans = ask(program, path, {**now, "searchScope": scope, "limit": 1000, "sortOrder": "asc"})["spans"]
    assert "POST /checkout" in {span["spanName"] for span in spans}


def window(program: Program) -> dict[str, str]:
    """An hour to both sides of when the store last heard of somebody."""
    url = f"http://127.0.0.1:{program.query_port}/api/places"
    with urllib.request.urlopen(url, timeout=10) as answer:
        newest = max(datetime.fromisoformat(place["lastSeen"]) for place in json.loads(answer.read())["places"])
    hour = timedelta(hours=1)
    bounds = {"startTime": newest - hour, "endTime": newest + hour}
    return {name: at.strftime("%Y-%m-%dT%H:%M:%SZ") for name, at in bounds.items()}
