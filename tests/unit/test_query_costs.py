"""The cost report: the old Observer's six columns, ours behind them, and sums that add up."""

import csv
import io
import json
import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings_costs import Costs
from query_api.costs import TB, cost_rows, month_bounds, tenant_costs
from query_api.costs_report import COLUMNS, FIRST_COLUMNS, Retention, cost_csv, cost_json
from query_api.errors import InvalidRequest
from query_api.storage import QueryUse, Usage

PRICES = Costs()
KEPT = Retention(logs_days=30, traces_days=90)
HEADER = "organization_id,project_id,component_id,log_count,estimated_storage_bytes,estimated_cost_usd"
NOW = datetime(2025, 11, 30, 23, 59, 59, tzinfo=UTC).timestamp()

ids = st.sampled_from(["", "unknown", "acme", "shop", "=1+1", 'a,"b"'])
sizes = st.integers(0, 2**50)
usages = st.builds(Usage, ids, ids, ids, sizes, sizes, sizes, sizes, sizes, sizes, sizes)
seconds = st.floats(0, 1e7)
uses = st.builds(QueryUse, ids, sizes, seconds, seconds, sizes)


def lines_of(*given_usages: Usage, uses: tuple[QueryUse, ...] = ()) -> list[str]:
    return cost_csv(cost_rows(given_usages, uses, PRICES), KEPT).decode().split("\n")


def test_v08_the_first_six_columns_are_the_old_ones() -> None:
    """Header and line start byte for byte as the old Observer wrote them; ours follow behind a comma."""
    lines = lines_of(Usage("acme", "shop", "api", logs=1_000_000, log_characters=1_099_511_627_776))
    assert lines[0].startswith(HEADER + ",")
    assert lines[1].startswith("acme,shop,api,1000000,1099511627776,2.5000,")
    assert lines[2:] == [""]


def test_v08_cents_are_rounded_as_before() -> None:
    """Characters and records are priced together, with four places."""
    line = lines_of(Usage("acme", "shop", "api", logs=1_234_567, log_characters=987_654_321))[1]
    assert line.startswith("acme,shop,api,1234567,987654321,2.4696,")


@pytest.mark.parametrize(
    "text", ["2025-13", "Nov", "2025-00", "2025-1", "0000-01", "99999-01", "9999-12", "1969-12", "2262-01", " 2025-11"]
)
def test_v08_other_months_are_refused(text: str) -> None:
    """The message is the contract's, also for months whose nanoseconds do not fit 64 bits."""
    with pytest.raises(InvalidRequest, match=r"^invalid month format, expected YYYY-MM$") as caught:
        month_bounds(text, NOW)
    assert not caught.value.is_missing


@pytest.mark.parametrize(
    "text", ["\u0662\u0660\u0662\u0665-11", "202\uff15-11", "2025-11\n", "2025-11-01", "2025/11", "-2025-11"]
)
def test_a_month_is_plain_digits_and_a_dash(text: str) -> None:
    """Digits of other scripts, line ends and longer dates are no month."""
    with pytest.raises(InvalidRequest):
        month_bounds(text, NOW)


def test_no_month_is_the_current_one_in_utc() -> None:
    """The last second of November and the first of December are in different months."""
    november, december = month_bounds("", NOW), month_bounds("", NOW + 1)
    assert (november.name, december.name) == ("2025-11", "2025-12")
    assert november.end_unix_nano == december.start_unix_nano == 1_764_547_200_000_000_000


