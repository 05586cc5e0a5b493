"""The reduced chaos set: a few kills and one outage; `make chaos` runs them all."""

from pathlib import Path

import pytest

from tests import chaos
from tests.services import start_clickhouse

pytestmark = [pytest.mark.external, pytest.mark.chaos, pytest.mark.timeout(240)]


def test_kill_9_of_the_program_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Ten kills at random moments of a load: every acknowledged id is in base table and view exactly once."""
    with start_clickhouse() as server:
        verdict = chaos.suffer(tmp_path, server, chaos.KILL_PROGRAM, runs=10)
    assert verdict.acknowledged > 1000
    assert verdict.is_clean, chaos.table([verdict])


def test_kill_9_of_clickhouse_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Three kills of the server in the middle of its inserts."""
    with start_clickhouse() as server:
        verdict = chaos.suffer(tmp_path, server, chaos.KILL_SERVER, runs=3)
    assert verdict.acknowledged > 1000
    assert verdict.is_clean, chaos.table([verdict])


def test_an_outage_is_told_and_survived(tmp_path: Path) -> None:
    """ClickHouse away for 6 s with room for less in the log: acknowledged until full, then refused with a hint,
    /readyz and the lag say so, and everything acknowledged is there in the end."""
    with start_clickhouse() as server:
        verdict, story = chaos.survive_outage(tmp_path, server, seconds=6.0, log_max_bytes=8 << 20)
    assert verdict.acknowledged > 1000
    assert verdict.is_clean, chaos.table([verdict])
    assert story.acknowledged_while_down > 100
    assert story.refused_with_hint > 0
    assert story.refused_without_hint == 0
    assert story.ready_while_down == 503
    assert story.receive_while_full == 503
    assert story.oldest_seconds_at_end > 4.0
    assert story.ready_afterwards == 200
    assert story.oldest_seconds_afterwards == 0.0
