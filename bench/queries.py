"""What the tables answer for the reads of the Observer routes: the floor under a query API, cold and warm.

    python -m bench.queries [--rows 10000000] [--spans 2500000] [--repeats 20]

Each read is SQL over HTTP with server-side parameters, on the product's own schema with the rows of `query_data.py`;
its time is until the last row is a Python object. Every repeat asks for another component and trace, drawn by size,
with the query condition cache off, so no answer is remembered. Warm: the same repeats went before, untimed. Cold: the
median of three repeats, each right after the server's caches and the machine's page cache were dropped (the latter
where we may; otherwise the row's note says so).
"""

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from bench.boxed import wait_for
from bench.query_data import Sizes, fill, targets
from bench.query_reads import READS
from bench.world import Place, World, open_world
from sinks.clickhouse import TABLES

MERGE_SECONDS = 600.0
COLD_RUNS = 3
CACHES: Final = (
    "MARK CACHE",
    "UNCOMPRESSED CACHE",
    "INDEX MARK CACHE",
    "INDEX UNCOMPRESSED CACHE",
    "PRIMARY INDEX CACHE",
    "QUERY CACHE",
    "QUERY CONDITION CACHE",
    "TEXT INDEX CACHES",
)
PAGE_CACHE: Final = Path("/proc/sys/vm/drop_caches")
MERGES: Final = "SELECT count() FROM system.merges WHERE database = currentDatabase()"
PARTS: Final = """
SELECT count() FROM system.parts WHERE active AND database = currentDatabase() AND table = {table:String}"""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """One read of one table. `rows_read` and `bytes_read` are what the server counted for a repeat, uncompressed."""

    system: str
    leg: str
    signal: str
    read: str
    repeats: int
    p50_seconds: float
    p95_seconds: float
    p99_seconds: float
    cold_seconds: float
    rows_read_p50: int
    rows_read_max: int
    bytes_read_p50: int
    rows_returned_p50: int
    table_rows: int
    table_parts: int
    table_bytes: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one repeat."""

    rows: Sequence[Sequence[object]]
    seconds: float
    rows_read: int
    bytes_read: int


def query_rows(world: World, sizes: Sizes | None = None) -> Iterator[QueryResult]:
    """One row for each read, from tables that are filled first and dropped afterwards."""
    sizes, place = sizes or Sizes(), world.place()
    place.create_schema()
    client = client_of(world.server.http_port, place.ports.database)
    try:
        fill(client, sizes)
        wait_for(lambda: _number(client, MERGES) == 0, MERGE_SECONDS, "the merges", 0.5)
        asked = targets(client, sizes)
        for read in READS:
            yield _measured(client, place, read, asked)
    finally:
        client.command("DROP DATABASE {name:Identifier} SYNC", parameters={"name": place.ports.database})
        client.close()


def client_of(http_port: int, database: str) -> Client:
    """Statements name tables of this database."""
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=http_port, database=database, autogenerate_session_id=False
    )


def ask(client: Client, sql: str, parameters: Mapping[str, str]) -> Answer:
    """What the store answers, and what that took."""
    # without waiting for the end the summary is of the moment in which the answer began
    settings = {"wait_end_of_query": 1, "use_query_condition_cache": 0}
    started = time.perf_counter()
    found = client.query(sql, parameters=dict(parameters), settings=settings)
    rows = found.result_rows
    seconds = time.perf_counter() - started
    return Answer(rows, seconds, int(found.summary["read_rows"]), int(found.summary["read_bytes"]))


def _measured(client: Client, place: Place, read: str, asked: Sequence[Mapping[str, str]]) -> QueryResult:
    signal, sql = READS[read]
    cold, note = [], ""
    for parameters in asked[:COLD_RUNS]:
        note = drop_caches(client)
        cold.append(ask(client, sql, parameters).seconds)
    for parameters in asked:
        ask(client, sql, parameters)
    answers = [ask(client, sql, parameters) for parameters in asked]
    seconds = [answer.seconds for answer in answers]
    return QueryResult(
        system="headrace",
        leg="query",
        signal=str(signal),
        read=read,
        repeats=len(answers),
        p50_seconds=percentile(seconds, 50),
        p95_seconds=percentile(seconds, 95),
        p99_seconds=percentile(seconds, 99),
        cold_seconds=statistics.median(cold),
        rows_read_p50=int(percentile([answer.rows_read for answer in answers], 50)),
        rows_read_max=max(answer.rows_read for answer in answers),
        bytes_read_p50=int(percentile([answer.bytes_read for answer in answers], 50)),
        rows_returned_p50=int(percentile([len(answer.rows) for answer in answers], 50)),
        table_rows=place.rows(signal),
        table_parts=_number(client, PARTS, table=TABLES[signal]),
        table_bytes=place.stored_bytes(signal),
        note=note,
    )


def _number(client: Client, sql: str, **parameters: str) -> int:
    return int(client.query(sql, parameters=parameters).result_rows[0][0])


def drop_caches(client: Client) -> str:
    """Nothing that can be dropped is cached any more; what could not be dropped is said."""
    for cache in CACHES:
        with suppress(ClickHouseError):  # an older server does not know all of them
            client.command(f"SYSTEM DROP {cache}")
    os.sync()
    try:
        PAGE_CACHE.write_text("3\n")
    except OSError as error:
        return f"cold without dropping the page cache: {error.strerror}"
    return ""


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest of the values that so many percent of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def table(rows: Sequence[QueryResult]) -> str:
    """Markdown, one line a read."""
    titles = (
        "read",
        "p50 / p95 / p99 ms warm",
        "cold ms",
        "rows read p50 / max",
        "MiB read",
        "answered",
        "from",
        "note",
    )
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for row in rows:
        warm = (row.p50_seconds, row.p95_seconds, row.p99_seconds)
        cells = (
            row.read,
            " / ".join(f"{seconds * 1e3:.1f}" for seconds in warm),
            f"{row.cold_seconds * 1e3:.1f}",
            f"{row.rows_read_p50:,} / {row.rows_read_max:,}",
            f"{row.bytes_read_p50 / 2**20:.2f}",
            f"{row.rows_returned_p50:,}",
            f"{row.table_rows:,} {row.signal} in {row.table_parts} parts",
            row.note,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.queries", description=__doc__)
    parser.add_argument("--rows", type=int, default=Sizes().rows, help="of otel_logs")
    parser.add_argument("--spans", type=int, default=Sizes().spans, help="of otel_traces, eight a trace")
    parser.add_argument("--repeats", type=int, default=Sizes().repeats, help="of each read, each for another component")
    parser.add_argument("--json", type=Path, help="write the rows there too")
    arguments = parser.parse_args()
    rows = []
    with open_world() as world:
        for row in query_rows(world, Sizes(arguments.rows, arguments.spans, arguments.repeats)):
            print(f"{row.read}: {row.p50_seconds * 1e3:.1f} ms", file=sys.stderr, flush=True)
            rows.append(row)
    if arguments.json is not None:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    print(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
