"""Two stores as one: who answers, what is compared, and that nobody waits for it or is hurt by it."""

import asyncio
import logging
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api.errors import InvalidRequest, QueryTimeout, StoreUnavailable
from query_api.limits import Room, answering, take_answer_bytes
from query_api.sides import EVERYONE, OPENSEARCH_BLOCK, Side
from query_api.storage import LogPage, LogQuery, Position
from query_api.tenant import EVERYTHING, Tenant
from tests.dual import Kept, Odd, Two, odd, telemetry, two
from tests.stored import DAY, MINUTE, NOON
from tests.waiting import eventually

ACME: Final = Tenant.of("acme")
LOGS: Final = LogQuery(NOON - MINUTE, NOON + MINUTE, organization="acme")


def down() -> Exception:
    return StoreUnavailable("the store cannot be reached now", reason="connection")


def equal() -> tuple[Odd, Odd]:
    return odd(telemetry()), odd(telemetry())


def less(page: LogPage) -> LogPage:
    return replace(page, rows=page.rows[1:], total=page.total - 1)


async def export(of: Two, max_rows: int = 1000) -> int:
    async with aclosing(of.read.storage.export_logs(ACME, LOGS, max_rows)) as blocks:
        return sum([len(block) async for block in blocks])


async def test_an_organisation_is_answered_by_its_route_and_the_other_store_is_asked_too() -> None:
    """Whoever answers, both are asked once, and the answers are counted as compared."""
    kept = Kept()
    kept.put("acme", Side.OPENSEARCH)
    clickhouse, opensearch = equal()
    opensearch.changes["logs"] = lambda page: replace(page, rows=page.rows[:1])
    async with two(clickhouse, opensearch, kept=kept) as both:
        assert len((await both.read.storage.logs(ACME, LOGS)).rows) == 1
        await both.compared()
        assert (clickhouse.asked, opensearch.asked) == (["logs"], ["logs"])
        assert both.number("bridge_dual_questions_total", org="acme", store="opensearch", role="primary") == 1
        assert both.number("bridge_dual_questions_total", org="acme", store="clickhouse", role="secondary") == 1
        assert both.number("bridge_dual_mismatches_total", org="acme", kind="extra") == 1
        await both.read.watch.reload()
        assert both.number("bridge_dual_primary", org="acme", store="opensearch") == 1
        assert both.number("bridge_dual_drift_ratio", org="acme") == 1


async def test_nobody_waits_for_a_second_store_that_hangs() -> None:
    """Answers come while it hangs; more than `max_concurrent` are not compared, and counted; the end takes no time."""
    clickhouse, opensearch = equal()
    opensearch.hangs = asyncio.Event()
    async with asyncio.timeout(5), two(clickhouse, opensearch, max_concurrent=2, deadline_seconds=3600) as both:
        for _ in range(5):
            assert len((await both.read.storage.logs(ACME, LOGS)).rows) == 6
        assert await export(both) == 6
        assert len(both.read.comparer.tasks) == 2
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="no_room") == 4
        tasks = set(both.read.comparer.tasks)
    assert all(task.cancelled() for task in tasks)


async def test_a_second_store_that_is_late_or_fails_is_an_error_of_its_own() -> None:
    """Counted by reason, never told to the caller, and its place is free again."""
    clickhouse, opensearch = equal()
    async with two(clickhouse, opensearch, max_concurrent=1, deadline_seconds=0.01) as both:
        opensearch.hangs = asyncio.Event()
        await both.read.storage.logs(ACME, LOGS)
        await both.compared()
        opensearch.hangs = None
        for error in (down(), QueryTimeout("slow"), ValueError("a defect"), InvalidRequest("not mine")):
            opensearch.fails = lambda error=error: error
            await both.read.storage.logs(ACME, LOGS)
            await both.compared()
        for reason in ("deadline", "unavailable", "timeout", "defect"):
            assert both.number("bridge_dual_secondary_errors_total", org="acme", reason=reason) == 1
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="secondary_error") == 4
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="refused") == 1
        opensearch.fails = None
        await both.read.storage.logs(ACME, LOGS)
        await both.compared()
        assert both.number("bridge_dual_comparisons_total", org="acme") == 1


