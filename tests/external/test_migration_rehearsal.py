"""The whole move as one story, by an operator's commands: from data that is only in OpenSearch to indices gone.

Nothing is mocked: Kafka, ClickHouse and OpenSearch are real, the roles are processes, and what fails is killed.
"""

import http.client
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from bridge.migration.state import Kind, State
from bridge.model import Signal
from sinks.clickhouse import Connection
from tests.clickhouse import server_settings
from tests.fleet import SHADOW, Fleet, Tables, fleet
from tests.kafka_service import KafkaBroker, start_kafka
from tests.legacy import Past, call, fill
from tests.opensearch_service import OpenSearchNode, start_opensearch
from tests.processes import inherited_environ
from tests.program import Program
from tests.services import ClickHouseServer, skipped_if_unavailable, start_clickhouse
from tests.waiting import eventually_sync

pytestmark = [pytest.mark.external, pytest.mark.timeout(900)]
NAME: Final = "rehearsal"
PAST: Final = Past(1_000_000)
KEY: Final = "a key that signs reports"
# The whitepaper's triggers, in seconds instead of minutes.
SWITCH_BACK: Final = {"min_questions": 5, "error_seconds": 4, "unhealthy_seconds": 6, "drift_seconds": 4}
DUAL: Final = {"sample_rate": 1.0, "settle_seconds": 5, "reload_seconds": 0.5, "switch_back": SWITCH_BACK}
ASKS: Final = 40


@dataclass(slots=True)
class Stage:
    """All that plays a part."""

    made: Fleet
    node: OpenSearchNode
    server: ClickHouseServer
    query: Program
    tables: Tables
    told: list[str] = field(default_factory=list)

    def migrate(self, *arguments: str, status: int = 0) -> str:
        """What the command printed. Raises `AssertionError` for another exit status."""
        done = self.made.run("migrate", *arguments)
        said = f"$ headrace migrate {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        self.told.append(said)
        assert done.returncode == status, said
        return done.stdout + done.stderr

    def logs(self, org: str, day: int, limit: int = 50) -> tuple[int, Any]:
        """Status and JSON of the newest log records of a day of the past."""
        start = PAST.day(day)
        body = {"startTime": f"{start}T00:00:00Z", "endTime": f"{start}T23:59:59Z", "limit": limit}
        return self.post(f"/api/logs/org/{org}", body)

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        url, headers = f"http://127.0.0.1:{self.query.query_port}{path}", {"Content-Type": "application/json"}
        request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def report(self) -> Any:
        """What the dual read tells of everybody: without a catalog nothing says which organisations there are."""
        status, answer = self.post("/api/dual-read/report", None)
        assert status == 200, answer
        return next(each for each in answer["organizations"] if each["organizationId"] == "*")

    def ask_all(self) -> None:
        """Questions of every organisation and day, all answered, with what the past holds."""
        for number in range(ASKS):
            org = number % PAST.orgs
            status, page = self.logs(f"org{org}", number % PAST.days)
            assert status == 200, page
            assert len(page["logs"]) == 50
            assert page["totalCount"] > 0

    def answered_by(self, store: str) -> float:
        """How many questions a store has answered callers."""
        return self.query.metric("bridge_dual_questions_total", store=store, role="primary")

    def opensearch(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=60)
        answer = call(connection, method, path, b"" if body is None else json.dumps(body).encode())
        connection.close()
        return answer

    def indices(self) -> set[str]:
        return {each["index"] for each in self.opensearch("GET", "/_cat/indices?format=json")}

    @property
    def state(self) -> State:
        return State(Connection(server_settings(self.server.http_port, NAME)))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with skipped_if_unavailable(), start_kafka() as broker, start_clickhouse() as server, start_opensearch() as node:
        fill(node, PAST)
        with staged(tmp_path, broker, server, node) as found:
            yield found


@contextmanager
def staged(folder: Path, broker: KafkaBroker, server: ClickHouseServer, node: OpenSearchNode) -> Iterator[Stage]:
    key = folder / "report.key"
    key.write_text(KEY)
    extra = {
        "opensearch__hosts": json.dumps([node.url]),
        "opensearch__logs_prefix": "kubernetes-",
        "opensearch__spans_prefix": "otel-v1-apm-span-",
        "query__storage": "opensearch",
        "query__dual": json.dumps(DUAL),
        "migration__signing_key_file": str(key),
    }
    with fleet(folder, broker, server, NAME, **extra) as made:
        made.start(receivers=1, delivers=1)
        tables = Tables(server, NAME)
        tables.wait()
        (folder / "query").mkdir()
        query = Program(folder / "query", made.settings(), "query")
        query.start()
        try:
            yield Stage(made, node, server, query, tables)
        finally:
            query.kill()
            tables.close()