@given(st.integers(1970, 2261), st.integers(1, 12))
def test_months_follow_one_another(year: int, month: int) -> None:
    """A month ends where the next one starts, and starts at midnight of its first day."""
    this = month_bounds(f"{year:04}-{month:02}", NOW)
    assert datetime.fromtimestamp(this.start_unix_nano // 10**9, UTC) == datetime(year, month, 1, tzinfo=UTC)
    assert this.end_unix_nano < 2**63
    following = datetime.fromtimestamp(this.end_unix_nano // 10**9, UTC)
    assert following == datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


def test_the_header_is_there_without_rows() -> None:
    """An empty month is a file with a header."""
    assert lines_of() == [",".join(COLUMNS), ""]
    assert ",".join(FIRST_COLUMNS) == HEADER


def test_each_column_is_what_it_is_called() -> None:
    """Sizes as they are, storage by compressed bytes, queries by time and by CPU, the total of these three."""
    usage = Usage("acme", "shop", "api", 10, 11, 1000, 2 * TB, 20, 3000, 4 * TB)
    cells = lines_of(usage, uses=(QueryUse("acme", 5, query_seconds=100.0, cpu_seconds=36_000.0),))[1].split(",")
    row = dict(zip(COLUMNS, cells, strict=True))
    assert [row[name] for name in COLUMNS[6:13]] == [
        "1000",
        str(2 * TB),
        "20",
        "3000",
        str(4 * TB),
        "30",
        "90",
    ]
    assert (row["storage_cost_usd"], row["query_seconds"], row["compute_hours"]) == ("3.000000", "100.000", "10.000000")
    assert (row["query_cost_usd"], row["compute_cost_usd"]) == ("0.020000", "0.514000")
    assert row["total_cost_usd"] == "3.534000"


def test_rows_are_sorted_and_what_has_no_id_is_unknown() -> None:
    """By the three ids as they are written; places that are written alike are one row."""
    shown = lines_of(
        Usage("b", "x", "y", logs=1), Usage("", "", "", logs=2), Usage("a", "", "z", logs=3), Usage("unknown", logs=4,
        project="unknown", component="")
    )  # fmt: skip
    assert [",".join(line.split(",")[:4]) for line in shown[1:-1]] == [
        "a,unknown,z,3",
        "b,x,y,1",
        "unknown,unknown,unknown,6",
    ]


def test_queries_are_shared_out_by_bytes() -> None:
    """A place with three quarters of its organisation's bytes has three quarters of its queries, none of others'."""
    rows = cost_rows(
        [
            Usage("a", "p", "x", log_bytes=200, span_bytes=100),
            Usage("a", "p", "y", log_bytes=100),
            Usage("b", "p", "z"),
        ],
        [QueryUse("a", query_seconds=8.0, cpu_seconds=7200.0)],
        PRICES,
    )
    assert [(row.query_seconds, row.compute_hours) for row in rows] == [(6.0, 1.5), (2.0, 0.5), (0.0, 0.0)]


def test_an_organisation_that_only_asked_has_a_row() -> None:
    """Queries without stored data are not lost from the sum."""
    line = lines_of(Usage("b", "p", "x"), uses=(QueryUse("a", query_seconds=1.0),))[1]
    assert line.startswith("a,unknown,unknown,0,0,0.0000,")
    assert line.endswith(",1.000,0.000000,0.000200,0.000000,0.000200")


@given(st.lists(usages, max_size=8), st.lists(uses, max_size=5))
def test_rows_and_organisations_add_up_to_everything(given_usages: list[Usage], given_uses: list[QueryUse]) -> None:
    """Nothing is lost or counted twice between usage, rows and sums by organisation."""
    rows = cost_rows(given_usages, given_uses, PRICES)
    for level in (rows, tenant_costs(rows)):
        assert sum(row.usage.logs for row in level) == sum(usage.logs for usage in given_usages)
        compressed = sum(row.usage.log_compressed_bytes + row.usage.span_compressed_bytes for row in level)
        assert compressed == sum(usage.log_compressed_bytes + usage.span_compressed_bytes for usage in given_usages)
        assert math.isclose(sum(row.query_seconds for row in level), sum(use.query_seconds for use in given_uses))
        assert math.isclose(sum(row.compute_hours for row in level), sum(use.cpu_seconds for use in given_uses) / 3600)
    totals = [sum(row.total_cost_usd for row in level) for level in (rows, tenant_costs(rows))]
    assert math.isclose(*totals, abs_tol=1e-9)


@given(st.lists(usages, max_size=8), st.lists(uses, max_size=5))
def test_the_file_reads_back(given_usages: list[Usage], given_uses: list[QueryUse]) -> None:
    """Every row has every column, no cell is a formula, numbers are numbers, and no row is there twice."""
    rows = cost_rows(given_usages, given_uses, PRICES)
    read = list(csv.reader(io.StringIO(cost_csv(rows, KEPT).decode(), newline="")))
    assert read[0] == list(COLUMNS)
    assert [row[0].removeprefix("'") for row in read[1:]] == [row.usage.org for row in rows]
    assert len({tuple(row[:3]) for row in read}) == len(read) == len(rows) + 1
    for row in read[1:]:
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row)
        assert all(float(cell) >= 0 for cell in row[3:])


def test_a_dashboard_gets_sums_ratio_and_split() -> None:
    """Of each organisation: what it holds, how well it compresses, and what of the storage is logs or spans."""
    rows = cost_rows(
        [
            Usage("acme", "p", "x", 1, 1, 60, 2 * TB, 2, 40, TB),
            Usage("acme", "q", "y", 10, 1, 8 * TB, 0, 20, 4 * TB - 100, TB),
            Usage("zulu", "p", "x"),
        ],
        [],
        PRICES,
    )
    acme, zulu = (json.loads(json.dumps(cost_json(row, KEPT))) for row in tenant_costs(rows))
    assert (acme["organizationId"], acme["projectId"], acme["logCount"], acme["spanCount"]) == ("acme", "", 11, 22)
    assert acme["compressionRatio"] == 3.0
    assert (acme["logsStorageCostUsd"], acme["tracesStorageCostUsd"], acme["storageCostUsd"]) == (1.0, 1.0, 2.0)
    assert (acme["logsRetentionDays"], acme["tracesRetentionDays"]) == (30, 90)
    assert zulu["compressionRatio"] is None


def test_prices_come_from_settings() -> None:
    """Each price changes its own cost, in proportion."""
    usage, use = Usage("a", "p", "c", 2_000_000, TB, 1, TB, 1, 1, TB), QueryUse("a", 1, 3600.0, 7200.0)
    prices = Costs(
        storage_usd_per_tb_month=1,
        logs_usd_per_million=3,
        compressed_storage_usd_per_tb_month=5,
        query_usd_per_second=0.01,
        compute_usd_per_vcpu_hour=7,
    )
    row = cost_rows([usage], [use], prices)[0]
    assert math.isclose(row.estimated_cost_usd, 1 + 6)
    assert (row.storage_cost_usd, row.compute_cost_usd) == (10, 14)
    assert math.isclose(row.query_cost_usd, 36)
    assert math.isclose(row.total_cost_usd, 60)