async def test_a_failure_of_the_store_that_answers_is_not_hidden() -> None:
    """The caller gets it, as without a second store, which is not asked."""
    clickhouse, opensearch = equal()
    clickhouse.fails = down
    async with two(clickhouse, opensearch) as both:
        with pytest.raises(StoreUnavailable):
            await both.read.storage.logs(ACME, LOGS)
        with pytest.raises(StoreUnavailable):
            await export(both)
        await both.compared()
        assert opensearch.asked == []
        assert both.read.records.all()["acme"].failures[Side.CLICKHOUSE] == 2


async def test_a_cursor_goes_on_where_it_was_made() -> None:
    """Whatever the route says now; there is nothing to compare such a page with."""
    clickhouse, opensearch = equal()
    async with two(clickhouse, opensearch) as both:
        for block, store in ((OPENSEARCH_BLOCK | 1, opensearch), (1, clickhouse)):
            cursor = Position(NOON, block, 0)
            await both.read.storage.logs(ACME, replace(LOGS, cursor=cursor))
            assert store.asked == ["logs"]
        await both.compared()
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="cursor") == 2


async def test_the_second_question_takes_nothing_of_the_callers_room() -> None:
    """It comes when the caller's request is over: what it holds is not the caller's."""
    room, seen = Room(1000, "large answers"), []
    clickhouse, opensearch = equal()

    def takes(page: LogPage) -> LogPage:
        take_answer_bytes(600)
        seen.append(page.total)
        return page

    clickhouse.changes["logs"] = opensearch.changes["logs"] = takes
    async with two(clickhouse, opensearch) as both:
        with answering(room, "caller"):
            await both.read.storage.logs(ACME, LOGS)
            await both.compared()
        assert seen == [6, 6]
        assert both.number("bridge_dual_comparisons_total", org="acme") == 1


async def test_a_difference_is_told_without_what_is_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """One WARN line: both counts, kinds, names of fields and the question; no body, phrase, or label's value."""
    clickhouse, opensearch = equal()
    opensearch.changes["logs"] = lambda page: replace(
        page, rows=[replace(page.rows[1], level="ERROR"), *page.rows[2:]], total=5
    )
    query = replace(LOGS, phrase="LINE", labels=())
    async with two(clickhouse, opensearch) as both:
        with caplog.at_level(logging.WARNING):
            await both.read.storage.logs(ACME, query)
            await both.compared()
    (record,) = [each for each in caplog.records if each.message == "the two stores differ"]
    told: dict[str, Any] = record.__dict__["fields"]
    assert (told["org"], told["method"], told["answered_by"]) == ("acme", "logs", "clickhouse")
    assert told["counts"] == {"clickhouse": 6, "opensearch": 5}
    assert told["differences"] == ["count: 1", "missing: 1", "field: 1"]
    assert told["fields"] == ["level"]
    assert told["query"]["phrase_characters"] == 4
    assert "line" not in str(told).lower()


async def test_an_export_is_compared_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off, or longer than is held: not compared, and counted; its blocks go out either way."""
    clickhouse, opensearch = equal()
    opensearch.changes["export_logs"] = lambda rows: rows[:-1]
    async with two(clickhouse, opensearch) as both:
        assert await export(both) == 6
        await both.compared()
        assert both.number("bridge_dual_mismatches_total", org="acme", kind="missing") == 1
        async with aclosing(both.read.storage.export_logs(ACME, LOGS, 1000)) as blocks:
            await anext(blocks)
        monkeypatch.setattr("query_api.questions.HELD_ROWS", 3)
        assert await export(both) == 6
        monkeypatch.setattr("query_api.questions.HELD_ROWS", 1000)
        monkeypatch.setattr("query_api.questions.HELD_CHARACTERS", 20)
        assert await export(both) == 6
        await both.compared()
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="broken_off") == 1
        assert both.number("bridge_dual_not_compared_total", org="acme", reason="too_long") == 2
        assert both.number("bridge_dual_comparisons_total", org="acme") == 1
        assert not both.read.comparer.tasks


async def test_many_rows_are_compared_beside_the_loop() -> None:
    """The same answer comes of it."""
    stores = odd(*[telemetry()] * 50), odd(*[telemetry()] * 50)
    stores[1].changes["logs"] = less
    async with two(*stores) as both:
        assert (await both.read.storage.logs(ACME, replace(LOGS, limit=1000))).total == 300
        await both.compared()
        assert both.number("bridge_dual_mismatches_total", org="acme", kind="missing") == 1


async def test_only_the_sample_is_compared() -> None:
    """Of the others the second store never hears."""
    clickhouse, opensearch = equal()
    async with two(clickhouse, opensearch, sample_rate=0.5, draw=lambda: 0.5) as both:
        await both.read.storage.logs(ACME, LOGS)
        await both.compared()
        assert opensearch.asked == []


async def test_what_cannot_be_compared_is_asked_of_one_store() -> None:
    """A store's own ledger and query log."""
    clickhouse, opensearch = equal()
    opensearch.until = clickhouse.until = {"logs": 5}
    async with two(clickhouse, opensearch) as both:
        assert [each.org for each in await both.read.storage.freshness(ACME)] == ["acme"] * 2
        assert await both.read.storage.query_use(ACME, NOON - DAY, NOON) == []
        assert not both.read.comparer.tasks


