"""An embedded log filled with enriched records, for the deliver leg."""

from pathlib import Path

from bench.generate import requests_of
from bridge.log.embedded import open_embedded_log
from bridge.model import Record, Signal

ITEMS_PER_RECORD = 1000


async def fill(folder: Path, signal: Signal, items: int) -> None:
    """`items` items, 1000 a record, every record different."""
    received = 1_767_225_600_000_000_000
    async with open_embedded_log(folder / "log", max_bytes=1 << 40) as log:
        for seed in range(items // ITEMS_PER_RECORD):
            (value,) = requests_of(signal, 1, ITEMS_PER_RECORD, seed=seed, is_canonical=True)
            await log.append([Record(signal, "acme", "local", received, ITEMS_PER_RECORD, value)])
