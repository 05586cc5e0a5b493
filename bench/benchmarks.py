"""A file of pytest-benchmarks, run, and what it measured."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def measured(path: str) -> list[dict[str, Any]]:
    """As pytest-benchmark tells it, an entry for each benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "benchmarks.json"
        command = ["pytest", path, "--benchmark-enable", f"--benchmark-json={target}", "-q"]
        command += ["-p", "no:randomly"]  # one order, whatever the seed
        subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
        found: list[dict[str, Any]] = json.loads(target.read_text())["benchmarks"]
    return found
