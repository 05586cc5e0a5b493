"""Opening the OpenSearch storage on indices of a test's own, and what fills them."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bridge.documents import Family, Layout, layout_of
from bridge.model import OTLP_SIGNALS, Batch, Encoded, Signal
from bridge.opensearch import OpenSearch, OpenSearchSettings, open_opensearch
from query_api.opensearch import OpenSearchLimits, OpenSearchStorage
from sinks import Sink
from sinks.opensearch import OpenSearchSinkSettings, open_opensearch_sink
from sinks.opensearch_documents import Documents
from sinks.opensearch_templates import template, template_name
from tests.opensearch_service import OpenSearchNode
from tests.stored import Stored

LIMITS: Final = OpenSearchLimits(max_execution_seconds=20.0)
AT_ONCE: Final = 300
ONE_COPY: Final = {"number_of_shards": 1, "number_of_replicas": 0}


@dataclass
class BulkSink:
    """Writes our documents into indices as others have made them: the real sink would make those ready first."""

    client: OpenSearch
    documents: Documents

    def encode(self, batch: Batch) -> Encoded:
        items = list(self.documents.of(batch))
        lines = [
            orjson.dumps({"create": {"_index": item.index, "_id": item.id}}) + b"\n" + item.source + b"\n"
            for item in items
        ]
        return Encoded(batch.signal, batch.token, len(items), (), lines)

    async def write(self, encoded: Encoded) -> None:
        for first in range(0, len(encoded.body), AT_ONCE):
            body = b"".join(encoded.body[first : first + AT_ONCE])
            answer = await self.client.call("POST", "/_bulk", body, params={"refresh": "true"})
            assert not answer["errors"], answer["items"][:3]

    async def ping(self) -> None:
        await self.client.call("GET", "/")


@dataclass
class OpenedOpenSearch:
    """`storage` reads what `sink` and others have written to indices of `layout`."""

    storage: OpenSearchStorage
    client: OpenSearch
    layout: Layout
    sink: Sink
    has_templates: bool = True

    async def write(self, stored: Stored) -> None:
        await stored.fill(self.sink)

    async def merge(self) -> None:
        for signal in OTLP_SIGNALS:
            await self.client.call(
                "POST", f"/{self.layout.pattern(signal)}/_forcemerge", params={"max_num_segments": 1}
            )

    async def others(self, index: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Write documents as somebody else does, with ids of the store's own."""
        lines = [orjson.dumps({"create": {"_index": index}}) + b"\n" + orjson.dumps(each) + b"\n" for each in documents]
        answer = await self.client.call("POST", "/_bulk", b"".join(lines), params={"refresh": "true"})
        assert not answer["errors"], answer["items"][:3]

    def limited(self, limits: OpenSearchLimits) -> OpenSearchStorage:
        """Another storage on the same indices."""
        return OpenSearchStorage(self.client, self.layout, limits)


@asynccontextmanager
async def opened_opensearch(
    node: OpenSearchNode, family: Family, *, has_templates: bool = True, shards: int = 1
) -> AsyncIterator[OpenedOpenSearch]:
    """With no indices; those that are made are gone with the block. Without templates they are as others make them."""
    name = uuid.uuid4().hex[:12]
    layout = layout_of(family, f"t{name}-logs-", f"t{name}-spans-")
    client_settings = OpenSearchSettings(hosts=(node.url,), request_timeout_seconds=60.0)
    sink_settings = OpenSearchSinkSettings(
        client_settings, layout, number_of_shards=shards, number_of_replicas=0, is_refreshed=True
    )
    async with open_opensearch(client_settings) as client, open_opensearch_sink(sink_settings) as own:
        settings = {"number_of_shards": shards, "number_of_replicas": 0}
        names = [template_name(layout, signal) for signal in OTLP_SIGNALS]
        bodies = [template(layout, signal, settings, ()) for signal in OTLP_SIGNALS]
        if not has_templates:
            patterns = [layout.pattern(Signal.LOGS), layout.pattern(Signal.TRACES)]
            names, bodies = [f"t{name}"], [{"index_patterns": patterns, "template": {"settings": settings}}]
        for each, body in zip(names, bodies, strict=True):
            await client.call("PUT", f"/_index_template/{each}", body)
        try:
            storage = OpenSearchStorage(client, layout, LIMITS)
            sink: Sink = own if has_templates else BulkSink(client, Documents(layout))
            yield OpenedOpenSearch(storage, client, layout, sink, has_templates)
        finally:
            await client.call("DELETE", f"/t{name}-*")
            await asyncio.gather(*(client.call("DELETE", f"/_index_template/{each}") for each in names))
