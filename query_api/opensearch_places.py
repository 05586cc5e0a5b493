"""Places, usage and lookups: aggregations by place, and what is made of their buckets. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from bridge.documents import CONCEPTS, OWN, Layout, text_at
from bridge.model import Signal
from query_api.opensearch_clauses import Clause
from query_api.opensearch_query import MILLI, service_fields
from query_api.opensearch_scope import label_fields
from query_api.storage import Place, Usage

BUCKETS: Final = 500
NAMES: Final = tuple(f"{concept}_name" for concept in CONCEPTS)
OWN_FIELDS: Final = {name: f"{OWN}.{name}" for name in (*CONCEPTS, "service")}
OWN_USAGE: Final[Clause] = {
    "bytes": {"sum": {"field": f"{OWN}.body_bytes"}},
    "characters": {"sum": {"field": f"{OWN}.body_characters"}},
}
OWN_NEWEST: Final[Clause] = {
    "newest": {
        "top_hits": {
            "size": 1,
            "sort": [{f"{OWN}.received_unix_milli": {"order": "desc", "unmapped_type": "long"}}],
            "_source": [f"{OWN}.received_unix_milli", *(f"{OWN}.{name}" for name in NAMES)],
        }
    }
}
Ids = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Columns:
    """By which fields places are told apart, in which the fields of a concept are best first."""

    fields: Mapping[str, str]
    of_concept: Mapping[str, tuple[str, ...]]

    def text(self, bucket: Clause, concept: str) -> str:
        """What the bucket's documents have."""
        names = self.of_concept.get(concept, ())
        return next((str(bucket["key"][name]) for name in names if bucket["key"].get(name)), "")

    def ids(self, bucket: Clause) -> Ids:
        org, project, component, environment = (self.text(bucket, concept) for concept in CONCEPTS)
        return org, project, component, environment


def own_columns(concepts: Iterable[str]) -> Columns:
    """Of our documents."""
    kept = {name: OWN_FIELDS[name] for name in concepts}
    return Columns(kept, {name: (name,) for name in kept})


def others_columns(layout: Layout, signal: Signal, concepts: Iterable[str]) -> Columns:
    """Of others'; their logs have no service."""
    fields, of_concept = dict[str, str](), dict[str, tuple[str, ...]]()
    for concept in concepts:
        if concept != "service":
            paths = label_fields(layout, signal, concept)
        else:
            paths = () if signal is Signal.LOGS else (service_fields(layout),)
        of_concept[concept] = tuple(f"{concept}{number}" for number in range(len(paths)))
        fields |= dict(zip(of_concept[concept], paths, strict=True))
    return Columns(fields, of_concept)


def others_newest(signal: Signal) -> Clause:
    return {"newest": {"max": {"field": "@timestamp" if signal is Signal.LOGS else "startTime"}}}


def own_place(columns: Columns, bucket: Clause) -> Place:
    """With the names that came last."""
    hits = bucket["newest"]["hits"]["hits"]
    own = hits[0]["_source"].get(OWN) if hits else None
    own = own if isinstance(own, Mapping) else {}  # several, where somebody else has written it
    ids = columns.ids(bucket)
    org, project, component, environment = (text_at(own, name) or id_ for name, id_ in zip(NAMES, ids, strict=True))
    received = own.get("received_unix_milli")
    received_unix_nano = received * MILLI if isinstance(received, int) else 0
    return Place(*ids, columns.text(bucket, "service"), org, project, component, environment, received_unix_nano)


def others_place(columns: Columns, bucket: Clause) -> Place:
    """A document of others has ids only."""
    ids = columns.ids(bucket)
    return Place(*ids, columns.text(bucket, "service"), *ids, round(bucket["newest"]["value"] or 0) * MILLI)


def newest_of(places: Iterable[Place]) -> list[Place]:
    """Each place once, as it was seen last, sorted."""
    found: dict[tuple[str, ...], Place] = {}
    for place in places:
        key = (place.org, place.project, place.component, place.environment, place.service)
        before = found.get(key)
        if before is None or before.last_seen_unix_nano < place.last_seen_unix_nano:
            found[key] = place
    return sorted(found.values())


def usage_of(columns: Columns, signal: Signal, bucket: Clause, bytes_per_document: float) -> Usage:
    """What one bucket says."""
    org, project, component, _ = columns.ids(bucket)
    count = int(bucket["doc_count"])
    compressed = round(count * bytes_per_document)
    if signal is Signal.TRACES:
        return Usage(org, project, component, spans=count, span_compressed_bytes=compressed)
    return Usage(
        org,
        project,
        component,
        logs=count,
        log_characters=_sum(bucket, "characters"),
        log_bytes=_sum(bucket, "bytes"),
        log_compressed_bytes=compressed,
    )


def _sum(bucket: Clause, name: str) -> int:
    return round(bucket[name]["value"]) if name in bucket else 0


def summed(usages: Iterable[Usage]) -> list[Usage]:
    """One for each place, sorted."""
    found: dict[tuple[str, str, str], Usage] = {}
    for use in usages:
        key = (use.org, use.project, use.component)
        before = found.get(key)
        if before is None:
            found[key] = use
            continue
        added = {name: getattr(before, name) + getattr(use, name) for name in _COUNTS}
        found[key] = replace(before, **added)
    return [found[key] for key in sorted(found)]


_COUNTS: Final = (
    *("logs", "log_characters", "log_bytes", "log_compressed_bytes"),
    *("spans", "span_bytes", "span_compressed_bytes"),
)


def bytes_per_document(stats: Mapping[str, Any]) -> float:
    """Of `_stats/store,docs`: what a document takes on disk, its index's primaries shared by all of them."""
    primaries = stats.get("_all", {}).get("primaries", {})
    documents = primaries.get("docs", {}).get("count", 0)
    return primaries.get("store", {}).get("size_in_bytes", 0) / documents if documents else 0.0


def buckets_of(answer: Clause) -> tuple[list[Clause], dict[str, Any] | None]:
    """Of one answer, and where the next one goes on."""
    places = answer.get("aggregations", {}).get("places", {})
    return places.get("buckets", []), places.get("after_key")


@dataclass(frozen=True, slots=True)
class Group:
    """Documents that are ours, or others', and how they are told apart."""

    signal: Signal
    is_own: bool
    columns: Columns


def own_and_others(layout: Layout, signal: Signal, concepts: tuple[str, ...]) -> tuple[Group, Group]:
    """Both groups of a signal."""
    theirs = others_columns(layout, signal, concepts)
    return Group(signal, True, own_columns(concepts)), Group(signal, False, theirs)
