"""From the settings tree to what leads out of the log, into whatever store; apart, so that `receive` loads no Arrow."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from bridge.assembly import Identities, Nowhere, build_ingest
from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.errors import Malformed, PermissionDenied
from bridge.ledger import Ledger, Uncounted
from bridge.letters import LetterBox, LetterLimit
from bridge.log import LogReader
from bridge.model import Record
from bridge.settings import Settings
from bridge.telemetry import Metrics
from bridge.writer import Exit
from enrichers.catalog import DataPlane
from sinks import Sink

CLICKHOUSE, OPENSEARCH = "clickhouse", "opensearch"
# A batch is many times as large as documents (a resource stands in each) and takes as much longer; it ends in bulk
# requests of a thousand or so anyway.
SHADOW_ROWS, SHADOW_BYTES = 5_000, 1 << 20


def build_deliver(settings: Settings, reader: LogReader, out: Exit) -> Deliver:
    deliver = settings.deliver
    batch = BatchPolicy(deliver.max_rows, deliver.max_bytes, deliver.max_age_seconds)
    if out.is_shadow:
        batch = replace(batch, max_rows=min(batch.max_rows, SHADOW_ROWS), max_bytes=min(batch.max_bytes, SHADOW_BYTES))
    policy = DeliverPolicy(
        batch,
        deliver.max_pending_bytes,
        deliver.retry_initial_seconds,
        deliver.retry_max_seconds,
    )
    return Deliver(reader, out, policy)


def build_exit(
    settings: Settings, sink: Sink, letters: LetterBox, *, identities: Identities, ledger: Ledger, metrics: Metrics
) -> Exit:
    """Into the store."""
    deliver = settings.deliver
    return Exit(
        sink=sink,
        sink_name=CLICKHOUSE,
        slots=asyncio.Semaphore(deliver.max_inserts_in_flight),
        letters=letters,
        limit=LetterLimit(deliver.max_dead_letters_per_minute),
        accept_foreign=build_foreign(settings, identities, metrics),
        metrics=metrics,
        ledger=ledger,
    )


def build_shadow_exit(
    settings: Settings, sink: Sink, letters: LetterBox, identities: Identities, metrics: Metrics
) -> Exit:
    """Into OpenSearch, beside the store: what the store's own exit counts is not counted again."""
    out = build_exit(settings, sink, letters, identities=identities, ledger=Uncounted(), metrics=metrics)
    return replace(out, sink_name=OPENSEARCH, is_shadow=True)


def build_foreign(settings: Settings, identities: Identities, metrics: Metrics) -> Callable[[Record], list[Record]]:
    """What makes others' records ours: enriched as if the configured data plane had sent them, whole or not at all."""
    ingest = build_ingest(settings, identities, Nowhere(), Ledger(), metrics)
    name = settings.kafka.foreign_data_plane

    def plane() -> DataPlane | None:
        if identities.local_plane is not None:
            return identities.local_plane
        return next((plane for plane in identities.current().planes if plane.id == name), None)

    def accept(record: Record) -> list[Record]:
        sender = plane()
        if sender is None:
            raise PermissionDenied(
                "the record was not written by headrace; kafka.foreign_data_plane names no data plane of the catalog",
                reason="foreign_record",
            )
        prepared = ingest.prepare_bytes(record.signal, record.value, sender)
        if prepared.rejections.items:
            reason = next(iter(prepared.rejections.items))
            raise Malformed(prepared.rejections.text(record.signal), reason=reason)
        at, letter = record.received_at_unix_nano, record.dead_letter
        return [replace(each, received_at_unix_nano=at, dead_letter=letter) for each in prepared.records]

    return accept
