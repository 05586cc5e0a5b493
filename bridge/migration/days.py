"""Documents and rows of the last days, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from bridge.documents import Layout
from bridge.migration.indices import day_start_unix_nano
from bridge.model import Signal
from bridge.opensearch import OpenSearch
from bridge.rfc3339 import SECOND
from sinks.clickhouse import TABLES, Connection

TIME_FIELDS: Final = {Signal.LOGS: "@timestamp", Signal.TRACES: "startTime"}


@dataclass(frozen=True, slots=True)
class Day:
    """Of one signal and UTC day, by the items' own times."""

    signal: Signal
    day: date
    documents: int
    rows: int


def last_days(count: int, now_unix_nano: int) -> list[date]:
    """The UTC days up to today, oldest first."""
    today = datetime.fromtimestamp(now_unix_nano // SECOND, UTC).date()
    return [today - timedelta(days=back) for back in range(count - 1, -1, -1)]


async def documents_by_day(opensearch: OpenSearch, layout: Layout, signal: Signal, first: date) -> dict[date, int]:
    """Documents since the first day, by UTC day; days without any are not in it."""
    field = TIME_FIELDS[signal]
    asked = {
        "size": 0,
        "query": {"range": {field: {"gte": f"{first:%Y-%m-%d}T00:00:00Z"}}},
        "aggs": {"days": {"date_histogram": {"field": field, "fixed_interval": "1d", "min_doc_count": 1}}},
    }
    path = f"/{layout.indices(signal, None, None)}/_search"
    answer = await opensearch.call(
        "POST", path, asked, params={"ignore_unavailable": "true", "allow_partial_search_results": "false"}
    )
    buckets = answer.get("aggregations", {}).get("days", {}).get("buckets", [])
    return {datetime.fromtimestamp(each["key"] / 1000, UTC).date(): int(each["doc_count"]) for each in buckets}


def rows_by_day(connection: Connection, signal: Signal, first: date) -> dict[date, int]:
    """Rows of ClickHouse since the first day, by UTC day."""
    table = f"{connection.settings.database}.{TABLES[signal]}"
    since = day_start_unix_nano(first)
    rows = connection.rows(
        f"SELECT toString(toDate(Timestamp, 'UTC')) AS day, count() FROM {table}"  # noqa: S608
        f" WHERE Timestamp >= fromUnixTimestamp64Nano({since}) GROUP BY day"
    )
    return {date.fromisoformat(str(day)): int(str(count)) for day, count in rows}


def side_by_side(
    signal: Signal, days: list[date], documents: Mapping[date, int], rows: Mapping[date, int]
) -> list[Day]:
    """A line for each day. Pure."""
    return [Day(signal, day, documents.get(day, 0), rows.get(day, 0)) for day in days]
