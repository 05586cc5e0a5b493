"""Flow 1: a request's bytes -> enriched records -> the log. The order is the contract:

1. parse (upb validates; a request that is not OTLP is `Malformed` as a whole; a large one is taken in pieces),
2. place every resource (enrichers), drop the rejected ones from the request and remember why,
3. redact, one record per organisation, none over `max_record_bytes`,
4. append: return only when the log has made every record durable,
5. say what was accepted and what was rejected.

Accepted is told only after 4. An error of 4 refuses the whole request: nothing of it was acknowledged. No queue, no
task: the request's own coroutine carries the data. 1 to 3 are `prepare`, which does not give up the event loop, so only
one request is unpacked in memory at a time; the caller lets go of the body before 4, so each is held once.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bridge.errors import BridgeError, QuotaExceeded
from bridge.guard import MAX_RECORD_ITEMS, Oversized, pieces
from bridge.ledger import Ledger
from bridge.log import LogAppender
from bridge.messages import SHAPES, Shape, count_items, first_trace_id, parse, serialize_within, trace_id_of
from bridge.model import Record, Signal
from bridge.placing import Placing
from bridge.quota import Cost, Quotas
from bridge.telemetry import Metrics
from bridge.wire import Entry, entries_of, joined
from enrichers import Placement, Rejection
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
class Prepared:
    """A request's records, not yet durable, and what was rejected of it, which counts against the quota of `payer`."""

    signal: Signal
    records: list[Record]
    rejections: _Rejections
    payer: str = ""

    @property
    def value_bytes(self) -> int:
        return sum(len(record.value) for record in self.records)

    @property
    def items(self) -> int:
        return sum(record.items for record in self.records)


class _Stamp(NamedTuple):
    """What all records of an organisation in a request have in common."""

    org: str
    plane: str
    trace: bytes


@dataclass(slots=True)
class _Part:
    """What a request holds of one organisation, as it is put together."""

    encoded: list[bytes | memoryview] = field(default_factory=list)
    items: int = 0
    trace: bytes = b""


