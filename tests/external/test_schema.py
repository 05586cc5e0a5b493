"""`headrace schema`, on a real server, and the text of what no server here can run."""

import os
import subprocess
import sys

import pytest

from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions, steps
from tests.clickhouse import server_settings
from tests.services import ClickHouseServer


def headrace(port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "HEADRACE_CLICKHOUSE__INTERFACE": "http",
        "HEADRACE_CLICKHOUSE__PORT": str(port),
        "HEADRACE_CLICKHOUSE__DATABASE": "schema_test",
    }
    command = [sys.executable, "-m", "bridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, check=False)


@pytest.mark.external
def test_plan_apply_and_check_tell_the_truth(clickhouse: ClickHouseServer) -> None:
    """Before: everything is missing; after: nothing; applying again changes nothing; drift is named."""
    port = clickhouse.http_port
    missing = headrace(port, "schema", "check")
    assert missing.returncode == 1
    assert "table schema_test.otel_logs is missing" in missing.stdout
    plan = headrace(port, "schema", "plan").stdout
    assert "CREATE TABLE IF NOT EXISTS schema_test.otel_traces" in plan
    assert "8 step(s) missing" in plan
    assert (
        headrace(port, "schema", "apply").stdout
        == "applied: logs, traces, trace_times, received_at, ledger, places, level, migration\n"
    )
    assert headrace(port, "schema", "apply").stdout == "nothing to apply\n"
    assert headrace(port, "schema", "check").returncode == 0

    connection = Connection(server_settings(port, "schema_test"))
    connection.run("ALTER TABLE schema_test.otel_logs DROP COLUMN EventName")
    connection.run("ALTER TABLE schema_test.otel_logs MODIFY COLUMN ScopeName LowCardinality(String)")
    connection.run("ALTER TABLE schema_test.otel_traces MODIFY SETTING non_replicated_deduplication_window = 0")
    drifted = headrace(port, "schema", "check")
    assert drifted.returncode == 1
    assert "column otel_logs.EventName String is missing" in drifted.stdout
    assert "column otel_logs.ScopeName is LowCardinality(String), not String" in drifted.stdout
    assert "table otel_traces has no deduplication window" in drifted.stdout
    connection.run("DROP DATABASE schema_test")
    connection.close()


@pytest.mark.external
def test_older_servers_get_the_bloom_twins(clickhouse: ClickHouseServer) -> None:
    """The statements for a server without text indexes are taken by this one too, and use none."""
    options = SchemaOptions("twins", 30, 30)
    connection = Connection(server_settings(clickhouse.http_port, "twins"))
    for step in steps(options, "25.8.1.1"):
        for statement in step.statements:
            assert "text(" not in statement
            connection.run(statement)
    connection.run("DROP DATABASE twins")
    connection.close()


def test_a_cluster_gets_replicated_tables_with_their_own_window() -> None:
    """Every table and view is created on the cluster; the window's setting is the replicated one."""
    options = SchemaOptions("telemetry", 30, 60, cluster="main")
    text = "\n".join(statement for step in steps(options, "26.7.1.1") for statement in step.statements)
    created = [line for line in text.splitlines() if line.startswith("CREATE")]
    assert all("ON CLUSTER 'main'" in line for line in created)
    assert "ENGINE = ReplicatedMergeTree" in text
    assert "ENGINE = ReplicatedAggregatingMergeTree" in text
    assert "replicated_deduplication_window = 10000" in text
    assert "non_replicated" not in text
    assert "INTERVAL 60 DAY" in text


def test_settings_mistakes_end_with_2_and_all_of_them() -> None:
    """Nothing is started; the keys are named."""
    environ = {**os.environ, "HEADRACE_DELIVER__MAX_ROWS": "none", "HEADRACE_RECEIVE__HTTP_LISTEN": "0.0.0.0:1"}
    done = subprocess.run(
        [sys.executable, "-m", "bridge", "config", "check"], capture_output=True, text=True, env=environ, check=False
    )
    assert done.returncode == 2
    assert "deliver.max_rows" in done.stderr
    good = headrace(8123, "config", "check")
    assert good.returncode == 0
    assert 'clickhouse.password = ""' in good.stdout or "**" in good.stdout
