"""Bars: what people would rather look at than read. Pure."""

from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from bench.result import Result

BAR, GAP, GROUP_GAP, LEFT, WIDTH = 16, 4, 14, 330, 900
COLOURS: Final = {"headrace": "#2563eb", "otelcol": "#d97706", "rotel": "#b91c1c"}
SHOWN: Final = ("receive", "deliver", "whole", "run")


def bars(results: Sequence[Result], title: str, value_of: Callable[[Result], float]) -> str:
    """An SVG with a bar a system, grouped by what is compared: spans, 100 and 1000 a request, plain. Less is better."""
    rows = [r for r in results if r.signal == "traces" and r.items_per_request in (100, 1000) and r.leg in SHOWN]
    rows = [r for r in rows if r.encoding == "plain" and r.load in ("closed loop", "backlog") and r.processes == 1]
    rows = [r for r in rows if value_of(r) > 0]
    top = max((value_of(r) for r in rows), default=1.0)
    groups = list(dict.fromkeys(r.what for r in rows))
    rows.sort(key=lambda r: groups.index(r.what))
    parts, y, before = [], 34, None
    for r in rows:
        y += GROUP_GAP if before not in (None, r.what) else 0
        before = r.what
        parts += _bar(r, y, value_of(r), (WIDTH - LEFT - 70) * value_of(r) / top)
        y += BAR + GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 8}" font-family="sans-serif"'
        f' font-size="12"><rect width="{WIDTH}" height="{y + 8}" fill="white"/>'
        f'<text x="8" y="20" font-size="14">{escape(title)}</text>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _bar(r: Result, y: int, value: float, width: float) -> list[str]:
    over = f", {r.transport}, {r.items_per_request} a request" if r.transport != "kafka" else ", a backlog"
    name = f"{r.leg}{over}: {r.name}{'' if r.is_durable else ' *'}"
    return [
        f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{COLOURS[r.system]}"/>',
        f'<text x="{LEFT + width + 5:.1f}" y="{y + 12}">{value:.4g}</text>',
    ]
