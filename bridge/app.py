"""The composition root: the only place that meets concrete logs, sinks and listeners.

Opened downstream first, left in reverse: sink, log, deliver, receivers. A soft stop closes the receivers (calls under
way finish), then lets deliver write what it has in hand, then closes the rest; what is left stays in the log. Past
`stop_seconds` the process ends at once with status 1, which is safe: what was accepted is in the log.
"""

import asyncio
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from bridge.admin import Ask, open_admin
from bridge.admission import Budget
from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.errors import BridgeError
from bridge.health import Health
from bridge.ingest import Ingest
from bridge.log import LogAppender
from bridge.log.embedded import EmbeddedLog, open_embedded_log
from bridge.otlp.grpc import open_grpc
from bridge.otlp.http import open_http
from bridge.otlp.receiver import Receiver
from bridge.process import give_memory_back
from bridge.retry import backoff_seconds
from bridge.settings import Settings, is_loopback
from bridge.telemetry import Metrics
from enrichers import Enricher, compose, load_enricher
from enrichers.catalog import Catalog, DataPlane, single_plane_catalog
from enrichers.catalog_file import CatalogFile, open_catalog
from enrichers.redaction import RedactionRules
from enrichers.tenancy import limit_attributes, place
from sinks.clickhouse import ClickHouseSettings, ClickHouseSink, open_clickhouse
from sinks.ddl import SchemaOptions

logger = logging.getLogger(__name__)

SINK_NAME = "clickhouse"


@dataclass(frozen=True, slots=True)
class Ports:
    """What was bound, where the settings said port 0."""

    grpc: int
    http: int
    admin: int


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


async def run(settings: Settings, stop: asyncio.Event, started: "asyncio.Future[Ports] | None" = None) -> None:
    """Everything in one process until `stop`. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    metrics = Metrics()
    identities = load_identities(settings)
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(open_clickhouse(clickhouse_settings(settings)))
        log = await stack.enter_async_context(
            open_embedded_log(settings.data_dir / "log", max_bytes=settings.log.max_bytes)
        )
        deliver = Deliver(log, sink, deliver_policy(settings), metrics)
        receiver = build_receiver(settings, identities, log, metrics)
        health = build_health(settings, receiver, deliver, log, identities)
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver.run(drained), name="deliver")
            if settings.clickhouse.apply_schema:
                group.create_task(apply_schema(sink, settings, drained), name="schema")
            if identities.file is not None:
                group.create_task(identities.file.watch(stop, settings.catalog.reload_seconds), name="catalog")
            ask = sink.json_rows if is_open_to_questions(settings) else None
            async with serve(settings, receiver, health, ask) as ports:
                _announce(settings, identities, ports)
                if started is not None:
                    started.set_result(ports)
                gc.collect()
                gc.freeze()  # what is loaded now stays; collections need not look at it again
                await stop.wait()
                health.is_draining = True
            drained.set()
    logger.info("stopped")


@asynccontextmanager
async def serve(settings: Settings, receiver: Receiver, health: Health, ask: Ask | None) -> AsyncIterator[Ports]:
    """All listeners; left in reverse, so the admin port answers until the receivers have finished."""
    grace_seconds = settings.stop_seconds / 2
    receive = settings.receive
    async with (
        open_admin(settings.admin.listen, health, health.metrics.registry, ask) as admin,
        open_grpc(receive.grpc_listen, receive.tls, receiver, grace_seconds) as grpc_port,
        open_http(receive.http_listen, receive.tls, receiver, grace_seconds) as http_port,
    ):
        yield Ports(grpc_port, http_port, admin)


async def run_until_signal(settings: Settings) -> None:
    """`run` until SIGTERM or SIGINT, with the hard deadline of a soft stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def soft_stop() -> None:
        if not stop.is_set():
            logger.info("stopping", extra={"fields": {"deadline_seconds": settings.stop_seconds}})
            loop.call_later(settings.stop_seconds, _hard_stop, settings.stop_seconds)
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, soft_stop)
    await run(settings, stop)


def _hard_stop(stop_seconds: float) -> None:
    """Threads in an insert cannot be cancelled, so nothing gentler ends the process in time."""
    logger.error(
        "not stopped within stop_seconds; what is not yet delivered stays in the log",
        extra={"fields": {"stop_seconds": stop_seconds}},
    )
    logging.shutdown()
    os._exit(1)


async def apply_schema(sink: ClickHouseSink, settings: Settings, stop: asyncio.Event) -> None:
    """Create what is missing as soon as the store is there; until then inserts wait, as they would for the store."""
    attempt = 0
    while not stop.is_set():
        try:
            taken = await sink.apply_schema(schema_options(settings))
        except BridgeError as error:
            attempt += 1
            if attempt & (attempt - 1) == 0:
                logger.warning("schema not applied yet: %s", error, extra={"fields": {"attempt": attempt}})
            delay_seconds = backoff_seconds(attempt, 0.2, 5.0, 1.0)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), delay_seconds)
        else:
            logger.info("schema is up to date", extra={"fields": {"applied": ",".join(taken) or "nothing"}})
            return


