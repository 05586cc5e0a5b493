"""Documents -> rows. Those of others go through the enricher as if their data plane had sent them today; those that
Headrace has written say their row themselves."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import orjson
import pyarrow as pa

from bridge.assembly import Identities, Nowhere, build_ingest
from bridge.columns import to_table
from bridge.columns.schema import RECEIVED
from bridge.documents import is_own, log_resource
from bridge.errors import Permanent, SettingsInvalid
from bridge.ingest import Ingest
from bridge.ledger import Ledger
from bridge.messages import SHAPES
from bridge.migration.otlp import Unconvertible, log_record, resource_of, span_of
from bridge.migration.read_opensearch import Hit
from bridge.model import Record, Signal
from bridge.settings import Settings
from bridge.telemetry import Metrics
from enrichers import Placement, Rejection
from enrichers.catalog import DataPlane
from sinks.opensearch_rows_back import row_of, table_of

AT_ONCE: Final = 5_000
MAX_RESOURCES: Final = 20_000


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that cannot become a row, and why."""

    index: str
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Converted:
    """`tables` hold a row for each document that is not refused: of others, and Headrace's own."""

    tables: tuple[pa.Table, ...]
    refused: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class _Item:
    hit: Hit
    group: tuple[bytes, str, str]  # resource, scope's name and version
    message: Any


@dataclass(slots=True)
class Converter:
    """The same documents give the same tables for as long as catalog and settings are the same. Not for two threads."""

    ingest: Ingest
    plane: DataPlane
    _resources: dict[bytes, bytes] = field(default_factory=dict)

    def convert(self, signal: Signal, hits: Sequence[Hit]) -> Converted:
        """All of them, whatever they are."""
        refused: list[Refusal] = []
        others = self._others(signal, [hit for hit in hits if not is_own(hit.source)], refused)
        own = _own(signal, [hit for hit in hits if is_own(hit.source)], refused)
        return Converted(tuple(table for table in (others, own) if table.num_rows), tuple(refused))

    def organization_of(self, attributes: Mapping[str, str]) -> str:
        """The canonical id that the enricher finds for a resource; what is refused has none."""
        verdict = self.ingest.placing.of(self.plane)(resource_of(attributes)).verdict
        return verdict.org if isinstance(verdict, Placement) else ""

    def _others(self, signal: Signal, hits: Sequence[Hit], refused: list[Refusal]) -> pa.Table:
        read = self._log if signal is Signal.LOGS else _span
        records: list[Record] = []
        for first in range(0, len(hits), AT_ONCE):
            items = self._items(hits[first : first + AT_ONCE], read, refused)
            records += self._records(signal, items, refused)
        table = to_table(signal, records)
        place = table.schema.get_field_index("ReceivedAt")
        # nobody knows when these were received; with their own time they count where they belong
        return table.set_column(place, "ReceivedAt", table.column("Timestamp").cast(RECEIVED, safe=False))

    def _items(self, hits: Sequence[Hit], read: Callable[[Hit], _Item], refused: list[Refusal]) -> list[_Item]:
        place = self.ingest.placing.of(self.plane)
        found: list[_Item] = []
        for hit in hits:
            try:
                item = _read(read, hit)
            except Unconvertible as error:
                refused.append(Refusal(hit.index, hit.id, str(error)))
                continue
            verdict = place(item.group[0]).verdict
            if isinstance(verdict, Rejection):
                refused.append(Refusal(hit.index, hit.id, f"{verdict.reason}: {verdict.message}"))
            elif verdict is None:
                refused.append(Refusal(hit.index, hit.id, "no enricher has an opinion on its place"))
            else:
                found.append(item)
        return found

    def _log(self, hit: Hit) -> _Item:
        key = orjson.dumps(hit.source.get("kubernetes"))
        resource = self._resources.get(key)
        if resource is None:
            if len(self._resources) >= MAX_RESOURCES:
                self._resources.clear()
            resource = self._resources[key] = resource_of(log_resource(hit.source))
        return _Item(hit, (resource, "", ""), log_record(hit.source, hit.at_unix_milli))

    def _records(self, signal: Signal, items: Sequence[_Item], refused: list[Refusal]) -> list[Record]:
        """The enriched records; what is refused only now (it is too large) is found by halving."""
        if not items:
            return []
        reason = "refused"
        try:
            prepared = self.ingest.prepare_bytes(signal, _request(signal, items), self.plane)
        except Permanent as error:
            reason = f"{error.reason}: {error}"
        else:
            if not prepared.rejections.items:
                return prepared.records
            reason = prepared.rejections.text(signal)
        if len(items) == 1:
            refused.append(Refusal(items[0].hit.index, items[0].hit.id, reason))
            return []
        half = len(items) // 2
        return [*self._records(signal, items[:half], refused), *self._records(signal, items[half:], refused)]


def _read(read: Callable[[Hit], _Item], hit: Hit) -> _Item:
    try:
        return read(hit)
    except (UnicodeEncodeError, orjson.JSONEncodeError):
        # half of a surrogate pair is no text anywhere else; OpenSearch too has indexed it as U+FFFD
        text = json.dumps(hit.source, ensure_ascii=False).encode("utf-16-le", "surrogatepass")
        return read(replace(hit, source=json.loads(text.decode("utf-16-le", "replace"))))


def _span(hit: Hit) -> _Item:
    span, attributes, (name, version) = span_of(hit.source, hit.at_unix_milli)
    return _Item(hit, (resource_of(attributes), name, version), span)


def _request(signal: Signal, items: Sequence[_Item]) -> bytes:
    """One OTLP request, its items below their resources, in order of first appearance."""
    request: Any = SHAPES[signal].request()
    entries = request.resource_logs if signal is Signal.LOGS else request.resource_spans
    groups: dict[tuple[bytes, str, str], Any] = {}
    for item in items:
        into = groups.get(item.group)
        if into is None:
            resource, name, version = item.group
            entry = entries.add()
            entry.resource.ParseFromString(resource)
            scope = entry.scope_logs.add() if signal is Signal.LOGS else entry.scope_spans.add()
            if name or version:
                scope.scope.name, scope.scope.version = name, version
            into = groups[item.group] = scope.log_records if signal is Signal.LOGS else scope.spans
        into.append(item.message)
    encoded: bytes = request.SerializeToString()
    return encoded


def _own(signal: Signal, hits: Sequence[Hit], refused: list[Refusal]) -> pa.Table:
    """Rows of our own documents; halving finds what somebody has changed so that it is none any more."""
    try:
        return table_of([row_of(hit.source) for hit in hits], signal)
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
        if len(hits) == 1:
            refused.append(Refusal(hits[0].index, hits[0].id, f"its `headrace` object is damaged: {error!r}"))
            return table_of([], signal)
        half = len(hits) // 2
        return pa.concat_tables([_own(signal, hits[:half], refused), _own(signal, hits[half:], refused)])


def build_converter(settings: Settings, identities: Identities) -> Converter:
    """As the settings say whose the documents of others are. Raises `SettingsInvalid`."""
    ingest = build_ingest(settings, identities, Nowhere(), Ledger(), Metrics())
    if identities.local_plane is not None:
        return Converter(ingest, identities.local_plane)
    name = settings.migration.data_plane or settings.kafka.foreign_data_plane
    plane = next((each for each in identities.current().planes if each.id == name), None)
    if plane is None:
        raise SettingsInvalid(
            f"migration.data_plane: {name!r} is no data plane of the catalog; documents of others must be somebody's"
        )
    return Converter(ingest, plane)
