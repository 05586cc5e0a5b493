"""Enrichment of a resource: decisions that take values and return values; the catalog's file is the only I/O here.

An `Enricher` looks at one parsed OTLP `Resource`, which it may change in place, and at who sent it. It returns the
resource's place (`Placement`), a `Rejection` of all items under the resource, or None for "no opinion". It decides from
these three alone: its answer is remembered for as long as the catalog stays the same (`bridge/placing.py`).
"""

import importlib
from collections.abc import Callable, Sequence

from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.errors import SettingsInvalid
from enrichers.catalog import Catalog, DataPlane
from enrichers.verdict import Placement, Rejection

Enricher = Callable[[Resource, DataPlane, Catalog], Placement | Rejection | None]

__all__ = ["Enricher", "Placement", "Rejection", "compose", "load_enricher"]


def compose(enrichers: Sequence[Enricher]) -> Enricher:
    """One enricher that asks each in turn: the first rejection ends it, the last placement stands."""
    chain = tuple(enrichers)

    def enrich(resource: Resource, plane: DataPlane, catalog: Catalog) -> Placement | Rejection | None:
        placement: Placement | None = None
        for enricher in chain:
            verdict = enricher(resource, plane, catalog)
            if isinstance(verdict, Rejection):
                return verdict
            placement = verdict or placement
        return placement

    return enrich


def load_enricher(path: str) -> Enricher:
    """The function a setting names as 'module:function'. Raises `SettingsInvalid`."""
    module_name, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsInvalid(f"enrich.enrichers: {path!r} cannot be loaded: {error}") from error
    if not callable(found):
        raise SettingsInvalid(f"enrich.enrichers: {path!r} is not a function")
    enricher: Enricher = found
    return enricher