def is_open_to_questions(settings: Settings) -> bool:
    """Whether /sql answers: only the embedded store, which nobody else can ask, and only where nobody else listens."""
    is_alone = settings.catalog.file is None and is_loopback(settings.admin.listen)
    return settings.clickhouse.interface == "chdb" and is_alone


def _announce(settings: Settings, identities: Identities, ports: Ports) -> None:
    if identities.local_plane is not None:
        logger.warning(
            "no catalog: every caller is data plane 'local' and may write any organisation it claims",
            extra={"fields": {"default_organization": settings.catalog.default_organization}},
        )
    fields = {"grpc": ports.grpc, "http": ports.http, "admin": ports.admin, "store": settings.clickhouse.interface}
    logger.info("ready", extra={"fields": fields})


def load_identities(settings: Settings) -> Identities:
    if settings.catalog.file is not None:
        return Identities(open_catalog(settings.catalog.file), None, None)
    catalog, local_plane = single_plane_catalog(settings.catalog.default_organization)
    return Identities(None, catalog, local_plane)


def build_enricher(settings: Settings) -> Enricher:
    own = [load_enricher(path) for path in settings.enrich.enrichers]
    return compose([limit_attributes(settings.receive.max_attributes_per_resource), place, *own])


def build_ingest(settings: Settings, identities: Identities, appender: LogAppender, metrics: Metrics) -> Ingest:
    enrich = settings.enrich
    rules = RedactionRules.of({rule.key: rule.action for rule in enrich.redact}, enrich.redact_salt.get_secret_value())
    return Ingest(appender, identities.current, build_enricher(settings), rules, settings.log.max_record_bytes, metrics)


def build_receiver(settings: Settings, identities: Identities, appender: LogAppender, metrics: Metrics) -> Receiver:
    receive = settings.receive
    return Receiver(
        ingest=build_ingest(settings, identities, appender, metrics),
        budget=Budget(receive.max_in_flight_bytes, give_memory_back),
        catalog=identities.current,
        local_plane=identities.local_plane,
        is_mtls=receive.tls is not None and receive.tls.client_ca_file is not None,
        max_request_bytes=receive.max_request_bytes,
        read_timeout_seconds=receive.read_timeout_seconds,
        metrics=metrics,
    )


def deliver_policy(settings: Settings) -> DeliverPolicy:
    deliver = settings.deliver
    return DeliverPolicy(
        BatchPolicy(deliver.max_rows, deliver.max_bytes, deliver.max_age_seconds),
        deliver.max_inserts_in_flight,
        deliver.retry_initial_seconds,
        deliver.retry_max_seconds,
        SINK_NAME,
    )


def build_health(
    settings: Settings, receiver: Receiver, deliver: Deliver, log: EmbeddedLog, identities: Identities
) -> Health:
    slowest_insert_seconds = (
        settings.clickhouse.connect_timeout_seconds + settings.clickhouse.send_receive_timeout_seconds
    )
    return Health(
        budget=receiver.budget,
        lanes=deliver.health,
        lag=log.lag,
        log=log,
        max_record_bytes=settings.log.max_record_bytes,
        catalog=identities.file,
        no_progress_seconds=settings.deliver.no_progress_seconds,
        # a lane goes round after every insert attempt; twice the longest one is a lane that hangs
        stuck_loop_seconds=2.0 * slowest_insert_seconds + settings.deliver.retry_max_seconds,
        metrics=receiver.metrics,
    )


def clickhouse_settings(settings: Settings) -> ClickHouseSettings:
    store = settings.clickhouse
    return ClickHouseSettings(
        interface=store.interface,
        host=store.host,
        port=store.port,
        username=store.username,
        password=store.password.get_secret_value(),
        database=store.database,
        data_path=settings.data_dir / "clickhouse",
        compression=store.compression,
        connect_timeout_seconds=store.connect_timeout_seconds,
        send_receive_timeout_seconds=store.send_receive_timeout_seconds,
        verify=store.verify,
        ca_cert=store.ca_cert,
        client_cert=store.client_cert,
        client_cert_key=store.client_cert_key,
        # one for the schema and questions beside the inserts
        threads=settings.deliver.max_inserts_in_flight + 1,
    )


def schema_options(settings: Settings) -> SchemaOptions:
    store = settings.clickhouse
    return SchemaOptions(store.database, store.logs_ttl_days, store.traces_ttl_days, store.cluster)
