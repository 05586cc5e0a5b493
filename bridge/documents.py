"""Documents of OpenSearch as the Observers read them, and what Headrace adds: shared by who writes and who reads them.

Two families (contract 2.1-2.3, 2.6). A: `kubernetes-YYYY.MM.DD`, labels as the pod has them, filters on `.keyword`
sub-fields, spans as Data Prepper's. BC: `container-logs-YYYY-MM-DD`, dots in label keys replaced by underscores, labels
are keywords, spans as the collector's opensearch exporter writes them (`otel-traces-YYYY-MM-DD`).

Headrace writes either, and into each document one object more, `headrace` (`OWN`), which an Observer ignores and from
which a row of ClickHouse can be made again, exactly. Documents without it were written by others: what they say is read
by the paths here.

    headrace.org, project, component, environment           keyword  canonical ids
    headrace.org_name, project_name, ...                    keyword  what they are called, where that is known
    headrace.plane                                          keyword
    headrace.time_unix_nano, received_unix_milli            long     `@timestamp` sorts by milliseconds only
    headrace.sequence                                       long     60 bits made of `_id`: tells rows of one time apart
    headrace.level (logs), service, trace_id, span_id       keyword  one canonical level (bridge/levels.py)
    headrace.namespace, version, version_id, build_id, ...  keyword  every field of bridge/fields.py that is not empty
    headrace.labels                                         keyword  "key=value" of the resource's attributes
    headrace.body_bytes, body_characters (logs)             integer
    headrace.row                                            not indexed: the columns of the row, by their names

A `log` has no NUL: OpenSearch 2.19 never ends indexing a wildcard field in which one stands near a character outside
the basic plane. The body as it was sent is then in `headrace.row` (`body_of`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import orjson

from bridge.model import Signal
from bridge.rfc3339 import SECOND, unix_nano_of

Document = Mapping[str, Any]
OWN: Final = "headrace"
# Attribute texts longer than this are not indexed, but kept (Lucene: a term has at most 32,766 bytes).
MAX_TERM_CHARACTERS: Final = 8_000
# Above this many days a window is asked as a pattern: a path of names has its limit.
MAX_NAMED_DAYS: Final = 60


class Family(StrEnum):
    A = "a"
    BC = "bc"


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of indices and fields of one family.

    `labels`: what a document of others says of a concept, as keys of `kubernetes.labels`, best first; `attributes` the
    same for spans, as keys of their resource. `keyword` is put behind a label's path to compare it whole.
    """

    family: Family
    logs_prefix: str
    spans_prefix: str
    day_format: str
    keyword: str
    labels: Mapping[str, tuple[str, ...]]
    attributes: Mapping[str, tuple[str, ...]]

    def prefix(self, signal: Signal) -> str:
        return self.logs_prefix if signal is Signal.LOGS else self.spans_prefix

    def pattern(self, signal: Signal) -> str:
        """All indices of a signal."""
        return f"{self.prefix(signal)}*"

    def index(self, signal: Signal, at_unix_nano: int) -> str:
        """The UTC day's."""
        day = datetime.fromtimestamp(at_unix_nano // SECOND, UTC)
        return f"{self.prefix(signal)}{day.strftime(self.day_format)}"

    def day_of(self, signal: Signal, index: str) -> date | None:
        """The UTC day of an index by its name; None: it has none, as `otel-v1-apm-span-000001`."""
        try:
            return (
                datetime.strptime(index.removeprefix(self.prefix(signal)), self.day_format).replace(tzinfo=UTC).date()
            )
        except ValueError:
            return None

    def indices(self, signal: Signal, start_unix_nano: int | None, end_unix_nano: int | None) -> str:
        """Where documents of these times are, for a path with `ignore_unavailable`; bounds inclusive, UTC days.

        Spans of family A may be in numbered indices, which no time names.
        """
        is_numbered = self.family is Family.A and signal is Signal.TRACES
        if start_unix_nano is None or end_unix_nano is None or is_numbered:
            return self.pattern(signal)
        first, last = (datetime.fromtimestamp(at // SECOND, UTC).date() for at in (start_unix_nano, end_unix_nano))
        days = (last - first).days + 1
        if not 0 < days <= MAX_NAMED_DAYS:
            return self.pattern(signal)
        names = ((first + timedelta(days=day)).strftime(self.day_format) for day in range(days))
        return ",".join(f"{self.prefix(signal)}{name}" for name in names)


_PLACE_A: Final = {
    "org": ("organization-name",),
    "project": ("project-name",),
    "component": ("component-name",),
    "environment": ("environment-name",),
    "version": ("version",),
    "version_id": ("version_id",),
    "build_id": ("build-name",),
    "build_uuid": ("uuid",),
    "target": ("target",),
}
_PLACE_BC: Final = {
    **_PLACE_A,
    "org": ("openchoreo_dev/namespace",),
    "project": ("openchoreo_dev/project-uid", "openchoreo_dev/project"),
    "component": ("openchoreo_dev/component-uid", "openchoreo_dev/component"),
    "environment": ("openchoreo_dev/environment-uid", "openchoreo_dev/environment"),
}
_SPAN_PLACE: Final = {
    "org": ("organization.id", "openchoreo.dev/namespace"),
    "project": ("project.id", "openchoreo.dev/project-uid", "openchoreo.dev/project"),
    "component": ("component.id", "openchoreo.dev/component-uid", "openchoreo.dev/component"),
    "environment": ("environment.id", "openchoreo.dev/environment-uid", "openchoreo.dev/environment"),
}
CONCEPTS: Final = ("org", "project", "component", "environment")


def layout_of(family: Family, logs_prefix: str | None = None, spans_prefix: str | None = None) -> Layout:
    """The family's, with other prefixes where they are given."""
    if family is Family.A:
        return Layout(
            family,
            logs_prefix or "kubernetes-",
            spans_prefix or "otel-v1-apm-span-",
            "%Y.%m.%d",
            ".keyword",
            _PLACE_A,
            _SPAN_PLACE,
        )
    return Layout(
        family,
        logs_prefix or "container-logs-",
        spans_prefix or "otel-traces-",
        "%Y-%m-%d",
        "",
        _PLACE_BC,
        _SPAN_PLACE,
    )


def is_own(document: Document) -> bool:
    """Whether Headrace has written it."""
    return isinstance(document.get(OWN), Mapping) and isinstance(document[OWN].get("row"), Mapping)


def text_at(document: Document, *path: str) -> str:
    """The text of a path; empty if something else or nothing is there."""
    value: Any = document
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, str) else ""


def body_of(document: Document) -> str:
    """The body of a log document: as it was sent, of ours."""
    own = document.get(OWN)
    kept = text_at(own, "row", "Body") if isinstance(own, Mapping) else ""
    return kept or text_at(document, "log")


def time_of(text: object) -> int:
    """Unix nanoseconds of a document's time, text or epoch milliseconds; 0 if it is neither."""
    if isinstance(text, int | float):
        return int(text) * 1_000_000
    try:
        return unix_nano_of(text) if isinstance(text, str) else 0
    except ValueError:
        return 0


def flat(value: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of an object as dotted keys and texts, as attributes are written; lists are left out."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, bool):
        yield prefix, "true" if value else "false"
    elif isinstance(value, str | int | float) and prefix:
        yield prefix, str(value)


def log_resource(document: Document) -> dict[str, str]:
    """Resource attributes of a log document of others: what `kubernetes` says, in OpenTelemetry's names."""
    kubernetes = document.get("kubernetes")
    kubernetes = kubernetes if isinstance(kubernetes, Mapping) else {}
    found = {name: text_at(kubernetes, key) for key, name in _KUBERNETES.items()}
    labels = kubernetes.get("labels")
    found |= {f"k8s.pod.label.{key}": value for key, value in flat(labels if isinstance(labels, Mapping) else {})}
    return {key: value for key, value in found.items() if value}


_KUBERNETES: Final = {
    "namespace_name": "k8s.namespace.name",
    "pod_name": "k8s.pod.name",
    "pod_id": "k8s.pod.uid",
    "container_name": "k8s.container.name",
    "container_image": "container.image.name",
    "docker_id": "container.id",
    "host": "k8s.node.name",
}


def log_attributes(document: Document) -> dict[str, str]:
    """Attributes of a log document of others: its stream, and what it has beyond what its family knows."""
    found = {"log.iostream": str(document["stream"])} if document.get("stream") else {}
    for key, value in document.items():
        if key not in _LOG_KEYS:
            found.update(leaves(value, key))
    return found


def leaves(value: object, name: str) -> Iterator[tuple[str, str]]:
    """An object's values by dotted keys, as texts; lists as JSON."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves(inner, f"{name}.{key}")
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif isinstance(value, list):
        yield name, orjson.dumps(value).decode()
    elif value is not None:
        yield name, str(value)


_LOG_KEYS: Final = frozenset({"@timestamp", "log", "stream", "kubernetes", "traceId", "spanId", OWN})


def span_attributes(document: Document) -> tuple[dict[str, str], dict[str, str]]:
    """Attributes of the resource and of the span, of a span document of others.

    Data Prepper writes `resource.attributes.service@name` and `span.attributes.http@method`; the collector's exporter
    has objects `resource` and `attributes`.
    """
    pairs = dict(flat({key: value for key, value in document.items() if key != OWN}))
    resource, span = dict[str, str](), dict[str, str]()
    for key, value in pairs.items():
        for start, found in (("resource.attributes.", resource), ("span.attributes.", span)):
            if key.startswith(start):
                found[key.removeprefix(start).replace("@", ".")] = value
                break
        else:
            for start, found in (("resource.", resource), ("attributes.", span)):
                if key.startswith(start):
                    found[key.removeprefix(start)] = value
    if (service := text_at(document, "serviceName")) and "service.name" not in resource:
        resource["service.name"] = service
    return resource, span


def first_of(values: Mapping[str, str], keys: tuple[str, ...]) -> str:
    """The first of the keys that has a text."""
    return next((values[key] for key in keys if values.get(key)), "")


def place_of(layout: Layout, document: Document, signal: Signal) -> tuple[str, str, str, str]:
    """Ids of organisation, project, component and environment; empty where a document does not say."""
    own = document.get(OWN)
    if isinstance(own, Mapping) and text_at(own, "org"):
        return (text_at(own, "org"), text_at(own, "project"), text_at(own, "component"), text_at(own, "environment"))
    if signal is Signal.LOGS:
        labels = document.get("kubernetes")
        labels = labels.get("labels") if isinstance(labels, Mapping) else None
        said, keys = dict(flat(labels if isinstance(labels, Mapping) else {})), layout.labels
    else:
        said, keys = span_attributes(document)[0], layout.attributes
    org, project, component, environment = (first_of(said, keys[concept]) for concept in CONCEPTS)
    return org, project, component, environment
