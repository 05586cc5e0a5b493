"""`make bench-check`: have the stages become slower? Each is told in rounds of a calibration loop of the same run.

    python -m bench.check [--write]      compare with bench/baseline.json, or make it

A stage fails if it takes `LIMIT` times its baseline in each of `TRIES` runs: one noisy run is no regression.
"""

import argparse
import json
import sys
from pathlib import Path

from bench.benchmarks import measured

BASELINE = Path(__file__).with_name("baseline.json")
LIMIT = 1.3
TRIES = 3


def ratios() -> dict[str, float]:
    """Of each stage: its fastest round, in fastest rounds of the calibration loop."""
    seconds = {each["name"]: each["stats"]["min"] for each in measured("bench/test_stages.py")}
    unit = seconds.pop("test_calibration")
    return {name.removeprefix("test_"): round(value / unit, 4) for name, value in sorted(seconds.items())}


def slower(found: dict[str, float], baseline: dict[str, float]) -> dict[str, float]:
    """How many times their baseline those stages take that take too long."""
    times = {name: found[name] / base for name, base in baseline.items() if name in found}
    return {name: ratio for name, ratio in times.items() if ratio > LIMIT}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.check", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make today's ratios the baseline")
    if parser.parse_args().write:
        runs = [ratios() for _ in range(TRIES)]
        best = {name: min(run[name] for run in runs) for name in runs[0]}
        BASELINE.write_text(json.dumps(best, indent=1) + "\n")
        return 0
    baseline: dict[str, float] = json.loads(BASELINE.read_text())
    suspects: dict[str, float] = {}
    for number in range(TRIES):
        found = ratios()
        missing = baseline.keys() ^ found.keys()
        if missing:
            print(f"not both in bench/baseline.json and measured: {', '.join(sorted(missing))}", file=sys.stderr)
            return 1
        now = slower(found, baseline)
        suspects = now if number == 0 else {name: min(suspects[name], now[name]) for name in suspects & now.keys()}
        if not suspects:
            print("no stage is slower than its baseline")
            return 0
    for name, ratio in suspects.items():
        print(f"{name} takes {ratio:.2f} times its baseline", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
