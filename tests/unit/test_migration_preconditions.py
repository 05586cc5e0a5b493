"""Nothing is deleted while anything is missing for it, and all that is missing is told at once."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from bridge.migration.archive import Archive, Kept
from bridge.migration.indices import Index
from bridge.migration.preconditions import Facts, archived, unmet
from bridge.migration.proof import Proof
from bridge.migration.safety import Backup
from bridge.migration.shadow import Shadow
from bridge.model import Signal
from query_api.sides import EVERYONE, Route, Side

DAY = 86_400 * 10**9
HOUR = DAY // 24
NOW = int(datetime(2026, 11, 27, 10, tzinfo=UTC).timestamp()) * 10**9
START = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**9
INDICES = tuple(
    Index(f"kubernetes-2026.11.{day}", f"uuid-{day}", Signal.LOGS, date(2026, 11, day), 100, 5_000, 99)
    for day in (20, 21)
)
KEPT = tuple(Kept(each.name, each.uuid, each.documents, each.bytes, each.last_write, 1) for each in INDICES)
ARCHIVE = Archive("one", "headrace", "cluster", KEPT, "snapshot")
PROOF = Proof("r1", NOW - HOUR, True, True, START, NOW - HOUR)
BACKUP = Backup("b", "there", NOW - HOUR, "BACKUP_CREATED")
ROUTE = Route(EVERYONE, Side.CLICKHOUSE)
COMPLETE = Facts(
    is_confirmed=True,
    cluster="cluster",
    shadow=Shadow(NOW - 8 * DAY, "cluster", "a"),
    proofs=(PROOF,),
    routes={EVERYONE: ROUTE},
    indices=INDICES,
    refused={},
    archives=(ARCHIVE,),
    broken_archives={},
    retention_days={Signal.LOGS: 30.0, Signal.TRACES: 1.0},
    backups=(BACKUP,),
    last_slice_unix_nano=NOW - 2 * HOUR,
)
Change = Callable[[Facts], Facts]
ONE_MISSING: dict[str, tuple[str, str, Facts]] = {
    "no flag": ("flag", "--yes-delete was not given", replace(COMPLETE, is_confirmed=False)),
    "refused name": ("name", "'a*' is a pattern", replace(COMPLETE, refused={"a*": "is a pattern"})),
    "no day": ("name", "cannot be named", replace(COMPLETE, indices=(INDICES[0], replace(INDICES[1], day=None)))),
    "closed": ("name", "cannot be named", replace(COMPLETE, indices=(replace(INDICES[0], is_open=False),))),
    "no shadow": ("shadow", "never started", replace(COMPLETE, shadow=None)),
    "young shadow": (
        "shadow",
        "for 6.9 days",
        replace(COMPLETE, shadow=Shadow(NOW - 7 * DAY + 2 * HOUR, "cluster", "a")),
    ),
    "stopped early": (
        "shadow",
        "for 3.0 days",
        replace(COMPLETE, shadow=Shadow(NOW - 9 * DAY, "cluster", "a", stopped_at_unix_nano=NOW - 6 * DAY)),
    ),
    "other cluster": (
        "shadow",
        "ran on the cluster other",
        replace(COMPLETE, shadow=Shadow(NOW - 9 * DAY, "other", "a")),
    ),
    "no report": ("report", "no report of all organisations", replace(COMPLETE, proofs=())),
    "old report": (
        "report",
        "25.0 h old",
        replace(COMPLETE, proofs=(replace(PROOF, at_unix_nano=NOW - 25 * HOUR),)),
    ),
    "failed report": ("report", "did not pass", replace(COMPLETE, proofs=(replace(PROOF, is_passing=False),))),
    "newer failed report": (
        "report",
        "did not pass",
        replace(COMPLETE, proofs=(PROOF, replace(PROOF, id="r2", at_unix_nano=NOW, is_passing=False))),
    ),
    "forged report": ("report", "was changed", replace(COMPLETE, proofs=(replace(PROOF, is_genuine=False),))),
    "report of one": (
        "report",
        "no report of all",
        replace(COMPLETE, proofs=(replace(PROOF, orgs=frozenset({"org1"}), is_whole=False),)),
    ),
    "report of other days": (
        "report",
        "covers the whole day of kubernetes-2026.11.20",
        replace(COMPLETE, proofs=(replace(PROOF, start_unix_nano=NOW - 6 * DAY),)),
    ),
    "report of spans": (
        "report",
        "no report of the logs of all organisations",
        replace(COMPLETE, proofs=(replace(PROOF, signals=frozenset({Signal.TRACES})),)),
    ),
    "newer failed report of the day": (
        "report",
        "the newest report of the day of kubernetes-2026.11.20, kubernetes-2026.11.21 did not pass",
        replace(
            COMPLETE,
            proofs=(
                PROOF,
                replace(PROOF, id="r2", at_unix_nano=NOW - HOUR // 2, is_passing=False),
                replace(PROOF, id="r3", at_unix_nano=NOW, start_unix_nano=NOW - DAY),
            ),
        ),
    ),
    "documents of other days": (
        "report",
        "kubernetes-2026.11.20 has 3 documents of other days than its own or without a time",
        replace(COMPLETE, unproven={"kubernetes-2026.11.20": 3}),
    ),
    "no route": ("route", "never cut over", replace(COMPLETE, routes={})),
    "half way": ("route", "50 % clickhouse", replace(COMPLETE, routes={EVERYONE: replace(ROUTE, percent=50)})),
    "switched back": (
        "route",
        "org1 is answered 100 % opensearch (switched back automatically): errors",
        replace(
            COMPLETE,
            routes={EVERYONE: ROUTE, "org1": Route("org1", Side.OPENSEARCH, reason="errors", is_automatic=True)},
        ),
    ),
    "still read": ("reader", "query.dual", replace(COMPLETE, is_still_read=True)),
    "not archived": ("archive", "in no verified archive: kubernetes-2026.11.20", replace(COMPLETE, archives=())),
    "archive of one": (
        "archive",
        "in no verified archive: kubernetes-2026.11.21",
        replace(COMPLETE, archives=(replace(ARCHIVE, indices=KEPT[:1]),)),
    ),
    "archive of another cluster": (
        "archive",
        "in no verified archive",
        replace(COMPLETE, archives=(replace(ARCHIVE, cluster="other"),)),
    ),
    "made anew": (
        "archive",
        "another uuid",
        replace(COMPLETE, indices=(INDICES[0], replace(INDICES[1], uuid="new"))),
    ),
    "written to": (
        "archive",
        "written to since",
        replace(COMPLETE, indices=(INDICES[0], replace(INDICES[1], last_write=100))),
    ),
    "more documents": (
        "archive",
        "written to since",
        replace(COMPLETE, indices=(INDICES[0], replace(INDICES[1], documents=101))),
    ),
    "short retention": ("retention", "for 7 days", replace(COMPLETE, retention_days={Signal.LOGS: 7.0})),
    "no backup": ("backup", "nobody has recorded", replace(COMPLETE, backups=())),
    "failed backup": (
        "backup",
        "BACKUP_FAILED",
        replace(COMPLETE, backups=(replace(BACKUP, status="BACKUP_FAILED"),)),
    ),
    "backup before backfill": (
        "backup",
        "older than what backfill brought",
        replace(COMPLETE, backups=(replace(BACKUP, taken_at_unix_nano=NOW - 3 * HOUR),)),
    ),
}


def test_nothing_is_missing_when_all_is_there() -> None:
    """Complete facts leave nothing to do; the retention of a signal that nothing is deleted of does not matter."""
    assert unmet(COMPLETE, NOW) == []
    assert unmet(replace(COMPLETE, retention_days={Signal.LOGS: None}), NOW) == []


@pytest.mark.parametrize("case", ONE_MISSING)
def test_each_missing_precondition_is_told_with_its_reason(case: str) -> None:
    """One thing is missing: exactly this rule is told, why, and what to do."""
    rule, why, facts = ONE_MISSING[case]
    found = unmet(facts, NOW)
    assert {each.rule for each in found} == {rule}
    assert any(why in each.why for each in found), found
    assert all(each.what_to_do for each in found)


def test_all_missing_preconditions_are_told_at_once() -> None:
    """Nothing is there: no rule hides another one."""
    bare = replace(
        COMPLETE,
        is_confirmed=False,
        shadow=None,
        proofs=(),
        routes={},
        refused={"*": "is a pattern"},
        archives=(),
        broken_archives={"one": "there is no snapshot"},
        retention_days={Signal.LOGS: 0.0},
        backups=(),
    )
    rules = {each.rule for each in unmet(bare, NOW)}
    assert rules == {"flag", "name", "shadow", "report", "route", "archive", "retention", "backup"}


def test_a_day_that_is_not_over_is_never_deleted() -> None:
    """Today's index is refused even where all else would allow it; at midnight it is not today's any more."""
    today = Index("kubernetes-2026.11.27", "u", Signal.LOGS, date(2026, 11, 27), 1, 1, 0)
    kept = (*KEPT, Kept(today.name, "u", 1, 1, 0, 1))
    facts = replace(COMPLETE, indices=(*INDICES, today), archives=(replace(ARCHIVE, indices=kept),))
    assert "day" in {each.rule for each in unmet(facts, NOW)}
    midnight = int(datetime(2026, 11, 28, tzinfo=UTC).timestamp()) * 10**9
    assert "day" in {each.rule for each in unmet(facts, midnight - 1)}
    assert "day" not in {each.rule for each in unmet(facts, midnight)}


def test_a_shadow_of_exactly_seven_days_is_enough() -> None:
    """Seven days to the second, running or stopped; a second less is not."""
    for seconds, is_enough in ((7 * 86_400, True), (7 * 86_400 - 1, False)):
        running = Shadow(NOW - seconds * 10**9, "cluster", "a")
        stopped = Shadow(NOW - 20 * DAY, "cluster", "a", stopped_at_unix_nano=NOW - 20 * DAY + seconds * 10**9)
        for shadow in (running, stopped):
            found = unmet(replace(COMPLETE, shadow=shadow), NOW)
            assert (not [each for each in found if each.rule == "shadow"]) is is_enough


def test_the_newest_archive_that_holds_an_index_is_named() -> None:
    """A later archive without the index does not count, one that has it does."""
    newer = replace(ARCHIVE, name="two", indices=KEPT[:1])
    assert archived(INDICES[0], [ARCHIVE, newer]) == newer
    assert archived(INDICES[1], [ARCHIVE, newer]) == ARCHIVE
