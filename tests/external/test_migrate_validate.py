"""`headrace migrate validate` on real stores: it passes what is equal and finds what is not, where it is."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.migration.report import is_genuine
from bridge.migration.state import Kind
from tests.migrating import Migrating, log_document, migrating
from tests.opensearch_service import OpenSearchNode
from tests.services import ClickHouseServer

pytestmark = [pytest.mark.external, pytest.mark.timeout(300)]
PREFIXES = {"opensearch__logs_prefix": "checked-logs-", "opensearch__spans_prefix": "checked-spans-"}
WINDOW = ("--from", "2024-02-03T10:00:00Z", "--to", "2024-02-03T10:10:00Z", "--seed", "1")
INDEX = "checked-logs-2024.02.03"
MINUTE = 1_706_954_580  # 2024-02-03T10:03:00Z


@pytest.fixture
def stores(opensearch: OpenSearchNode, clickhouse: ClickHouseServer) -> Iterator[Migrating]:
    """Ten minutes of two organisations in both stores."""
    with migrating(opensearch, clickhouse) as found:
        made = found.with_settings(**PREFIXES)
        documents = [
            log_document(f"2024-02-03T10:{n // 60:02}:{n % 60:02}.{n:03}Z", f"line {n}", org=f"org{n % 2}")
            for n in range(600)
        ]
        made.bulk(INDEX, documents)
        assert made.backfill("--until", "2025-01-01T00:00:00Z").status == 0
        try:
            yield made
        finally:
            made.ask("DELETE", f"/{INDEX}")


def report_of(stores: Migrating) -> dict[str, Any]:
    done = stores.command("validate", *WINDOW, "--json")
    report: dict[str, Any] = json.loads(done.out)
    assert done.status == (0 if report["passed"] else 1), done
    return report


def rewritten(stores: Migrating, select: str) -> None:
    """Rows put in the place of those of the third minute's org1."""
    table = f"{stores.database}.otel_logs"
    stores.connection.run(f"CREATE TABLE {table}_kept AS {table}")
    columns = "Timestamp, Body, ResourceAttributes, LogAttributes, OrgId, ProjectId, ComponentId, EnvironmentId"
    stores.connection.run(
        f"INSERT INTO {table}_kept ({columns}, DataPlaneId, ReceivedAt)"
        f" SELECT {columns.replace('Body', select)}, DataPlaneId, ReceivedAt FROM {table} WHERE Body = 'line 181'"
    )
    stores.connection.run(f"DELETE FROM {table} WHERE Body = 'line 181'")
    stores.connection.run(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM {table}_kept")


def test_equal_stores_pass_with_a_report_that_is_kept_and_sealed(stores: Migrating) -> None:
    """Every minute was compared row by row, and the state has the same report, which shows any later change."""
    report = report_of(stores)
    assert report["passed"] is True
    assert (report["opensearch_rows"], report["clickhouse_rows"], report["sampled_rows"]) == (600, 600, 600)
    assert (report["differences"], report["failed_samples"], report["faults"]) == ([], [], [])
    assert report["organizations"] == ["org0", "org1"]
    kept = stores.state.latest(Kind.REPORT)[report["id"]].value
    assert kept == report
    assert is_genuine(kept, None)
    assert not is_genuine({**kept, "clickhouse_rows": 601}, None)


def test_a_removed_row_is_found(stores: Migrating) -> None:
    """The tenant and the minute of the missing row are told, and nothing else."""
    stores.connection.run(f"DELETE FROM {stores.database}.otel_logs WHERE Body = 'line 181'")
    report = report_of(stores)
    assert report["differences"] == [
        {"signal": "logs", "org": "org1", "minute": MINUTE, "opensearch": 30, "clickhouse": 29}
    ]
    assert [(each["org"], each["minute"], each["only_opensearch"]) for each in report["failed_samples"]] == [
        ("org1", MINUTE, 1)
    ]
    done = stores.command("validate", *WINDOW)
    assert done.status == 1
    assert "2024-02-03T10:03Z" in done.out
    assert "the stores do not agree" in done.out


def test_a_changed_body_is_found_although_the_counts_agree(stores: Migrating) -> None:
    """The samples see it: a row on each side that the other has not."""
    rewritten(stores, "'line 181!'")
    report = report_of(stores)
    assert (report["passed"], report["differences"]) == (False, [])
    failed = [(each["org"], each["minute"], each["only_opensearch"]) for each in report["failed_samples"]]
    assert failed == [("org1", MINUTE, 1)]


def test_a_changed_field_is_found_and_named(stores: Migrating) -> None:
    """A row with the same time and body but another environment differs in that field."""
    rewritten(stores, "Body")
    table = f"{stores.database}.otel_logs"
    assert report_of(stores)["failed_samples"][0]["fields"] == {"DataPlaneId": 1}
    assert stores.connection.rows(f"SELECT count() FROM {table}") == [[600]]


def test_an_extra_row_is_found(stores: Migrating) -> None:
    """A row that only ClickHouse has fails the tenant's minute."""
    table = f"{stores.database}.otel_logs"
    columns = "Timestamp, Body, ResourceAttributes, LogAttributes, OrgId, ProjectId, ComponentId, EnvironmentId"
    stores.connection.run(
        f"INSERT INTO {table} ({columns}) SELECT {columns.replace('Body', 'upper(Body)')} FROM {table}"
        " WHERE Body = 'line 181'"
    )
    report = report_of(stores)
    assert [(each["org"], each["minute"], each["only_clickhouse"]) for each in report["failed_samples"]] == [
        ("org1", MINUTE, 1)
    ]


def test_an_empty_window_proves_nothing(stores: Migrating) -> None:
    """No rows on either side: no sample, no pass."""
    done = stores.command("validate", "--from", "2021-01-01", "--to", "2021-01-02")
    assert done.status == 1
    assert "not a single row was sampled" in done.out


def test_an_open_window_is_refused(stores: Migrating) -> None:
    """Rows of now may still come, so nothing is said about them."""
    done = stores.command("validate", "--from", "2021-01-01", "--to", "2090-01-01")
    assert done.status == 1
    assert "settle_seconds" in done.err


def test_plan_says_what_is_there_and_what_the_other_store_has(stores: Migrating) -> None:
    """Documents, organisations and rows of the day's index, an index nobody knows, and a measured estimate."""
    stores.bulk("somebody-elses", [{"a": 1}])
    done = stores.command("plan", "--json")
    stores.ask("DELETE", "/somebody-elses")
    plan = json.loads(done.out)
    (index,) = plan["indices"]
    assert (index["index"], index["day"], index["documents"]) == (INDEX, "2024-02-03", 600)
    assert (index["own_documents"], index["clickhouse_rows"], index["orgs"]) == (0, 600, {"org0": 300, "org1": 300})
    assert "somebody-elses" in plan["unknown_indices"]
    assert plan["estimate"]["documents"] == 600
    assert plan["estimate"]["seconds"] > 0
    assert (plan["blocks"], done.status) == ([], 0)


def test_plan_says_what_is_in_the_way(stores: Migrating) -> None:
    """An index whose time is no date is named with what to do, and the exit status is 1."""
    stores.bulk("checked-logs-odd", [{"@timestamp": "yesterday", "log": "x"}])
    done = stores.command("plan")
    stores.ask("DELETE", "/checked-logs-odd")
    assert done.status == 1
    assert "checked-logs-odd: @timestamp is text, not a date" in done.out
