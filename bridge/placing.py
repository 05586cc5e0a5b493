"""Where resources belong, remembered: a sender repeats the same few resources in every request.

Enrichers decide from the resource, the plane and the catalog alone, so the same bytes of the same plane get the same
answer until there is another catalog. Keys are whole encoded resources, never hashes of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from bridge.errors import Malformed
from bridge.wire import head_of
from enrichers import Enricher, Placement, Rejection
from enrichers.catalog import Catalog, DataPlane

MAX_REMEMBERED_BYTES: Final = 4 << 20
# Larger ones are rare, and a few hostile ones must not push out everybody else's.
MAX_RESOURCE_BYTES: Final = 8 << 10
# A dict entry with its key and value objects.
ENTRY_BYTES: Final = 300


@dataclass(frozen=True, slots=True)
class Placed:
    """The verdict, and the resource as it is stored: rewritten by the enrichers, encoded as the head of its entry."""

    verdict: Placement | Rejection | None
    head: bytes


class Placing:
    """Asks the enricher, unless it has been asked the same before. Forgets everything when it holds too much."""

    def __init__(self, enricher: Enricher, catalog: Callable[[], Catalog]) -> None:
        self.enricher, self._catalog = enricher, catalog
        self._known: dict[DataPlane, dict[bytes, Placed]] = {}
        self._known_bytes = 0
        self._known_of: Catalog | None = None

    def of(self, plane: DataPlane) -> Callable[[bytes], Placed]:
        """What places the encoded resources of one request; it raises `Malformed` for what is no Resource."""
        catalog = self._catalog()
        if catalog is not self._known_of:
            self._forget()
            self._known_of = catalog
        known = self._known.setdefault(plane, {}).get

        def place(resource: bytes) -> Placed:
            return known(resource) or self._ask(resource, plane, catalog)

        return place

    def _ask(self, resource: bytes, plane: DataPlane, catalog: Catalog) -> Placed:
        try:
            message = Resource.FromString(resource)
        except DecodeError as error:
            raise Malformed("a resource is not protobuf") from error
        verdict = self.enricher(message, plane, catalog)
        placed = Placed(verdict, head_of(message.SerializeToString()) if isinstance(verdict, Placement) else b"")
        if len(resource) <= MAX_RESOURCE_BYTES:
            self._remember(resource, plane, placed)
        return placed

    def _remember(self, resource: bytes, plane: DataPlane, placed: Placed) -> None:
        size_bytes = len(resource) + len(placed.head) + ENTRY_BYTES
        if self._known_bytes + size_bytes > MAX_REMEMBERED_BYTES:
            self._forget()
        self._known.setdefault(plane, {})[resource] = placed
        self._known_bytes += size_bytes

    def _forget(self) -> None:
        self._known.clear()
        self._known_bytes = 0
