"""The OpenSearch sink: a second store beside ClickHouse, with documents for the old Observers (`bridge/documents.py`).

A batch is any number of bulk requests. Each row is a document under an `_id` made of the row's name, and is created,
never overwritten: a batch, or a part of it, written again changes nothing. The tenants' ledger is not written here.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from bridge.documents import Layout
from bridge.errors import RejectedBySink, SinkUnavailable
from bridge.model import OTLP_SIGNALS, Batch, Encoded
from bridge.opensearch import OpenSearch, OpenSearchError, OpenSearchSettings, open_opensearch
from sinks.opensearch_bulk import Bulk, cut, line_of
from sinks.opensearch_codes import error_of
from sinks.opensearch_documents import Documents, Item
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
    """A batch as it is sent: the lines of each request, and the indices they go to."""

    indices: frozenset[str]
    bodies: tuple[tuple[bytes, ...], ...]


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
        self._bulk = Bulk(client, is_refreshed=settings.is_refreshed)

    def encode(self, batch: Batch) -> Encoded:
        """As `Sink.encode`; `rows` counts also those that a partial shadow leaves out."""
        table, indices, bodies = batch.table, set[str](), list[tuple[bytes, ...]]()
        if batch.signal in OTLP_SIGNALS and table.num_rows:
            items = self._documents.of(batch, self._kept(table) if self._kept else None)
            bodies = list(cut(_lines(items, indices), self.settings.max_bulk_bytes))
        body = Bulks(frozenset(indices), tuple(bodies))
        return Encoded(batch.signal, batch.token, table.num_rows, tuple(table.schema.names), body)

    async def write(self, encoded: Encoded) -> None:
        """As `Sink.write`: of a batch with documents that are refused, all others are written first."""
        body: Bulks = encoded.body
        if not body.bodies:
            return
        refused: list[str] = []
        try:
            await self._schema.ensure(encoded.signal, body.indices)
            for lines in body.bodies:
                refused += await self._bulk.send(lines)
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


def _lines(items: Iterable[Item], indices: set[str]) -> Iterator[bytes]:
    """The items as lines; their indices are added."""
    for item in items:
        indices.add(item.index)
        yield line_of(item)
