"""Templates and indices are as the documents need them before the first one is written.

An index of today may have been made by somebody else (a Fluent Bit that goes on writing): it gets the fields it lacks,
and nothing of what it has is changed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from bridge.documents import OWN, Layout
from bridge.errors import SinkUnavailable
from bridge.model import Signal
from bridge.opensearch import OpenSearch, OpenSearchError, Refused
from sinks.opensearch_codes import error_of
from sinks.opensearch_templates import Json, mapping, template, template_name

OBJECTS: Final = frozenset({"object", "nested"})
# Holds any object, and needs to know no field of it.
FLAT: Final = frozenset({"flat_object", "flattened"})
WITH_FIELDS: Final = frozenset({"text", "keyword", "wildcard", "match_only_text"})


class FieldConflict(Exception):
    """A field is mapped in a way that our documents cannot go with; the text names it."""


class Schema:
    """What has been looked at, by this process."""

    def __init__(
        self, client: OpenSearch, layout: Layout, index_settings: Json, indexed_labels: tuple[str, ...]
    ) -> None:
        self._client, self._layout = client, layout
        self._index_settings, self._indexed_labels = index_settings, indexed_labels
        self._lock = asyncio.Lock()
        self._ready: set[str] = set()

    async def ensure(self, signal: Signal, indices: frozenset[str]) -> None:
        """Return when the signal's template and these indices are there and fit. Raises `SinkUnavailable`."""
        if indices <= self._ready:
            return
        async with self._lock:
            try:
                if new := sorted(indices - self._ready):
                    await self._put_template(signal)
                for name in new:
                    await self._prepare(signal, name)
                    self._ready.add(name)
            except OpenSearchError as error:
                raise error_of(error) from error
            except (LookupError, TypeError, AttributeError) as error:
                text = f"what answers is no OpenSearch, or not all of it: {error!r}; check opensearch.hosts"
                raise SinkUnavailable(text, reason="server_error") from error

    def forget(self) -> None:
        """Look again before the next write: the store may have come back without what it had."""
        self._ready.clear()

    async def _put_template(self, signal: Signal) -> None:
        name = template_name(self._layout, signal)
        wanted = template(self._layout, signal, self._index_settings, self._indexed_labels)
        answer = await self._get(f"/_index_template/{name}")
        found = answer["index_templates"][0]["index_template"] if answer else {}
        if found.get("_meta") != wanted["_meta"]:
            try:
                await self._client.call("PUT", f"/_index_template/{name}", wanted)
            except Refused as error:
                raise _named(error, f"index template {name}") from error

    async def _prepare(self, signal: Signal, name: str) -> None:
        found = await self._get(f"/{name}/_mapping")
        if found is None:
            await self._create(name)
            found = await self._get(f"/{name}/_mapping") or {}
        wanted = mapping(self._layout, signal, self._indexed_labels)["properties"]
        for index, told in found.items():  # another name than asked for if that is an alias
            try:
                added = additions(wanted, told["mappings"].get("properties", {}))
                if added:
                    await self._client.call("PUT", f"/{index}/_mapping", {"properties": added})
            except FieldConflict as error:
                advice = "give Headrace other prefixes (opensearch.logs_prefix, spans_prefix) or make the index anew"
                raise SinkUnavailable(f"index {index}: {error}; {advice}", reason="schema") from error
            except Refused as error:
                raise _named(error, f"mapping of index {index}") from error

    async def _create(self, name: str) -> None:
        try:
            await self._client.call("PUT", f"/{name}", {})
        except Refused as error:
            if error.kind != "resource_already_exists_exception":  # another process was faster
                raise _named(error, f"index {name}") from error

    async def _get(self, path: str) -> Json | None:
        """None: there is no such thing."""
        try:
            return await self._client.call("GET", path)
        except Refused as error:
            if error.status == 404:
                return None
            raise


def _named(error: Refused, what: str) -> SinkUnavailable:
    found = error_of(error)
    return SinkUnavailable(f"{what}: {found}", reason=found.reason)


def additions(wanted: Mapping[str, Any], found: Mapping[str, Any], above: str = "") -> Json:
    """Properties to add to `found`, so that it has what `wanted` has; both as in a mapping. Raises `FieldConflict`.

    Types may differ, as `date` for `date_nanos`, except in what is our own. Nothing is added that would keep documents
    of others from being indexed.
    """
    added: Json = {}
    for name, field in wanted.items():
        there = found.get(name)
        path = f"{above}{name}"
        more = _new(field, path) if there is None else _missing(field, there, path)
        if more is not None:
            added[name] = more
    return added


def _new(wanted: Json, path: str) -> Json | None:
    if path.split(".")[0] == OWN:
        return wanted
    if wanted.get("enabled") is False:
        return None
    if "properties" not in wanted:
        return wanted
    inner = {name: _new(field, f"{path}.{name}") for name, field in wanted["properties"].items()}
    return {"properties": {name: field for name, field in inner.items() if field is not None}}


def _missing(wanted: Json, found: Json, path: str) -> Json | None:
    kind, kind_found = wanted.get("type", "object"), found.get("type", "object")
    is_own = path.split(".")[0] == OWN
    if kind == "object":
        if kind_found in FLAT and not is_own:
            return None
        if kind_found not in OBJECTS or (is_own and wanted.get("enabled") != found.get("enabled")):
            raise FieldConflict(f"field {path} is {kind_found}, where an object is needed")
        more = additions(wanted.get("properties", {}), found.get("properties", {}), f"{path}.")
        return {"properties": more} if more else None
    if kind_found in OBJECTS or (is_own and kind_found != kind):
        raise FieldConflict(f"field {path} is {kind_found}, where {kind} is needed")
    fields = {**wanted.get("fields", {}), **found.get("fields", {})}
    if len(fields) > len(found.get("fields", {})) and kind_found in WITH_FIELDS:
        return {**found, "fields": fields}
    return None
