"""The schema as numbered steps of SQL, and what of it a store lacks. Text in, text out; `clickhouse.py` runs it.

Family A of HyperDX (field notes 2.1 and 2.2) with the tenant's columns first in the order of the tables, so that a
tenant's query reads a tenant's rows. A step once released is never changed: a later one alters what it made. Applied
steps are recorded in `headrace_schema`. Nothing here drops or narrows anything.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Final

from bridge.levels import level_sql

# Text indexes are usable from this version on; older servers get the bloom filter twins (field notes 2.1).
TEXT_INDEX_VERSION: Final = (26, 2)
# Inserts the server remembers by token, per table. At 2 a second this is over an hour of retries.
DEDUPLICATION_WINDOW: Final = 10_000


@dataclass(frozen=True, slots=True)
class SchemaOptions:
    database: str
    logs_ttl_days: int
    traces_ttl_days: int
    cluster: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered change and the record of it; running a step twice changes nothing."""

    number: int
    name: str
    statements: tuple[str, ...]


_STEPS: Final = (
    (1, "logs"),
    (2, "traces"),
    (3, "trace_times"),
    (4, "received_at"),
    (5, "ledger"),
    (6, "places"),
    (7, "level"),
    (8, "migration"),
)


def steps(options: SchemaOptions, server_version: str) -> list[Step]:
    """Every step, rendered for this server."""
    return [_render(number, name, options, has_text_indexes(server_version)) for number, name in _STEPS]


def missing_steps(options: SchemaOptions, server_version: str, recorded: set[int]) -> list[Step]:
    return [step for step in steps(options, server_version) if step.number not in recorded]


def recorded_sql(options: SchemaOptions) -> str:
    return f"SELECT DISTINCT number FROM {options.database}.headrace_schema"  # noqa: S608 - a checked name


def has_text_indexes(server_version: str) -> bool:
    major, minor = server_version.split(".")[:2]
    return (int(major), int(minor)) >= TEXT_INDEX_VERSION


def _render(number: int, name: str, options: SchemaOptions, is_text: bool) -> Step:
    text = _template(f"{number:03d}_{name}.sql").substitute(_variables(options, is_text))
    statements = [part.strip() for part in text.split(";\n") if part.strip()]
    checksum = hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]
    record = (
        f"INSERT INTO {options.database}.headrace_schema (number, name, checksum)"  # noqa: S608 - our own words
        f" VALUES ({number}, '{name}', '{checksum}')"
    )
    return Step(number, name, (*_base(options), *statements, record))


def _base(options: SchemaOptions) -> tuple[str, ...]:
    variables = _variables(options, is_text=False)
    text = _template("000_base.sql").substitute(variables)
    return tuple(part.strip() for part in text.split(";\n") if part.strip())


def _template(name: str) -> Template:
    text = files("sinks").joinpath("schema", name).read_text(encoding="utf-8")
    return Template(re.sub(r"^--.*\n", "", text, flags=re.MULTILINE))


def _variables(options: SchemaOptions, is_text: bool) -> dict[str, str]:
    replicated = "Replicated" if options.cluster else ""
    window = "replicated_deduplication_window" if options.cluster else "non_replicated_deduplication_window"
    return {
        "database": options.database,
        "on_cluster": f" ON CLUSTER '{options.cluster}'" if options.cluster else "",
        "merge_tree": f"{replicated}MergeTree",
        "aggregating_merge_tree": f"{replicated}AggregatingMergeTree",
        "window": f"{window} = {DEDUPLICATION_WINDOW}",
        "logs_ttl_days": str(options.logs_ttl_days),
        "traces_ttl_days": str(options.traces_ttl_days),
        "ledger_ttl_days": str(max(options.logs_ttl_days, options.traces_ttl_days)),
        "logs_indexes": _logs_indexes(is_text),
        "traces_indexes": _traces_indexes(is_text),
        "level": level_sql("SeverityNumber", "SeverityText", "Body"),
    }


def _map_indexes(column: str, short: str, is_text: bool) -> list[str]:
    if is_text:
        items = f"{column.removesuffix('Attributes')}AttributeItems"
        return [
            f"INDEX idx_{short}_key mapKeys({column}) TYPE text(tokenizer = 'array')",
            f"INDEX idx_{short}_items {items} TYPE text(tokenizer = 'array')",
        ]
    return [
        f"INDEX idx_{short}_key mapKeys({column}) TYPE bloom_filter(0.01) GRANULARITY 1",
        f"INDEX idx_{short}_value mapValues({column}) TYPE bloom_filter(0.01) GRANULARITY 1",
    ]