def test_migration_rehearsal(stage: Stage) -> None:
    """Shadow, backfill killed three times, proof, cutover, switched back, cutover, archive, teardown: no row lost."""
    only_in_opensearch(stage)
    shadow(stage)
    backfill(stage)
    validate(stage)
    cut_over(stage)
    fail_and_go_back(stage)
    cut_over(stage)
    archive(stage)
    teardown(stage)


def only_in_opensearch(stage: Stage) -> None:
    plan = stage.migrate("plan")
    assert all(name in plan for name in PAST.index_names)
    stage.ask_all()
    assert stage.answered_by("opensearch") == ASKS
    assert stage.tables.rows("otel_logs") == 0
    stage.migrate("teardown", "--yes-delete", status=1)


def shadow(stage: Stage) -> None:
    """From here on both stores get what comes in."""
    refused = stage.migrate("backfill", "--yes", status=1)
    assert "shadow" in refused
    stage.made.add(SHADOW).wait_until_up()
    stage.migrate("shadow", "start")
    started = stage.state.latest(Kind.SHADOW)["opensearch"].value["started_at"]
    stage.migrate("shadow", "start")
    assert stage.state.latest(Kind.SHADOW)["opensearch"].value["started_at"] == started
    send(stage, 500)
    stage.made.wait_until(lambda: stage.tables.rows("otel_logs") == 500, "written")
    stage.made.wait_until(lambda: stage.made.is_drained(stage.made.shadows), "drained by the shadow")
    today = f"kubernetes-{datetime.now(UTC):%Y.%m.%d}"
    eventually_sync(lambda: stage.opensearch("GET", f"/{today}/_count")["count"] == 500, 30)
    assert str(today) in stage.migrate("shadow", "status") or "500" in stage.told[-1]


def send(stage: Stage, items: int) -> None:
    """Log records of an organisation of the past, now."""
    request = ExportLogsServiceRequest()
    entry = request.resource_logs.add()
    for key, value in (("openchoreo.dev/namespace", "org0"), ("openchoreo.dev/project", "shop")):
        entry.resource.attributes.add(key=key).value.string_value = value
    scope = entry.scope_logs.add()
    for number in range(items):
        scope.log_records.add(time_unix_nano=time.time_ns()).body.string_value = f"new line {number}"
    url = f"http://127.0.0.1:{stage.made.receivers[0].http_port}/v1/{Signal.LOGS}"
    headers = {"Content-Type": "application/x-protobuf"}
    with urllib.request.urlopen(
        urllib.request.Request(url, request.SerializeToString(), headers), timeout=30
    ) as answer:
        assert answer.status == 200


