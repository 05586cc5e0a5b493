"""Index templates and mappings of both families, as their Observers need them, with the `headrace` object. Pure.

`dynamic: false` everywhere: a document of one tenant can add no field for all. What is not mapped stays in `_source`.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bridge.documents import MAX_TERM_CHARACTERS, OWN, Family, Layout
from bridge.fields import FIELDS
from bridge.model import Signal
from sinks.opensearch_documents import KNOWN_ATTRIBUTES, KNOWN_LABELS

Json = dict[str, Any]
KEYWORD: Final[Json] = {"type": "keyword", "ignore_above": MAX_TERM_CHARACTERS}
LONG: Final[Json] = {"type": "long"}
TIME: Final[Json] = {"type": "date_nanos"}
# substrings in any case: OpenSearch folds only ASCII without the normalizer (tried on 2.19.1)
SUBSTRING: Final[Json] = {"type": "wildcard", "normalizer": "lowercase"}
NOT_INDEXED: Final[Json] = {"type": "object", "enabled": False}
# Above the 100 and 200 that templates usually have, so that ours counts for our prefixes.
PRIORITY: Final = 500


def template_name(layout: Layout, signal: Signal) -> str:
    """Of the index template of a signal."""
    return f"headrace-{layout.prefix(signal).rstrip('-.')}"


def template(layout: Layout, signal: Signal, settings: Json, indexed_labels: tuple[str, ...]) -> Json:
    """The body of PUT /_index_template. `settings`: shards, replicas.

    `_meta.headrace` is a digest of the rest: the server writes what it is given in another way, and an operator may
    have added to it.
    """
    made: Json = {"settings": settings, "mappings": mapping(layout, signal, indexed_labels)}
    if layout.family is Family.A and signal is Signal.TRACES:
        made["aliases"] = {layout.spans_prefix.rstrip("-"): {}}  # the name that the Observer asks (contract 2.1)
    body: Json = {"index_patterns": [layout.pattern(signal)], "priority": PRIORITY, "template": made}
    digest = hashlib.blake2b(orjson.dumps(body, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()
    return {**body, "_meta": {OWN: digest}}


def mapping(layout: Layout, signal: Signal, indexed_labels: tuple[str, ...]) -> Json:
    """Of an index of this family and signal."""
    if signal is Signal.LOGS:
        properties = _logs_a(indexed_labels) if layout.family is Family.A else _logs_bc()
    else:
        properties = _spans_a(layout.attributes) if layout.family is Family.A else _spans_bc()
    return {"dynamic": False, "properties": {**properties, OWN: own_mapping(signal)}}


def own_mapping(signal: Signal) -> Json:
    """Of the `headrace` object; can be added to an index of others."""
    keywords = [
        *("org", "project", "component", "environment"),
        *("org_name", "project_name", "component_name", "environment_name", "plane", "service", "labels"),
    ]
    longs = ["time_unix_nano", "received_unix_milli", "sequence"]
    if signal is Signal.LOGS:
        keywords += ["level", "trace_id", "span_id", *FIELDS]
        longs += ["body_bytes", "body_characters"]
    properties = {**dict.fromkeys(keywords, KEYWORD), **dict.fromkeys(longs, LONG), "row": NOT_INDEXED}
    return {"dynamic": False, "properties": properties}


def _text(*, is_searched: bool = False) -> Json:
    """A text with the `.keyword` that the fork filters by (contract 2.2), as dynamic mapping would make it."""
    fields: Json = {"keyword": {"type": "keyword", "ignore_above": 256}}
    return {"type": "text", "fields": {**fields, **({"substring": SUBSTRING} if is_searched else {})}}


def _logs_a(indexed_labels: tuple[str, ...]) -> Json:
    labels = _nested({key: _text() for key in (*KNOWN_LABELS, *indexed_labels)})
    names = ("namespace_name", "pod_name", "pod_id", "container_name", "host")
    return {
        "@timestamp": TIME,
        "log": _text(is_searched=True),
        "stream": KEYWORD,
        "kubernetes": {
            "dynamic": False,
            "properties": {**{name: _text() for name in names}, "labels": {"dynamic": False, "properties": labels}},
        },
    }


def _logs_bc() -> Json:
    keys = [f"openchoreo_dev/{name}{end}" for name in ("component", "project", "environment") for end in ("", "-uid")]
    labels = dict.fromkeys(
        [*keys, "openchoreo_dev/namespace", "build-name", "uuid", "target", "version", "version_id"], KEYWORD
    )
    return {
        "@timestamp": TIME,
        "log": {"type": "wildcard", "fields": {"substring": SUBSTRING}},
        "kubernetes": {
            "dynamic": False,
            "properties": {
                **dict.fromkeys(("namespace_name", "pod_name", "container_name"), KEYWORD),
                "labels": {"dynamic": False, "properties": labels},
            },
        },
    }


def _spans_a(attributes: Mapping[str, tuple[str, ...]]) -> Json:
    """Data Prepper writes the same indices: by these attributes its spans have a place."""
    places = {key.replace(".", "@"): KEYWORD for keys in attributes.values() for key in keys}
    return {
        **dict.fromkeys(("traceId", "spanId", "parentSpanId", "name", "kind", "serviceName", "traceGroup"), KEYWORD),
        "startTime": TIME,
        "endTime": TIME,
        "durationInNanos": LONG,
        "status": {"dynamic": False, "properties": {"code": {"type": "integer"}}},
        "resource": {"dynamic": False, "properties": {"attributes": {"dynamic": False, "properties": places}}},
        "span": {"dynamic": False, "properties": {}},
        "events": NOT_INDEXED,
        "links": NOT_INDEXED,
    }


def _spans_bc() -> Json:
    return {
        **dict.fromkeys(("traceId", "spanId", "parentSpanId", "name", "kind"), KEYWORD),
        "@timestamp": TIME,
        "startTime": TIME,
        "endTime": TIME,
        "status": {"dynamic": False, "properties": {"code": KEYWORD}},
        "resource": {"dynamic": False, "properties": _nested(dict.fromkeys(KNOWN_ATTRIBUTES, KEYWORD))},
        "attributes": NOT_INDEXED,
        "events": NOT_INDEXED,
        "links": NOT_INDEXED,
    }


def _nested(fields: dict[str, Json]) -> Json:
    """Properties of dotted keys, a level for each dot, as OpenSearch reads a dotted key of a document."""
    properties: Json = {}
    for key, field in fields.items():
        *above, last = key.split(".")
        place = properties
        for name in above:
            place = place.setdefault(name, {"dynamic": False, "properties": {}})["properties"]
        place[last] = field
    return properties
