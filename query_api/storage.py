"""What can be asked of a store, and the values it answers with. One protocol, several stores, one contract suite.

Every read takes the `Tenant` first and never returns a row outside it, whatever the query names: a name, id, label or
cursor of somebody else finds nothing. Nothing found is an empty answer, not an error. Names and ids are both taken for
organisations, projects, components and environments (`Place` holds both). Times are unix nanoseconds, bounds inclusive.

Raises `StoreUnavailable` (cannot be asked now), `QueryTimeout` (did not finish in time), `AnswerTooLarge`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from query_api.tenant import Tenant


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which log records. What is empty or None is not asked for; everything that is must hold, lists are "one of".

    `organization`, `project`, `components`, `environment`: name or canonical id. `phrase`: substring of the body, any
    case. `levels`: canonical levels (`bridge/levels.py`). `versions` and `version_ids` are one list: either may
    hold. `labels`: exact pod labels, however they were prefixed. `vhosts` and `apis` (id to version, empty: any) are a
    gateway's. `is_build`: only rows of build pods. `cursor` goes on behind that row.
    """

    start_unix_nano: int | None = None
    end_unix_nano: int | None = None
    organization: str = ""
    project: str = ""
    components: tuple[str, ...] = ()
    environment: str = ""
    namespace: str = ""
    phrase: str = ""
    levels: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    version_ids: tuple[str, ...] = ()
    build_id: str = ""
    build_uuid: str = ""
    is_build: bool = False
    labels: tuple[tuple[str, str], ...] = ()
    vhosts: tuple[str, ...] = ()
    apis: tuple[tuple[str, str], ...] = ()
    limit: int = 100
    is_descending: bool = True
    cursor: "Position | None" = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Of a row in the order of answers: its time, then two numbers that tell rows of one time apart and stay."""

    time_unix_nano: int
    block: int
    offset: int


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log record. `level` is canonical, empty if nothing says one. Maps are the stored attributes, as texts."""

    position: Position
    body: str
    level: str
    org: str
    project: str
    component: str
    environment: str
    trace_id: str = ""
    span_id: str = ""
    resource: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogPage:
    """`total` counts all rows that match, the cursor aside, up to the store's cap; `is_capped`: there may be more."""

    rows: Sequence[LogRow] = ()
    total: int = 0
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class SpanQuery:
    """Spans of a service (by `service.name`) that start within the times."""

    start_unix_nano: int
    end_unix_nano: int
    service: str
    limit: int = 100
    is_descending: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """One span. `kind` and `status` are the table's words: Server, Client, ...; Unset, Ok, Error."""

    trace_id: str
    span_id: str
    parent_span_id: str
    name: str
    kind: str
    service: str
    start_unix_nano: int
    duration_nano: int
    status: str
    status_message: str = ""
    org: str = ""
    project: str = ""
    component: str = ""
    environment: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    resource: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanPage:
    spans: Sequence[Span] = ()
    total: int = 0
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """Traces with a span of this scope that starts within the times, newest (or oldest) first."""

    start_unix_nano: int
    end_unix_nano: int
    organization: str = ""
    project: str = ""
    component: str = ""
    environment: str = ""
    limit: int = 100
    is_descending: bool = True


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """A trace, of the spans that the tenant may read in the organisations it was asked of.

    The root is the span without a parent, else the earliest one.
    """

    trace_id: str
    span_count: int
    root_span_id: str
    root_span_name: str
    root_span_kind: str
    root_service: str
    start_unix_nano: int
    end_unix_nano: int
    has_errors: bool


@dataclass(frozen=True, slots=True)
class TracePage:
    traces: Sequence[TraceSummary] = ()
    total: int = 0
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class TraceSpansQuery:
    """The spans of one trace; without times, all of them."""

    trace_id: str
    organization: str = ""
    project: str = ""
    component: str = ""
    environment: str = ""
    start_unix_nano: int | None = None
    end_unix_nano: int | None = None
    limit: int = 1000
    is_descending: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where telemetry comes from: canonical ids, and the names they go by (the id where there is no other)."""

    org: str
    project: str
    component: str
    environment: str
    service: str
    org_name: str = ""
    project_name: str = ""
    component_name: str = ""
    environment_name: str = ""
    last_seen_unix_nano: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What one (organisation, project, component) had in a month. Bytes of `_bytes` are of the items themselves;
    `_characters` counts code points (contract 1.9); `_compressed_bytes` is its share of what the tables take on disk.
    """

    org: str
    project: str
    component: str
    logs: int = 0
    log_characters: int = 0
    log_bytes: int = 0
    log_compressed_bytes: int = 0
    spans: int = 0
    span_bytes: int = 0
    span_compressed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class QueryUse:
    """What an organisation's questions took in a month, from the store's query log (zeros where it keeps none)."""

    org: str
    queries: int = 0
    query_seconds: float = 0.0
    cpu_seconds: float = 0.0
    read_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Freshness:
    """Everything of this organisation and signal (`logs`, `traces`) received before that time can be read.

    None: not known. `last_minute_items`: what was received in the last whole minute.
    """

    org: str
    signal: str
    complete_until_unix_nano: int | None
    last_minute_items: int = 0


class StorageProvider(Protocol):
    """A store to read from; see the module's docstring for what holds for every method."""

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        """A page of log records by (time, position)."""
        ...

    def export_logs(self, tenant: Tenant, query: LogQuery, max_rows: int) -> AsyncGenerator[Sequence[LogRow], None]:
        """All matching rows up to `max_rows`, in blocks, oldest first; memory does not grow with their number."""
        ...

    async def spans(self, tenant: Tenant, query: SpanQuery) -> SpanPage:
        """Spans of a service by start time."""
        ...

    async def traces(self, tenant: Tenant, query: TraceQuery) -> TracePage:
        """Trace summaries by start time."""
        ...

    async def trace(self, tenant: Tenant, query: TraceSpansQuery) -> SpanPage:
        """Spans of one trace by start time."""
        ...

    async def span(self, tenant: Tenant, trace_id: str, span_id: str) -> Span | None:
        """One span with all its attributes; None: not there for this tenant."""
        ...

    async def places(self, tenant: Tenant) -> Sequence[Place]:
        """Where this tenant's telemetry comes from, sorted."""
        ...

    async def usage(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[Usage]:
        """Items with a time in [start, end), by place, sorted by the three ids."""
        ...

    async def query_use(self, tenant: Tenant, start_unix_nano: int, end_unix_nano: int) -> Sequence[QueryUse]:
        """Questions asked in [start, end), by organisation, sorted."""
        ...

    async def freshness(self, tenant: Tenant) -> Sequence[Freshness]:
        """By organisation and signal, sorted."""
        ...

    async def complete_until(self) -> Mapping[str, int]:
        """By signal: everything of any organisation received before that unix nanosecond is stored. Nobody's data."""
        ...

    async def ping(self) -> None:
        """Return if the store answers. Raises `StoreUnavailable`."""
        ...
