"""Every stage of the way, one at a time, for `make bench-check`; run as plain tests too, so that they do not rot.

pytest bench --benchmark-enable
"""

import gc
import gzip
from collections.abc import Callable
from typing import Any

import pytest

from bench.generate import requests_of
from bridge import assembly
from bridge.columns import to_table
from bridge.ledger import Ledger
from bridge.model import OTLP_SIGNALS, Record, Signal
from bridge.otlp.compression import decompress
from bridge.settings import Settings
from bridge.telemetry import Metrics
from sinks.clickhouse import arrow_stream

RECEIVED_AT_UNIX_NANO = 1_767_225_600_000_000_000
ROUNDS = 30


def measure(benchmark: Any, work: Callable[[], Any]) -> None:
    gc.collect()
    benchmark.pedantic(work, rounds=ROUNDS, warmup_rounds=3)


def calibration() -> int:
    """What a round takes on this machine today: the kind of work that the stages do, and nothing of theirs."""
    words: dict[bytes, int] = {}
    for number in range(20_000):
        key = b"%d" % (number % 997)
        words[key] = words.get(key, 0) + len(key)
    return len(b"".join(words)) + sum(sorted(words.values()))


def test_calibration(benchmark: Any) -> None:
    """The unit that all stages are told in."""
    measure(benchmark, calibration)


@pytest.mark.parametrize("items", [1, 100, 1000])
@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
def test_prepare(benchmark: Any, signal: Signal, items: int) -> None:
    """A request's bytes -> records: 20 requests."""
    settings = Settings()
    identities = assembly.load_identities(settings)
    ingest = assembly.build_ingest(settings, identities, assembly.Nowhere(), Ledger(), Metrics())
    bodies, plane = requests_of(signal, 20, items), identities.local_plane
    assert plane is not None

    def prepare() -> int:
        return sum(ingest.prepare_bytes(signal, body, plane).items for body in bodies)

    assert prepare() == 20 * items
    measure(benchmark, prepare)


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
def test_columns(benchmark: Any, signal: Signal) -> None:
    """Records -> an Arrow table of 5,000 rows."""
    records = _records(signal)
    assert to_table(signal, records).num_rows == 5000
    measure(benchmark, lambda: to_table(signal, records))


@pytest.mark.parametrize("signal", list(OTLP_SIGNALS))
def test_arrow_stream(benchmark: Any, signal: Signal) -> None:
    """A table -> the body of an insert."""
    table = to_table(signal, _records(signal))
    measure(benchmark, lambda: arrow_stream(table, "lz4"))


def test_gunzip(benchmark: Any) -> None:
    """A compressed request of 1000 spans."""
    (body,) = requests_of(Signal.TRACES, 1, 1000)
    packed = gzip.compress(body)
    assert decompress("gzip", packed, 16 << 20) == body
    measure(benchmark, lambda: decompress("gzip", packed, 16 << 20))


def _records(signal: Signal) -> list[Record]:
    values = requests_of(signal, 5, 1000, is_canonical=True)
    return [Record(signal, "acme", "local", RECEIVED_AT_UNIX_NANO, 1000, value) for value in values]
