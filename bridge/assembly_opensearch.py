"""From the settings tree to OpenSearch's client, layout and sink."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bridge.documents import Family, Layout, layout_of
from bridge.opensearch import OpenSearchSettings
from bridge.sampling import Sampling
from bridge.settings import Settings
from bridge.telemetry import Metrics
from sinks import Sink

if TYPE_CHECKING:
    import pyarrow as pa


def opensearch_settings(settings: Settings) -> OpenSearchSettings:
    store = settings.opensearch
    return OpenSearchSettings(
        hosts=store.hosts,
        username=store.username,
        password=store.password.get_secret_value(),
        verify=store.verify,
        ca_certs=store.ca_certs,
        client_cert=store.client_cert,
        client_key=store.client_key,
        request_timeout_seconds=store.request_timeout_seconds,
    )


def opensearch_layout(settings: Settings) -> Layout:
    store = settings.opensearch
    return layout_of(Family(store.family), store.logs_prefix, store.spans_prefix)


def sampling(settings: Settings) -> Sampling:
    sample = settings.opensearch.sample
    return Sampling(sample.organizations, sample.trace_ratio, sample.max_days_off)


@asynccontextmanager
async def open_shadow(settings: Settings, metrics: Metrics | None = None) -> AsyncIterator[Sink]:
    """The sink of a shadow, holding the part of the data that is set; it connects when it is first used."""
    from sinks.opensearch import OpenSearchSinkSettings, open_opensearch_sink

    store = settings.opensearch
    made = OpenSearchSinkSettings(
        client=opensearch_settings(settings),
        layout=opensearch_layout(settings),
        indexed_labels=store.indexed_labels,
        max_bulk_bytes=store.max_bulk_bytes,
        number_of_shards=store.number_of_shards,
        number_of_replicas=store.number_of_replicas,
    )
    sample = sampling(settings)

    def kept(table: "pa.Table") -> Sequence[int] | None:
        if metrics is not None and (far := sample.far(table)):
            metrics.shadow_left_out.labels("time").inc(far)
        return sample.kept(table)

    async with open_opensearch_sink(made, kept) as sink:
        yield sink
