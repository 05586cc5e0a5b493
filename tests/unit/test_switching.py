"""The four triggers of the switch back: when they fire, and when they do not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.settings_dual import SwitchBack
from query_api.routing import Routing, Scope, scope_of, side_of
from query_api.sides import EVERYONE, OPENSEARCH_BLOCK, Route, Side
from query_api.storage import Position
from query_api.switching import Decision, Series, Trigger, Watched, decide, decide_health
from query_api.tenant import EVERYTHING, Tenant

RULES = SwitchBack()
NEW, OLD = Side.CLICKHOUSE, Side.OPENSEARCH
START = 10_000.0


def watched() -> Watched:
    return Watched({side: Series.of(RULES) for side in Side}, Series.of(RULES), START)


def ask(of: Watched, side: Side, first: int, last: int, *, failing: float = 0.0, seconds: float = 0.01) -> None:
    """A question a second; that share of them fails, evenly."""
    for second in range(first, last):
        is_failure = int(second * failing) != int((second + 1) * failing)
        of.sides[side].add(START + second, is_failure=is_failure, took_seconds=None if is_failure else seconds)


def at(of: Watched, second: float) -> Decision | None:
    return decide(RULES, NEW, of, START + second)


def test_errors_over_five_percent_for_five_minutes_switch_back() -> None:
    """The reason has the numbers; a second before the five minutes are over there is none."""
    of = watched()
    ask(of, NEW, 0, 300, failing=0.1)
    assert at(of, 299) is None
    found = at(of, 300)
    assert found is not None
    assert (found.side, found.trigger) == (OLD, Trigger.ERRORS)
    assert "questions failed in clickhouse in 300 s: 10" in found.reason
    assert "limit 5.0%" in found.reason


def test_errors_that_were_not_there_all_the_time_do_not() -> None:
    """A bad minute, though it makes the whole window bad; and a window with too few questions."""
    of = watched()
    ask(of, NEW, 0, 60, failing=1.0)
    ask(of, NEW, 60, 300)
    assert at(of, 300) is None
    few = watched()
    for second in range(0, 300, 20):
        few.sides[NEW].add(START + second, is_failure=True)
    assert at(few, 300) is None


def test_errors_at_the_limit_are_none() -> None:
    """More than 5 %, not 5 %."""
    of = watched()
    ask(of, NEW, 0, 600, failing=0.05)
    assert at(of, 600) is None


def test_the_other_stores_errors_are_its_own() -> None:
    """Only the primary is left."""
    of = watched()
    ask(of, OLD, 0, 400, failing=1.0)
    ask(of, NEW, 0, 400)
    assert at(of, 400) is None


def test_three_times_as_slow_for_ten_minutes_switches_back() -> None:
    """Against the old store's p95 of the same time."""
    of = watched()
    ask(of, OLD, 0, 600, seconds=0.010)
    ask(of, NEW, 0, 600, seconds=0.040)
    assert at(of, 599) is None
    found = at(of, 600)
    assert found is not None
    assert found.trigger is Trigger.SLOW
    assert "times as long (limit 3)" in found.reason
    assert "p95 of clickhouse was 40" in found.reason


def test_slow_for_a_part_of_the_time_or_against_nothing_is_not_slow() -> None:
    """Five good minutes of ten; a store that is as slow; nothing to hold it against."""
    half, both, alone = watched(), watched(), watched()
    ask(half, OLD, 0, 600, seconds=0.010)
    ask(half, NEW, 0, 300, seconds=0.010)
    ask(half, NEW, 300, 600, seconds=0.090)
    for side in Side:
        ask(both, side, 0, 600, seconds=0.5)
    ask(alone, NEW, 0, 600, seconds=5.0)
    for of in (half, both, alone):
        assert at(of, 600) is None


def test_drift_over_five_percent_switches_back() -> None:
    """Of at least `min_questions` comparisons of the window; what is older does not count."""
    of = watched()
    for second in range(19):
        of.comparisons.add(START + second, is_failure=second < 2)
    assert at(of, 20) is None
    of.comparisons.add(START + 20)
    found = at(of, 21)
    assert found is not None
    assert found.trigger is Trigger.DRIFT
    assert found.reason == "2 of 20 comparisons found a difference in 300 s: 10.0% (limit 5.0%)"
    assert at(of, 400) is None


def test_a_store_that_is_silent_for_fifteen_minutes_is_left() -> None:
    """Over, not at, the limit."""
    assert decide_health(RULES, NEW, {NEW: 900.0, OLD: 0.0}) is None
    found = decide_health(RULES, NEW, {NEW: 901.0, OLD: 0.0})
    assert found == Decision(OLD, Trigger.UNHEALTHY, "clickhouse has not answered for 901 s (limit 900 s)")


