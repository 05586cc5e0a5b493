"""The part that a partial shadow holds is the same part wherever it is worked out."""

import random

import clickhouse_connect
import pyarrow as pa
import pytest

from bridge.columns.schema import RECEIVED, TIME
from bridge.sampling import Sampling
from tests.services import ClickHouseServer

pytestmark = pytest.mark.external
ROWS = 20_000
DAY = 86_400_000
Row = tuple[str, str, int, int]


def rows_of(seed: int) -> list[Row]:
    dice = random.Random(seed)
    orgs = ("acme", "o'brien\\", "other")
    # of all centuries that the column holds, with the last nanosecond of seconds among them
    times = (
        dice.randrange(-2_208_988_800, 9_223_372_036) * 10**9 + dice.choice((0, 1, 999_999_999)) for _ in range(ROWS)
    )
    # received at once, at the edge of a day or a long time off; 0: by a version that did not keep it
    offs = (0, 2 * DAY, 2 * DAY + 1, -2 * DAY, 40 * DAY)
    return [
        (
            dice.choice(orgs),
            dice.choice(("", dice.randbytes(16).hex())),
            at,
            dice.choice((0, at // 10**6 + dice.choice(offs))),
        )
        for at in times
    ]


def table_of(rows: list[Row]) -> pa.Table:
    orgs, traces, times, received = zip(*rows, strict=True)
    return pa.table(
        {
            "OrgId": pa.array(orgs).dictionary_encode(),
            "TraceId": pa.array(traces),
            "Timestamp": pa.array(times, pa.int64()).cast(TIME),
            "ReceivedAt": pa.array(received, pa.int64()).cast(RECEIVED),
        }
    )


@pytest.mark.parametrize("ratio", [1e-9, 0.01, 0.5, 0.9999, 1.0])
@pytest.mark.parametrize("orgs", [(), ("acme", "o'brien\\")])
def test_python_and_sql_choose_the_same_rows(clickhouse: ClickHouseServer, ratio: float, orgs: tuple[str, ...]) -> None:
    """What the sink leaves out is what validation does not look for."""
    sampling, rows = Sampling(orgs, ratio, max_days_off=2), rows_of(7)
    client = clickhouse_connect.get_client(host="127.0.0.1", port=clickhouse.http_port)
    client.command(
        "CREATE OR REPLACE TABLE sampled"
        " (OrgId String, TraceId String, Timestamp DateTime64(9), ReceivedAt DateTime64(3)) ENGINE = Memory"
    )
    client.insert_arrow("sampled", table_of(rows).set_column(0, "OrgId", pa.array([row[0] for row in rows])))
    found = client.query(
        "SELECT OrgId, TraceId, toUnixTimestamp64Nano(Timestamp), toUnixTimestamp64Milli(ReceivedAt) FROM sampled"
        f" WHERE {sampling.condition}"
    ).result_rows
    client.close()
    kept = sampling.kept(table_of(rows))
    chosen = rows if kept is None else [rows[number] for number in kept]
    assert sorted(map(tuple, found)) == sorted(chosen)
    assert bool(chosen) is (ratio >= 0.01)


def test_a_share_of_the_traces_is_whole_traces_and_about_that_share() -> None:
    """Every row of a trace is decided alike, whatever its time; so is a second without traces."""
    sampling, rows = Sampling((), 0.2), rows_of(3)
    share = sum(sampling.holds(*row[:3]) for row in rows) / len(rows)
    assert 0.18 < share < 0.22
    for org, trace, at, _ in rows[:500]:
        assert sampling.holds(org, trace, at) is sampling.holds(org, trace, at + 1 if trace else at // 10**9 * 10**9)


def test_a_wrong_clock_makes_no_index_for_each_day_it_claims() -> None:
    """Rows far from their receipt are left out and counted, near ones stay, also where nothing else is chosen."""
    now = 1_700_000_000_000
    claimed = [now - 40 * DAY, now - 31 * DAY, now, now + 31 * DAY, now + 32 * DAY]
    table = table_of([("acme", "", at * 10**6, now) for at in claimed])
    assert (Sampling().kept(table), Sampling().far(table)) == ([1, 2, 3], 2)
    assert Sampling().kept(table.slice(1, 3)) is None
