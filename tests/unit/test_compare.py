"""Comparing two stores' answers: every seeded fault is found, and what equal stores may do differently is not one."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api.compare import UNSETTLED, Comparison, Kind, compare
from query_api.lines import log_lines
from query_api.memory import MemoryStorage
from query_api.phrases import contains
from query_api.questions import COMPARED, Export, Method, Period, Question, SpanId, ask
from query_api.storage import LogPage, LogQuery, LogRow, Position, SpanQuery, TracePage, TraceQuery, TraceSpansQuery
from query_api.tenant import Tenant
from tests.dual import TRACES, telemetry
from tests.stored import DAY, MINUTE, NOON, SECOND, Stored, place

ACME: Final = Tenant.of("acme")
START: Final = NOON - MINUTE
END: Final = NOON + MINUTE
LATER: Final = NOON + DAY
MS: Final = 1_000_000
LOGS: Final = LogQuery(START, END, organization="acme")
QUESTIONS: Final = {
    Method.LOGS: Question(Method.LOGS, ACME, LOGS),
    Method.EXPORT_LOGS: Question(Method.EXPORT_LOGS, ACME, Export(LOGS, 1000)),
    Method.SPANS: Question(Method.SPANS, ACME, SpanQuery(START, END, "api")),
    Method.TRACES: Question(Method.TRACES, ACME, TraceQuery(START, END, "acme")),
    Method.TRACE: Question(Method.TRACE, ACME, TraceSpansQuery(TRACES[0])),
    Method.SPAN: Question(Method.SPAN, ACME, SpanId(TRACES[0], f"{1:016x}")),
    Method.PLACES: Question(Method.PLACES, ACME),
    Method.USAGE: Question(Method.USAGE, ACME, Period(NOON - DAY, NOON + DAY // 2)),
}
LISTS: Final = sorted(set(QUESTIONS) - {Method.SPAN})
# A field of each method's rows that is not what tells them apart.
FIELDS: Final[dict[Method, tuple[str, Any, str]]] = {
    Method.LOGS: ("attributes", {"code": "other"}, "attributes.code"),
    Method.EXPORT_LOGS: ("level", "ERROR", "level"),
    Method.SPANS: ("name", "secret name", "name"),
    Method.TRACES: ("span_count", 7, "span_count"),
    Method.TRACE: ("resource", {"service.name": "api", "new": "secret"}, "resource.new"),
    Method.SPAN: ("duration_nano", 5_000_000_000, "duration"),
    Method.PLACES: ("org_name", "secret name", "org_name"),
    Method.USAGE: ("logs", 1_000_000, "logs"),
}
MEMBERS: Final = {Method.LOGS: "rows", Method.SPANS: "spans", Method.TRACES: "traces", Method.TRACE: "spans"}


def both() -> MemoryStorage:
    """Another component too, so that there are several places and sums."""
    stored, other = telemetry(), Stored()
    other.log("INFO other", NOON + 9 * SECOND, place("acme", component="web", service__name="web"))
    return other.to_memory(stored.to_memory())


async def answered(method: Method) -> Any:
    return await ask(both(), QUESTIONS[method])


def changed(method: Method, answer: Any, change: Callable[[list[Any]], Sequence[Any]]) -> Any:
    """The answer with other rows, and with the total that such a store would tell."""
    if method is Method.SPAN:
        return (change([answer]) or [None])[0]
    if method not in MEMBERS:
        return change(list(answer))
    rows = list(getattr(answer, MEMBERS[method]))
    made = list(change(rows))
    return replace(answer, **{MEMBERS[method]: made, "total": answer.total + len(made) - len(rows)})


def kinds(comparison: Comparison) -> dict[Kind, int]:
    return {each.kind: each.count for each in comparison.differences}


def test_every_method_that_is_compared_is_tried_here() -> None:
    """A method that is added cannot be left out."""
    assert set(QUESTIONS) == set(COMPARED)


@pytest.mark.parametrize("method", sorted(COMPARED))
async def test_equal_stores_do_not_differ(method: Method) -> None:
    """Two stores with the same rows, asked the same."""
    found = compare(QUESTIONS[method], await answered(method), await answered(method), LATER)
    assert (found.differences, found.skipped) == ((), "")
    assert method is Method.PLACES or found.count == found.other_count > 0


@pytest.mark.parametrize("method", sorted(COMPARED))
async def test_a_missing_row_is_found(method: Method) -> None:
    """A row that only the store that answered has; the other way round it is one too many."""
    whole = await answered(method)
    part = changed(method, whole, lambda rows: [*rows[:1], *rows[2:]] if len(rows) > 1 else [])
    missing = compare(QUESTIONS[method], whole, part, LATER)
    assert kinds(missing)[Kind.MISSING] == 1
    assert set(kinds(missing)) <= {Kind.MISSING, Kind.COUNT}
    extra = compare(QUESTIONS[method], part, whole, LATER)
    assert kinds(extra)[Kind.EXTRA] == 1


@pytest.mark.parametrize("method", sorted(COMPARED))
async def test_a_changed_field_is_named_and_its_value_is_not(method: Method) -> None:
    """Nothing else is said to differ."""
    name, value, told = FIELDS[method]
    whole = await answered(method)
    other = changed(method, whole, lambda rows: [replace(rows[0], **{name: value}), *rows[1:]])
    found = compare(QUESTIONS[method], whole, other, LATER)
    assert kinds(found) == {Kind.FIELD: 1}
    assert told in found.differences[0].fields
    assert "secret" not in str(found)


@pytest.mark.parametrize("method", LISTS)
async def test_another_order_is_found(method: Method) -> None:
    """The same rows, the first two the other way round."""
    whole = await answered(method)
    turned = changed(method, whole, lambda rows: [rows[1], rows[0], *rows[2:]])
    assert kinds(compare(QUESTIONS[method], whole, turned, LATER)) == {Kind.ORDER: 2}


@pytest.mark.parametrize("method", sorted(MEMBERS))
async def test_a_wrong_total_is_found(method: Method) -> None:
    """The rows are the same, what is counted is not."""
    whole = await answered(method)
    found = compare(QUESTIONS[method], whole, replace(whole, total=whole.total + 3), LATER)
    assert kinds(found) == {Kind.COUNT: 3}


async def test_a_changed_body_is_one_row_that_differs() -> None:
    """What tells log records apart is named as well, and they are not told as a missing and an extra row."""
    whole = await answered(Method.LOGS)
    other = changed(Method.LOGS, whole, lambda rows: [replace(rows[0], body="secret"), *rows[1:]])
    found = compare(QUESTIONS[Method.LOGS], whole, other, LATER)
    assert [(each.kind, each.fields) for each in found.differences] == [(Kind.FIELD, ("body",))]


async def test_twice_the_same_record_is_two_records() -> None:
    """Log records have no id: they are counted."""
    whole = await answered(Method.EXPORT_LOGS)
    twice = [whole[0], *whole]
    assert kinds(compare(QUESTIONS[Method.EXPORT_LOGS], whole, twice, LATER)) == {Kind.EXTRA: 1}
    assert not compare(QUESTIONS[Method.EXPORT_LOGS], twice, list(twice), LATER).differences


def row(at: int, body: str = "x", block: int = 0) -> LogRow:
    return LogRow(Position(at, block, 0), body, "INFO", "acme", "shop", "api", "dev")


def question(limit: int = 3, start: int | None = None, end: int | None = LATER - DAY // 2) -> Question:
    return Question(Method.LOGS, ACME, LogQuery(start, end, limit=limit))


def page(*rows: LogRow, total: int = 9, is_capped: bool = False) -> LogPage:
    return LogPage(rows, total, is_capped)


BASE: Final = NOON // MS * MS


def test_within_a_millisecond_any_order_is_right() -> None:
    """A store that sorts by milliseconds need not have the nanoseconds' order, nor the positions."""
    one, two = row(BASE + 7, "a"), row(BASE + 3, "b")
    ours, theirs = page(one, two, total=2), page(replace(two, position=Position(BASE, 5, 5)), one, total=2)
    assert not compare(question(), ours, theirs, LATER).differences