async def test_completeness_holds_for_whoever_answers() -> None:
    """The least of the stores that answer anybody; what one of them does not know is not told."""
    clickhouse, opensearch = equal()
    clickhouse.until, opensearch.until = {"logs": 5, "traces": 9}, {"logs": 3}
    kept = Kept()
    async with two(clickhouse, opensearch, kept=kept) as both:
        assert await both.read.storage.complete_until() == {"logs": 5, "traces": 9}
        kept.put("acme", Side.CLICKHOUSE, 20)
        await both.read.watch.reload()
        assert await both.read.storage.complete_until() == {"logs": 3}
        opensearch.fails = down
        await both.read.storage.ping()  # it is nobody's primary
        kept.put("acme", Side.OPENSEARCH)
        await both.read.watch.reload()
        with pytest.raises(StoreUnavailable):
            await both.read.storage.ping()


async def test_routes_are_obeyed_as_soon_as_they_are_read_and_kept_while_they_cannot_be() -> None:
    """Without a restart; a failure is counted, and the last known hold."""
    clickhouse, opensearch = equal()
    kept = Kept()
    async with two(clickhouse, opensearch, kept=kept) as both:
        kept.put("acme", Side.OPENSEARCH)
        await both.read.watch.reload()
        kept.is_away = True
        await both.read.watch.reload()
        assert both.number("bridge_dual_route_failures_total") == 1
        assert both.read.routing.of("acme").primary is Side.OPENSEARCH
        assert both.read.routing.of("other").primary is Side.CLICKHOUSE
        assert both.number("bridge_dual_switches_total", org="acme", trigger="operator") == 1


async def test_routes_are_read_again_without_being_asked_to() -> None:
    """Every `reload_seconds`."""
    kept = Kept()
    async with two(*equal(), kept=kept, reload_seconds=0.01) as both:
        kept.put(EVERYONE, Side.OPENSEARCH)
        await eventually(lambda: both.read.routing.of("acme").primary is Side.OPENSEARCH)


async def drift(both: Two, questions: int = 20) -> None:
    for _ in range(questions):
        await both.read.storage.logs(ACME, LOGS)
        await both.compared()


async def test_a_switch_back_holds_at_once_and_is_kept_when_it_can_be(caplog: pytest.LogCaptureFixture) -> None:
    """The state may be in the store that is away: in this process the decision holds, and is written as soon as it can
    be; it is logged, counted, and final."""
    kept = Kept()
    kept.put("acme", Side.CLICKHOUSE)
    clickhouse, opensearch = equal()
    clickhouse.changes["logs"] = less
    async with two(clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept) as both:
        await drift(both, 19)
        assert both.read.watch.judge() == []
        await drift(both, 1)
        kept.is_away = True
        with caplog.at_level(logging.ERROR):
            (route,) = both.read.watch.judge()
        assert (route.primary, route.is_automatic, route.percent) == (Side.OPENSEARCH, True, 100)
        assert "20 of 20 comparisons found a difference" in route.reason
        (told,) = [each for each in caplog.records if each.levelname == "ERROR"]
        assert told.getMessage() == f"switched back: {route.reason}"
        assert both.number("bridge_dual_switches_total", org="acme", trigger="drift") == 1
        assert both.number("bridge_dual_primary", org="acme", store="opensearch") == 1
        opensearch.asked.clear()
        assert (await both.read.storage.logs(ACME, LOGS)).total == 6
        await both.read.watch.reload()
        assert both.read.routing.of("acme").primary is Side.OPENSEARCH
        kept.is_away = False
        await both.read.watch.reload()
        assert [each.reason for each in kept.written] == [route.reason]
        await drift(both)
        assert both.read.watch.judge() == []
        await both.read.watch.reload()
        assert len(kept.written) == 1


