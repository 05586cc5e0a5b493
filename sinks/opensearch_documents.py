"""Rows to documents: one span or log record each, as the Observers of a family find them (`bridge/documents.py`). Pure.

The same row gives the same document and the same `_id` whenever it is written, in whatever batch.
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson
import pyarrow as pa

from bridge.documents import MAX_TERM_CHARACTERS, OWN, Family, Layout
from bridge.fields import FIELDS, labels_of, value_of
from bridge.levels import level_of
from bridge.model import Batch, Signal
from bridge.rfc3339 import MAX_UNIX_NANO, SECOND, format_time

Row = dict[str, Any]
# Labels of family A that an Observer filters by (contract 2.2), and whose paths are therefore mapped.
KNOWN_LABELS: Final = (
    *("organization-name", "project-name", "component-name", "environment-name"),
    *("version", "version_id", "build-name", "uuid", "target", "pipeline-id", "run_id", "workflow_name"),
)
# Of the resource of family BC's spans (contract 2.6).
KNOWN_ATTRIBUTES: Final = (
    *(f"openchoreo.dev/{name}-uid" for name in ("component", "project", "environment")),
    *("openchoreo.dev/namespace", "service.name", "k8s.namespace.name", "k8s.pod.name"),
)
# In the row they stand elsewhere in the document.
_TOLD: Final = frozenset({"Timestamp", "Body", "ReceivedAt"})
# What stands for a NUL in `log` (bridge/documents.py).
NO_NUL: Final = "\ufffd"
_NAMES: Final = ("organization", "project", "component", "environment")
_ID_BYTES: Final = 15
# OpenSearch maps 20 levels; some are above the key.
_MAX_LEVELS: Final = 15
_DAY: Final = 86_400 * SECOND
# As Python's objects a row is many times its columns, and holds texts of its own that the columns share.
_ROWS_AT_ONCE: Final = 32
_STATUS_CODES: Final = {"Unset": 0, "Ok": 1, "Error": 2}


@dataclass(frozen=True, slots=True)
class Item:
    """One document: where it goes, under which name, its JSON, and the number of its row in the batch."""

    index: str
    id: str
    source: bytes
    row: int


@dataclass(frozen=True, slots=True)
class Documents:
    """Makes them. `indexed_labels`: pod labels that family A's indices map beside the known ones."""

    layout: Layout
    indexed_labels: tuple[str, ...] = ()

    def indices(self, batch: Batch, kept: Sequence[int] | None = None) -> frozenset[str]:
        """Where the documents of `of` go."""
        times = batch.table.column("Timestamp").cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_numpy()
        days = np.unique((times if kept is None else times[np.asarray(kept, np.int64)]) // _DAY)
        return frozenset(self.layout.index(batch.signal, int(day) * _DAY) for day in days)

    def of(self, batch: Batch, kept: Sequence[int] | None = None) -> Iterator[Item]:
        """A document for each row, or for the rows whose numbers are `kept`, in order."""
        make = self._log if batch.signal is Signal.LOGS else self._span
        names, table = batch.row_names(), batch.table
        numbers: Sequence[int] = range(table.num_rows) if kept is None else kept
        if kept is not None:
            table = table.take(pa.array(kept, pa.int64()))
        for number, row in zip(numbers, rows_of(table), strict=True):
            digest = hashlib.blake2b(names[number].encode(), digest_size=_ID_BYTES).digest()
            document = make(row)
            document[OWN] |= {"sequence": int.from_bytes(digest[:8], "big") >> 4}
            index = self.layout.index(batch.signal, row["Timestamp"])
            yield Item(index, base64.urlsafe_b64encode(digest).decode(), orjson.dumps(document), number)

    def _log(self, row: Row) -> Row:
        resource, attributes, body = row["ResourceAttributes"], row["LogAttributes"], row["Body"]
        kubernetes = {
            "namespace_name": value_of("namespace", resource, attributes),
            "pod_name": value_of("pod_name", resource, attributes),
            "pod_id": value_of("pod_id", resource, attributes),
            "container_name": value_of("container", resource, attributes),
            "host": resource.get("k8s.node.name", ""),
            "container_image": resource.get("container.image.name", ""),
            "docker_id": resource.get("container.id", ""),
        }
        own = {
            "level": level_of(row["SeverityNumber"], row["SeverityText"], body),
            **{field: value_of(field, resource, attributes) for field in FIELDS},
            "body_bytes": len(body.encode()),
            "body_characters": len(body),
            "trace_id": row["TraceId"],
            "span_id": row["SpanId"],
        }
        stream = attributes.get("log.iostream") or attributes.get("stream")
        return {
            "@timestamp": format_time(row["Timestamp"]),
            "log": body.replace("\x00", NO_NUL),
            **({"stream": stream} if stream else {}),
            "kubernetes": {**_filled(kubernetes), "labels": self._labels(row)},
            OWN: _own(row, own),
        }

    def _labels(self, row: Row) -> dict[str, str]:
        """The pod's labels, and those that an Observer finds its place by, in the family's spelling."""
        labels, ids = labels_of(row["ResourceAttributes"]), _places(row)
        if self.layout.family is Family.BC:
            found = {field_name(key.replace(".", "_")): value for key, value in labels.items()}
            return _filled(found | _openchoreo("openchoreo_dev", ids))
        placed = {f"{concept}-name": name for concept, (_, name) in ids.items()}
        found = {**placed, **labels}
        return _filled(parsed_apart(found, (*KNOWN_LABELS, *self.indexed_labels)))

    def _span(self, row: Row) -> Row:
        start = row["Timestamp"]
        end = min(start + row["Duration"], MAX_UNIX_NANO)  # a duration has 64 bits; the row keeps it as it is
        common = {
            "traceId": row["TraceId"],
            "spanId": row["SpanId"],
            "parentSpanId": row["ParentSpanId"],
            "traceState": row["TraceState"],
            "name": row["SpanName"],
            "startTime": format_time(start),
            "endTime": format_time(end),
        }
        own = {"service": row["ServiceName"]}
        make = self._span_bc if self.layout.family is Family.BC else self._span_a
        return {**common, **make(row), OWN: _own(row, own)}

    def _span_a(self, row: Row) -> Row:
        def data_prepper(attributes: Mapping[str, str]) -> dict[str, str]:
            return {field_name(key.replace(".", "@")): value for key, value in attributes.items()}

        return {
            "kind": f"SPAN_KIND_{row['SpanKind'].upper()}",
            "serviceName": row["ServiceName"],
            "durationInNanos": min(row["Duration"], MAX_UNIX_NANO),
            "status": {"code": _STATUS_CODES.get(row["StatusCode"], 0), "message": row["StatusMessage"]},
            **({"traceGroup": row["SpanName"]} if not row["ParentSpanId"] else {}),
            "resource": {"attributes": data_prepper(row["ResourceAttributes"])},
            "span": {"attributes": data_prepper(row["SpanAttributes"])},
            "events": _events(row, "time"),
            "links": _links(row),
        }

    def _span_bc(self, row: Row) -> Row:
        placed = _openchoreo("openchoreo.dev", _places(row))
        resource = {**placed, **row["ResourceAttributes"]}
        resource |= {key: value for key, value in placed.items() if key != "openchoreo.dev/namespace"}
        return {
            "@timestamp": format_time(row["Timestamp"]),
            "kind": row["SpanKind"],
            "status": {"code": row["StatusCode"], "message": row["StatusMessage"]},
            "resource": _filled(parsed_apart(resource, KNOWN_ATTRIBUTES)),
            "attributes": _named(row["SpanAttributes"]),
            "events": _events(row, "@timestamp"),
            "links": _links(row),
            "instrumentationScope": {"name": row["ScopeName"], "version": row["ScopeVersion"]},
        }


def parsed_apart(labels: Mapping[str, str], mapped: Sequence[str]) -> dict[str, str]:
    """Labels under names that OpenSearch can parse beside the mapped ones: where it cannot, dots become underscores.

    A dot in a key is a level to it: `app` cannot be a text where `app.kubernetes.io/name` is mapped, nor
    `version.x` stand where `version` is one.
    """
    ways = set(mapped)
    above = {key[:place] for key in mapped for place, char in enumerate(key) if char == "."}
    found = {}
    for label, value in labels.items():
        key = field_name(label)
        is_below = any(key[:place] in ways for place, char in enumerate(key) if char == ".")
        found[key.replace(".", "_") if is_below else f"{key}_" if key in above else key] = value
    return found


def field_name(key: str) -> str:
    """The key if it can name a field, else the nearest that can: OpenSearch takes no blank name, nor a blank level."""
    levels = key.split(".")
    if len(levels) > 1 and (len(levels) > _MAX_LEVELS or not all(level.strip() for level in levels)):
        key = "_".join(levels)
    return key if key.strip() else "_"


def rows_of(table: pa.Table) -> Iterator[Row]:
    """A table's rows by column name: times as unix nanoseconds, maps as dictionaries."""
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        yield from _rows_of(table.slice(start, _ROWS_AT_ONCE))


def _rows_of(table: pa.Table) -> Iterator[Row]:
    columns = []
    for name in table.schema.names:
        column = table.column(name).combine_chunks()
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64())
        elif pa.types.is_list(column.type) and pa.types.is_timestamp(column.type.value_type):
            column = column.cast(pa.list_(pa.int64()))
        values = column.to_pylist()
        columns.append([dict(value) for value in values] if pa.types.is_map(column.type) else values)
    for row in zip(*columns, strict=True):
        yield dict(zip(table.schema.names, row, strict=True))