def _logs_indexes(is_text: bool) -> str:
    trace = "text(tokenizer = 'array')" if is_text else "bloom_filter(0.001) GRANULARITY 1"
    body = "text(tokenizer = 'splitByNonAlpha')" if is_text else "tokenbf_v1(32768, 3, 0) GRANULARITY 8"
    lines = [f"INDEX idx_trace_id TraceId TYPE {trace}", f"INDEX idx_lower_body lower(Body) TYPE {body}"]
    for column, short in (
        ("ResourceAttributes", "res_attr"),
        ("ScopeAttributes", "scope_attr"),
        ("LogAttributes", "log_attr"),
    ):
        lines += _map_indexes(column, short, is_text)
    return ",\n    ".join(lines)


def _traces_indexes(is_text: bool) -> str:
    lines = [
        "INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1",
        "INDEX idx_rum_session_id `__hdx_materialized_rum.sessionId` TYPE bloom_filter(0.001) GRANULARITY 1",
        "INDEX idx_duration Duration TYPE minmax GRANULARITY 1",
        "INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8",
    ]
    for column, short in (("ResourceAttributes", "res_attr"), ("SpanAttributes", "span_attr")):
        lines += _map_indexes(column, short, is_text)
    return ",\n    ".join(lines)


def drift(options: SchemaOptions, columns: Mapping[tuple[str, str], str], tables: Mapping[str, str]) -> list[str]:
    """What a store's columns (type by table and name) and create statements (by table) lack of this schema."""
    found: list[str] = []
    for table, wanted in REQUIRED.items():
        if table not in tables:
            found.append(f"table {options.database}.{table} is missing; run `headrace schema apply`")
            continue
        for name, kind in wanted.items():
            have = columns.get((table, name))
            if have is None:
                found.append(f"column {table}.{name} {kind} is missing")
            elif have != kind:
                found.append(f"column {table}.{name} is {have}, not {kind}")
        if not re.search(r"replicated_deduplication_window = [1-9]\d{3,}", tables[table]):
            found.append(f"table {table} has no deduplication window of at least 1000: a repeated insert would double")
    return found


def _typed(kind: str, names: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(names, kind)


_LC: Final = "LowCardinality(String)"
_MAP: Final = "Map(LowCardinality(String), String)"
_TENANT: Final = _typed(_LC, ["OrgId", "ProjectId", "ComponentId", "EnvironmentId", "DataPlaneId"])
# every column that is written, by its type
REQUIRED: Final[Mapping[str, Mapping[str, str]]] = {
    "otel_logs": {
        "Timestamp": "DateTime64(9)",
        **_typed("String", ["TraceId", "SpanId", "Body", "ScopeName", "EventName"]),
        **_typed("UInt8", ["TraceFlags", "SeverityNumber"]),
        **_typed(_LC, ["SeverityText", "ServiceName", "ResourceSchemaUrl", "ScopeSchemaUrl", "ScopeVersion"]),
        **_typed(_MAP, ["ResourceAttributes", "ScopeAttributes", "LogAttributes"]),
        **_TENANT,
        "ReceivedAt": "DateTime64(3)",
    },
    "otel_traces": {
        "Timestamp": "DateTime64(9)",
        **_typed("String", ["TraceId", "SpanId", "ParentSpanId", "TraceState", "ScopeName", "ScopeVersion"]),
        "StatusMessage": "String",
        **_typed(_LC, ["SpanName", "SpanKind", "ServiceName", "StatusCode"]),
        **_typed(_MAP, ["ResourceAttributes", "SpanAttributes"]),
        "Duration": "UInt64",
        "Events.Timestamp": "Array(DateTime64(9))",
        "Events.Name": "Array(LowCardinality(String))",
        "Events.Attributes": f"Array({_MAP})",
        **_typed("Array(String)", ["Links.TraceId", "Links.SpanId", "Links.TraceState"]),
        "Links.Attributes": f"Array({_MAP})",
        **_TENANT,
        "ReceivedAt": "DateTime64(3)",
    },
    "otel_traces_trace_id_ts": {},
    "places": {},
    "ingest_ledger": {
        **_typed("LowCardinality(String)", ["org", "signal", "role"]),
        "instance": "String",
        "partition": "Int32",
        **_typed(
            "SimpleAggregateFunction(max, UInt64)",
            ["received", "refused", "rejected", "appended", "written", "dead_lettered"],
        ),
    },
}
