"""An organisation goes to the other store by steps and with proof, and back at once."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.migration.overview import phases, upcoming
from bridge.migration.proof import proof_of
from bridge.migration.refusal import Refusal
from bridge.migration.report import sealed
from bridge.migration.routes import Wanted, cut_over, in_force, kept, rolled_back, routes_of, told
from bridge.migration.state import Event, Kind
from query_api.sides import EVERYONE, PERCENTS, Route, Side

HOUR = 3600 * 10**9
NOW = 1_795_000_000 * 10**9
REPORT = {"passed": True, "from": "2026-11-01T00:00:00Z", "to": "2026-11-18T00:00:00Z"}
WANTED = Wanted("org1", Side.CLICKHOUSE, None, "")
OLD = Route("org1", Side.OPENSEARCH)


def event(kind: Kind, key: str, value: dict[str, Any], at: int = NOW - HOUR) -> Event:
    return Event(at, kind, key, value, "me@here:1")


def report(key: bytes | None = None, **other: Any) -> Event:
    return event(Kind.REPORT, "r1", sealed({**REPORT, **other}, key))


PASSING = [proof_of(report(), None)]


def test_steps_go_up_one_by_one() -> None:
    """Without a percentage every cutover is the next step, from the other store's 100 % to this one's."""
    route, taken = OLD, []
    for _ in PERCENTS:
        route = cut_over(route, WANTED, PASSING, NOW)
        taken.append(route.percent)
    assert tuple(taken) == PERCENTS
    with pytest.raises(Refusal, match="at 100 % already"):
        cut_over(route, WANTED, PASSING, NOW)


def test_a_given_percentage_is_taken_as_it_is() -> None:
    """A step may be left out, or gone down, if it is said."""
    assert cut_over(OLD, replace(WANTED, percent=100), PASSING, NOW).percent == 100
    assert cut_over(Route("org1", Side.CLICKHOUSE), replace(WANTED, percent=5), PASSING, NOW).percent == 5


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ([], "there is no report of the organisation org1"),
        ([report(passed=False)], "did not pass"),
        ([report(passed="yes")], "did not pass"),
        ([replace(report(), at_unix_nano=NOW - 25 * HOUR)], "25.0 h old"),
        ([report(b"other key")], "was changed, or sealed with another"),
        ([event(Kind.REPORT, "r1", {**sealed(REPORT, None), "note": "added"})], "was changed"),
        ([event(Kind.REPORT, "r1", {"passed": True})], "was changed"),
        ([report(organizations=["org2"])], "there is no report of the organisation org1"),
    ],
)
def test_a_cutover_needs_a_proof(found: list[Event], why: str) -> None:
    """No report, or one that fails, is old, was changed or is of others: refused with that reason."""
    with pytest.raises(Refusal, match=why):
        cut_over(OLD, WANTED, [proof_of(each, None) for each in found], NOW)


def test_each_signal_needs_a_passing_report() -> None:
    """A later report of the logs alone neither proves the traces nor makes up for their failing one."""
    logs = proof_of(replace(report(signals=["logs"]), at_unix_nano=NOW), None)
    failed = proof_of(report(signals=["traces"], passed=False), None)
    for found, why in (([logs], "no report of the traces"), ([failed, logs], "did not pass")):
        with pytest.raises(Refusal, match=why):
            cut_over(OLD, WANTED, found, NOW)
    both = [logs, proof_of(report(signals=["traces"]), None)]
    assert cut_over(OLD, WANTED, both, NOW).percent == 5


def test_a_report_is_as_old_as_it_says_itself() -> None:
    """A genuine report of long ago that somebody writes to the table again is not of today."""
    again = report(b"key", at="2026-11-17T00:00:00Z")
    assert again.at_unix_nano == NOW - HOUR
    with pytest.raises(Refusal, match="h old"):
        cut_over(OLD, WANTED, [proof_of(again, b"key")], NOW)


def test_a_forced_cutover_says_so_for_ever() -> None:
    """Force needs a reason; what was missing and the reason are kept with the route."""
    with pytest.raises(Refusal, match="needs --reason"):
        cut_over(OLD, replace(WANTED, is_forced=True), [], NOW)
    forced = cut_over(OLD, replace(WANTED, is_forced=True, reason="drill"), [], NOW)
    assert forced.reason == "forced (there is no report of the organisation org1): drill"
    assert kept(forced, [], is_forced=True)["is_forced"] is True
    assert kept(forced, PASSING, is_forced=False)["report"] == "r1"


def test_a_report_of_everyone_is_one_of_each() -> None:
    """A report that leaves nobody out proves every organisation; one of some does not prove all."""
    some = [proof_of(report(orgs=["org1"], is_filtered=True), None)]
    assert cut_over(OLD, WANTED, some, NOW).percent == 5
    everyone = replace(WANTED, org=EVERYONE)
    assert cut_over(OLD, everyone, PASSING, NOW).percent == 5
    sampled = [proof_of(report(orgs=["org1"]), None, is_sampled=True)]
    assert cut_over(OLD, WANTED, sampled, NOW).percent == 5
    for partial in (some, sampled):
        with pytest.raises(Refusal, match=r"no report of all organisations \(opensearch\.sample leaves"):
            cut_over(OLD, everyone, partial, NOW)


def test_going_back_needs_nothing() -> None:
    """A rollback, or a cutover to OpenSearch, asks for no proof."""
    assert rolled_back("org1", "slow") == Route("org1", Side.OPENSEARCH, 100, "slow")
    back = cut_over(Route("org1", Side.CLICKHOUSE), replace(WANTED, to=Side.OPENSEARCH, percent=100), [], NOW)
    assert back == Route("org1", Side.OPENSEARCH, 100)


def test_the_own_route_comes_before_everyones() -> None:
    """An organisation obeys its own route, else everyone's, else the setting; what is kept can be read again."""
    events = {
        each.org: event(Kind.ROUTE, each.org, kept(each, [], is_forced=False))
        for each in (Route(EVERYONE, Side.CLICKHOUSE, 20), Route("org1", Side.OPENSEARCH))
    }
    routes = routes_of(events)
    assert told(in_force(routes, "org1", Side.CLICKHOUSE)) == "100 % opensearch"
    assert told(in_force(routes, "org2", Side.OPENSEARCH)) == "20 % clickhouse, 80 % opensearch"
    assert told(in_force({}, "org2", Side.OPENSEARCH)) == "100 % opensearch"


def test_the_overview_names_the_next_phase() -> None:
    """Phases are done by what they left behind; the first that is not is next, and an empty state begins at the top."""
    nothing: dict[Kind, dict[str, Event]] = {kind: {} for kind in Kind}
    first = upcoming(phases(nothing, None, NOW))
    assert first is not None
    assert first.next == "headrace migrate shadow start"
    shadow = {"started_at": "2026-11-01T00:00:00Z", "running": True, "cluster": "c", "family": "a"}
    begun = nothing | {
        Kind.SHADOW: {"opensearch": event(Kind.SHADOW, "opensearch", shadow)},
        Kind.SLICE: {"s": event(Kind.SLICE, "s", {})},
        Kind.REPORT: {"r1": report()},
    }
    found = {each.name: each for each in phases(begun, None, NOW)}
    assert [name for name, phase in found.items() if phase.is_done] == ["shadow", "backfill", "validate"]
    assert found["shadow"].by == "me@here:1"
    following = upcoming(list(found.values()))
    assert following is not None
    assert following.name == "cutover"
