"""The reduced chaos set on real Kafka and ClickHouse; `make chaos` runs all of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import chaos_kafka
from tests.kafka_service import KafkaBroker
from tests.services import ClickHouseServer, skipped_if_unavailable

pytestmark = [pytest.mark.external, pytest.mark.chaos, pytest.mark.timeout(300)]

REDUCED = (
    "kill -9 between the append and the answer",
    "kill -9 between the insert and the commit",
    "kill -9 between a dead letter and the next commit",
    "insert cut after the server has committed",
    "kill -9 of the broker",
    "SIGSTOP across a rebalance, then SIGCONT",
)


@pytest.fixture(scope="module")
def services() -> Iterator[tuple[KafkaBroker, ClickHouseServer]]:
    with skipped_if_unavailable(), chaos_kafka.services() as both:
        yield both


@pytest.mark.parametrize("fault", REDUCED)
def test_a_fault_loses_and_doubles_nothing(
    services: tuple[KafkaBroker, ClickHouseServer], tmp_path: Path, fault: str
) -> None:
    """Every acknowledged id is in base table and view, or in the dead letters, exactly once; the ledger closes."""
    verdict = chaos_kafka.suffer(tmp_path, *services, fault, chaos_kafka.Scale(runs=1))
    assert verdict.acknowledged > 100
    assert verdict.is_clean, chaos_kafka.table([verdict])
