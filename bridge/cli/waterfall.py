"""The spans of a trace as lines: a tree by parent, and where in the trace's time each one is. Pure.

Spans are what others sent: parents may be missing, ids doubled, and parents and children of each other. Every span
becomes exactly one line whatever the graph is.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.cli.moments import parse_moment
from query_api.storage import Span


@dataclass(frozen=True, slots=True)
class Line:
    """A span, `depth` levels below its root. Without a span: a parent that is named but cannot be read, as a root.

    `start` and `length` are shares of the trace's time, within 0 and 1 together. `is_in_circle`: the span is above
    itself, and became a root because something had to.
    """

    span: Span | None
    depth: int
    start: float
    length: float
    missing_id: str = ""
    is_in_circle: bool = False


@dataclass(frozen=True, slots=True)
class Waterfall:
    """Of a trace from its first start to its last end."""

    lines: Sequence[Line]
    start_unix_nano: int = 0
    duration_nano: int = 0


@dataclass(frozen=True, slots=True)
class _Root:
    """Where a tree starts: a span by its index, or an id that only its children name."""

    start_unix_nano: int
    end_unix_nano: int
    index: int = -1
    missing_id: str = ""


def span_of(trace_id: str, fields: Mapping[str, Any]) -> Span:
    """A span of the contract's answer; what is not told is empty. Raises `ValueError` if a time cannot be read."""
    status, resource = _object(fields.get("status")), _object(fields.get("resourceAttributes"))
    start = parse_moment(str(fields.get("startTime")))
    duration = fields.get("durationNs")
    if not isinstance(duration, int):
        duration = parse_moment(str(fields.get("endTime"))) - start
    return Span(
        trace_id,
        str(fields.get("spanId") or ""),
        str(fields.get("parentSpanId") or ""),
        str(fields.get("spanName") or ""),
        str(fields.get("spanKind") or ""),
        str(resource.get("service.name") or ""),
        start,
        max(duration, 0),
        str(status.get("code") or "unset").capitalize(),
        str(status.get("message") or ""),
        attributes={str(key): str(value) for key, value in _object(fields.get("attributes")).items()},
    )


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def waterfall(spans: Sequence[Span]) -> Waterfall:
    """One line a span, parents before children, siblings and roots by start."""
    if not spans:
        return Waterfall(())
    first = min(span.start_unix_nano for span in spans)
    duration = max(_end(span) for span in spans) - first
    order = sorted(range(len(spans)), key=lambda index: (spans[index].start_unix_nano, spans[index].span_id, index))
    children: dict[str, list[int]] = {}
    for index in order:
        children.setdefault(spans[index].parent_span_id, []).append(index)
    tree = _Tree(spans, children, first, max(duration, 1))
    for root in sorted(_roots(spans, order, children), key=lambda root: root.start_unix_nano):
        tree.add(root)
    by_id = {spans[index].span_id: index for index in reversed(order)}
    for index in order:  # those that are left hang below a circle
        if index not in tree.placed:
            top = _in_circle_above(spans, by_id, index)
            tree.add(_Root(spans[top].start_unix_nano, _end(spans[top]), top), is_in_circle=True)
    return Waterfall(tree.lines, first, duration)


def _roots(spans: Sequence[Span], order: Iterable[int], children: Mapping[str, Sequence[int]]) -> list[_Root]:
    ids = {span.span_id for span in spans}
    roots = [_Root(spans[i].start_unix_nano, _end(spans[i]), i) for i in order if not spans[i].parent_span_id]
    for parent, orphans in children.items():
        if parent and parent not in ids:
            end = max(_end(spans[index]) for index in orphans)
            roots.append(_Root(spans[orphans[0]].start_unix_nano, end, missing_id=parent))
    return roots


def _in_circle_above(spans: Sequence[Span], by_id: Mapping[str, int], index: int) -> int:
    """The first span that is met twice on the way up, which has no end: only below a circle is a span still left."""
    met: set[int] = set()
    while index not in met:
        met.add(index)
        index = by_id[spans[index].parent_span_id]
    return index


class _Tree:
    """Lines as they are found; `placed` are the spans that have one."""

    def __init__(self, spans: Sequence[Span], children: dict[str, list[int]], start: int, duration: int) -> None:
        self.lines: list[Line] = []
        self.placed: set[int] = set()
        self._spans = spans
        self._children = children
        self._start = start
        self._duration = duration

    def add(self, root: _Root, *, is_in_circle: bool = False) -> None:
        """The root and all below it, with a stack of our own: a chain may be longer than Python's."""
        stack: list[tuple[int, int]] = []
        if root.index >= 0:
            stack.append((root.index, 0))
        else:
            start, length = self._share(root.start_unix_nano, root.end_unix_nano)
            self.lines.append(Line(None, 0, start, length, missing_id=root.missing_id))
            stack += self._below(root.missing_id, 1)
        while stack:
            index, depth = stack.pop()
            if index in self.placed:
                continue
            self.placed.add(index)
            span = self._spans[index]
            start, length = self._share(span.start_unix_nano, _end(span))
            self.lines.append(Line(span, depth, start, length, is_in_circle=is_in_circle and depth == 0))
            stack += self._below(span.span_id, depth + 1)

    def _below(self, span_id: str, depth: int) -> list[tuple[int, int]]:
        """Taken by the first span of that id, so that the children of a doubled one are shown once; first one last."""
        found = self._children.pop(span_id, []) if span_id else []
        return [(index, depth) for index in reversed(found)]

    def _share(self, start: int, end: int) -> tuple[float, float]:
        return (start - self._start) / self._duration, (end - start) / self._duration


def _end(span: Span) -> int:
    return span.start_unix_nano + max(span.duration_nano, 0)


def bar_cells(start: float, length: float, width: int) -> tuple[int, int]:
    """First cell and number of cells of a bar in `width` cells: at least one, never outside."""
    first = min(max(int(start * width), 0), width - 1)
    last = min(max(round((start + length) * width), first + 1), width)
    return first, last - first
