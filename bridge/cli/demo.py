"""`headrace demo`: send a shop's telemetry to a running Headrace and print what ClickHouse holds of it.

With an embedded ClickHouse the rows are in the running process, which answers SQL on its admin port (/sql, loopback
only); with a server they are asked for there.
"""

import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence

import orjson

from bridge.cli.shop import RUN_ATTRIBUTE, open_shop
from bridge.errors import Retryable
from bridge.settings import Settings

Row = list[object]
Ask = Callable[[str], list[Row]]
POLL_SECONDS = 0.1
REQUEST_TIMEOUT_SECONDS = 10.0


def demo(settings: Settings, orders: int, timeout_seconds: float) -> int:
    """0 when every item sent was found in ClickHouse, once; 1 with what is missing otherwise."""
    ask = _ask_of(settings)
    ask("SELECT 1")  # if nobody is there, say so before the exporters retry
    _say(f"sending {orders} orders to {settings.receive.grpc_listen} (gRPC) and {settings.receive.http_listen} (HTTP)")
    with open_shop(f"http://{settings.receive.grpc_listen}", f"http://{settings.receive.http_listen}") as shop:
        for number in range(orders):
            shop.take_order(number, time.time_ns() - 200_000_000)
        if not shop.flush():
            raise Retryable("Headrace did not take the telemetry; is `headrace run` (or `make run`) up?")
    sent_at = time.monotonic()
    sent = {"otel_traces": shop.spans, "otel_logs": shop.logs}
    database, run = settings.clickhouse.database, shop.run
    while (found := _counts(ask, database, run)) != sent:
        if any(found[table] > sent[table] for table in sent):
            _say(f"\nmore rows than were sent: sent {sent}, found {found}")
            return 1
        if time.monotonic() - sent_at > timeout_seconds:
            _say(f"\nafter {timeout_seconds:g} s ClickHouse does not hold all of it: sent {sent}, found {found}")
            return 1
        _progress(f"waiting for ClickHouse: {sum(found.values())} of {sum(sent.values())} rows")
        time.sleep(POLL_SECONDS)
    _progress("")
    _report(ask, database, run, time.monotonic() - sent_at)
    _say(
        f"\nlook for yourself: http://{settings.query.listen}/, or"
        "\n  headrace logs org acme --since 15m\n  headrace traces component frontend --org acme"
    )
    return 0


def _counts(ask: Ask, database: str, run: str) -> dict[str, int]:
    where = f"ResourceAttributes['{RUN_ATTRIBUTE}'] = '{run}'"
    sql = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count() AS n FROM {database}.{table} WHERE {where}"  # noqa: S608 - our own words
        for table in ("otel_traces", "otel_logs")
    )
    return {str(name): int(str(count)) for name, count in ask(sql)}


def _report(ask: Ask, database: str, run: str, wait_seconds: float) -> None:
    where = f"ResourceAttributes['{RUN_ATTRIBUTE}'] = '{run}'"
    by_place = ask(
        "SELECT OrgId, ProjectId, ComponentId, EnvironmentId, sum(spans), sum(logs), sum(errors) FROM ("  # noqa: S608
        " SELECT OrgId, ProjectId, ComponentId, EnvironmentId, 1 AS spans, 0 AS logs, StatusCode = 'Error' AS errors"
        f" FROM {database}.otel_traces WHERE {where} UNION ALL"
        " SELECT OrgId, ProjectId, ComponentId, EnvironmentId, 0, 1, SeverityText = 'ERROR'"
        f" FROM {database}.otel_logs WHERE {where}) GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    )
    slowest = ask(
        "SELECT ServiceName, SpanName, SpanKind, StatusCode, round(Duration / 1e6, 1), TraceId"  # noqa: S608
        f" FROM {database}.otel_traces WHERE {where} ORDER BY Duration DESC, SpanId LIMIT 5"
    )
    _table("what ClickHouse holds", ("org", "project", "component", "env", "spans", "logs", "errors"), by_place)
    _table("slowest spans", ("component", "span", "kind", "status", "ms", "trace"), slowest)
    _say(f"\nfreshness: every item was queryable {wait_seconds:.2f} s after the last one was acknowledged")


def _table(title: str, header: Sequence[str], rows: Sequence[Row]) -> None:
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    _say(f"\n{title}")
    for index, line in enumerate(lines):
        _say("  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if index == 0:
            _say("  " + "  ".join("-" * width for width in widths))


def _ask_of(settings: Settings) -> Ask:
    """Rows of a SELECT, from the running process's embedded ClickHouse or from the server."""
    if settings.clickhouse.interface != "chdb":
        from bridge.cli.schema import connect

        return connect(settings).rows
    url = f"http://{settings.admin.listen}/sql"

    def ask(sql: str) -> list[Row]:
        request = urllib.request.Request(url, data=sql.encode(), method="POST")
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return [orjson.loads(line) for line in answer.read().splitlines()]
        except urllib.error.HTTPError as error:
            raise Retryable(f"{url} answered {error.code}: {error.read().decode(errors='replace')[:300]}") from error
        except OSError as error:
            raise Retryable(f"nothing answers on {url}; start it with `headrace run` or `make run`") from error

    return ask


def _say(line: str) -> None:
    print(line, flush=True)


def _progress(line: str) -> None:
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
