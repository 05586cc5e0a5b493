"""The lock in Python: whether one document may be told to a tenant, and is of the places that were asked for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.documents import Document, Family, Layout, flat, is_own, span_attributes
from bridge.model import Signal
from query_api.matching import is_within, log_matches
from query_api.opensearch_rows import Hit, log_row, span
from query_api.opensearch_scope import wanted
from query_api.scoping import Asked, Scope
from query_api.storage import LogQuery, LogRow, Span
from query_api.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Readable:
    """`scope` is what the question's places are among our documents, looked up; None where it names none."""

    layout: Layout
    signal: Signal
    tenant: Tenant
    asked: Asked
    scope: Scope | None
    _paths: frozenset[tuple[str, ...]] = field(init=False, repr=False)
    _pairs: frozenset[tuple[str, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """A scope may have thousands of places, and every row asks for its own."""
        scope = self.scope
        rows = () if scope is None else scope.rows
        depth = 0 if scope is None else 1 + scope.depth.by_project + scope.depth.by_component
        object.__setattr__(self, "_paths", frozenset(place[:depth] for place in rows))
        object.__setattr__(self, "_pairs", frozenset((place[0], place[3]) for place in rows))

    def has(self, document: Document, row: LogRow | Span) -> bool:
        """Whether the row of this document may be told."""
        if not self.tenant.covers(row.org, row.project, row.component):
            return False
        if not wanted(self.asked):
            return True
        return self._is_in_scope(row) if is_own(document) else self._is_named(document)

    def _is_in_scope(self, row: LogRow | Span) -> bool:
        if self.scope is None:
            return False
        depth = self.scope.depth
        parts = 1 + depth.by_project + depth.by_component
        return (row.org, row.project, row.component)[:parts] in self._paths and (
            not depth.by_environment or (row.org, row.environment) in self._pairs
        )

    def _is_named(self, document: Document) -> bool:
        said, keys = _said(self.layout, self.signal, document)
        return all(
            any(said.get(key) in values for key in keys[concept]) for concept, values in wanted(self.asked).items()
        )

    def log(self, hit: Hit, query: LogQuery) -> LogRow | None:
        """The row, if it answers the question."""
        row = log_row(self.layout, hit)
        if row is None or not self.has(hit["_source"], row):
            return None
        if query.labels and self.layout.family is Family.BC and not is_own(hit["_source"]):
            query = replace(query, labels=tuple((key.replace(".", "_"), value) for key, value in query.labels))
        return row if log_matches(row, query) else None

    def span(self, hit: Hit, start: int | None = None, end: int | None = None) -> Span | None:
        """The span, if it starts within the times."""
        found = span(self.layout, hit)
        if found is None or not self.has(hit["_source"], found):
            return None
        return found if is_within(found.start_unix_nano, start, end) else None


def _said(
    layout: Layout, signal: Signal, document: Document
) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    if signal is Signal.TRACES:
        return span_attributes(document)[0], layout.attributes
    kubernetes: Any = document.get("kubernetes")
    labels = kubernetes.get("labels") if isinstance(kubernetes, Mapping) else None
    return dict(flat(labels if isinstance(labels, Mapping) else {})), layout.labels
