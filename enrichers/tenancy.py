"""Which organisation, project, component and environment a resource belongs to.

Senders spell it in many ways (contract 4.1): `SPELLINGS` is all of them, most trusted first. The claim decides only
among what the data plane may write: the credential is what counts. Afterwards the resource says one thing: exactly one
canonical attribute of each kind, no claim that contradicts it, `data_plane.id` from the credential.
"""

from collections.abc import Callable, Mapping
from typing import Final

from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.model import LABEL_PREFIXES
from enrichers.catalog import Catalog, DataPlane, Named
from enrichers.verdict import Placement, Rejection

KINDS: Final = ("organization", "project", "component", "environment")
MAX_ID_CHARACTERS: Final = 256
DATA_PLANE_ID: Final = "data_plane.id"
_GEN_C_NAME: Final = {kind: "namespace" if kind == "organization" else kind for kind in KINDS}


def _spellings(kind: str) -> list[tuple[str, bool]]:
    """Every attribute key that claims this kind, most trusted first, and whether it carries a uid."""
    label = _GEN_C_NAME[kind]
    found = [(f"{kind}.id", False)]
    for prefix in LABEL_PREFIXES:
        for domain in ("openchoreo.dev", "openchoreo_dev"):
            found += [(f"{prefix}{domain}/{label}-uid", True), (f"{prefix}{domain}/{label}", False)]
    for prefix in LABEL_PREFIXES:
        found += [(f"{prefix}{kind}-id", True), (f"{prefix}{kind}-name", False)]
    found += [(f"openchoreo.{kind}", False), (f"{kind}.name", False)]
    found += [(f"{prefix}{kind}", False) for prefix in LABEL_PREFIXES[1:3]]
    return found


# key: (kind, place in the order of trust, carries a uid)
SPELLINGS: Final[Mapping[str, tuple[str, int, bool]]] = {
    key: (kind, place, is_uid) for kind in KINDS for place, (key, is_uid) in enumerate(_spellings(kind))
}
Limit = Callable[[Resource, DataPlane, Catalog], Rejection | None]


class _Claims:
    """What a resource says of itself, found in one pass: by kind (trust, carries a uid, value), most trusted first;
    and every attribute that says it, as (index, key, kind, value), for the rewriting."""

    __slots__ = ("by_kind", "found")

    def __init__(self) -> None:
        self.by_kind: dict[str, list[tuple[int, bool, str]]] = {kind: [] for kind in KINDS}
        self.found: list[tuple[int, str, str, str]] = []

    def __getitem__(self, kind: str) -> list[tuple[int, bool, str]]:
        return self.by_kind[kind]


def place(resource: Resource, plane: DataPlane, catalog: Catalog) -> Placement | Rejection:
    """Decide, and rewrite the resource's claims to the decision. A rejected resource is left as it came."""
    claims = _claims_of(resource)
    if isinstance(claims, Rejection):
        return claims
    org = _organization(claims, plane, catalog)
    if isinstance(org, Rejection):
        return org
    project = _resolve(claims, catalog, "project", org.id)
    component = _resolve(claims, catalog, "component", org.id, project.id)
    environment = _resolve(claims, catalog, "environment", org.id)
    decided = {"organization": org, "project": project, "component": component, "environment": environment}
    _rewrite(resource, claims, decided, plane)
    return Placement(org.id, project.id, component.id, environment.id)


def _claims_of(resource: Resource) -> _Claims | Rejection:
    claims = _Claims()
    for index, pair in enumerate(resource.attributes):
        key = pair.key
        spelling = SPELLINGS.get(key)
        if spelling is None:
            if key == DATA_PLANE_ID:
                claims.found.append((index, key, "", ""))
            continue
        kind, trust, is_uid = spelling
        value = _claimed(pair.value)
        if len(value) > MAX_ID_CHARACTERS or not value.isprintable():
            text = f"{key} is over {MAX_ID_CHARACTERS} characters or has control characters"
            return Rejection("claim_invalid", text)
        claims.found.append((index, key, kind, value))
        if value:
            claims.by_kind[kind].append((trust, is_uid, value))
    for said in claims.by_kind.values():
        if len(said) > 1:
            said.sort(key=_trust)
    return claims


def _trust(claim: tuple[int, bool, str]) -> int:
    return claim[0]


def _claimed(value: AnyValue) -> str:
    """A claim is a text or, as some writers have it, an int; everything else claims nothing."""
    return value.string_value.strip() or (str(value.int_value) if value.HasField("int_value") else "")


def _organization(claims: _Claims, plane: DataPlane, catalog: Catalog) -> Named | Rejection:
    """The most trusted claim and nothing else decides, so that a second spelling cannot widen what is written."""
    found = claims["organization"]
    if not found:
        if plane.default_organization is None:
            text = f"no organisation claimed, and data plane {plane.id!r} has no default"
            return Rejection("organization_missing", text)
        return catalog.find("organization", plane.default_organization) or Named(plane.default_organization)
    claimed = found[0][2]
    named = catalog.find("organization", claimed) or (
        Named(claimed) if plane.organizations is not None else _own(found)
    )
    if plane.may_write(named.id):
        return named
    return Rejection("organization_not_allowed", f"data plane {plane.id!r} may not write organisation {claimed!r}")


def _resolve(claims: _Claims, catalog: Catalog, kind: str, *above: str) -> Named:
    """The entry that the catalog has for the most trusted claim it knows, else what the record says itself."""
    found = claims[kind]
    for _, _, value in found:
        known = catalog.find(kind, *above, value)
        if known is not None:
            return known if known.uid else Named(known.name, _own(found).uid)
    return _own(found)


def _own(found: list[tuple[int, bool, str]]) -> Named:
    """The record's own most trusted uid and name; an id that repeats the uid is no name."""
    uid = next((value for _, is_uid, value in found if is_uid), "")
    name = next((value for _, is_uid, value in found if not is_uid and value != uid), "")
    return Named(name, uid)


def _rewrite(resource: Resource, claims: _Claims, decided: Mapping[str, Named], plane: DataPlane) -> None:
    """Keep each claim that agrees with the decision, once; drop the others; write the canonical attributes last."""
    canonical = {f"{kind}.id": named.id for kind, named in decided.items() if named.id}
    canonical |= {f"{kind}.name": named.name for kind, named in decided.items() if named.name not in ("", named.id)}
    canonical[DATA_PLANE_ID] = plane.id
    attributes, seen, dropped = resource.attributes, set(canonical), []
    for index, key, kind, value in claims.found:
        named = decided.get(kind)
        if named is None or key in seen or not value or value not in (named.name, named.id):
            dropped.append(index)
        seen.add(key)
    for index in reversed(dropped):
        del attributes[index]
    for key, value in canonical.items():
        attributes.add(key=key).value.string_value = value


def limit_attributes(max_attributes: int) -> Limit:
    """An enricher that rejects a resource with more attributes than that."""

    def limit(resource: Resource, plane: DataPlane, _: Catalog) -> Rejection | None:
        count = len(resource.attributes)
        if count <= max_attributes:
            return None
        text = f"{count} attributes on one resource of data plane {plane.id!r}; at most {max_attributes} are taken"
        return Rejection("too_many_attributes", text)

    return limit