def _places(row: Row) -> dict[str, tuple[str, str]]:
    """Id and name of organisation, project, component and environment; the id where there is no other name."""
    columns = ("OrgId", "ProjectId", "ComponentId", "EnvironmentId")
    resource = row["ResourceAttributes"]
    return {
        concept: (row[column], resource.get(f"{concept}.name") or row[column])
        for concept, column in zip(_NAMES, columns, strict=True)
    }


def _openchoreo(prefix: str, places: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Where a row of family BC belongs, as far as it says."""
    found = {f"{prefix}/namespace": places["organization"][1]}
    for concept in _NAMES[1:]:
        id_, name = places[concept]
        found |= {f"{prefix}/{concept}-uid": id_, f"{prefix}/{concept}": name}
    return _filled(found)


def _named(attributes: Mapping[str, str]) -> dict[str, str]:
    return {field_name(key): value for key, value in attributes.items()}


def _own(row: Row, more: Mapping[str, Any]) -> Row:
    resource = row["ResourceAttributes"]
    (org, org_name), (project, project_name), (component, component_name), (environment, environment_name) = _places(
        row
    ).values()
    own = {
        "org": org,
        "project": project,
        "component": component,
        "environment": environment,
        "org_name": org_name,
        "project_name": project_name,
        "component_name": component_name,
        "environment_name": environment_name,
        "plane": row["DataPlaneId"],
        "time_unix_nano": row["Timestamp"],
        "received_unix_milli": row["ReceivedAt"] // 1_000_000,
        "service": row["ServiceName"],
        "labels": [f"{key}={value}"[:MAX_TERM_CHARACTERS] for key, value in resource.items()],
        **more,
    }
    told = _TOLD - {"Body"} if "\x00" in row.get("Body", "") else _TOLD
    kept = {name: value for name, value in row.items() if name not in told and value not in ("", 0, None)}
    return {**_filled(own), "row": {name: value for name, value in kept.items() if value not in ({}, [])}}


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", None)}


def _events(row: Row, time: str) -> list[Row]:
    columns = (row["Events.Timestamp"], row["Events.Name"], row["Events.Attributes"])
    return [
        {"name": name, time: format_time(at), "attributes": _named(dict(attributes))}
        for at, name, attributes in zip(*columns, strict=True)
    ]


def _links(row: Row) -> list[Row]:
    columns = (row["Links.TraceId"], row["Links.SpanId"], row["Links.TraceState"], row["Links.Attributes"])
    return [
        {"traceId": trace_id, "spanId": span_id, "traceState": state, "attributes": _named(dict(attributes))}
        for trace_id, span_id, state, attributes in zip(*columns, strict=True)
    ]
