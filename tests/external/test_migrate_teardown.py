"""`headrace migrate teardown` on real servers: refused for each thing that is missing, exact when nothing is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bridge.migration.state import Kind
from query_api.sides import Side
from tests.closing import Migrating, days_ago, migrating
from tests.opensearch_service import OpenSearchNode
from tests.services import ClickHouseServer
from tests.waiting import eventually_sync

pytestmark = pytest.mark.external
OLDEST, NEWEST = days_ago(4), days_ago(2)
Steps = dict[str, Callable[[Migrating], Any]]
# All that teardown asks for, each a step that can be left out or done otherwise.
COMPLETE: Steps = {
    "shadow": lambda here: here.shadow(8),
    "archive": lambda here: here.done("archive", "--name", "one"),
    "report": lambda here: here.report(OLDEST, NEWEST),
    "route": lambda here: here.route(),
    "backup": lambda here: here.backup(),
}


@contextmanager
def prepared(clickhouse: ClickHouseServer, opensearch: OpenSearchNode, steps: Steps) -> Iterator[Migrating]:
    """Three days of indices, and what was done before."""
    with migrating(clickhouse, opensearch) as here:
        here.fill(OLDEST, days_ago(3))
        here.fill(NEWEST, kind="spans")
        here.register()
        for step in steps.values():
            step(here)
        yield here


def short_retention(here: Migrating) -> None:
    here.connection.run(
        f"ALTER TABLE {here.name}.otel_logs MODIFY TTL toDateTime(Timestamp) + INTERVAL 3 DAY SETTINGS mutations_sync=1"
    )


def made_anew(here: Migrating) -> None:
    name = here.index_name(OLDEST)
    here.ask("DELETE", f"/{name}")
    here.fill(OLDEST)


def written_to(here: Migrating) -> None:
    here.write(here.index_name(OLDEST), {"@timestamp": f"{OLDEST}T13:00:00Z", "log": "late"})


def of_another_day(here: Migrating) -> None:
    name = here.index_name(OLDEST)
    here.write(name, {"@timestamp": f"{days_ago(20)}T13:00:00Z", "log": "late"})
    here.write(name, {"log": "no time"})
    here.done("archive", "--name", "two")


def lost_snapshot(here: Migrating) -> None:
    here.ask("DELETE", f"/_snapshot/{here.name}/one")


def old_report(here: Migrating) -> None:
    here.connection.run(
        f"INSERT INTO {here.name}.headrace_migration (At, Kind, Key, Value, By) SELECT At - INTERVAL 25 HOUR, Kind,"
        f" 'older', Value, By FROM {here.name}.headrace_migration WHERE Kind = 'report'"
    )
    here.connection.run(f"DELETE FROM {here.name}.headrace_migration WHERE Kind = 'report' AND Key != 'older'")


def automatic(here: Migrating) -> None:
    value = {"primary": "opensearch", "percent": 100, "reason": "errors 7 %", "is_automatic": True}
    here.state.put(Kind.ROUTE, "org1", value)


BROKEN: dict[str, tuple[Steps, str]] = {
    "shadow never started": ({"shadow": lambda here: None}, "shadow: the shadow was never started"),
    "shadow too young": ({"shadow": lambda here: here.shadow(6.5)}, "shadow: the shadow ran for 6.5 days"),
    "no report": ({"report": lambda here: None}, "report: there is no report of all organisations"),
    "report did not pass": ({"then": lambda here: here.report(OLDEST, NEWEST, passed=False)}, "did not pass"),
    "report too old": ({"then": old_report}, "25.0 h old"),
    "report of other days": (
        {"report": lambda here: here.report(NEWEST, NEWEST)},
        "no passing report of the last 24 h",
    ),
    "no route": ({"route": lambda here: None}, "route: organisations without a route of their own"),
    "half way": (
        {"then": lambda here: here.route("org1", Side.CLICKHOUSE, 50)},
        "route: org1 is answered 50 % clickhouse",
    ),
    "switched back": ({"then": automatic}, "route: org1 is answered 100 % opensearch (switched back automatically)"),
    "no archive": ({"archive": lambda here: None}, "archive: in no verified archive"),
    "archive of fewer": (
        {"archive": lambda here: here.done("archive", "--name", "one", "--index", "*-spans-*")},
        "archive: in no verified archive",
    ),
    "made anew": ({"then": made_anew}, "archive: made anew since it was archived"),
    "written to": ({"then": written_to}, "archive: written to since it was archived"),
    "of another day": ({"then": of_another_day}, "has 2 documents of other days than its own or without a time"),
    "lost snapshot": ({"then": lost_snapshot}, "archive: the archive one is not what it was: there is no snapshot"),
    "short retention": ({"then": short_retention}, "retention: ClickHouse keeps logs for 3 days"),
    "no backup": ({"backup": lambda here: None}, "backup: nobody has recorded a backup"),
    "backfill after the backup": (
        {"then": lambda here: here.state.put(Kind.SLICE, "s", {})},
        "is older than what backfill brought",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_teardown_refuses_each_missing_precondition(
    case: str, clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """One thing is missing: refused with exactly this reason, also with the flag, and every index is still there."""
    change, why = BROKEN[case]
    with prepared(clickhouse, opensearch, COMPLETE | change) as here:
        before = here.there()
        ended = here.run("teardown", "--yes-delete")
        assert ended.returncode == 1, ended.stdout
        assert why in ended.stdout
        rules = {line.split(":")[0].strip() for line in ended.stdout.partition("not met")[2].splitlines()[1::2]}
        assert len(rules - {"nothing was deleted"}) <= 2, ended.stdout  # what is broken, and its archive at the most
        assert "nothing was deleted" in ended.stdout
        assert here.there() == before
        assert here.state.events(Kind.TEARDOWN) == []


def test_a_dry_run_deletes_nothing_and_the_real_one_exactly_what_it_printed(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """Complete: the dry run names names, uuids, documents, bytes; the real one deletes these, and nothing else."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        today = here.fill(days_ago(0))
        numbered = f"{here.name}-spans-000001"
        here.ask("PUT", f"/{numbered}", {})
        foreign = f"{here.name}-other"
        here.ask("PUT", f"/{foreign}", {})
        wanted = sorted([here.index_name(OLDEST), here.index_name(days_ago(3)), here.index_name(NEWEST, "spans")])
        dry = here.done("teardown")
        assert "this is a dry run" in dry
        assert "3 indices, 9 documents" in dry
        uuids = here.ask("GET", f"/{here.name}-*/_settings?filter_path=*.settings.index.uuid")
        for name in wanted:
            assert f"{name:<36}{uuids[name]['settings']['index']['uuid']}" in dry
        assert f"left alone: {today[0]}: its day is not over" in dry
        assert f"left alone: {numbered}: its name has no day" in dry
        assert len(here.there()) == 6

        told = here.done("teardown", "--yes-delete")
        assert "deleted 3 indices, 9 documents" in told
        assert here.there() == sorted([*today, numbered, foreign])
        events = here.state.events(Kind.TEARDOWN)
        assert [(event.key, event.value["state"]) for event in events] == [
            (name, state) for name in wanted for state in ("intent", "done")
        ]
        assert "there is nothing to delete" in here.done("teardown", "--yes-delete")


