"""The OpenSearch sink: a second store beside ClickHouse, with documents for the old Observers (`bridge/documents.py`).

A batch is any number of bulk requests. Each row is a document under an `_id` made of the row's name, and is created,
never overwritten: a batch, or a part of it, written again changes nothing. The tenants' ledger is not written here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import pyarrow as pa

from bridge.documents import Layout
from bridge.errors import RejectedBySink, SinkUnavailable
from bridge.model import OTLP_SIGNALS, Batch, Encoded
from bridge.opensearch import OpenSearch, OpenSearchError, OpenSearchSettings, open_opensearch
from sinks.opensearch_bulk import Bulk, cut, line_of
from sinks.opensearch_codes import error_of
from sinks.opensearch_documents import Documents
from sinks.opensearch_schema import Schema

# The numbers of the rows that a partial shadow keeps, of a batch's table; None: all.
Kept = Callable[[pa.Table], Sequence[int] | None]
REJECTED: Final = 400


@dataclass(frozen=True, slots=True)
class OpenSearchSinkSettings:
    """`indexed_labels` and the numbers are of indices that are made by our template.

    `is_refreshed`: what is written can be searched on return, and not only within the index's refresh interval.
    """

    client: OpenSearchSettings
    layout: Layout
    indexed_labels: tuple[str, ...] = ()
    max_bulk_bytes: int = 4 * 1024 * 1024
    number_of_shards: int = 1
    number_of_replicas: int = 1
    is_refreshed: bool = False


@dataclass(frozen=True, slots=True)
class Bulks:
    """A batch as it is sent: the indices it goes to, and how the lines of its requests are made.

    What rows share, as the attributes of a resource, stands in each document: together they can be hundreds of times
    the batch, so they are never there together.
    """

    indices: frozenset[str]
    make: Callable[[], Iterator[tuple[bytes, ...]]]

    @property
    def bodies(self) -> Iterator[tuple[bytes, ...]]:
        """The lines of each request, made while they are asked for; the same each time."""
        return self.make()


@asynccontextmanager
async def open_opensearch_sink(
    settings: OpenSearchSinkSettings, kept: Kept | None = None
) -> AsyncIterator["OpenSearchSink"]:
    """A sink that connects when it is first used."""
    async with open_opensearch(settings.client) as client:
        yield OpenSearchSink(settings, client, kept)


class OpenSearchSink:
    """Safe to use from several tasks at once."""

    def __init__(self, settings: OpenSearchSinkSettings, client: OpenSearch, kept: Kept | None) -> None:
        self.settings = settings
        self._client, self._kept = client, kept
        self._documents = Documents(settings.layout, settings.indexed_labels)
        index_settings = {
            "number_of_shards": settings.number_of_shards,
            "number_of_replicas": settings.number_of_replicas,
        }
        self._schema = Schema(client, settings.layout, index_settings, settings.indexed_labels)
        self._bulk = Bulk(
            client,
            self._schema.forget,
            is_refreshed=settings.is_refreshed,
            timeout_seconds=settings.client.request_timeout_seconds,
        )

    def encode(self, batch: Batch) -> Encoded:
        """As `Sink.encode`; `rows` counts also those that a partial shadow leaves out."""
        table, body = batch.table, Bulks(frozenset(), lambda: iter(()))
        if batch.signal in OTLP_SIGNALS:
            kept = self._kept(table) if self._kept else None
            body = Bulks(self._documents.indices(batch, kept), partial(self._bodies, batch, kept))
        return Encoded(batch.signal, batch.token, table.num_rows, tuple(table.schema.names), body)

    async def write(self, encoded: Encoded) -> None:
        """As `Sink.write`: of a batch with documents that are refused, all others are written first."""
        body: Bulks = encoded.body
        if not body.indices:
            return
        refused: list[str] = []
        bodies = body.bodies
        try:
            await self._schema.ensure(encoded.signal, body.indices)
            while lines := await asyncio.to_thread(next, bodies, None):
                refused += await self._bulk.send(lines)
            await self._schema.ensure(encoded.signal, body.indices)  # one may have been deleted and made anew by us
        except SinkUnavailable:
            self._schema.forget()
            raise
        if refused:
            raise RejectedBySink(f"{len(refused)} documents refused, the first: {refused[0]}", REJECTED)

    async def ping(self) -> None:
        """As `Sink.ping`."""
        try:
            await self._client.call("GET", "/")
        except OpenSearchError as error:
            raise error_of(error) from error

    def _bodies(self, batch: Batch, kept: Sequence[int] | None) -> Iterator[tuple[bytes, ...]]:
        return cut(map(line_of, self._documents.of(batch, kept)), self.settings.max_bulk_bytes)
