"""From the settings tree to the objects of each part; beside app.py the only place that meets concrete ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.admission import Budget
from bridge.health import Health
from bridge.ingest import Ingest
from bridge.ledger import Ledger
from bridge.log import LogAppender, LogReader
from bridge.log.kafka_settings import SHADOW_DEAD_LETTER_TOPIC, KafkaSettings
from bridge.model import OTLP_SIGNALS, Partition, Record
from bridge.otlp.receiver import Receiver
from bridge.placing import Placing
from bridge.process import give_memory_back
from bridge.quota import Quotas
from bridge.settings import Settings
from bridge.telemetry import Metrics
from enrichers import Enricher, compose, load_enricher
from enrichers.catalog import Catalog, DataPlane, single_plane_catalog
from enrichers.catalog_file import CatalogFile, open_catalog
from enrichers.redaction import RedactionRules
from enrichers.tenancy import limit_attributes, place

if TYPE_CHECKING:  # `receive` has none, and does not load what it needs
    from bridge.deliver import Deliver


@dataclass(frozen=True, slots=True)
class Identities:
    """Who may call: a catalog file, or without one the single local plane."""

    file: CatalogFile | None
    fixed: Catalog | None
    local_plane: DataPlane | None

    def current(self) -> Catalog:
        catalog = self.file.current if self.file is not None else self.fixed
        assert catalog is not None  # noqa: S101 - one of the two is set
        return catalog


def count_lost(metrics: Metrics) -> Callable[[Partition, int], None]:
    def count(partition: Partition, records: int) -> None:
        metrics.lost_records.labels(partition.topic, str(partition.number)).inc(records)

    return count


def load_identities(settings: Settings) -> Identities:
    if settings.catalog.file is not None:
        return Identities(open_catalog(settings.catalog.file), None, None)
    catalog, local_plane = single_plane_catalog(settings.catalog.default_organization)
    return Identities(None, catalog, local_plane)


def build_enricher(settings: Settings) -> Enricher:
    own = [load_enricher(path) for path in settings.enrich.enrichers]
    return compose([limit_attributes(settings.receive.max_attributes_per_resource), place, *own])


def build_ingest(
    settings: Settings, identities: Identities, appender: LogAppender, ledger: Ledger, metrics: Metrics
) -> Ingest:
    enrich = settings.enrich
    quotas = Quotas(lambda org: identities.current().quota_of(org))
    rules = RedactionRules.of({rule.key: rule.action for rule in enrich.redact}, enrich.redact_salt.get_secret_value())
    return Ingest(
        appender,
        identities.current,
        Placing(build_enricher(settings), identities.current),
        rules,
        settings.log.max_record_bytes,
        metrics,
        ledger,
        quotas,
    )


def build_receiver(
    settings: Settings, identities: Identities, appender: LogAppender, ledger: Ledger, metrics: Metrics
) -> Receiver:
    receive = settings.receive
    return Receiver(
        ingest=build_ingest(settings, identities, appender, ledger, metrics),
        budget=Budget(receive.max_in_flight_bytes, give_memory_back),
        catalog=identities.current,
        local_plane=identities.local_plane,
        is_mtls=receive.tls is not None and receive.tls.client_ca_file is not None,
        max_request_bytes=receive.max_request_bytes,
        max_grpc_message_bytes=min(receive.max_grpc_message_bytes, receive.max_request_bytes),
        read_timeout_seconds=receive.read_timeout_seconds,
        metrics=metrics,
    )


class Nowhere:
    """An appender for an ingest that only prepares."""

    async def append(self, records: Sequence[Record]) -> None:
        raise AssertionError(f"{len(records)} records were to be appended nowhere")


# Bulk requests of one batch at their slowest; a restart would only begin with the first of them again.
SHADOW_REQUESTS = 20


def build_health(
    settings: Settings,
    metrics: Metrics,
    identities: Identities,
    *,
    receiver: Receiver | None = None,
    deliver: "Deliver | None" = None,
    reader: LogReader | None = None,
    is_shadow: bool = False,
) -> Health:
    store = settings.clickhouse
    slowest_insert_seconds: float = store.connect_timeout_seconds + store.send_receive_timeout_seconds
    if is_shadow:
        slowest_insert_seconds = SHADOW_REQUESTS * settings.opensearch.request_timeout_seconds
    return Health(
        metrics=metrics,
        no_progress_seconds=settings.deliver.no_progress_seconds,
        # a lane goes round after every insert attempt; twice the longest one is a lane that hangs
        stuck_loop_seconds=2.0 * slowest_insert_seconds + settings.deliver.retry_max_seconds,
        max_record_bytes=settings.log.max_record_bytes,
        budget=receiver.budget if receiver is not None else None,
        lanes=deliver.health if deliver is not None else None,
        lag=reader.lag if reader is not None else lambda: (),
        catalog=identities.file,
        quotas=receiver.ingest.quotas if receiver is not None else None,
    )


def shadow_kafka_settings(settings: Settings) -> KafkaSettings:
    """As `kafka_settings`, for the shadow's group: it needs no ledger, and has dead letters of its own."""
    return replace(
        kafka_settings(settings),
        group_id=settings.opensearch.group_id,
        signals=OTLP_SIGNALS,
        letters_topic=SHADOW_DEAD_LETTER_TOPIC,
    )


def letters_path(settings: Settings) -> Path:
    return settings.data_dir / "dead-letters.jsonl"


def kafka_settings(settings: Settings) -> KafkaSettings:
    kafka = settings.kafka
    password = kafka.sasl_plain_password
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        group_id=kafka.group_id,
        topic_prefix=kafka.topic_prefix,
        partitions=kafka.partitions,
        replication_factor=kafka.replication_factor,
        create_topics=kafka.create_topics,
        by_trace=kafka.key == "org_trace_id",
        max_record_bytes=settings.log.max_record_bytes,
        append_timeout_seconds=kafka.append_timeout_seconds,
        linger_ms=kafka.linger_ms,
        fetch_max_bytes=kafka.fetch_max_bytes,
        max_partition_fetch_bytes=kafka.max_partition_fetch_bytes,
        session_timeout_ms=kafka.session_timeout_ms,
        rebalance_timeout_ms=kafka.rebalance_timeout_ms,
        security_protocol=kafka.security_protocol,
        sasl_mechanism=kafka.sasl_mechanism,
        sasl_plain_username=kafka.sasl_plain_username,
        sasl_plain_password=password.get_secret_value() if password is not None else None,
        ssl_cafile=kafka.ssl_cafile,
        ssl_certfile=kafka.ssl_certfile,
        ssl_keyfile=kafka.ssl_keyfile,
        ssl_check_hostname=kafka.ssl_check_hostname,
    )