def test_only_the_named_indices_are_deleted(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """With --index, these and no others, each by its exact name."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        before = here.there()
        here.done("teardown", "--yes-delete", "--index", before[1])
        assert here.there() == [before[0], before[2]]


def test_what_is_no_exact_name_of_an_index_is_refused(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """A pattern, a list, an alias, a data stream or a name that nothing bears: each is told, and nothing is deleted."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        alias = {"actions": [{"add": {"index": here.index_name(OLDEST), "alias": f"{here.name}-alias"}}]}
        here.ask("POST", "/_aliases", alias)
        template = {"index_patterns": [f"{here.name}-stream"], "data_stream": {}, "priority": 900}
        here.ask("PUT", f"/_index_template/{here.name}", template)
        here.ask("PUT", f"/_data_stream/{here.name}-stream")
        before = here.there()
        reasons = {
            f"{here.name}-logs-*": "is no exact name",
            "_all": "is no exact name",
            "*": "is no exact name",
            f"{before[-1]},{before[-2]}": "is no exact name",
            ".": "is no exact name",
            f"{here.name}-alias": "is an alias or data stream",
            f"{here.name}-stream": "is an alias or data stream",
            f"{here.name}-logs-none": "does not exist",
        }
        given = [part for name in (here.index_name(OLDEST), *reasons) for part in ("--index", name)]
        ended = here.run("teardown", "--yes-delete", *given)
        after = here.there()
        here.ask("DELETE", f"/_data_stream/{here.name}-stream")
        here.ask("DELETE", f"/_index_template/{here.name}")
        assert ended.returncode == 1, ended.stdout
        for name, why in reasons.items():
            assert f"name: {name!r} {why}" in ended.stdout
        assert after == before


def test_a_teardown_that_was_killed_goes_on(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """Killed at its first deletion: what it had begun and done is kept, and the same command does the rest."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        process = here.spawn("teardown", "--yes-delete")
        eventually_sync(lambda: bool(here.state.events(Kind.TEARDOWN)), 30)
        process.kill()
        process.communicate()
        here.done("teardown", "--yes-delete")
        assert here.there() == []
        states = {name: event.value["state"] for name, event in here.state.latest(Kind.TEARDOWN).items()}
        assert list(states.values()) == ["done"] * 3


def test_an_index_that_vanished_after_the_intent_is_said_to_be_gone(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """Killed between the deletion and the note of it: the next run sees that it is gone, and keeps that."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        name = here.index_name(OLDEST)
        uuid = here.ask("GET", f"/{name}/_settings")[name]["settings"]["index"]["uuid"]
        here.state.put(Kind.TEARDOWN, name, {"state": "intent", "uuid": uuid})
        here.ask("DELETE", f"/{name}")
        assert f"{name}: an earlier run has deleted it" in here.done("teardown", "--yes-delete")
        assert here.state.latest(Kind.TEARDOWN)[name].value["state"] == "done"


def test_what_was_begun_on_another_cluster_is_not_said_to_be_gone(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """This cluster knows nothing of an index of that one."""
    with prepared(clickhouse, opensearch, COMPLETE) as here:
        begun = {"state": "intent", "uuid": "u", "cluster": "another"}
        here.state.put(Kind.TEARDOWN, f"{here.name}-logs-2024.01.01", begun)
        assert "an earlier run has deleted it" not in here.done("teardown", "--yes-delete")
        assert here.state.latest(Kind.TEARDOWN)[f"{here.name}-logs-2024.01.01"].value == begun