@given(st.lists(st.floats(1e-4, 100), min_size=1, max_size=200), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_close_to_the_true_one(seconds: list[float], share: float) -> None:
    """At most 5 % too high, never too low."""
    series = Series.of(RULES)
    for each in seconds:
        series.add(START, took_seconds=each)
    found = series.over(START, 60).quantile_seconds(share)
    true = sorted(seconds)[-(-int(share * 100) * len(seconds) // 100) - 1]
    assert found is not None
    assert true * 0.999 <= found <= true * 1.051


def test_a_series_does_not_grow_for_ever() -> None:
    """However long it goes on, and however the windows are set."""
    short = SwitchBack(error_seconds=0.5, slow_seconds=1e6)
    for rules in (RULES, short):
        series = Series.of(rules)
        for number in range(3000):
            series.add(START + number * series.slice_seconds)
        assert series.over(START + 3000 * series.slice_seconds, 1e9).questions <= 401


def routing(*routes: Route, draw: float = 0.0) -> Routing:
    found = Routing(OLD, lambda: draw)
    found.load({route.org: route for route in routes})
    return found


def test_organisations_of_one_question_must_agree() -> None:
    """Several: all are switched, or the default answers; who reads everything asks of all."""
    one = routing(Route("a", NEW), Route("b", NEW))
    assert one.pick(Scope(("a",), "a")) is NEW
    assert one.pick(Scope(("a", "b"), EVERYONE)) is NEW
    assert one.pick(Scope(("a", "c"), EVERYONE)) is OLD
    assert one.pick(Scope(None, EVERYONE)) is OLD
    assert routing(Route(EVERYONE, NEW)).pick(Scope(None, EVERYONE)) is NEW
    assert routing(Route(EVERYONE, NEW), Route("a", OLD)).pick(Scope(("a",), "a")) is OLD
    assert one.in_use() == {OLD, NEW}


@pytest.mark.parametrize(("draw", "side"), [(0.0, NEW), (0.049, NEW), (0.05, OLD), (0.99, OLD)])
def test_a_percentage_is_drawn_for_each_question(draw: float, side: Side) -> None:
    """5 % of the questions go to the primary, the others to the other store."""
    assert routing(Route("a", NEW, 5), draw=draw).pick(Scope(("a",), "a")) is side


def test_only_what_was_led_away_from_the_default_goes_back() -> None:
    """A roll-back to the default, and a switch back itself, are final until an operator says otherwise."""
    found = routing()
    assert found.is_switched(Route("a", NEW))
    assert not found.is_switched(Route("a", OLD))
    assert not found.is_switched(Route("a", NEW, is_automatic=True))


def test_a_decision_holds_until_it_is_kept_or_overruled() -> None:
    """What was known before does not overrule it, whatever a clock says; a newer route does."""
    found = routing(Route("a", NEW, since_unix_nano=7))
    ours = Route("a", OLD, is_automatic=True, since_unix_nano=3)
    found.switch(ours)
    assert found.load({"a": Route("a", NEW, since_unix_nano=7)}) == []
    assert (found.of("a"), list(found.pending())) == (ours, [ours])
    newer = Route("a", NEW, 20, since_unix_nano=8)
    assert found.load({"a": newer}) == [newer]
    assert (found.of("a"), list(found.pending())) == (newer, [])


def test_whom_a_question_is_about() -> None:
    """A name is an id where the catalog knows it; else it is all that the tenant may read."""

    def scope(tenant: Tenant, name: str) -> Scope:
        return scope_of(tenant, name, lambda given: {"Acme Inc": "acme"}.get(given, given), lambda org: org == "acme")

    assert scope(Tenant.of("acme/shop"), "") == Scope(("acme",), "acme")
    assert scope(Tenant.of("acme", "evil"), "Acme Inc") == Scope(("acme",), "acme")
    assert scope(Tenant.of("acme", "evil"), "someone") == Scope(("acme", "evil"), EVERYONE)
    assert scope(EVERYTHING, "acme") == Scope(("acme",), "acme")
    assert scope(EVERYTHING, "made up") == Scope(None, EVERYONE)


def test_a_cursor_says_which_store_has_made_it() -> None:
    """By a bit that positions of the other store never have."""
    assert side_of(Position(1, OPENSEARCH_BLOCK | 5, 1)) is OLD
    assert side_of(Position(1, OPENSEARCH_BLOCK - 1, 1)) is NEW
