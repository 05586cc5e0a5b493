"""Results -> bench/results/report.md, latest.json and two pictures. Pure, but for the writing."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench import queries, scaling
from bench.picture import bars
from bench.queries import QueryResult
from bench.result import Result, ratios_of

COLUMNS: Final = (
    "system",
    "signal",
    "over",
    "items/request",
    "items/s",
    "CPU us/item",
    "CPU to the durable / cheapest peer",
    "items/s to the same",
    "peak RSS (anonymous) MiB",
    "ack p50 / p99 ms",
    "lag p50 / p99 / max s",
    "refused",
    "lost",
    "bytes an item: OTLP, Kafka, disk",
    "compression",
    "note",
)
SECTIONS: Final = (
    ("OTLP -> Kafka", "receive", "closed loop"),
    ("Kafka -> ClickHouse, a backlog (CPU from the first row on)", "deliver", "backlog"),
    (
        "OTLP -> ClickHouse, as fast as it goes (through Kafka where durable; CPU of both roles)",
        "whole",
        "closed loop",
    ),
    ("The same at half the rate that was sustained, open loop", "whole", "open loop"),
    ("`headrace run`: one process, embedded log", "run", "closed loop"),
    ("kill -9 of every process in the middle of the load", "whole", "kill -9"),
    ("kill -9 of `headrace run`", "run", "kill -9"),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """A whole run: what was driven, what was read from the tables, and rows of the columns' table."""

    results: Sequence[Result]
    reads: Sequence[QueryResult]
    columns: Sequence[str]


def write(folder: Path, measured: Measured, machine: str, notes: Sequence[str]) -> str:
    """The four files are written; the Markdown is returned."""
    folder.mkdir(exist_ok=True, parents=True)
    results = measured.results
    text = markdown(measured, machine, notes)
    (folder / "report.md").write_text(text)
    rows = [{**asdict(each), "ratios": ratios_of(each, results)} for each in results]
    rows += [asdict(each) for each in measured.reads]
    (folder / "latest.json").write_text(json.dumps({"machine": machine, "results": rows}, indent=1) + "\n")
    cpu = "CPU of all threads, us a span, in a box of 250m (less is better; * acknowledges before it has written)"
    memory = "Peak RSS, MiB, in a box of 256 MiB (less is better; * acknowledges before it has written)"
    (folder / "cpu.svg").write_text(bars(results, cpu, lambda each: each.cpu_us_per_item))
    (folder / "memory.svg").write_text(bars(results, memory, lambda each: each.peak_rss_bytes / 2**20))
    return text


def markdown(measured: Measured, machine: str, notes: Sequence[str]) -> str:
    results = measured.results
    lines = ["# Bench", "", f"{machine} Made by `make bench`.", "", *(f"- {note}" for note in notes), ""]
    lines += ["![CPU per item](cpu.svg)", "", "![Memory](memory.svg)", ""]
    for title, leg, load in SECTIONS:
        rows = [each for each in results if each.leg == leg and each.load == load]
        if rows:
            lines += [f"## {title}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
            lines += [_row(each, results) for each in rows]
            lines.append("")
    scaled = [each for each in results if each.load == "scaling"]
    if scaled:
        lines += ["## Processes: logs, 100 a request; a backlog of logs", "", scaling.table(scaled), ""]
    if measured.reads:
        lines += ["## Reads of 10 million logs and 2.5 million spans (SQL; the floor of a query API)", ""]
        lines += [queries.table(measured.reads), ""]
    lines += ["## Columns: OTLP bytes -> Arrow, one thread", "", "| signal | us/item | plain upb decoder | ratio |"]
    lines += ["|---|---|---|---|", *measured.columns]
    return "\n".join(lines) + "\n"


def _row(r: Result, results: Sequence[Result]) -> str:
    ratios = ratios_of(r, results)
    cells = (
        r.name + ("" if r.is_durable else " (not durable)"),
        r.signal,
        r.transport + (f", {r.encoding}" if r.encoding != "plain" else ""),
        str(r.items_per_request),
        f"{r.items_per_second:,.0f}",
        f"{r.cpu_us_per_item:.2f}" if r.cpu_us_per_item else "-",
        _scaled((ratios.get("cpu_to_durable_peer"), ratios.get("cpu_to_cheapest_peer")), 1.0, 2),
        _scaled((ratios.get("rate_to_durable_peer"), ratios.get("rate_to_cheapest_peer")), 1.0, 2),
        f"{r.peak_rss_bytes / 2**20:.0f} ({r.peak_anonymous_bytes / 2**20:.0f})",
        _scaled((r.ack_p50_seconds, r.ack_p99_seconds), 1e3, 1),
        _scaled((r.lag_p50_seconds, r.lag_p99_seconds, r.lag_max_seconds), 1.0, 2),
        f"{r.refused:,}",
        f"{r.lost:,}",
        ", ".join(_number(each, 0) for each in (r.otlp_bytes_per_item, r.kafka_bytes_per_item, r.disk_bytes_per_item)),
        _number(r.compression_ratio, 1),
        _remarks(r),
    )
    return f"| {' | '.join(cells)} |"


def _remarks(r: Result) -> str:
    killed = f"{r.oom_kills} OOM kills" if r.oom_kills else ""
    twice = "" if r.written_twice is None else f"{r.written_twice:,} written twice"
    return "; ".join(filter(None, (r.note, killed, twice)))


def _scaled(values: Sequence[float | None], factor: float, digits: int) -> str:
    if all(value is None for value in values):
        return "-"
    return " / ".join(_number(None if value is None else value * factor, digits) for value in values)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
