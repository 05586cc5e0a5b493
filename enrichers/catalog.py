"""The catalog: which data planes there are, what they may write, and how organisations and projects are called.

An immutable snapshot, made from TOML by `parse_catalog`; `enrichers/catalog_file.py` keeps it up to date.
"""

import hashlib
import hmac
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from bridge.errors import SettingsInvalid

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Digests are found by their first digits, then compared whole in constant time.
TOKEN_PREFIX_DIGITS = 8
_UNLIMITED = 1e18
_ANY: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class DataPlane:
    """A sender. `organizations` are canonical ids it may write; None means any (only the local plane, see below)."""

    id: str
    organizations: frozenset[str] | None
    default_organization: str | None

    def may_write(self, org: str) -> bool:
        return self.organizations is None or org in self.organizations


@dataclass(frozen=True, slots=True)
class Named:
    """An entry with a name and perhaps a uid; the canonical id is the uid if there is one."""

    name: str
    uid: str = ""

    @property
    def id(self) -> str:
        return self.uid or self.name


@dataclass(frozen=True, slots=True)
class Quota:
    """What an organisation may send; the burst is so many seconds of it at once. Infinite is no limit."""

    bytes_per_second: float = math.inf
    items_per_second: float = math.inf
    burst_seconds: float = 5.0

    @property
    def burst_bytes(self) -> float:
        return min(self.bytes_per_second * self.burst_seconds, _UNLIMITED)

    @property
    def burst_items(self) -> float:
        return min(self.items_per_second * self.burst_seconds, _UNLIMITED)


