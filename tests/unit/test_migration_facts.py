"""What the stores answer is read for what it says, and no better."""

from datetime import date
from typing import Any

import pytest

from bridge.documents import Family, layout_of
from bridge.migration.archive import Archive, Kept, changed, problems_of
from bridge.migration.indices import Index, day_of, is_exact, problem_of, signal_of
from bridge.migration.refusal import Refusal
from bridge.migration.safety import Backup, ttl_days
from bridge.migration.shadow import Shadow, started
from bridge.migration.state import Event, Kind
from bridge.model import Signal

NOW = 1_795_000_000 * 10**9
ARCHIVE = Archive("one", "headrace", "c", (Kept("kubernetes-2026.11.20", "u", 3, 9, 2),))
DONE = {"done": 1, "failed": 0, "total": 1}
WHOLE: dict[str, Any] = {
    "state": "SUCCESS",
    "uuid": "s",
    "indices": ["kubernetes-2026.11.20"],
    "shards": {"total": 1, "failed": 0, "successful": 1},
}


@pytest.mark.parametrize(
    ("engine", "days"),
    [
        ("MergeTree ORDER BY a TTL toDateTime(Timestamp) + toIntervalDay(30) SETTINGS index_granularity = 8192", 30),
        ("MergeTree ORDER BY a TTL toDate(Timestamp) + toIntervalMonth(2)", 56),
        ("MergeTree ORDER BY a TTL t + INTERVAL 3 WEEK", 21),
        ("MergeTree ORDER BY a SETTINGS index_granularity = 8192", None),
        ("MergeTree ORDER BY a TTL t + toIntervalDay(7) TO VOLUME 'cold', t + toIntervalDay(90)", 90),
        ("MergeTree ORDER BY a TTL t + toIntervalDay(7) TO DISK 'cold'", None),
        ("MergeTree ORDER BY a TTL t + toIntervalDay(90), t + toIntervalDay(2) DELETE WHERE x = 1", 2),
        ("MergeTree ORDER BY a TTL t + toIntervalDay(2) DELETE WHERE x = 'a, b'", 0),
        ("MergeTree ORDER BY a TTL addDays(t, 30)", 0),
    ],
)
def test_retention_is_read_from_the_table(engine: str, days: float | None) -> None:
    """The shortest rule that deletes counts; what only moves does not; what is not understood counts as nothing."""
    assert ttl_days(engine) == days


@pytest.mark.parametrize(
    ("change", "stats", "why"),
    [
        ({"state": "PARTIAL", "failures": [{"reason": "disk full"}]}, DONE, "its state is PARTIAL"),
        ({"state": "FAILED"}, DONE, "its state is FAILED"),
        ({"shards": {"total": 2, "failed": 1, "successful": 1}}, DONE, "of 2 shards 1 failed"),
        ({"indices": []}, DONE, "is not in it"),
        ({}, {"done": 0, "failed": 1, "total": 1}, "0 of 1 shards"),
        ({}, {"done": 0, "failed": 0, "total": 0}, "0 of 0 shards"),
    ],
)
def test_a_snapshot_that_is_not_whole_is_no_archive(change: dict[str, Any], stats: dict[str, int], why: str) -> None:
    """Whatever the repository says is wrong with it is told."""
    problems = problems_of(ARCHIVE, WHOLE | change, {"kubernetes-2026.11.20": {"shards_stats": stats}})
    assert any(why in problem for problem in problems), problems


def test_a_whole_snapshot_is_an_archive_as_long_as_it_is_the_same() -> None:
    """No problem with it; another snapshot under its name, or an index made anew meanwhile, is one."""
    status = {"kubernetes-2026.11.20": {"shards_stats": DONE}}
    assert problems_of(ARCHIVE, WHOLE, status) == []
    kept = Archive.of(Event(NOW, Kind.ARCHIVE, "one", {**ARCHIVE.value(), "snapshot": "another"}, ""))
    assert "another snapshot" in problems_of(kept, WHOLE, status)[0]
    index = Index("kubernetes-2026.11.20", "u", Signal.LOGS, None, 3, 9, 2)
    assert changed(ARCHIVE, {index.name: index}) == []
    assert "made anew" in changed(ARCHIVE, {})[0]


def test_only_the_exact_name_of_a_day_is_one() -> None:
    """Patterns, lists, paths and names that merely look like a day's are none."""
    layout = layout_of(Family.A)
    assert day_of(layout, Signal.LOGS, "kubernetes-2026.11.20") == date(2026, 11, 20)
    for name in ("kubernetes-2026.11.2", "kubernetes-2026.1.20", "2026.11.20", "kubernetes-2026.11.20-x"):
        assert day_of(layout, Signal.LOGS, name) is None
    for name in ("*", "_all", "a*", "a,b", "-a", "a/b", "A", "", "..", "a?", "<a-{now/d}>", "a%2cb"):
        assert not is_exact(name)
    assert signal_of(layout, "otel-v1-apm-span-000001") is Signal.TRACES
    assert signal_of(layout, "security-audit") is None
    numbered = Index("otel-v1-apm-span-000001", "u", Signal.TRACES, None, 1, 1, 1)
    assert "no day" in problem_of(layout, numbered)


def test_starting_a_shadow_again_changes_nothing() -> None:
    """One that runs stays; one that was stopped begins anew; of another cluster, or in the future, is refused."""
    first = Shadow(NOW - 9, "c", "a")
    again = Shadow(NOW - 5, "c", "a")
    assert started(None, first, NOW) is first
    assert started(first, again, NOW) is first
    assert started(Shadow(NOW - 9, "c", "a", stopped_at_unix_nano=NOW - 7), again, NOW) is again
    with pytest.raises(Refusal, match="on the cluster c"):
        started(first, Shadow(NOW - 5, "other", "a"), NOW)
    with pytest.raises(Refusal, match="has not come yet"):
        started(None, Shadow(NOW + 1, "c", "a"), NOW)


def test_what_is_kept_can_be_read_again() -> None:
    """Shadow, archive and backup come back from their events as they were."""
    for shadow in (Shadow(NOW, "c", "bc", is_given=True), Shadow(NOW, "c", "a", stopped_at_unix_nano=NOW + 10**9)):
        assert Shadow.of(Event(NOW, Kind.SHADOW, "opensearch", shadow.value(), "me")) == shadow
    assert Shadow.of(None) is None
    assert Archive.of(Event(NOW, Kind.ARCHIVE, "one", ARCHIVE.value(), "me")) == ARCHIVE
    backup = Backup("b", "s3://there", NOW, "BACKUP_CREATED", by="me")
    assert Backup.of(Event(NOW, Kind.BACKUP, "b", backup.value(), "me")) == backup
