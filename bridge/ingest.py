"""Flow 1: a request's bytes -> enriched records -> the log. The order is the contract:

1. parse (upb validates; a request that is not OTLP is `Malformed` as a whole),
2. place every resource (enrichers), drop the rejected ones from the request and remember why,
3. redact, one record per organisation, none over `max_record_bytes`,
4. append: return only when the log has made every record durable,
5. say what was accepted and what was rejected.

Accepted is told only after 4. An error of 4 refuses the whole request: nothing of it was acknowledged. No queue, no
task: the request's own coroutine carries the data. Everything before 4 runs without giving up the event loop, so only
one request is unpacked in memory at a time.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.errors import BridgeError
from bridge.log import LogAppender
from bridge.messages import SHAPES, Shape, count_items, parse, serialize_within
from bridge.model import Record, Signal
from bridge.telemetry import Metrics
from enrichers import Enricher, Placement, Rejection
from enrichers.catalog import Catalog, DataPlane
from enrichers.redaction import RedactionRules, mentions, redact

# Reasons are few; messages can name many organisations. An answer shows this many of them.
MAX_MESSAGES = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """Items that are durable, and those rejected with a text that names each reason and how many."""

    accepted: int
    rejected: int
    message: str


class _Rejections:
    """What was rejected of one request."""

    def __init__(self) -> None:
        self.items: Counter[str] = Counter()
        self._messages: dict[tuple[str, str], int] = {}

    def add(self, rejection: Rejection, items: int) -> None:
        self.items[rejection.reason] += items
        key = (rejection.reason, rejection.message)
        self._messages[key] = self._messages.get(key, 0) + items

    def text(self, signal: Signal) -> str:
        """One line a reason, at most `MAX_MESSAGES`."""
        lines = [f"{n} {signal.item}(s): {reason}: {text}" for (reason, text), n in self._messages.items()]
        if len(lines) > MAX_MESSAGES:
            lines[MAX_MESSAGES:] = [f"and {len(lines) - MAX_MESSAGES} more reasons"]
        return "; ".join(lines)


@dataclass(frozen=True, slots=True)
class Ingest:
    appender: LogAppender
    catalog: Callable[[], Catalog]
    enricher: Enricher
    redaction: RedactionRules
    max_record_bytes: int
    metrics: Metrics

    async def export_bytes(self, signal: Signal, body: bytes, plane: DataPlane, transport: str) -> Outcome:
        """As `export`, for a protobuf body. Raises `Malformed` too."""
        return await self.export(signal, parse(signal, body), plane, transport, mentions(body, self.redaction))

    async def export(
        self, signal: Signal, request: Any, plane: DataPlane, transport: str, needs_redaction: bool = True
    ) -> Outcome:
        """Return when all that is accepted is durable. Raises `LogUnavailable`: nothing was acknowledged."""
        received_at_unix_nano = time.time_ns()
        shape = SHAPES[signal]
        rejections = _Rejections()
        received = sum(count_items(shape, entry) for entry in getattr(request, shape.resources))
        self.metrics.received_items.labels(signal, transport).inc(received)
        by_org = self._place(shape, request, plane, rejections)
        if needs_redaction and self.redaction:
            for part in by_org.values():
                self.metrics.redacted_values.labels(signal).inc(redact(part, self.redaction))
        records = self._records(signal, by_org, plane, received_at_unix_nano, rejections)
        del request, by_org
        try:
            if records:
                await self.appender.append(records)
        except BridgeError as error:
            self.metrics.refused_items.labels(signal, error.reason).inc(received)
            raise
        return self._outcome(signal, transport, records, rejections)

    def _place(self, shape: Shape, request: Any, plane: DataPlane, rejections: _Rejections) -> dict[str, Any]:
        """The request cut by organisation; nearly always there is one, and the request itself is it."""
        entries = getattr(request, shape.resources)
        catalog = self.catalog()
        orgs: list[str | None] = []
        for entry in entries:
            verdict = self.enricher(entry.resource, plane, catalog)
            if isinstance(verdict, Placement):
                orgs.append(verdict.org)
                continue
            orgs.append(None)
            items = count_items(shape, entry)
            if isinstance(verdict, Rejection) and items:
                rejections.add(verdict, items)
        if len(set(orgs)) == 1 and orgs[0] is not None:
            return {orgs[0]: request}
        return _cut(shape, entries, orgs)

    def _records(
        self,
        signal: Signal,
        by_org: dict[str, Any],
        plane: DataPlane,
        received_at_unix_nano: int,
        rejections: _Rejections,
    ) -> list[Record]:
        records = []
        for org, part in by_org.items():
            for value, items in serialize_within(signal, part, self.max_record_bytes):
                if value is None:
                    text = f"larger than log.max_record_bytes ({self.max_record_bytes}) by itself"
                    rejections.add(Rejection("item_too_large", text), items)
                elif items:
                    records.append(Record(signal, org, plane.id, received_at_unix_nano, items, value))
        return records

    def _outcome(self, signal: Signal, transport: str, records: Sequence[Record], rejections: _Rejections) -> Outcome:
        accepted = sum(record.items for record in records)
        if records:
            self.metrics.accepted_items.labels(signal, transport).inc(accepted)
            self.metrics.appended_records.labels(signal.topic).inc(len(records))
            self.metrics.appended_bytes.labels(signal.topic).inc(sum(len(record.value) for record in records))
        if not rejections.items:
            return Outcome(accepted, 0, "")
        for reason, items in rejections.items.items():
            self.metrics.rejected_items.labels(signal, reason).inc(items)
        return Outcome(accepted, rejections.items.total(), rejections.text(signal))


def _cut(shape: Shape, entries: Any, orgs: Sequence[str | None]) -> dict[str, Any]:
    """One request per organisation, in order of first appearance; entries without one are left out."""
    parts: dict[str, Any] = {}
    for org, entry in zip(orgs, entries, strict=True):
        if org is not None:
            part: Any = parts.get(org) or parts.setdefault(org, shape.request())
            getattr(part, shape.resources).append(entry)
    return parts
