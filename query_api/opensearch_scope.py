"""Which documents a question may be about: places of a tenant as clauses, for our documents and for others'. Pure.

Our documents have canonical ids (`headrace.org`, ...); what names stand for is looked up first (`lookup`), as
ClickHouse's storage does. A document of others has what its labels say, and the first label that it has counts.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from bridge.documents import CONCEPTS, OWN, Family, Layout
from bridge.model import Signal
from query_api.opensearch_clauses import (
    EVERYTHING,
    NOTHING,
    OWN_MARK,
    Clause,
    Part,
    all_of,
    any_of,
    exists,
    leaves,
    none_of,
    one_of,
)
from query_api.scoping import Asked, Depth, Scope
from query_api.tenant import Tenant

# Half of what Lucene takes: places are said twice, for ours and for others'.
MAX_LEAVES: Final = 400
Path = tuple[str, ...]
IsOneOf = Callable[[str, Iterable[str]], Clause]


def own(concept: str, values: Iterable[str]) -> Clause:
    """Of our documents."""
    return one_of(f"{OWN}.{concept}", values)


def label_fields(layout: Layout, signal: Signal, concept: str) -> tuple[str, ...]:
    """Paths of what others' documents say of a concept, best first."""
    if signal is Signal.LOGS:
        return tuple(f"kubernetes.labels.{key}{layout.keyword}" for key in layout.labels[concept])
    if layout.family is Family.A:
        return tuple(f"resource.attributes.{key.replace('.', '@')}" for key in layout.attributes[concept])
    return tuple(f"resource.{key}" for key in layout.attributes[concept])


def others(layout: Layout, signal: Signal) -> IsOneOf:
    """Of others' documents: a field counts if no better one is there."""

    def is_one_of(concept: str, values: Iterable[str]) -> Clause:
        fields, wanted = label_fields(layout, signal, concept), [value for value in values if value]
        if not wanted:
            return NOTHING
        return any_of(
            all_of(one_of(field, wanted), *(none_of(exists(better)) for better in fields[:number]))
            for number, field in enumerate(fields)
        )

    return is_one_of


def granted(tenant: Tenant, is_one_of: IsOneOf, orgs: Collection[str] | None = None) -> Part:
    """All that a tenant may read, of these organisations if any are named."""
    if tenant.is_unbound:
        return Part(EVERYTHING if orgs is None else is_one_of("org", orgs))
    grants = [grant for grant in tenant.grants if orgs is None or grant.org in orgs]
    paths = [(grant.org, grant.project, grant.component) for grant in grants]
    return within([path[: 1 + bool(path[1]) + bool(path[1] and path[2])] for path in paths], is_one_of)


def within(paths: Collection[Path], is_one_of: IsOneOf) -> Part:
    """Documents of any of the places: (org,), (org, project) or (org, project, component)."""
    groups: dict[Path, set[str]] = {}
    for path in paths:
        groups.setdefault(path[:-1], set()).add(path[-1])
    clause = any_of(
        all_of(
            *(is_one_of(concept, [value]) for concept, value in zip(CONCEPTS, above, strict=False)),
            is_one_of(CONCEPTS[len(above)], values),
        )
        for above, values in sorted(groups.items())
    )
    if leaves(clause) <= MAX_LEAVES:
        return Part(clause)
    depth = min(len(path) for path in paths)
    wide = [is_one_of(CONCEPTS[level], {path[level] for path in paths}) for level in range(depth)]
    return Part(all_of(*wide), is_exact=False)


def scoped(scope: Scope | None) -> Part:
    """Our documents of the places that were looked up."""
    if scope is None:
        return Part(NOTHING)
    depth = 1 + scope.depth.by_project + scope.depth.by_component
    found = within({row[:depth] for row in scope.rows}, own)
    if not scope.depth.by_environment:
        return found
    environments: dict[str, set[str]] = {}
    for row in scope.rows:
        environments.setdefault(row[0], set()).add(row[3])
    pairs = any_of(all_of(own("org", [org]), own("environment", ids)) for org, ids in sorted(environments.items()))
    return Part(all_of(found.clause, pairs), found.is_exact)


def named(layout: Layout, signal: Signal, asked: Asked) -> Clause:
    """Others' documents that bear what is asked for, as an id or as a name."""
    return all_of(
        *(
            any_of(one_of(field, values) for field in label_fields(layout, signal, concept))
            for concept, values in wanted(asked).items()
        )
    )


def wanted(asked: Asked) -> dict[str, tuple[str, ...]]:
    """By concept, what is asked for."""
    values = ((asked.organization,), (asked.project,), asked.components, (asked.environment,))
    return {concept: value for concept, value in zip(CONCEPTS, values, strict=True) if any(value)}


def both(ours: Clause, theirs: Clause) -> Clause:
    """Our documents of the first clause and others' of the second."""
    return any_of([all_of(OWN_MARK, ours), all_of(none_of(OWN_MARK), theirs)])


def lookup(asked: Asked, tenant: Tenant) -> Clause:
    """Our documents of the tenant's organisations that bear what is asked for, as an id or as a name."""
    orgs = EVERYTHING if tenant.is_unbound else own("org", tenant.orgs)
    names = [
        any_of([own(concept, values), own(f"{concept}_name", values)]) for concept, values in wanted(asked).items()
    ]
    return all_of(OWN_MARK, orgs, *names)


def lookup_fields(depth: Depth) -> dict[str, str]:
    """The columns of a lookup by which places are told apart."""
    is_deep = (True, depth.by_project, depth.by_component, depth.by_environment)
    return {concept: f"{OWN}.{concept}" for concept, deep in zip(CONCEPTS, is_deep, strict=True) if deep}


def composite(fields: dict[str, str], size: int, after: dict[str, Any] | None, more: Clause | None = None) -> Clause:
    """An aggregation whose buckets are the different values of the fields; a field that is not there is null."""
    sources = [{name: {"terms": {"field": field, "missing_bucket": True}}} for name, field in fields.items()]
    made: Clause = {"composite": {"size": size, "sources": sources, **({"after": after} if after else {})}}
    return {"places": {**made, **({"aggs": more} if more else {})}}


def rows_of(buckets: Sequence[Clause]) -> list[tuple[str, str, str, str]]:
    """Ids of the places of a lookup."""
    found = []
    for bucket in buckets:
        org, project, component, environment = (bucket["key"].get(concept) or "" for concept in CONCEPTS)
        found.append((org, project, component, environment))
    return found
