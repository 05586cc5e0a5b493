"""A trace as lines: any graph of parents ends, every span is there once, bars stay inside."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.waterfall import bar_cells, span_of, waterfall
from query_api.storage import Span


def span(span_id: str, parent: str = "", start: int = 0, duration: int = 10, service: str = "shop") -> Span:
    return Span("t", span_id, parent, f"name-{span_id}", "Server", service, start, duration, "Unset")


def tree(*spans: Span) -> list[str]:
    """Ids indented by depth; `?` before an id that is only named, `@` before one that is above itself."""
    return [
        "  " * line.depth
        + (f"?{line.missing_id}" if line.span is None else ("@" if line.is_in_circle else "") + line.span.span_id)
        for line in waterfall(spans).lines
    ]


def test_children_are_below_their_parents_by_start() -> None:
    """Depth first, siblings in order of time."""
    spans = (span("c", "a", 5), span("a"), span("b", "a", 3), span("d", "b", 4), span("z", start=9))
    assert tree(*spans) == ["a", "  b", "    d", "  c", "z"]


def test_orphans_are_below_a_root_that_says_so() -> None:
    """A parent that cannot be read is shown by its id, over its children's time, where it would have been."""
    lines = waterfall((span("a", "gone", 10, 20), span("b", "gone", 20, 30), span("r", start=0, duration=100))).lines
    assert [line.missing_id for line in lines] == ["", "gone", "", ""]
    assert (lines[1].start, lines[1].length) == (0.1, 0.4)
    assert [line.depth for line in lines] == [0, 0, 1, 1]


def test_circles_are_cut_once() -> None:
    """Spans that are each other's parents, or their own, are shown; what hangs below stays there."""
    assert tree(span("a", "b", 1), span("b", "a", 2), span("c", "b", 0)) == ["@b", "  c", "  a"]
    assert tree(span("s", "s")) == ["@s"]


def test_a_doubled_id_shows_both_spans_and_the_children_once() -> None:
    """A retry that wrote a span twice does not double what is below."""
    assert tree(span("a", start=0), span("a", start=1), span("b", "a", 2)) == ["a", "  b", "a"]


def test_a_trace_without_duration_has_bars() -> None:
    """Nothing is divided by zero."""
    assert waterfall((span("a", duration=0),)).duration_nano == 0
    assert waterfall(()).lines == ()


def test_a_chain_may_be_deeper_than_the_stack() -> None:
    """Ten thousand levels are lines like others."""
    lines = waterfall([span(str(n), str(n - 1) if n else "", n) for n in range(10_000)]).lines
    assert [line.depth for line in lines] == list(range(10_000))


ids = st.sampled_from(["", "a", "b", "c", "d", "e", "f"])
spans_of_any_graph = st.lists(
    st.builds(span, ids, ids, st.integers(-50, 50), st.integers(-5, 100)),
    max_size=14,
)


@given(spans_of_any_graph)
def test_every_span_is_exactly_one_line(spans: list[Span]) -> None:
    """Whatever the parents are: circles, doubled and empty ids, parents that are missing."""
    fall = waterfall(spans)
    assert Counter(id(line.span) for line in fall.lines if line.span is not None) == Counter(map(id, spans))
    missing = [line.missing_id for line in fall.lines if line.span is None]
    assert sorted(missing) == sorted({s.parent_span_id for s in spans} - {s.span_id for s in spans} - {""})
    for before, line in zip((None, *fall.lines), fall.lines, strict=False):
        assert line.depth <= (before.depth + 1 if before else 0)
        assert line.start >= 0
        assert line.length >= 0
        assert line.start + line.length <= 1 + 1e-9


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300))
def test_bars_stay_inside_and_are_seen(start: float, length: float, width: int) -> None:
    """At least one cell, none outside, and what starts later is not drawn earlier."""
    first, count = bar_cells(start, length, width)
    assert first >= 0
    assert count >= 1
    assert first + count <= width
    assert first <= bar_cells(min(start + 0.1, 1), length, width)[0]


def test_a_span_of_the_answer_is_read_whole() -> None:
    """The contract's fields become a span; without a duration the end tells it."""
    fields: dict[str, Any] = {
        "spanId": "1",
        "parentSpanId": None,
        "spanName": "GET /",
        "spanKind": "Server",
        "startTime": "2026-01-31T12:00:00Z",
        "endTime": "2026-01-31T12:00:00.000000123Z",
        "status": {"code": "error", "message": "no"},
        "attributes": {"http.status": 500},
        "resourceAttributes": {"service.name": "front"},
    }
    read = span_of("t", fields)
    assert (read.duration_nano, read.status, read.status_message, read.service) == (123, "Error", "no", "front")
    assert (read.parent_span_id, read.attributes) == ("", {"http.status": "500"})
    with pytest.raises(ValueError, match="not a time"):
        span_of("t", {"startTime": "soon"})
