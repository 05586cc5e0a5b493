"""OTLP bytes -> Arrow: us per item of the fast columns and of a plain upb decoder, in one run.

make bench, or: pytest bench/test_columns.py --benchmark-enable
"""

import gc
from typing import Any

import pytest

from bench.generate import requests_of
from bench.plain_columns import plain_table
from bridge.columns import to_table
from bridge.model import OTLP_SIGNALS, Record, Signal

ITEMS = 10_000


def batch(signal: Signal) -> list[Record]:
    values = requests_of(signal, ITEMS // 1000, 1000, is_canonical=True)
    return [Record(signal, "acme", "local", 1_767_225_600_000_000_000, 1000, value) for value in values]


def run(benchmark: Any, signal: Signal, convert: Any, rounds: int) -> None:
    records = batch(signal)
    gc.collect()
    table = benchmark.pedantic(convert, args=(signal, records), rounds=rounds, warmup_rounds=1)
    assert table.num_rows == ITEMS
    if benchmark.stats is None:  # run as a plain test
        return
    benchmark.extra_info["us_per_item"] = benchmark.stats.stats.min / ITEMS * 1e6
    benchmark.extra_info["otlp_bytes_per_item"] = sum(len(record.value) for record in records) / ITEMS


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
def test_both_make_the_same_table(signal: Signal) -> None:
    """A baseline that did less would flatter the ratio."""
    records = batch(signal)
    assert to_table(signal, records).to_pydict() == plain_table(signal, records).to_pydict()


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@pytest.mark.benchmark(group="columns")
def test_fast(benchmark: Any, signal: Signal) -> None:
    """The product's columns."""
    run(benchmark, signal, to_table, rounds=15)


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
@pytest.mark.benchmark(group="columns")
def test_plain(benchmark: Any, signal: Signal) -> None:
    """The plain decoder beside it."""
    run(benchmark, signal, plain_table, rounds=4)
