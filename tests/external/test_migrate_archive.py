"""`headrace migrate archive` on a real node: what it says is in the repository is there."""

import shutil

import pytest

from bridge.migration.archive import Archive
from bridge.migration.state import Kind
from tests.closing import days_ago, migrating
from tests.opensearch_service import OpenSearchNode
from tests.services import ClickHouseServer
from tests.waiting import eventually_sync

pytestmark = pytest.mark.external


def test_an_archive_holds_what_it_says(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """Both signals' indices by exact name, each with its uuid, in a snapshot that can be restored; again: it holds."""
    with migrating(clickhouse, opensearch) as here:
        logs = here.fill(days_ago(3), days_ago(2))
        spans = here.fill(days_ago(2), kind="spans", documents=2)
        here.register()
        told = here.done("archive", "--name", "one")
        assert "3 indices, 8 documents" in told
        assert "3 shards, none failed" in told
        archive = Archive.of(here.state.latest(Kind.ARCHIVE)["one"])
        uuids = here.ask("GET", f"/{here.name}-*/_settings?filter_path=*.settings.index.uuid")
        assert {each.name: each.uuid for each in archive.indices} == {
            name: value["settings"]["index"]["uuid"] for name, value in uuids.items()
        }
        assert sorted(uuids) == sorted([*logs, *spans])
        before = len(here.state.events(Kind.ARCHIVE))
        assert "was verified before; it was checked again" in here.done("archive", "--name", "one")
        assert len(here.state.events(Kind.ARCHIVE)) == before

        here.ask("DELETE", f"/{logs[0]}")
        body = {"indices": logs[0], "include_global_state": False}
        here.ask("POST", f"/_snapshot/{here.name}/one/_restore?wait_for_completion=true", body)
        assert here.ask("GET", f"/{logs[0]}/_count")["count"] == 3


def test_only_the_wanted_indices_are_archived(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """`--index` takes patterns of names; a pattern that no index has is refused."""
    with migrating(clickhouse, opensearch) as here:
        names = here.fill(days_ago(3), days_ago(2))
        here.register()
        assert names[1] not in here.done("archive", "--name", "one", "--index", names[0])
        assert [each.name for each in Archive.of(here.state.latest(Kind.ARCHIVE)["one"]).indices] == [names[0]]
        refused = here.run("archive", "--name", "two", "--index", "kube*")
        assert refused.returncode == 1
        assert "no index of these prefixes is like kube*" in refused.stderr


def test_without_a_repository_it_says_how_to_register_one(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """Refused with the command, and nothing is kept."""
    with migrating(clickhouse, opensearch) as here:
        here.fill(days_ago(2))
        refused = here.run("archive")
        assert refused.returncode == 1
        assert "is not registered" in refused.stderr
        assert f'curl -X PUT "$OPENSEARCH/_snapshot/{here.name}"' in refused.stderr
        assert here.state.latest(Kind.ARCHIVE) == {}


def test_a_snapshot_of_others_is_never_taken_for_ours(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """Nobody knows what a foreign snapshot was taken of, so its name is refused."""
    with migrating(clickhouse, opensearch) as here:
        names = here.fill(days_ago(2))
        here.register()
        here.ask("PUT", f"/_snapshot/{here.name}/theirs?wait_for_completion=true", {"indices": names[0]})
        refused = here.run("archive", "--name", "theirs")
        assert refused.returncode == 1
        assert "was not taken by headrace" in refused.stderr
        assert here.state.latest(Kind.ARCHIVE) == {}


def test_an_index_without_its_shards_cannot_be_archived(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """A primary that is nowhere: nothing is verified, whatever else is there."""
    with migrating(clickhouse, opensearch) as here:
        here.fill(days_ago(2))
        settings = {"settings": {"index.routing.allocation.require._name": "nowhere"}}
        here.ask("PUT", f"/{here.index_name(days_ago(3))}?wait_for_active_shards=0&timeout=1s", settings)
        here.register()
        ended = here.run("archive", "--name", "one")
        assert ended.returncode == 1, ended.stdout
        assert f"shards of {here.index_name(days_ago(3))} are missing" in ended.stderr
        assert not [each for each in here.state.latest(Kind.ARCHIVE).values() if Archive.of(each).is_verified]


def test_an_archive_that_was_killed_goes_on(clickhouse: ClickHouseServer, opensearch: OpenSearchNode) -> None:
    """Killed when it had told what it would take: the same command goes on with it, and one archive is verified."""
    with migrating(clickhouse, opensearch) as here:
        here.fill(days_ago(3), days_ago(2))
        here.register()
        process = here.spawn("archive")
        eventually_sync(lambda: bool(here.state.latest(Kind.ARCHIVE)), 30)
        process.kill()
        process.communicate()
        told = here.done("archive", *(["--name", next(iter(here.state.latest(Kind.ARCHIVE)))]))
        assert "verified" in told
        assert [Archive.of(each).is_verified for each in here.state.latest(Kind.ARCHIVE).values()] == [True]


def test_a_repository_that_has_lost_its_files_is_no_archive(
    clickhouse: ClickHouseServer, opensearch: OpenSearchNode
) -> None:
    """The files are gone: checked again, the archive that was verified once is none any more."""
    with migrating(clickhouse, opensearch) as here:
        here.fill(days_ago(2))
        here.register()
        here.done("archive", "--name", "one")
        shutil.rmtree(opensearch.repository / here.name / "indices")
        ended = here.run("archive", "--name", "one")
        assert ended.returncode == 1, ended.stdout