@dataclass(frozen=True, slots=True)
class Ingest:
    appender: LogAppender
    catalog: Callable[[], Catalog]
    placing: Placing
    redaction: RedactionRules
    max_record_bytes: int
    metrics: Metrics
    ledger: Ledger = field(default_factory=Ledger)
    quotas: Quotas = field(default_factory=lambda: Quotas(lambda _: None))

    def prepare_bytes(self, signal: Signal, body: bytes | bytearray, plane: DataPlane) -> Prepared:
        """Steps 1 to 3 of a protobuf body. Raises `Malformed`, `TooLarge`."""
        prepared = Prepared(signal, [], _Rejections(), plane.default_organization or "")
        is_redacted = mentions(body, self.redaction)
        for piece in pieces(body, self.max_record_bytes):
            if isinstance(piece, Oversized):
                self._reject_oversized(prepared, piece.items)
                continue
            request = parse(signal, piece)
            entries = None if is_redacted else entries_of(piece)
            if entries is None:
                self._add(prepared, request, plane, is_redacted=is_redacted)
            else:
                self._add_entries(prepared, request, entries, plane)
        return prepared

    def prepare(self, signal: Signal, request: Any, plane: DataPlane) -> Prepared:
        """Steps 2 and 3 of a request that is parsed already; it is taken over and changed."""
        prepared = Prepared(signal, [], _Rejections(), plane.default_organization or "")
        self._add(prepared, request, plane, is_redacted=True)
        return prepared

    async def append(self, prepared: Prepared, transport: str) -> Outcome:
        """Steps 4 and 5: return when all that is accepted is durable. Raises `LogUnavailable`."""
        signal, records, rejected = prepared.signal, prepared.records, prepared.rejections.items
        accepted = prepared.items
        self.metrics.received_items.labels(signal, transport).inc(accepted + rejected.total())
        for reason, items in rejected.items():
            self.metrics.rejected_items.labels(signal, reason).inc(items)
        try:
            await self._append_within_quota(prepared)
        except BridgeError as error:
            self.metrics.refused_items.labels(signal, error.reason).inc(accepted)
            self._enter(prepared, is_appended=False)
            raise
        self._enter(prepared, is_appended=True)
        if records:
            self.metrics.accepted_items.labels(signal, transport).inc(accepted)
            self.metrics.appended_records.labels(signal.topic).inc(len(records))
            self.metrics.appended_bytes.labels(signal.topic).inc(prepared.value_bytes)
        return Outcome(accepted, rejected.total(), prepared.rejections.text(signal))

    async def _append_within_quota(self, prepared: Prepared) -> None:
        """Raises `QuotaExceeded`, or `LogUnavailable`, which costs the organisation nothing."""
        records, rejected = prepared.records, prepared.rejections.items.total()
        costs = {prepared.payer: Cost(0, rejected)} if rejected and prepared.payer else {}
        for record in records:
            before = costs.get(record.org, Cost(0, 0))
            costs[record.org] = Cost(before.size_bytes + len(record.value), before.items + record.items)
        try:
            self.quotas.take(costs, time.monotonic())
        except QuotaExceeded:
            for record in records:
                self.metrics.quota_refused_items.labels(record.org, record.signal).inc(record.items)
            raise
        try:
            if records:
                await self.appender.append(records)
        except BaseException:
            self.quotas.give_back(costs)
            raise

    def _enter(self, prepared: Prepared, *, is_appended: bool) -> None:
        """Into the ledger: every item received is refused, rejected or appended."""
        signal, fate = prepared.signal, "appended" if is_appended else "refused"
        for record in prepared.records:
            counts = {"received": record.items, fate: record.items}
            self.ledger.count(record.org, signal, record.received_at_unix_nano, **counts)
        rejected = prepared.rejections.items.total()
        if rejected:
            self.ledger.count("", signal, time.time_ns(), received=rejected, rejected=rejected)

    def _add(self, prepared: Prepared, request: Any, plane: DataPlane, *, is_redacted: bool) -> None:
        """Place, redact and encode one request."""
        signal = prepared.signal
        for org, part in self._place(SHAPES[signal], request, plane, prepared.rejections).items():
            if is_redacted and self.redaction:
                self.metrics.redacted_values.labels(signal).inc(redact(part, self.redaction))
            pairs = serialize_within(signal, part, self.max_record_bytes)
            self._keep(prepared, _Stamp(org, plane.id, first_trace_id(signal, part)), pairs)

    def _add_entries(self, prepared: Prepared, request: Any, entries: Sequence[Entry], plane: DataPlane) -> None:
        """As `_add`, with the items left as the bytes they came as: only resources are written anew."""
        signal, shape = prepared.signal, SHAPES[prepared.signal]
        parts: dict[str, _Part] = {}
        place = self.placing.of(plane)
        for message, entry in zip(getattr(request, shape.resources), entries, strict=True):
            placed, items = place(entry.resource), count_items(shape, message)
            if isinstance(placed.verdict, Placement):
                part = parts.get(placed.verdict.org) or parts.setdefault(placed.verdict.org, _Part())
                part.trace = part.trace or trace_id_of(shape, message)
                part.encoded += joined(placed.head, entry.rest)
                part.items += items
            elif isinstance(placed.verdict, Rejection) and items:
                prepared.rejections.add(placed.verdict, items)
        for org, part in parts.items():
            value = b"".join(part.encoded)
            pairs: Iterable[tuple[bytes | None, int]] = ((value, part.items),)
            if len(value) > self.max_record_bytes or part.items > MAX_RECORD_ITEMS:
                pairs = serialize_within(signal, parse(signal, value), self.max_record_bytes)
            self._keep(prepared, _Stamp(org, plane.id, part.trace), pairs)

    def _keep(self, prepared: Prepared, stamp: _Stamp, pairs: Iterable[tuple[bytes | None, int]]) -> None:
        received_at_unix_nano = time.time_ns()
        for value, items in pairs:
            if value is None:
                self._reject_oversized(prepared, items)
            elif items:
                record = Record(
                    prepared.signal, stamp.org, stamp.plane, received_at_unix_nano, items, value, stamp.trace
                )
                prepared.records.append(record)

    def _reject_oversized(self, prepared: Prepared, items: int) -> None:
        text = f"with its resource larger than log.max_record_bytes ({self.max_record_bytes})"
        prepared.rejections.add(Rejection("item_too_large", text), items)

    def _place(self, shape: Shape, request: Any, plane: DataPlane, rejections: _Rejections) -> dict[str, Any]:
        """The request cut by organisation; nearly always there is one, and the request itself is it."""
        entries = getattr(request, shape.resources)
        catalog = self.catalog()
        orgs: list[str | None] = []
        for entry in entries:
            verdict = self.placing.enricher(entry.resource, plane, catalog)
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


def _cut(shape: Shape, entries: Any, orgs: Sequence[str | None]) -> dict[str, Any]:
    """One request per organisation, in order of first appearance; entries without one are left out."""
    parts: dict[str, Any] = {}
    for org, entry in zip(orgs, entries, strict=True):
        if org is not None:
            part: Any = parts.get(org) or parts.setdefault(org, shape.request())
            getattr(part, shape.resources).append(entry)
    return parts
