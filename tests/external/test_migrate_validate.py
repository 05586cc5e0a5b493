"""`headrace migrate validate` on real stores: it passes what is equal and finds what is not, where it is."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.documents import Family, layout_of
from bridge.migration.report import is_genuine
from bridge.migration.state import Kind
from bridge.model import Signal
from sinks.opensearch_templates import mapping
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


CATALOG = f"""
[[organizations]]
name = "acme"
uid = "uid-of-acme"

[[organizations]]
name = "other"

[[projects]]
organization = "acme"
name = "shop"
uid = "uid-of-shop"

[[data_planes]]
id = "dp1"
token_sha256s = ["{"0" * 64}"]
organizations = ["acme"]
"""


def container_log(at: str, body: str, namespace: str) -> dict[str, Any]:
    """As Fluent Bit writes it for family B/C."""
    labels = {f"openchoreo_dev/{key}": value for key, value in (("namespace", namespace), ("project", "shop"))}
    kubernetes = {"namespace_name": "ns", "pod_name": "api-0", "container_name": "main", "labels": labels}
    return {"@timestamp": at, "log": body, "kubernetes": kubernetes}


def test_names_become_the_catalogs_ids_and_others_are_in_the_way(
    opensearch: OpenSearchNode, clickhouse: ClickHouseServer, tmp_path: Path
) -> None:
    """Documents are the configured data plane's: it moves what it may write, and plan and backfill name the rest."""
    index, catalog = "catalogued-logs-2024-04-04", tmp_path / "catalog.toml"
    catalog.write_text(CATALOG)
    settings = {
        "catalog__file": str(catalog),
        "migration__data_plane": "dp1",
        "opensearch__family": "bc",
        "opensearch__logs_prefix": "catalogued-logs-",
        "opensearch__spans_prefix": "catalogued-spans-",
    }
    with migrating(opensearch, clickhouse) as found:
        stores = found.with_settings(**settings)
        good = [container_log(f"2024-04-04T10:00:{n:02}Z", f"line {n}", "acme") for n in range(60)]
        bad = container_log("2024-04-04T10:30:00Z", "not theirs", "other")
        made = {"mappings": mapping(layout_of(Family.BC), Signal.LOGS, ())}
        stores.bulk(index, [*good, bad], made)
        try:
            plan = stores.command("plan")
            assert plan.status == 1
            assert f"{index}: 1 documents are of organisations that the data plane may not write" in plan.out
            moved = stores.backfill("--until", "2025-01-01")
            assert moved.status == 1
            assert "organization_not_allowed" in moved.err
            assert stores.logs("DISTINCT OrgId, ProjectId, '' AS Body, 0 AS Timestamp") == [
                ["uid-of-acme", "uid-of-shop", "", 0]
            ]
            window = ("--from", "2024-04-04T10:00Z", "--to", "2024-04-04T10:05Z", "--json")
            report = json.loads(stores.command("validate", *window).out)
            assert (report["passed"], report["organizations"], report["sampled_rows"]) == (True, ["uid-of-acme"], 60)
            late = stores.command("validate", "--from", "2024-04-04T10:00Z", "--to", "2024-04-04T10:31Z")
            assert late.status == 1
            assert "organization_not_allowed" in late.out
        finally:
            stores.ask("DELETE", f"/{index}")


def test_only_the_key_holder_can_seal(stores: Migrating, tmp_path: Path) -> None:
    """With a signing key the report is genuine for that key and for no other."""
    (tmp_path / "key").write_text("secret\n")
    signed = stores.with_settings(migration__signing_key_file=str(tmp_path / "key"))
    report = report_of(signed)
    assert is_genuine(report, b"secret")
    assert not is_genuine(report, b"other")
    assert not is_genuine(report, None)