async def test_an_operator_overrules_a_switch_back_that_is_not_kept_yet() -> None:
    """And begins anew: what was counted before the new cutover does not lead it back."""
    kept = Kept()
    kept.put("acme", Side.CLICKHOUSE)
    clickhouse, opensearch = equal()
    clickhouse.changes["logs"] = less
    async with two(clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept) as both:
        await drift(both)
        assert both.read.watch.judge()
        kept.put("acme", Side.CLICKHOUSE, 50)
        await both.read.watch.reload()
        assert (both.read.routing.of("acme").percent, kept.written) == (50, [])
        assert both.read.watch.judge() == []


async def test_another_process_switch_back_is_obeyed() -> None:
    """Each decides by what it sees; the route is everybody's."""
    kept = Kept()
    kept.put("acme", Side.CLICKHOUSE)
    clickhouse, opensearch = equal()
    clickhouse.changes["logs"] = less
    async with (
        two(clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept) as one,
        two(*equal(), default=Side.OPENSEARCH, kept=kept) as other,
    ):
        await drift(one)
        one.read.watch.judge()
        await one.read.watch.reload()
        await other.read.watch.reload()
        assert other.read.routing.of("acme").is_automatic


async def test_a_store_that_does_not_answer_is_left_by_all_that_were_led_to_it() -> None:
    """Also by whoever asks nothing; not for a store that does not answer either."""
    kept = Kept()
    kept.put(EVERYONE, Side.CLICKHOUSE)
    kept.put("acme", Side.CLICKHOUSE, 20)
    clickhouse, opensearch = equal()
    clickhouse.fails = down
    async with two(clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept) as both:
        both.clock.seconds += 901
        await both.read.watch.ask(Side.CLICKHOUSE)
        assert both.read.watch.judge() == []
        await both.read.watch.ask(Side.OPENSEARCH)
        assert both.number("bridge_dual_store_answers", store="clickhouse") == 0
        assert both.number("bridge_dual_store_answers", store="opensearch") == 1
        assert sorted(route.org for route in both.read.watch.judge()) == [EVERYONE, "acme"]
        assert both.read.routing.in_use() == {Side.OPENSEARCH}


async def test_errors_of_five_minutes_lead_an_organisation_back_by_itself() -> None:
    """The loops beside the questions do it; callers get errors until then, and answers after."""
    kept = Kept()
    kept.put("acme", Side.CLICKHOUSE)
    clickhouse, opensearch = equal()
    rules = {"error_seconds": 300, "min_questions": 20}
    async with two(
        clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept, reload_seconds=0.01, switch_back=rules
    ) as both:
        await both.read.watch.reload()
        clickhouse.changes["logs"] = lambda _: (_ for _ in ()).throw(down())
        for _ in range(61):
            with pytest.raises(StoreUnavailable):
                await both.read.storage.logs(ACME, LOGS)
            both.clock.seconds += 5
            await both.read.watch.ask(Side.OPENSEARCH)
        both.read.watch.judge()
        assert (await both.read.storage.logs(ACME, LOGS)).total == 6
        await eventually(lambda: len(kept.written) == 1)
        assert "questions failed in clickhouse in 300 s: 100.0%" in kept.written[0].reason


async def test_nobody_is_led_back_to_a_store_that_is_being_taken_down() -> None:
    """Its indices are going: what it lacks is no drift, and no reason to answer from it."""
    kept = Kept(is_way_back_gone=True)
    kept.put(EVERYONE, Side.CLICKHOUSE)
    clickhouse, opensearch = equal()
    clickhouse.fails = down
    async with two(clickhouse, opensearch, default=Side.OPENSEARCH, kept=kept) as both:
        await both.read.watch.reload()
        both.clock.seconds += 901
        await both.read.watch.ask(Side.CLICKHOUSE)
        await both.read.watch.ask(Side.OPENSEARCH)
        assert both.read.watch.judge() == []
        kept.is_way_back_gone = False
        await both.read.watch.reload()
        assert [route.org for route in both.read.watch.judge()] == [EVERYONE]


async def test_what_an_unbound_caller_names_does_not_become_a_label() -> None:
    """Metrics have organisations that exist, and everything else under `*`."""
    async with two(*equal()) as both:
        for name in ("made up", "x" * 1000):
            await both.read.storage.logs(EVERYTHING, replace(LOGS, organization=name))
        await both.compared()
        assert list(both.read.records.all()) == [EVERYONE]
