"""What differs between two stores' answers to one question. Pure.

Left out, because equal stores may differ there: rows younger than the stores have settled; on a full page the
millisecond it ends in, whose rows may be cut in another order; rows in the millisecond of the question's own bounds,
which lie inside for a store that keeps milliseconds. Counts are compared up to the smaller cap.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, cast

from query_api.lines import (
    LOG_KEY,
    MS,
    Line,
    log_lines,
    names_of_differences,
    place_lines,
    span_lines,
    trace_lines,
    usage_lines,
)
from query_api.questions import Answer, Export, Period, Question, SpanId
from query_api.storage import (
    LogPage,
    LogQuery,
    LogRow,
    Place,
    Span,
    SpanPage,
    SpanQuery,
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    Usage,
)

MAX_NAMES: Final = 10
# Rows left over of either side that are looked at for pairs; two rows of a pair differ in no more of what tells rows.
MAX_PAIRED: Final = 100
MAX_PAIR_NAMES: Final = 2
# A store may have a cap of its own on the rows of a page; it is no lower than that.
LEAST_CAP: Final = 500
UNSETTLED: Final = "unsettled"


class Kind(StrEnum):
    """COUNT: the totals. MISSING: a row that only the store that answered has. EXTRA: only the other."""

    COUNT = "count"
    MISSING = "missing"
    EXTRA = "extra"
    FIELD = "field"
    ORDER = "order"


@dataclass(frozen=True, slots=True)
class Difference:
    """`count` rows differ so. `fields`: up to `MAX_NAMES` names, of a FIELD."""

    kind: Kind
    count: int = 1
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """`count` and `other_count`: totals where there are some, else rows. `skipped`: why nothing was compared."""

    differences: tuple[Difference, ...] = ()
    count: int = 0
    other_count: int = 0
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class _Page:
    lines: Sequence[Line]
    total: int | None = None
    is_capped: bool = False
    is_full: bool = False

    @property
    def count(self) -> int:
        return len(self.lines) if self.total is None else self.total


@dataclass(frozen=True, slots=True)
class _View:
    """How pages are held against each other. `may_tell`: whether a row that one side lacks says anything. `rank`: what
    must be in one order on both sides."""

    settled_before_unix_nano: int
    is_total_settled: bool = True
    edges_ms: frozenset[int] = frozenset()
    may_tell: Callable[[Line], bool] = lambda _: True
    rank: Callable[[Line], object] = lambda line: line.at_ms
    is_paired: bool = False

    def is_settled(self, line: Line) -> bool:
        return line.ends_unix_nano < self.settled_before_unix_nano

    def are_one_row(self, line: Line) -> bool:
        """Whether both sides mean one row by its key: a log record has no id, and where a page or the question ends,
        each side may have another of several that read the same."""
        return not self.is_paired or (self.is_inside(line) and self.may_tell(line))

    def is_inside(self, line: Line) -> bool:
        """Whether both stores must have it, the end of a full page aside."""
        return self.is_settled(line) and not any(line.at_ms <= edge <= line.until_ms for edge in self.edges_ms)


def compare(question: Question, ours: Answer, theirs: Answer, settled_before_unix_nano: int) -> Comparison:
    """Hold the answer of the store that answered against the other's.

    Rows that may have been received after `settled_before_unix_nano` are left out. Raises `TypeError` for answers that
    are not of this question's method.
    """
    query = question.query
    match query, ours, theirs:
        case Period(_, end), Sequence(), Sequence():
            if end > settled_before_unix_nano:
                return Comparison(skipped=UNSETTLED)  # sums cannot leave rows out
            pages = [_Page(usage_lines(cast("Sequence[Usage]", rows))) for rows in (ours, theirs)]
            view = _anything()
        case None, Sequence(), Sequence():
            pages = [_Page(place_lines(cast("Sequence[Place]", rows))) for rows in (ours, theirs)]
            view = _anything()
        case Export(), Sequence(), Sequence():
            lines = [log_lines(cast("Sequence[LogRow]", rows)) for rows in (ours, theirs)]
            pages = [_Page(each, is_full=len(each) >= query.held_rows) for each in lines]
            view = _view(pages, query.query, settled_before_unix_nano, is_descending=False, is_paired=True)
        case LogQuery(), LogPage(), LogPage():
            pages = [_full(log_lines(page.rows), page, query.limit) for page in (ours, theirs)]
            view = _view(pages, query, settled_before_unix_nano, is_descending=query.is_descending, is_paired=True)
        case SpanQuery() | TraceSpansQuery(), SpanPage(), SpanPage():
            pages = [_full(span_lines(page.spans), page, query.limit) for page in (ours, theirs)]
            view = _view(pages, query, settled_before_unix_nano, is_descending=query.is_descending)
        case TraceQuery(), TracePage(), TracePage():
            pages = [_full(trace_lines(page.traces), page, query.limit) for page in (ours, theirs)]
            view = _trace_view(pages, query, settled_before_unix_nano)
        case SpanId(), Span() | None, Span() | None:
            pages = [_Page(span_lines([span] if span else [])) for span in (ours, theirs)]
            view = _View(settled_before_unix_nano)
        case _:
            raise TypeError(f"{question.method}: {type(ours)} and {type(theirs)} cannot be compared")
    return _compare(pages[0], pages[1], view)


def _anything() -> _View:
    """Sums and places: sorted by their ids, without times that could say how settled they are."""
    return _View(1, rank=lambda line: line.key)


def _full(lines: Sequence[Line], page: LogPage | SpanPage | TracePage, limit: int) -> _Page:
    is_cut = len(lines) >= LEAST_CAP and len(lines) < page.total
    return _Page(lines, page.total, page.is_capped, len(lines) >= limit or is_cut)


def _view(
    pages: Sequence[_Page],
    query: LogQuery | SpanQuery | TraceSpansQuery,
    settled: int,
    *,
    is_descending: bool,
    is_paired: bool = False,
) -> _View:
    """Rows up to where the first full page ends."""
    ends = [page.lines[-1].at_ms if page.lines else None for page in pages if page.is_full]
    lasts = [end for end in ends if end is not None]
    if None in ends:  # a page of no rows
        may_tell: Callable[[Line], bool] = lambda _: False  # noqa: E731 - one of four
    elif not lasts:
        may_tell = lambda _: True  # noqa: E731
    elif is_descending:
        may_tell = lambda line: line.at_ms > max(lasts)  # noqa: E731
    else:
        may_tell = lambda line: line.at_ms < min(lasts)  # noqa: E731
    end = query.end_unix_nano
    is_total_settled = end is not None and end < settled
    return _View(settled, is_total_settled, _edges(query.start_unix_nano, end), may_tell, is_paired=is_paired)


def _trace_view(pages: Sequence[_Page], query: TraceQuery, settled: int) -> _View:
    """A full page of traces ends at the time of a span that it does not tell; that lies within each of its traces."""
    lines = [line for page in pages for line in page.lines]
    if not any(page.is_full for page in pages):
        may_tell: Callable[[Line], bool] = lambda _: True  # noqa: E731 - one of three
    elif query.is_descending:
        last = min((line.until_ms for line in lines), default=0)
        may_tell = lambda line: line.at_ms > last  # noqa: E731
    else:
        first = max((line.at_ms for line in lines), default=0)
        may_tell = lambda line: line.until_ms < first  # noqa: E731
    edges = _edges(query.start_unix_nano, query.end_unix_nano)
    return _View(settled, query.end_unix_nano < settled, edges, may_tell)


def _edges(start_unix_nano: int | None, end_unix_nano: int | None) -> frozenset[int]:
    """Milliseconds that a bound goes through."""
    edges = set[int]()
    if start_unix_nano is not None and start_unix_nano % MS:
        edges.add(start_unix_nano // MS)
    if end_unix_nano is not None and (end_unix_nano + 1) % MS:
        edges.add(end_unix_nano // MS)
    return frozenset(edges)


def _compare(ours: _Page, theirs: _Page, view: _View) -> Comparison:
    pairs, left, right = _matched(ours.lines, theirs.lines)
    count = _count(ours, theirs, view, (left, right))
    order = _order(ours.lines, theirs.lines, pairs, view.rank)
    left, right = ([line for line in lines if view.is_inside(line) and view.may_tell(line)] for lines in (left, right))
    changed = [
        names_of_differences(one.fields, other.fields)
        for one, other in pairs
        if view.is_settled(one) and view.is_settled(other) and view.are_one_row(one)
    ]
    if view.is_paired:
        left, right, more = _paired(left, right)
        changed += more
    changed = [names for names in changed if names]
    found = (
        (Kind.COUNT, count, ()),
        (Kind.MISSING, len(left), ()),
        (Kind.EXTRA, len(right), ()),
        (Kind.FIELD, len(changed), tuple(sorted(set().union(*changed)))[:MAX_NAMES]),
        (Kind.ORDER, order, ()),
    )
    return Comparison(tuple(Difference(*each) for each in found if each[1]), ours.count, theirs.count)


def _matched(ours: Sequence[Line], theirs: Sequence[Line]) -> tuple[list[tuple[Line, Line]], list[Line], list[Line]]:
    """Pairs of one key, and what is left over of either; of several with a key, those that are the same first."""
    number = Counter(line.key for line in theirs)

    def name(line: Line) -> tuple[object, ...]:
        """Thousands of one line in one millisecond go by their text: each held against each would take seconds."""
        return (line.key, _text(line) if number[line.key] > 1 else "")

    alike, rest = dict[tuple[object, ...], list[Line]](), dict[tuple[object, ...], list[Line]]()
    for line in theirs:
        alike.setdefault(name(line), []).append(line)
    pairs, waiting, left = [], [], []
    for line in ours:
        if same := alike.get(name(line)):
            pairs.append((line, same.pop()))
        else:
            waiting.append(line)
    for same in alike.values():
        for line in same:
            rest.setdefault(line.key, []).append(line)
    for line in waiting:
        if same := rest.get(line.key):
            pairs.append((line, same.pop()))
        else:
            left.append(line)
    return pairs, left, [line for same in rest.values() for line in same]


def _text(line: Line) -> str:
    """The same for lines whose fields are."""
    return repr([sorted(each.items()) if isinstance(each, Mapping) else each for each in line.fields.values()])


def _count(ours: _Page, theirs: _Page, view: _View, left_over: tuple[list[Line], list[Line]]) -> int:
    """By how much the totals differ, of what both must have; 0 too where that cannot be known."""
    is_whole = not ours.is_full and not theirs.is_full
    if ours.total is None or theirs.total is None or not (view.is_total_settled or is_whole):
        return 0
    one, other = (
        (page.total or 0) - sum(not view.is_inside(line) for line in lines)
        for page, lines in zip((ours, theirs), left_over, strict=True)
    )
    if ours.is_capped and theirs.is_capped:
        return 0
    if ours.is_capped:
        return max(0, one - other)
    if theirs.is_capped:
        return max(0, other - one)
    return abs(one - other)


def _order(
    ours: Sequence[Line],
    theirs: Sequence[Line],
    pairs: Sequence[tuple[Line, Line]],
    rank: Callable[[Line], object],
) -> int:
    """Rows of both that are not where the other has them; within a millisecond any order is right."""
    steady = [pair for pair in pairs if rank(pair[0]) == rank(pair[1])]
    mine, others = {id(one) for one, _ in steady}, {id(other) for _, other in steady}
    one = [rank(line) for line in ours if id(line) in mine]
    other = [rank(line) for line in theirs if id(line) in others]
    return sum(at != there for at, there in zip(one, other, strict=True))


def _paired(left: list[Line], right: list[Line]) -> tuple[list[Line], list[Line], list[set[str]]]:
    """Of rows without a fellow, those that are nearly the same, as one row that was changed."""
    if len(left) > MAX_PAIRED or len(right) > MAX_PAIRED:
        return left, right, []
    alone, rest, changed = [], list(right), []
    for line in left:
        near = [(names, other) for other in rest if (names := _key_names(line, other))]
        if not near:
            alone.append(line)
            continue
        names, other = min(near, key=lambda each: len(each[0]))
        rest = [each for each in rest if each is not other]
        changed.append(names | names_of_differences(line.fields, other.fields))
    return alone, rest, changed


def _key_names(one: Line, other: Line) -> set[str]:
    """What differs of what tells two rows of one time; empty if they are not one row."""
    if one.at_ms != other.at_ms:
        return set()
    names = {name for name, a, b in zip(LOG_KEY, one.key, other.key, strict=True) if a != b}
    return names if len(names) <= MAX_PAIR_NAMES else set()
