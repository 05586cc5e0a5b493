"""The table of the README: what was to be reached, and what the peers take beside it.

`make bench` writes it. From an earlier run: python -m bench.headline bench/results/latest.json
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bench.result import Result, peer_of

ITEMS: Final = {"traces": "spans", "logs": "log records"}
README: Final = Path(__file__).parents[1] / "README.md"
BEGIN: Final = "<!-- headline: written by `make bench` -->"
END: Final = "<!-- end of headline -->"
HEAD: Final = (
    "| CPU of all threads, us an item | Headrace | OpenTelemetry Collector 0.155 | ratio | Rotel, not durable |",
    "|---|---|---|---|---|",
)


class Row(NamedTuple):
    title: str
    leg: str
    load: str
    signal: str
    transport: str
    items: int


ROWS: Final = (
    Row("OTLP/gRPC -> Kafka, spans, 1000 a request", "receive", "closed loop", "traces", "grpc", 1000),
    Row("OTLP/gRPC -> Kafka, spans, 100 a request", "receive", "closed loop", "traces", "grpc", 100),
    Row("OTLP/HTTP -> Kafka, spans, 100 a request", "receive", "closed loop", "traces", "http", 100),
    Row("OTLP/gRPC -> Kafka, logs, 1000 a request", "receive", "closed loop", "logs", "grpc", 1000),
    Row("OTLP/gRPC -> Kafka, logs, 100 a request", "receive", "closed loop", "logs", "grpc", 100),
    Row("Kafka -> ClickHouse, spans, draining a backlog", "deliver", "backlog", "traces", "kafka", 1000),
    Row("Kafka -> ClickHouse, logs, draining a backlog", "deliver", "backlog", "logs", "kafka", 1000),
    Row("the whole way, durable, spans, 1000 a request", "whole", "closed loop", "traces", "grpc", 1000),
    Row("the whole way, durable, logs, 1000 a request", "whole", "closed loop", "logs", "grpc", 1000),
)


def headline(results: Sequence[Result]) -> str:
    """Markdown: CPU by leg beside the peers, then what it did to memory, lag and what was acknowledged."""
    lines = [*HEAD, *(_row(row, results) for row in ROWS if _ours(row, results) is not None)]
    return "\n".join([*lines, "", *_facts(results)])


def put_into(text: str, table: str) -> str:
    """`text` with what stands between the two marks replaced. Raises `ValueError` if a mark is missing."""
    before, _, rest = text.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"there is no {BEGIN} ... {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def _ours(row: Row, results: Sequence[Result]) -> Result | None:
    what = (*row[1:6], "plain", 1)
    return next((each for each in results if each.system == "headrace" and each.what == what), None)


def _row(row: Row, results: Sequence[Result]) -> str:
    ours = _ours(row, results)
    assert ours is not None
    peer = peer_of(ours, results, is_durable=True)
    rotel = next((each for each in results if each.system == "rotel" and each.what == ours.what), None)
    cells = (
        row.title,
        f"**{ours.cpu_us_per_item:.2f}**",
        f"{peer.cpu_us_per_item:.2f}" if peer else "-",
        f"{ours.cpu_us_per_item / peer.cpu_us_per_item:.2f}" if peer else "-",
        f"{rotel.cpu_us_per_item:.2f}" if rotel else "",
    )
    return f"| {' | '.join(cells)} |"


def _facts(results: Sequence[Result]) -> list[str]:
    own = [each for each in results if each.system == "headrace"]
    driven = [each for each in own if each.load != "kill -9"]
    drained = [each for each in own if each.leg == "deliver" and each.load == "backlog"]
    lags = [each.lag_p99_seconds for each in own if each.load == "open loop" and each.lag_p99_seconds is not None]
    killed = [each for each in results if each.load == "kill -9"]
    facts = []
    if drained:
        rates = " and ".join(f"{each.items_per_second:,.0f} {ITEMS[each.signal]}/s" for each in drained)
        facts.append(f"- A backlog drains at {rates}, in 250m CPU; ClickHouse on the same two cores is what bounds it.")
    if lags:
        facts.append(f"- Acknowledged to visible in ClickHouse, p99 at half the sustained rate: {max(lags):.1f} s.")
    if driven:
        peak = max(each.peak_anonymous_bytes for each in driven) / 2**20
        refused, kills = sum(each.refused for each in driven), sum(each.oom_kills for each in driven)
        facts.append(
            f"- Most anonymous memory of any role: {peak:.0f} MiB; refused {refused}, killed for memory {kills}."
        )
    if killed:
        lost = "; ".join(f"{_way(each)} {each.lost:,} / {each.written_twice or 0:,}" for each in killed)
        facts.append(f"- kill -9 of everything under load, acknowledged spans lost / written twice: {lost}.")
    return facts


def _way(killed: Result) -> str:
    return f"{killed.name} ({'one process' if killed.leg == 'run' else 'all roles'})"


def write(results: Sequence[Result]) -> None:
    """The table in the README is of these results."""
    README.write_text(put_into(README.read_text(), headline(results)))


def main() -> int:
    rows = json.loads(Path(sys.argv[1]).read_text())["results"]
    write([Result(**{name: row[name] for name in row if name != "ratios"}) for row in rows if row["leg"] != "query"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