def test_the_millisecond_that_a_full_page_ends_in_says_nothing() -> None:
    """It may be cut in another order; before it a missing row is found."""
    first, here, there = row(BASE + 5 * MS), row(BASE + 9, "a"), row(BASE + 3, "b")
    assert not compare(question(2), page(first, here), page(first, there), LATER).differences
    lacking = compare(question(2), page(first, here), page(here, there), LATER)
    assert kinds(lacking) == {Kind.MISSING: 1}


def test_rows_that_are_too_young_are_not_compared() -> None:
    """Nor is a total that they may be in; of a page that is whole they are taken off."""
    young, old = row(BASE + 5 * MS, "young"), row(BASE, "old")
    ours, theirs = page(young, old, total=2), page(old, total=1)
    assert kinds(compare(question(), ours, theirs, LATER)) == {Kind.COUNT: 1, Kind.MISSING: 1}
    assert not compare(question(end=None), ours, theirs, BASE + 4 * MS).differences
    full = compare(question(1, end=None), page(old, total=8), page(old, total=7), BASE + 4 * MS)
    assert not full.differences
    wrong = compare(question(end=None), ours, page(old, total=3), BASE + 4 * MS)
    assert kinds(wrong) == {Kind.COUNT: 2}


def test_totals_are_compared_up_to_the_smaller_cap() -> None:
    """A cap says "at least": only a total below it differs."""
    same = row(BASE)
    capped = page(same, total=1000, is_capped=True)
    for total, is_capped, wanted in ((5000, False, 0), (800, False, 200), (10_000, True, 0), (500, True, 0)):
        other = page(same, total=total, is_capped=is_capped)
        for pages in ((capped, other), (other, capped)):
            assert kinds(compare(question(1), *pages, LATER)).get(Kind.COUNT, 0) == wanted


