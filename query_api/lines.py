"""Rows of two stores in one shape, so that they can be held against each other. Pure.

Times are milliseconds: one of the stores sorts, and for old documents keeps, no more. Positions are a store's own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from query_api.storage import LogRow, Place, Span, TraceSummary, Usage

MS: Final = 1_000_000
_KIND: Final = "(organization|project|component|environment)"
# What the enricher writes anew (enrichers/tenancy.py), and a store of others' documents has as they said it.
_PLACE: Final = re.compile(
    rf"(k8s\.pod\.labels?\.|kubernetes\.labels\.)?"
    rf"(openchoreo[._]dev/(namespace|{_KIND})(-uid)?|openchoreo\.{_KIND}|{_KIND}([.-](id|name))?)|data_plane\.id"
)
LOG_KEY: Final = ("time", "org", "project", "component", "environment", "body", "trace_id", "span_id")
Fields = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Line:
    """One row. `key` tells it from others, `fields` are compared where the keys are the same.

    `at_ms` is what it is sorted by, `until_ms` the last millisecond that decides whether a question touches it.
    `ends_unix_nano`: it cannot have been received before that.
    """

    key: tuple[object, ...]
    fields: Fields = field(default_factory=dict)
    at_ms: int = 0
    until_ms: int = 0
    ends_unix_nano: int = 0


def log_lines(rows: Sequence[LogRow]) -> list[Line]:
    """By `LOG_KEY`: a log record has no id."""
    return [_log(row) for row in rows]


def _log(row: LogRow) -> Line:
    at_ms = row.position.time_unix_nano // MS
    key = (at_ms, row.org, row.project, row.component, row.environment, row.body, row.trace_id, row.span_id)
    fields = {"level": row.level, "resource": _besides_place(row.resource), "attributes": row.attributes}
    return Line(key, fields, at_ms, at_ms, row.position.time_unix_nano)


def span_lines(spans: Sequence[Span]) -> list[Line]:
    """By trace and span id."""
    return [_span(span) for span in spans]


def _span(span: Span) -> Line:
    at_ms = span.start_unix_nano // MS
    fields = {
        "start": at_ms,
        "duration": span.duration_nano // MS,
        **{
            name: getattr(span, name)
            for name in (
                "parent_span_id",
                "name",
                "kind",
                "service",
                "status",
                "status_message",
                "org",
                "project",
                "component",
                "environment",
                "attributes",
            )
        },
        "resource": _besides_place(span.resource),
    }
    return Line((span.trace_id, span.span_id), fields, at_ms, at_ms, span.start_unix_nano + span.duration_nano)


def _besides_place(resource: Mapping[str, str]) -> Mapping[str, str]:
    """Without what says where it belongs: that is compared by canonical ids, and spelled as the store has it."""
    return {key: value for key, value in resource.items() if not _PLACE.fullmatch(key)}


def trace_lines(traces: Sequence[TraceSummary]) -> list[Line]:
    """By trace id."""
    return [_trace(trace) for trace in traces]


def _trace(trace: TraceSummary) -> Line:
    """The end is told roughly: a start without its microseconds and a duration with them add up to 1 ms less."""
    at_ms, end_ms = trace.start_unix_nano // MS, trace.end_unix_nano // MS
    fields = {
        "start": at_ms,
        "end": Roughly(end_ms),
        "span_count": trace.span_count,
        "root_span_id": trace.root_span_id,
        "root_span_name": trace.root_span_name,
        "root_span_kind": trace.root_span_kind,
        "root_service": trace.root_service,
        "has_errors": trace.has_errors,
    }
    return Line((trace.trace_id,), fields, at_ms, end_ms, trace.end_unix_nano)


@dataclass(frozen=True, slots=True, eq=False)
class Roughly:
    """Equal to its neighbours."""

    value: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Roughly) and abs(self.value - other.value) <= 1

    __hash__ = None  # type: ignore[assignment]  # what is equal roughly has no hash


def place_lines(places: Sequence[Place]) -> list[Line]:
    """By the ids; when a place was last seen is as exact as its store likes."""
    return [
        Line(
            (place.org, place.project, place.component, place.environment, place.service),
            {
                "org_name": place.org_name,
                "project_name": place.project_name,
                "component_name": place.component_name,
                "environment_name": place.environment_name,
            },
        )
        for place in places
    ]


def usage_lines(usages: Sequence[Usage]) -> list[Line]:
    """By the ids; what a store takes on disk is its own. A size of 0 is one that is not known."""
    return [
        Line(
            (usage.org, usage.project, usage.component),
            {
                "logs": usage.logs,
                "log_characters": Known(usage.log_characters),
                "log_bytes": Known(usage.log_bytes),
                "spans": usage.spans,
                "span_bytes": Known(usage.span_bytes),
            },
        )
        for usage in usages
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """Equal to what is not known: 0."""

    value: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and (self.value == other.value or 0 in (self.value, other.value))

    __hash__ = None  # type: ignore[assignment]  # as above


def names_of_differences(ours: Fields, theirs: Fields) -> set[str]:
    """Names of fields that differ; of a map, those of its keys. Never a value."""
    return {
        name
        for field_name, value in ours.items()
        if value != (other := theirs[field_name])
        for name in _names(field_name, value, other)
    }


def _names(name: str, ours: object, theirs: object) -> set[str]:
    if not isinstance(ours, Mapping) or not isinstance(theirs, Mapping):
        return {name}
    return {f"{name}.{key}"[:100] for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
