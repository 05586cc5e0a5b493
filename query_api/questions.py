"""A question to a store as a value: asked of either of two, compared, and told in the log without anybody's data."""

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

from bridge.rfc3339 import format_time
from query_api.storage import (
    Freshness,
    LogPage,
    LogQuery,
    LogRow,
    Place,
    Position,
    QueryUse,
    Span,
    SpanPage,
    SpanQuery,
    StorageProvider,
    TracePage,
    TraceQuery,
    TraceSpansQuery,
    Usage,
)
from query_api.tenant import Tenant

# An export is held to be compared up to so many rows, and characters of their bodies and attributes.
HELD_ROWS: Final = 10_000
HELD_CHARACTERS: Final = 8 << 20


class Method(StrEnum):
    """Of `StorageProvider`, those that ask within a tenant."""

    LOGS = "logs"
    EXPORT_LOGS = "export_logs"
    SPANS = "spans"
    TRACES = "traces"
    TRACE = "trace"
    SPAN = "span"
    PLACES = "places"
    USAGE = "usage"
    QUERY_USE = "query_use"
    FRESHNESS = "freshness"


# What a store says of itself alone (its query log, its ledger) has nothing to be compared with.
COMPARED: Final = frozenset(Method) - {Method.QUERY_USE, Method.FRESHNESS}


@dataclass(frozen=True, slots=True)
class Export:
    """Of `export_logs`."""

    query: LogQuery
    max_rows: int

    @property
    def held_rows(self) -> int:
        """As many rows are compared."""
        return min(self.max_rows, HELD_ROWS)


@dataclass(frozen=True, slots=True)
class SpanId:
    """Of `span`."""

    trace_id: str
    span_id: str


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end)."""

    start_unix_nano: int
    end_unix_nano: int


Query = LogQuery | Export | SpanQuery | TraceQuery | TraceSpansQuery | SpanId | Period | None
Rows = Sequence[LogRow] | Sequence[Place] | Sequence[Usage] | Sequence[QueryUse] | Sequence[Freshness]
Answer = LogPage | SpanPage | TracePage | Span | Rows | None


class TooLong(Exception):
    """More rows than are held to be compared."""


@dataclass(frozen=True, slots=True)
class Question:
    """`query` has the type that the method asks for."""

    method: Method
    tenant: Tenant
    query: Query = None

    @property
    def organization(self) -> str:
        """The name or id of the organisation asked for; empty: none is named."""
        query = self.query.query if isinstance(self.query, Export) else self.query
        return query.organization if isinstance(query, LogQuery | TraceQuery | TraceSpansQuery) else ""

    @property
    def cursor(self) -> Position | None:
        """Where a page before has ended."""
        return self.query.cursor if isinstance(self.query, LogQuery) else None

    def told(self) -> dict[str, object]:
        """What was asked, for the log: no phrase, no label's value, nothing that is empty."""
        query = self.query.query if isinstance(self.query, Export) else self.query
        if query is None:
            return {}
        named = [(each.name, getattr(query, each.name)) for each in fields(query)]
        return dict(_told(name, value) for name, value in named if value not in ("", (), None))


async def ask(storage: StorageProvider, question: Question) -> Answer:
    """The store's answer; an export's rows whole. Raises what the store raises, and `TooLong`."""
    tenant = question.tenant
    match question.query:
        case Export() as export:
            return await _exported(storage, tenant, export)
        case LogQuery() as query:
            return await storage.logs(tenant, query)
        case SpanQuery() as query:
            return await storage.spans(tenant, query)
        case TraceQuery() as query:
            return await storage.traces(tenant, query)
        case TraceSpansQuery() as query:
            return await storage.trace(tenant, query)
        case SpanId(trace_id, span_id):
            return await storage.span(tenant, trace_id, span_id)
        case Period(start, end):
            ask_of_period = storage.usage if question.method is Method.USAGE else storage.query_use
            return await ask_of_period(tenant, start, end)
        case None:
            return await (storage.places if question.method is Method.PLACES else storage.freshness)(tenant)


async def _exported(storage: StorageProvider, tenant: Tenant, export: Export) -> list[LogRow]:
    held = Held()
    async with aclosing(storage.export_logs(tenant, export.query, export.held_rows)) as blocks:
        async for block in blocks:
            held.add(block)
            if held.is_too_long:
                raise TooLong
    return held.rows


class Held:
    """An export's rows, kept while they go by, as long as they are few. Nothing is worked out in the meantime."""

    def __init__(self) -> None:
        self.rows: list[LogRow] = []
        self.is_too_long = False
        self._characters = 0

    def add(self, block: Sequence[LogRow]) -> None:
        """Keep these too, or let go of all of them."""
        if self.is_too_long:
            return
        self.rows += block
        self._characters += sum(map(_characters, block))
        if len(self.rows) > HELD_ROWS or self._characters > HELD_CHARACTERS:
            self.rows, self.is_too_long = [], True


def _characters(row: LogRow) -> int:
    maps = (row.resource, row.attributes)
    return len(row.body) + sum(len(key) + len(value) for each in maps for key, value in each.items())


def _told(name: str, value: Any) -> tuple[str, object]:
    if name.endswith("_unix_nano"):
        return name.removesuffix("_unix_nano"), format_time(value)
    if name == "phrase":
        return "phrase_characters", len(value)
    if name == "labels":
        return "label_keys", [key[:100] for key, _ in value]
    if name in ("vhosts", "apis", "cursor", "components") and not (name == "components" and len(value) <= 3):
        return f"{name}_count", len(value) if isinstance(value, tuple) else 1
    return name, value[:200] if isinstance(value, str) else value