def test_a_store_of_milliseconds_may_have_a_row_at_the_bound() -> None:
    """The question ends within a millisecond: a row of it is inside for the one and outside for the other."""
    inside, edge = row(BASE), row(BASE + 2 * MS)
    asked = question(end=BASE + 2 * MS + 5)
    assert not compare(asked, page(inside, total=1), page(edge, inside, total=2), LATER).differences
    assert kinds(compare(question(end=BASE + 3 * MS - 1), page(inside, total=1), page(edge, inside, total=2), LATER))


def test_a_stores_own_cap_on_a_page_is_no_difference() -> None:
    """The shorter page ends where it was cut; before that rows are compared."""
    rows = [row(BASE - number * MS, str(number)) for number in range(700)]
    whole, cut = page(*rows, total=700), page(*rows[:600], total=700)
    assert not compare(question(1000), whole, cut, LATER).differences
    assert kinds(compare(question(1000), whole, page(*rows[1:600], total=700), LATER)) == {Kind.MISSING: 1}


async def test_sums_that_may_still_grow_are_not_compared() -> None:
    """The running month: the reason is told instead."""
    sums = await answered(Method.USAGE)
    found = compare(QUESTIONS[Method.USAGE], sums, [], NOON)
    assert (found.differences, found.skipped) == ((), UNSETTLED)


async def test_what_is_on_disk_is_each_stores_own() -> None:
    """Compressed bytes, and sizes that a store does not know."""
    sums = await answered(Method.USAGE)
    others = [replace(each, log_compressed_bytes=77, span_bytes=0, log_bytes=0) for each in sums]
    assert not compare(QUESTIONS[Method.USAGE], sums, others, LATER).differences


async def test_full_pages_of_traces_end_at_a_time_that_is_not_told() -> None:
    """A trace that may lie at the end says nothing; one that lies before every end is missing."""
    asked = Question(Method.TRACES, ACME, TraceQuery(START, END, "acme", limit=3))
    whole, everything = await ask(both(), asked), await ask(both(), QUESTIONS[Method.TRACES])
    assert isinstance(whole, TracePage)
    assert isinstance(everything, TracePage)
    first, second, third, fourth, _ = everything.traces
    tied = replace(third, trace_id="f" * 32)
    assert not compare(asked, whole, replace(whole, traces=[first, second, tied]), LATER).differences
    lacking = compare(asked, whole, replace(whole, traces=[second, third, fourth]), LATER)
    assert kinds(lacking) == {Kind.MISSING: 1}