# what a name or uid is looked up under: the kind and, for kinds inside others, the canonical ids above it
Scope = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Catalog:
    """`names` maps (scope..., name or uid) to the entry: ("organization", x), ("project", org, x), ..."""

    planes: tuple[DataPlane, ...] = ()
    names: Mapping[Scope, Named] = field(default_factory=dict)
    by_token: Mapping[str, Sequence[tuple[str, DataPlane]]] = field(default_factory=dict)
    by_spiffe_id: Mapping[str, DataPlane] = field(default_factory=dict)
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    default_quota: Quota | None = None

    def quota_of(self, org: str) -> Quota | None:
        """Of an organisation by its canonical id; None is no limit."""
        return self.quotas.get(org, self.default_quota)

    def plane_of_token(self, token: str) -> DataPlane | None:
        """Who has this bearer token; only digests are kept and compared."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
        known = self.by_token.get(digest[:TOKEN_PREFIX_DIGITS], ())
        return next((plane for token_sha256, plane in known if hmac.compare_digest(token_sha256, digest)), None)

    def plane_of_spiffe_id(self, uri: str) -> DataPlane | None:
        return self.by_spiffe_id.get(uri)

    def find(self, *scope: str) -> Named | None:
        """The entry of a name or uid, as find("organization", x) or find("component", org, project, x)."""
        return self.names.get(scope)


def single_plane_catalog(default_organization: str) -> tuple[Catalog, DataPlane]:
    """For running without a file: one plane, `local`, that may write any organisation it claims.

    There is nothing to hold a claim against, so claims are believed; that is why such a bridge listens on loopback.
    """
    plane = DataPlane("local", _ANY, default_organization)
    return Catalog(planes=(plane,)), plane


def parse_catalog(text: str) -> Catalog:
    """The catalog of a TOML text. Raises `SettingsInvalid` whose text has one line for every mistake."""
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"catalog: not TOML: {error}") from error
    reader = _Reader()
    catalog = reader.read(tree)
    if reader.mistakes:
        raise SettingsInvalid("\n".join(reader.mistakes))
    return catalog


_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "organizations": ("name", "uid", "quota"),
    "projects": ("organization", "name", "uid"),
    "components": ("organization", "project", "name", "uid"),
    "environments": ("organization", "name", "uid"),
    "data_planes": ("id", "token_sha256s", "spiffe_ids", "organizations", "default_organization"),
}


class _Reader:
    """Collects every mistake instead of stopping at the first."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self._names: dict[Scope, Named] = {}
        self._quotas: dict[str, Quota] = {}

    def read(self, tree: Mapping[str, Any]) -> Catalog:
        for key in sorted(tree.keys() - _SECTIONS.keys() - {"default_quota"}):
            self.mistakes.append(f"{key}: unknown key; allowed here: {', '.join(_SECTIONS)}, default_quota")
        default_quota = self._quota("default_quota", tree.get("default_quota"))
        for section, kind in (
            ("organizations", "organization"),
            ("projects", "project"),
            ("environments", "environment"),
            ("components", "component"),
        ):
            for where, entry in self._entries(tree, section):
                self._add_named(where, kind, entry)
                quota = self._quota(f"{where}.quota", entry.get("quota"))
                if quota is not None:
                    self._quotas[str(entry.get("uid") or entry.get("name"))] = quota
        planes: dict[str, DataPlane] = {}
        by_token: dict[str, DataPlane] = {}
        by_spiffe_id: dict[str, DataPlane] = {}
        for where, entry in self._entries(tree, "data_planes"):
            plane = self._plane(where, entry)
            self._add(planes, f"{where}.id", [plane.id] if plane.id else [], plane)
            self._add(by_token, f"{where}.token_sha256s", self._tokens(where, entry), plane)
            self._add(by_spiffe_id, f"{where}.spiffe_ids", self._spiffe_ids(where, entry), plane)
        return Catalog(
            tuple(planes.values()), self._names, _by_prefix(by_token), by_spiffe_id, self._quotas, default_quota
        )

    def _entries(self, tree: Mapping[str, Any], section: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
        entries = tree.get(section, [])
        if not isinstance(entries, list):
            self.mistakes.append(f"{section}: write it as [[{section}]]")
            return
        for index, entry in enumerate(entries):
            where = f"{section}[{index}]"
            if not isinstance(entry, dict):
                self.mistakes.append(f"{where}: must be a table")
                continue
            for key in sorted(entry.keys() - set(_SECTIONS[section])):
                self.mistakes.append(f"{where}.{key}: unknown key; allowed here: {', '.join(_SECTIONS[section])}")
            yield where, entry

    def _quota(self, where: str, told: object) -> Quota | None:
        if told is None:
            return None
        keys = [each.name for each in fields(Quota)]
        if not isinstance(told, dict) or not told or told.keys() - set(keys):
            self.mistakes.append(f"{where}: must be a table of {', '.join(keys)}")
            return None
        if not all(isinstance(value, int | float) and 0 < value < _UNLIMITED for value in told.values()):
            self.mistakes.append(f"{where}: every value must be a number above 0")
            return None
        return Quota(**{key: float(value) for key, value in told.items()})

    def _text(self, where: str, entry: Mapping[str, Any], key: str, *, is_required: bool = True) -> str:
        value = entry.get(key, "")
        if not isinstance(value, str) or (is_required and not value.strip()):
            self.mistakes.append(f"{where}.{key}: must be a text that is not empty")
            return ""
        return value

    def _texts(self, where: str, entry: Mapping[str, Any], key: str) -> list[str]:
        values = entry.get(key, [])
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            self.mistakes.append(f"{where}.{key}: must be a list of texts")
            return []
        return values

    def _add_named(self, where: str, kind: str, entry: Mapping[str, Any]) -> None:
        named = Named(self._text(where, entry, "name"), self._text(where, entry, "uid", is_required=False))
        scope: Scope = (kind,)
        if kind != "organization":
            scope = (*scope, self._reference(where, entry, "organization", ("organization",)))
        if kind == "component":
            scope = (*scope, self._reference(where, entry, "project", ("project", scope[1])))
        if not named.name or "" in scope:
            return
        for spelling in dict.fromkeys((named.name, named.id)):
            known = self._names.setdefault((*scope, spelling), named)
            if known is not named:
                self.mistakes.append(f"{where}: {spelling!r} is the name or uid of another {kind} already")

    def _reference(self, where: str, entry: Mapping[str, Any], key: str, scope: Scope) -> str:
        """The canonical id of an entry named in another; empty, with a mistake noted, if there is none."""
        value = self._text(where, entry, key)
        found = self._names.get((*scope, value))
        if value and found is None and "" not in scope:
            self.mistakes.append(f"{where}.{key}: there is no {key} {value!r} in this catalog")
        return found.id if found else ""

    def _organization(self, where: str, value: str) -> str:
        found = self._names.get(("organization", value))
        if found is None:
            self.mistakes.append(f"{where}: there is no organization {value!r} in this catalog")
            return ""
        return found.id

    def _plane(self, where: str, entry: Mapping[str, Any]) -> DataPlane:
        allowed = frozenset(
            self._organization(f"{where}.organizations", name) for name in self._texts(where, entry, "organizations")
        )
        default = self._text(where, entry, "default_organization", is_required=False)
        default_id = self._organization(f"{where}.default_organization", default) if default else None
        if default_id and default_id not in allowed:
            self.mistakes.append(f"{where}.default_organization: {default!r} is not among its organizations")
        return DataPlane(self._text(where, entry, "id"), allowed, default_id)

    def _tokens(self, where: str, entry: Mapping[str, Any]) -> list[str]:
        tokens = [token.lower() for token in self._texts(where, entry, "token_sha256s")]
        for token in tokens:
            if not _SHA256.fullmatch(token):
                self.mistakes.append(
                    f"{where}.token_sha256s: must be SHA-256 in hex (64 digits), never the token itself"
                )
        return tokens

    def _spiffe_ids(self, where: str, entry: Mapping[str, Any]) -> list[str]:
        ids = self._texts(where, entry, "spiffe_ids")
        for uri in ids:
            if not uri.startswith("spiffe://"):
                self.mistakes.append(f"{where}.spiffe_ids: {uri!r} does not start with spiffe://")
        return ids

    def _add(self, found: dict[str, DataPlane], where: str, keys: Iterable[str], plane: DataPlane) -> None:
        for key in keys:
            if found.setdefault(key, plane) is not plane:
                self.mistakes.append(f"{where}: is given to data plane {found[key].id!r} already")


def _by_prefix(by_token: Mapping[str, DataPlane]) -> dict[str, list[tuple[str, DataPlane]]]:
    found: dict[str, list[tuple[str, DataPlane]]] = {}
    for token_sha256, plane in by_token.items():
        found.setdefault(token_sha256[:TOKEN_PREFIX_DIGITS], []).append((token_sha256, plane))
    return found
