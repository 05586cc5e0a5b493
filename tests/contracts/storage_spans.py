"""What every store owes for spans and traces."""

from typing import Any, Final

import pytest

from query_api.storage import Span, SpanPage, SpanQuery, TracePage, TraceQuery, TraceSpansQuery, TraceSummary
from query_api.tenant import EVERYTHING, Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.stored import DAY, MINUTE, NOON, SECOND, Stored, place

ACME: Final = Tenant.of("acme")
API: Final = place("acme", "shop", "c-1", "dev", service__name="api", component__name="api")
WEB: Final = place("acme", "shop", "c-2", "prod", service__name="web", component__name="web")


def trace_id(number: int) -> str:
    return f"{number:032x}"


def span_id(number: int) -> str:
    return f"{number:016x}"


def ids(trace: int, span: int) -> tuple[str, str]:
    return trace_id(trace), span_id(span)


def names(page: SpanPage) -> list[str]:
    return [span.name for span in page.spans]


async def traces(opened: Opened, tenant: Tenant = ACME, **others: Any) -> TracePage:
    given: dict[str, Any] = {"start_unix_nano": NOON - DAY, "end_unix_nano": NOON + DAY}
    return await opened.storage.traces(tenant, TraceQuery(**(given | others)))


class SpansContract(StorageCase):
    async def test_a_span_comes_back_as_it_was_stored(self, opened: Opened) -> None:
        """All fields; attributes where a trace or one span is asked for."""
        stored = Stored()
        text = "it's \\ \x00 \U0001f600"
        stored.span(
            text,
            ids(1, 2),
            NOON,
            API,
            duration=101_018_208,
            parent=span_id(9),
            kind="Client",
            status="Error",
            status_message=text,
            attributes={"http.method": "GET", text: text},
        )
        await opened.write(stored)
        wanted = Span(
            *ids(1, 2),
            span_id(9),
            text,
            "Client",
            "api",
            NOON,
            101_018_208,
            "Error",
            text,
            *("acme", "shop", "c-1", "dev"),
            {"http.method": "GET", text: text},
            API,
        )
        assert await opened.storage.span(ACME, *ids(1, 2)) == wanted
        assert list((await opened.storage.trace(ACME, TraceSpansQuery(trace_id(1)))).spans) == [wanted]
        (found,) = (await opened.storage.spans(ACME, SpanQuery(NOON, NOON, "api"))).spans
        assert (found.name, found.duration_nano, found.start_unix_nano) == (text, 101_018_208, NOON)

    @pytest.mark.parametrize("is_descending", [True, False])
    async def test_spans_of_a_service_are_those_within_the_times_in_order(
        self, opened: Opened, is_descending: bool
    ) -> None:
        """Bounds are inclusive to the nanosecond, the total counts what the limit leaves out."""
        stored = Stored()
        for number in range(20):
            stored.span(str(number), ids(number, number), NOON + number, API)
            stored.span("other", ids(number, 100 + number), NOON + number, WEB)
        await opened.write(stored)
        page = await opened.storage.spans(ACME, SpanQuery(NOON + 3, NOON + 12, "api", 4, is_descending))
        numbers = list(range(3, 13))
        assert names(page) == [str(number) for number in (numbers[::-1] if is_descending else numbers)[:4]]
        assert (page.total, page.is_capped) == (10, False)
        assert (await opened.storage.spans(ACME, SpanQuery(NOON + 20, NOON + DAY, "api"))).total == 0
        assert (await opened.storage.spans(ACME, SpanQuery(NOON, NOON + DAY, "ap"))).total == 0

    async def test_a_trace_is_summed_up_from_all_its_spans(self, opened: Opened) -> None:
        """Root without a parent, wherever it lies; first start and last end; an error anywhere; how many."""
        stored = Stored()
        stored.span("child", ids(1, 2), NOON + 5, API, parent=span_id(1), duration=SECOND, status="Error")
        stored.span("root", ids(1, 1), NOON, WEB, kind="Client", duration=10)
        stored.span("early child", ids(1, 3), NOON - 7, API, parent=span_id(1), duration=1)
        stored.span("alone", ids(2, 4), NOON + MINUTE, WEB, status="Ok", duration=3)
        await opened.write(stored)
        page = await traces(opened)
        assert list(page.traces) == [
            TraceSummary(trace_id(2), 1, span_id(4), "alone", "Server", "web", NOON + MINUTE, NOON + MINUTE + 3, False),
            TraceSummary(trace_id(1), 3, span_id(1), "root", "Client", "web", NOON - 7, NOON + 5 + SECOND, True),
        ]
        assert (page.total, page.is_capped) == (2, False)
        assert [each.trace_id for each in (await traces(opened, is_descending=False)).traces] == [
            trace_id(1),
            trace_id(2),
        ]

    async def test_a_trace_without_a_root_is_named_by_its_earliest_span(self, opened: Opened) -> None:
        """Its parent has not come, or never will."""
        stored = Stored()
        stored.span("later", ids(1, 2), NOON + 5, API, parent=span_id(9))
        stored.span("first", ids(1, 3), NOON, API, parent=span_id(9))
        await opened.write(stored)
        (found,) = (await traces(opened)).traces
        assert (found.root_span_name, found.root_span_id, found.span_count) == ("first", span_id(3), 2)

    async def test_a_trace_of_a_component_is_told_whole(self, opened: Opened) -> None:
        """Asked for by a component that takes part, it has the root and errors of others; names and ids are taken."""
        stored = Stored()
        stored.span("root", ids(1, 1), NOON, WEB, status="Error")
        stored.span("child", ids(1, 2), NOON + 5, API, parent=span_id(1))
        stored.span("elsewhere", ids(2, 3), NOON, WEB)
        await opened.write(stored)
        questions: list[dict[str, Any]] = [
            {"component": "api"},
            {"component": "c-1"},
            {"environment": "dev"},
            {"component": "api", "organization": "acme"},
        ]
        for asked in questions:
            page = await traces(opened, **asked)
            assert [(each.trace_id, each.span_count, each.root_span_name) for each in page.traces] == [
                (trace_id(1), 2, "root")
            ], asked
            assert page.traces[0].has_errors
        assert (await traces(opened, component="api", environment="prod")).total == 0
        assert (await traces(opened, project="nothing")).total == 0

    async def test_traces_are_those_with_a_span_within_the_times(self, opened: Opened) -> None:
        """One span inside is enough; what is outside, up to a day, is told with it."""
        stored = Stored()
        stored.span("root", ids(1, 1), NOON - MINUTE, API)
        stored.span("child", ids(1, 2), NOON, API, parent=span_id(1))
        stored.span("far", ids(1, 3), NOON + 3 * DAY, API, parent=span_id(1))
        stored.span("outside", ids(2, 4), NOON - 1, API)
        await opened.write(stored)
        page = await traces(opened, start_unix_nano=NOON, end_unix_nano=NOON)
        assert [(each.trace_id, each.root_span_name, each.span_count) for each in page.traces] == [
            (trace_id(1), "root", 2)
        ]

    async def test_the_newest_traces_are_a_page_and_all_are_counted(self, opened: Opened) -> None:
        """Each trace once, however many spans it has and in how many parts they were written."""
        for part in range(3):
            stored = Stored()
            for number in range(20):
                stored.span("x", ids(number + 1, 100 * part + number), NOON + number * SECOND + part, API)
            await opened.write(stored)
        for is_descending in (True, False):
            page = await traces(opened, limit=5, is_descending=is_descending)
            numbers = list(range(1, 21))
            wanted = (numbers[::-1] if is_descending else numbers)[:5]
            assert [each.trace_id for each in page.traces] == [trace_id(number) for number in wanted]
            assert {each.span_count for each in page.traces} == {3}
            assert page.total == 20

    async def test_spans_without_a_trace_are_no_trace(self, opened: Opened) -> None:
        """A span whose trace id is missing is found by its service only."""
        stored = Stored()
        stored.span("lost", ("", span_id(1)), NOON, API)
        await opened.write(stored)
        assert (await traces(opened)).total == 0
        assert names(await opened.storage.spans(ACME, SpanQuery(NOON, NOON, "api"))) == ["lost"]

    async def test_a_traces_spans_can_be_narrowed(self, opened: Opened) -> None:
        """By place and times, oldest first unless asked otherwise, with the total of what matches."""
        stored = Stored()
        for number in range(6):
            stored.span(str(number), ids(1, number + 1), NOON + number, API if number % 2 else WEB)
        stored.span("other trace", ids(2, 9), NOON, API)
        await opened.write(stored)

        async def asked(**others: Any) -> SpanPage:
            return await opened.storage.trace(ACME, TraceSpansQuery(trace_id(1), **others))

        assert names(await asked()) == list("012345")
        assert names(await asked(component="api")) == list("135")
        assert names(await asked(component="c-2", is_descending=True)) == list("420")
        assert names(await asked(start_unix_nano=NOON + 1, end_unix_nano=NOON + 3)) == list("123")
        assert names(await asked(start_unix_nano=NOON + 4)) == list("45")
        page = await asked(limit=2)
        assert (names(page), page.total) == (list("01"), 6)
        assert (await asked(project="nothing")).total == 0

    async def test_unknown_ids_are_nothing(self, opened: Opened) -> None:
        """Not an error, in an empty store and in a full one."""
        for _ in range(2):
            for unknown in (trace_id(7), "", "xyz", "A" * 500):
                assert (await opened.storage.trace(EVERYTHING, TraceSpansQuery(unknown))).total == 0
                assert await opened.storage.span(EVERYTHING, unknown, span_id(1)) is None
            assert await opened.storage.span(EVERYTHING, trace_id(1), span_id(7)) is None
            stored = Stored()
            stored.span("x", ids(1, 1), NOON, API)
            await opened.write(stored)

    async def test_spans_of_one_time_are_in_one_order(self, opened: Opened) -> None:
        """By their ids, whatever part they lie in."""
        for first in (0, 10):
            stored = Stored()
            for number in range(first, first + 10):
                stored.span(str(number), ids(1, number), NOON, API)
            await opened.write(stored)
        found = await opened.storage.trace(ACME, TraceSpansQuery(trace_id(1)))
        assert names(found) == [str(number) for number in range(20)]
