"""Opening the OpenSearch sink on indices of a test's own, and looking at what is in them."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson

from bridge.documents import Family, Layout, layout_of
from bridge.model import OTLP_SIGNALS, Encoded, Signal
from bridge.opensearch import OpenSearch, OpenSearchSettings, Refused, open_opensearch
from sinks.opensearch import Bulks, Kept, OpenSearchSink, OpenSearchSinkSettings, open_opensearch_sink
from sinks.opensearch_templates import template_name

PAGE = 10_000


def own_layout(family: Family) -> Layout:
    """With prefixes that no other test has."""
    name = uuid.uuid4().hex[:12]
    return layout_of(family, f"t{name}-logs-", f"t{name}-spans-")


def sink_settings(url: str, layout: Layout) -> OpenSearchSinkSettings:
    """For one node: no replicas, and searches see what is written."""
    return OpenSearchSinkSettings(OpenSearchSettings((url,)), layout, number_of_replicas=0, is_refreshed=True)


@dataclass
class OpenedOpenSearch:
    sink: OpenSearchSink
    client: OpenSearch
    layout: Layout

    async def documents(self, signal: Signal, *fields: str) -> list[dict[str, Any]]:
        """All documents of a signal; `fields`: only these of their source."""
        body: dict[str, Any] = {"size": PAGE, "sort": ["_doc"], **({"_source": list(fields)} if fields else {})}
        path = f"/{self.layout.pattern(signal)}/_search"
        page = await self.client.call("POST", path, body, params={"scroll": "1m"})
        found: list[dict[str, Any]] = []
        while hits := page["hits"]["hits"]:
            found += [hit["_source"] for hit in hits]
            page = await self.client.call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        if "_scroll_id" in page:  # without an index there is none
            await self.client.call("DELETE", "/_search/scroll", {"scroll_id": [page["_scroll_id"]]})
        return found

    async def ids(self, signal: Signal) -> list[str]:
        return [one["headrace"]["row"]["SpanId"] for one in await self.documents(signal, "headrace.row.SpanId")]

    async def ids_in_view(self, signal: Signal) -> list[str]:
        return await self.ids(signal)

    async def fetch(self, encoded: Encoded) -> list[dict[str, Any] | None]:
        """The stored document of each row of a batch, in order; None for one that is not there."""
        body: Bulks = encoded.body
        actions = [orjson.loads(line.partition(b"\n")[0])["create"] for lines in body.bodies for line in lines]
        answer = await self.client.call("POST", "/_mget", {"docs": actions})
        return [document.get("_source") for document in answer["docs"]]


@asynccontextmanager
async def opened_opensearch(
    settings: OpenSearchSinkSettings, direct_url: str | None = None, kept: Kept | None = None
) -> AsyncIterator[OpenedOpenSearch]:
    """The sink, and a client beside it (by `direct_url`, where the sink goes through a proxy).

    Its indices and templates are dropped with the block.
    """
    beside = replace(settings.client, hosts=(direct_url,)) if direct_url else settings.client
    async with open_opensearch(beside) as client, open_opensearch_sink(settings, kept) as sink:
        try:
            yield OpenedOpenSearch(sink, client, settings.layout)
        finally:
            await _drop(client, settings.layout)


async def _drop(client: OpenSearch, layout: Layout) -> None:
    for signal in OTLP_SIGNALS:
        await client.call("DELETE", f"/{layout.pattern(signal)}")
        try:
            await client.call("DELETE", f"/_index_template/{template_name(layout, signal)}")
        except Refused as error:
            if error.status != 404:
                raise
