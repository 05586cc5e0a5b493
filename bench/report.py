"""Results -> bench/results/report.md, latest.json and one picture. Pure, but for the writing."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Final

from bench.legs import Result

COLUMNS: Final = (
    "system",
    "signal",
    "over",
    "items/request",
    "items/s",
    "CPU us/item",
    "ratio to the peer",
    "peak RSS (anonymous) MiB",
    "ack p50 / p99 ms",
    "lag p50 / p99 / max s",
    "refused",
    "lost",
    "bytes an item: OTLP, Kafka, disk",
    "note",
)
LEGS: Final = {
    "receive": "OTLP -> Kafka",
    "deliver": "Kafka -> ClickHouse, a backlog (CPU from the first row on)",
    "whole": "OTLP -> ClickHouse, closed loop (through Kafka where durable; CPU of both roles)",
    "lag": "The same at half the rate that was sustained, open loop",
    "run": "`headrace run`: one process, embedded log",
    "kill -9": "kill -9 of every process in the middle of the load",
}


def write(folder: Path, results: Sequence[Result], machine: str, notes: Sequence[str], columns: Sequence[str]) -> str:
    """The three files are written; the Markdown is returned."""
    folder.mkdir(exist_ok=True)
    text = markdown(results, machine, notes, columns)
    (folder / "report.md").write_text(text)
    latest = {"machine": machine, "results": [asdict(each) for each in results]}
    (folder / "latest.json").write_text(json.dumps(latest, indent=1) + "\n")
    (folder / "cpu.svg").write_text(picture(results))
    return text


def markdown(results: Sequence[Result], machine: str, notes: Sequence[str], columns: Sequence[str]) -> str:
    lines = ["# Bench", "", f"{machine} Made by `make bench`.", "", *(f"- {note}" for note in notes), ""]
    lines += ["![CPU per item](cpu.svg)", ""]
    for leg, title in LEGS.items():
        rows = [each for each in results if each.leg == leg]
        if rows:
            lines += [f"## {title}", "", f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
            lines += [_row(each, results) for each in rows]
            lines.append("")
    lines += ["## Columns: OTLP bytes -> Arrow, one thread", "", "| signal | us/item | plain upb decoder | ratio |"]
    lines += ["|---|---|---|---|", *columns]
    return "\n".join(lines) + "\n"


def peer_of(result: Result, results: Sequence[Result]) -> Result | None:
    """The cheapest measured peer of the same leg and load."""

    def load(each: Result) -> tuple[object, ...]:
        return each.leg, each.signal, each.transport, each.items_per_request, each.encoding

    peers = [each for each in results if load(each) == load(result) and not each.system.startswith("headrace")]
    measured = [each for each in peers if each.cpu_us_per_item > 0]
    return min(measured, key=lambda each: each.cpu_us_per_item, default=None)


def _row(r: Result, results: Sequence[Result]) -> str:
    peer = peer_of(r, results) if r.system.startswith("headrace") else None
    cells = (
        r.system,
        r.signal,
        r.transport + (f", {r.encoding}" if r.encoding != "plain" else ""),
        str(r.items_per_request),
        f"{r.items_per_second:,.0f}",
        f"{r.cpu_us_per_item:.2f}" if r.cpu_us_per_item else "-",
        f"{r.cpu_us_per_item / peer.cpu_us_per_item:.2f} ({peer.system})" if peer and r.cpu_us_per_item else "-",
        f"{r.peak_rss_bytes / 2**20:.0f} ({r.peak_anonymous_bytes / 2**20:.0f})",
        _scaled((r.ack_p50_seconds, r.ack_p99_seconds), 1e3, 1),
        _scaled((r.lag_p50_seconds, r.lag_p99_seconds, r.lag_max_seconds), 1.0, 2),
        f"{r.refused:,}",
        f"{r.lost:,}",
        ", ".join(_number(each, 0) for each in (r.otlp_bytes_per_item, r.kafka_bytes_per_item, r.disk_bytes_per_item)),
        "; ".join(filter(None, (r.note, f"{r.oom_kills} OOM kills" if r.oom_kills else ""))),
    )
    return f"| {' | '.join(cells)} |"


def _scaled(values: Sequence[float | None], factor: float, digits: int) -> str:
    if all(value is None for value in values):
        return "-"
    return " / ".join(_number(None if value is None else value * factor, digits) for value in values)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


BAR, GAP, LEFT, WIDTH = 16, 6, 330, 860
COLOURS: Final = {"headrace": "#2563eb", "otelcol": "#d97706", "rotel": "#b91c1c"}


def picture(results: Sequence[Result]) -> str:
    """CPU per item of every measured load of spans over gRPC, as bars; less is better."""
    rows = [r for r in results if r.cpu_us_per_item and r.signal == "traces" and r.items_per_request in (100, 1000)]
    rows = [r for r in rows if r.leg in ("receive", "deliver", "whole", "run") and r.encoding == "plain"]
    top = max((r.cpu_us_per_item for r in rows), default=1.0)
    height = 40 + len(rows) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif"'
        ' font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        '<text x="8" y="20" font-size="14">CPU of all threads, us per span, in a box of 250m (less is better)</text>',
    ]
    for number, r in enumerate(rows):
        y = 34 + number * (BAR + GAP)
        width = (WIDTH - LEFT - 60) * r.cpu_us_per_item / top
        name = f"{r.leg}, {r.transport}, {r.items_per_request} a request: {r.system}"
        colour = next((value for key, value in COLOURS.items() if r.system.startswith(key)), "#6b7280")
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<text x="{LEFT + width + 5:.1f}" y="{y + 12}">{r.cpu_us_per_item:.2f}</text>',
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"
