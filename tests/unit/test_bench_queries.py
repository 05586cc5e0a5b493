"""The bench of queries: its figures are what they are called, and its reads stay inside one organisation."""

import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from clickhouse_connect.driver.client import Client

from bench import queries
from bench.queries import QueryResult, ask, client_of, percentile, table
from bench.query_data import Sizes, fill, targets
from bench.query_reads import READS
from sinks.clickhouse import Connection
from sinks.ddl import SchemaOptions
from tests.clickhouse import server_settings
from tests.services import ClickHouseServer

SIZES = Sizes(rows=20_000, spans=5_000, repeats=40)
TENANT_TABLES = ("otel_logs", "otel_traces", "otel_traces_trace_id_ts")
FOUND_BY_ALL = """
SELECT OrgId, ProjectId, ComponentId, EnvironmentId, ServiceName, TraceId FROM otel_logs
WHERE lower(Body) LIKE '%payment declined%' AND SeverityText = 'ERROR' AND TraceId != ''
ORDER BY Timestamp LIMIT 1"""


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [([3.0], 50, 3.0), ([3.0], 99, 3.0), ([4, 1, 3, 2], 50, 2), (range(1, 101), 95, 95), (range(1, 21), 99, 20)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], percent: int, expected: float) -> None:
    """Nearest rank: with 20 values p99 is the largest, and nothing is interpolated."""
    assert percentile(values, percent) == expected


def test_the_table_tells_each_read_in_milliseconds() -> None:
    """One line a read, as wide as its head."""
    row = QueryResult(
        system="headrace",
        leg="query",
        signal="logs",
        read="component logs",
        repeats=20,
        p50_seconds=0.0123,
        p95_seconds=0.02,
        p99_seconds=0.5,
        cold_seconds=1.5,
        rows_read_p50=8_192,
        rows_read_max=16_384,
        bytes_read_p50=3 << 20,
        rows_returned_p50=100,
        table_rows=10_000_000,
        table_parts=7,
        table_bytes=1,
        note="warm only",
    )
    head, rule, line = table([row]).splitlines()
    assert line == (
        "| component logs | 12.3 / 20.0 / 500.0 | 1500.0 | 8,192 / 16,384 | 3.00 | 100 | 10,000,000 logs in 7 parts"
        " | warm only |"
    )
    assert head.count("|") == rule.count("|") == line.count("|")


@pytest.mark.parametrize("read", list(READS))
def test_every_read_binds_its_values_and_names_the_organisation_first(read: str) -> None:
    """Each WHERE on a table begins with the organisation."""
    _, sql = READS[read]
    conditions = sql.split("WHERE ")[1:]
    assert conditions
    assert all(condition.startswith("OrgId = {org:String} AND ") for condition in conditions)


@pytest.fixture
def client(clickhouse: ClickHouseServer) -> Iterator[Client]:
    """A database of the product's schema, filled."""
    database = f"q_{uuid.uuid4().hex[:12]}"
    connection = Connection(server_settings(clickhouse.http_port, database))
    connection.apply_schema(SchemaOptions(database, 25_000, 25_000))
    client = client_of(clickhouse.http_port, database)
    try:
        fill(client, SIZES)
        yield client
    finally:
        client.close()
        connection.run(f"DROP DATABASE {database}")
        connection.close()


@pytest.mark.external
def test_reads_answer_from_their_own_organisation_alone(client: Client) -> None:
    """Others have projects and components of the same names; without their rows every answer is the same."""
    parameters = _parameters(client)
    before = {read: ask(client, sql, parameters).rows for read, (_, sql) in READS.items()}
    for name in TENANT_TABLES:
        others = f"ALTER TABLE {name} DELETE WHERE OrgId != {{org:String}} SETTINGS mutations_sync = 1"
        client.command(others, parameters=parameters)
    assert client.query("SELECT uniqExact(OrgId) FROM otel_logs").result_rows == [(1,)]
    for read, (_, sql) in READS.items():
        assert before[read], read
        assert before[read] == ask(client, sql, parameters).rows, read


@pytest.mark.external
def test_the_data_is_what_it_is_said_to_be(client: Client) -> None:
    """As many rows as asked for, the phrase in about one of a thousand, and another component for every repeat."""
    (row,) = client.query(
        "SELECT count(), uniqExact(OrgId), countIf(TraceId != ''), countIf(lower(Body) LIKE '%payment declined%'),"
        " uniqExact(toDate(Timestamp)) FROM otel_logs"
    ).result_rows
    assert row[:3] == (20_000, 50, 10_000)
    assert 10 <= row[3] <= 30
    assert row[4] == 2
    asked = targets(client, SIZES)
    assert len({(each["org"], each["project"], each["component"]) for each in asked}) == SIZES.repeats
    assert client.query("SELECT count(), uniqExact(TraceId) FROM otel_traces").result_rows == [(5_000, 625)]


@pytest.mark.external
def test_a_page_cache_that_may_not_be_dropped_is_told(
    clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Cold figures say it where only the server's own caches were dropped."""
    page_cache = tmp_path / "drop_caches"
    monkeypatch.setattr(queries, "PAGE_CACHE", page_cache)
    with closing(client_of(clickhouse.http_port, "default")) as client:
        assert queries.drop_caches(client) == ""
        assert page_cache.read_text() == "3\n"
        monkeypatch.setattr(queries, "PAGE_CACHE", tmp_path)
        assert queries.drop_caches(client).startswith("cold without dropping the page cache: ")


def _parameters(client: Client) -> dict[str, str]:
    """Of a component for which no read comes back empty."""
    (row,) = client.query(FOUND_BY_ALL).result_rows
    names = ("org", "project", "component", "environment", "service", "trace")
    return targets(client, SIZES)[0] | dict(zip(names, row, strict=True))