def backfill(stage: Stage) -> None:
    """A million documents; three runs are killed on the way, and nobody can tell from the result."""
    for more in (3, 12, 9):
        aim = len(stage.state.latest(Kind.SLICE)) + more
        command = [sys.executable, "-m", "bridge", "migrate", "backfill", "--yes"]
        running = subprocess.Popen(
            command,
            env={**inherited_environ(), **stage.made.settings()},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stage.made.wait_until(partial(has_slices, stage, aim), f"{aim} slices")
        running.kill()
        assert running.wait() == -9
    stage.migrate("backfill", "--yes")
    again = stage.migrate("backfill", "--yes")
    assert f"{PAST.documents} documents done by earlier runs" in again
    wanted = (
        f"SELECT toString((count(), uniqExact(Body), countIf(Body LIKE '%request % served'))) FROM {NAME}.otel_logs"
    )
    assert stage.tables.one(f"{wanted} WHERE Body NOT LIKE 'new line%'") == str((PAST.documents,) * 3).replace(" ", "")
    assert stage.tables.rows("otel_logs") == PAST.documents + 500
    for org in range(PAST.orgs):
        rows = stage.tables.one(f"SELECT count() FROM {NAME}.otel_logs WHERE OrgId = 'org{org}' AND ProjectId = 'shop'")
        assert rows == PAST.documents // PAST.orgs + (500 if org == 0 else 0)


def has_slices(stage: Stage, count: int) -> bool:
    return len(stage.state.latest(Kind.SLICE)) >= count


def validate(stage: Stage) -> None:
    stage.migrate("cutover", "--org", "*", "--percent", "100", status=1)  # nothing proves anything yet
    window = ("--from", f"{PAST.day(0)}T00:00Z", "--to", f"{PAST.today}T00:00Z", "--sample", "60")
    one = f"FROM {NAME}.otel_logs WHERE Body = '{PAST.body(PAST.documents // 2 + 2)}'"
    stage.tables.run(f"CREATE TABLE {NAME}.kept ENGINE = Memory AS SELECT * {one}")
    stage.tables.run(f"DELETE {one}")
    failed = stage.migrate("validate", *window, status=1)
    assert "org2" in failed
    assert "the stores do not agree" in failed
    stage.migrate("cutover", "--org", "*", "--percent", "100", status=1)
    stage.tables.run(f"INSERT INTO {NAME}.otel_logs SELECT * FROM {NAME}.kept")
    assert "the stores agree" in stage.migrate("validate", *window)


def cut_over(stage: Stage) -> None:
    """ClickHouse answers everybody, and what it answers is what OpenSearch has."""
    stage.migrate("cutover", "--org", "*", "--percent", "100")
    eventually_sync(lambda: is_answered_by(stage, "clickhouse"), 15)
    before, told = stage.answered_by("opensearch"), stage.report()
    stage.ask_all()
    assert stage.answered_by("opensearch") == before
    eventually_sync(lambda: settled(stage.report()) >= settled(told) + ASKS, 30)
    after = stage.report()
    assert after["comparisons"] > told["comparisons"] + ASKS / 2
    assert after["mismatches"] == told["mismatches"], after
    assert after["route"]["primary"] == "clickhouse"


def settled(report: Any) -> int:
    """Questions of which it is known what the other store says, or why it was not asked."""
    return int(report["comparisons"] + sum(report["notCompared"].values()) + sum(report["secondaryErrors"].values()))


def is_answered_by(stage: Stage, store: str) -> bool:
    before = stage.answered_by(store)
    return stage.logs("org1", 3)[0] == 200 and stage.answered_by(store) == before + 1


def fail_and_go_back(stage: Stage) -> None:
    """ClickHouse is killed: callers see errors until the trigger, then OpenSearch answers; that is written down."""
    stage.server.kill()
    assert stage.logs("org1", 3)[0] >= 500
    eventually_sync(lambda: is_answered_by(stage, "opensearch"), 60)
    stage.ask_all()
    stage.server.start()
    eventually_sync(lambda: stage.state.latest(Kind.ROUTE)["*"].value["is_automatic"], 60)
    route = stage.state.latest(Kind.ROUTE)["*"].value
    assert route["primary"] == "opensearch"
    assert "automatic" in stage.migrate("routes")
    assert "switched back" in stage.query.output()
    assert stage.query.metric("bridge_dual_switches_total") >= 1


def archive(stage: Stage) -> None:
    refused = stage.migrate("archive", status=1)
    assert "_snapshot" in refused  # it says how to register one
    location = {"type": "fs", "settings": {"location": str(stage.node.repository / "rehearsal")}}
    stage.opensearch("PUT", "/_snapshot/headrace", location)
    stage.migrate("archive", "--name", "the-past", *(part for name in PAST.index_names for part in ("--index", name)))
    assert "the-past" in stage.state.latest(Kind.ARCHIVE)


def teardown(stage: Stage) -> None:
    """First refused for all that is missing, then tried dry, then done: these indices and no others."""
    stage.opensearch("PUT", "/somebody-elses", {})
    chosen = [part for name in PAST.index_names for part in ("--index", name)]
    refused = stage.migrate("teardown", "--yes-delete", *chosen, status=1)
    assert "7" in refused
    assert "backup" in refused
    assert set(PAST.index_names) < stage.indices()
    a_week_ago(stage)
    stage.migrate("backup", "record", "--name", "nightly", "--reference", "s3://backups/nightly")
    refused = stage.migrate("teardown", "--yes-delete", *chosen, status=1)
    assert "query.dual" in refused
    stage.made.extra["HEADRACE_QUERY__STORAGE"] = "clickhouse"
    del stage.made.extra["HEADRACE_QUERY__DUAL"]
    stage.query.stop()
    stage.query.settings = stage.made.settings()
    stage.query.start()
    dry = stage.migrate("teardown", *chosen)
    assert all(name in dry for name in PAST.index_names)
    assert "dry run" in dry
    assert set(PAST.index_names) < stage.indices()
    assert not stage.state.latest(Kind.TEARDOWN)
    stage.migrate("teardown", "--yes-delete", *chosen)
    left = stage.indices()
    assert not set(PAST.index_names) & left
    assert "somebody-elses" in left
    assert f"kubernetes-{datetime.now(UTC):%Y.%m.%d}" in left
    assert set(stage.state.latest(Kind.TEARDOWN)) >= set(PAST.index_names)
    assert "teardown" in stage.migrate("status")
    stage.ask_all()
    assert stage.tables.rows("otel_logs") == PAST.documents + 500


def a_week_ago(stage: Stage) -> None:
    """The test's only trick: the shadow's start is written again, eight days earlier."""
    event = stage.state.latest(Kind.SHADOW)["opensearch"]
    earlier = datetime.now(UTC) - timedelta(days=8)
    stage.state.put(Kind.SHADOW, "opensearch", event.value | {"started_at": f"{earlier:%Y-%m-%dT%H:%M:%S}Z"})
