"""Do two runs agree? The ratios to the peer of one report beside those of another.

    python -m bench.compare bench/results/latest.json /elsewhere/latest.json

Prints every ratio that both have, by how much they differ, and the median and the largest difference.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RATIO = "cpu_to_cheapest_peer"
WHAT = ("leg", "load", "signal", "transport", "items_per_request", "encoding", "processes")


def ratios(report: Mapping[str, Any]) -> dict[tuple[Any, ...], float]:
    """Of our rows: what was measured, and our CPU to the cheapest peer's."""
    rows = [row for row in report["results"] if RATIO in row.get("ratios", {})]
    return {tuple(row[name] for name in WHAT): row["ratios"][RATIO] for row in rows}


def lines(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """A Markdown table, and a last line with the median and the largest difference."""
    ours, theirs = ratios(first), ratios(second)
    found = ["| what | first | second | difference |", "|---|---|---|---|"]
    differences = []
    for what in ours:
        if what in theirs:
            differences.append(abs(theirs[what] / ours[what] - 1))
            name = ", ".join(map(str, what))
            found.append(f"| {name} | {ours[what]:.2f} | {theirs[what]:.2f} | {differences[-1]:.0%} |")
    if not differences:
        return [*found, "no ratio is in both"]
    middle, largest = statistics.median(differences), max(differences)
    return [*found, f"{len(differences)} ratios: median difference {middle:.0%}, largest {largest:.0%}"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    arguments = parser.parse_args()
    print("\n".join(lines(json.loads(arguments.first.read_text()), json.loads(arguments.second.read_text()))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