def test_answers_of_another_method_are_a_defect() -> None:
    """Not something that differs."""
    with pytest.raises(TypeError, match="logs"):
        compare(question(), page(), [], LATER)


def test_what_is_told_of_a_question_holds_nothing_of_anybody() -> None:
    """No phrase, no label's value; what was not asked for is left out."""
    asked = LogQuery(NOON, None, "acme", phrase="secret", labels=(("team", "secret"),), vhosts=("secret",))
    told = Question(Method.LOGS, ACME, asked).told()
    assert "secret" not in str(told)
    assert told["start"] == "2025-11-14T10:00:00.123456789Z"
    assert (told["phrase_characters"], told["label_keys"], told["organization"]) == (6, ["team"], "acme")
    assert "end" not in told


def test_how_a_store_spells_the_place_is_no_difference() -> None:
    """The enricher has rewritten what a row says of its place; a document of others has it as its pod said it."""
    said = {"k8s.pod.label.organization-name": "acme", "openchoreo.dev/project-uid": "p", "service.name": "api"}
    written = {"organization.id": "acme", "project.id": "p", "data_plane.id": "dp", "service.name": "api"}
    one = row(NOON, "a line")
    assert log_lines([replace(one, resource=said)]) == log_lines([replace(one, resource=written)])
    apart = {**written, "k8s.namespace.name": "other"}
    assert log_lines([replace(one, resource=said)]) != log_lines([replace(one, resource=apart)])


class Watched(dict[str, str]):
    """Attributes that count how often they are held against others."""

    asked = 0

    def __eq__(self, other: object) -> bool:
        Watched.asked += 1
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


def test_thousands_of_one_line_in_one_millisecond_are_not_held_each_against_each() -> None:
    """In whatever order; the one that was changed is found among them. 10,000 took 15 s of everybody's processor."""
    (row,) = telemetry().to_memory().log_rows[:1]
    ours = [replace(row, attributes=Watched(number=str(number))) for number in range(2_000)]
    theirs = [*reversed(ours[1:]), replace(row, attributes=Watched(number="other"))]
    random.Random(1).shuffle(theirs)
    Watched.asked = 0
    question = Question(Method.EXPORT_LOGS, ACME, Export(LOGS, 10_000))
    (difference,) = compare(question, ours, theirs, LATER).differences
    assert (difference.kind, difference.count, difference.fields) == (Kind.FIELD, 1, ("attributes.number",))
    assert Watched.asked < 10 * len(ours)


@pytest.mark.parametrize("is_descending", [True, False])
def test_another_of_the_same_lines_where_a_page_ends_is_no_difference(is_descending: bool) -> None:
    """Two pods say the same in one millisecond, and the page has room for one of them; within a page it is told."""
    (row,) = telemetry().to_memory().log_rows[:1]
    first = replace(row, body="first", position=Position(NOON + (SECOND if is_descending else -SECOND), 0, 0))
    pods = [replace(row, resource={"k8s.pod.name": name}) for name in ("api-0", "api-1")]
    for limit, found in ((2, []), (3, [Kind.FIELD])):
        query = replace(LOGS, limit=limit, is_descending=is_descending)
        one, other = (LogPage([first, pod], limit) for pod in pods)
        differences = compare(Question(Method.LOGS, ACME, query), one, other, LATER).differences
        assert [each.kind for each in differences] == found


@pytest.mark.parametrize(
    ("body", "phrase", "is_in"),
    [
        ("\u039f\u0394\u039f\u03a3\u0391\u03a3", "\u039f\u0394\u039f\u03a3", True),
        ("\u03bf\u03b4\u03bf\u03c3\u03b1", "\u039f\u0394\u039f\u03a3", True),
        ("\u03a3\u0391\u03a3", "\u03c3\u03b1\u03c2", False),
        ("\u03c3\u03b1\u03c2", "\u03a3\u0391\u03c2", True),
    ],
)
def test_a_sigma_is_one_letter_wherever_it_stands(body: str, phrase: str, is_in: bool) -> None:
    """As in ClickHouse: a phrase that is in the body as it is was not found if it ended in a sigma."""
    assert contains(body, phrase) is is_in
