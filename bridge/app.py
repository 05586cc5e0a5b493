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
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from enrichers.catalog import Catalog, DataPlane, single_plane_catalog
from enrichers.catalog_file import CatalogFile, open_catalog
from enrichers.redaction import RedactionRules
from enrichers.tenancy import limit_attributes, place

from bridge.admin import open_admin
from bridge.admission import Budget
from bridge.batch import BatchPolicy
from bridge.deliver import Deliver, DeliverPolicy
from bridge.health import Health
from bridge.ingest import Ingest
from bridge.log.embedded import EmbeddedLog, open_embedded_log
from bridge.otlp.grpc import open_grpc
from bridge.otlp.http import open_http
from bridge.otlp.receiver import Receiver
from bridge.settings import Settings
from bridge.telemetry import Metrics
from enrichers import Enricher, compose, load_enricher

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
        sink = await stack.enter_async_context(open_sink(settings, metrics))
        log = await stack.enter_async_context(
            open_embedded_log(settings.data_dir / "log", max_bytes=settings.log.max_bytes)
        )
        deliver = Deliver(log, sink, deliver_policy(settings), metrics)
        receiver = build_receiver(settings, identities, log, metrics)
        health = build_health(settings, receiver, deliver, log, identities, metrics)
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver.run(drained), name="deliver")
            if settings.clickhouse.apply_schema:
                group.create_task(sink.keep_schema(stop), name="schema")
            if identities.file is not None:
                group.create_task(identities.file.watch(stop, settings.catalog.reload_seconds), name="catalog")
            async with serve(settings, receiver, health) as ports:
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
async def serve(settings: Settings, receiver: Receiver, health: Health) -> AsyncIterator[Ports]:
    """All listeners; left in reverse, so the admin port answers until the receivers have finished."""
    grace_seconds = settings.stop_seconds / 2
    receive = settings.receive
    async with (
        open_admin(settings.admin.listen, health.metrics.registry, health.live, health.ready, health.refresh) as admin,
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


def load_identities(settings: Settings) -> Identities:
    if settings.catalog.file is not None:
        return Identities(open_catalog(settings.catalog.file), None, None)
    catalog, local_plane = single_plane_catalog(settings.catalog.default_organization)
    return Identities(None, catalog, local_plane)


def build_enricher(settings: Settings) -> Enricher:
    own = [load_enricher(path) for path in settings.enrich.enrichers]
    return compose([limit_attributes(settings.receive.max_attributes_per_resource), place, *own])


def build_receiver(settings: Settings, identities: Identities, log: EmbeddedLog, metrics: Metrics) -> Receiver:
    receive, enrich = settings.receive, settings.enrich
    rules = RedactionRules.of({rule.key: rule.action for rule in enrich.redact}, enrich.redact_salt.get_secret_value())
    ingest = Ingest(log, identities.current, build_enricher(settings), rules, settings.log.max_record_bytes, metrics)
    return Receiver(
        ingest,
        Budget(receive.max_in_flight_bytes),
        identities.current,
        identities.local_plane,
        receive.tls is not None and receive.tls.client_ca_file is not None,
        receive.max_request_bytes,
        receive.read_timeout_seconds,
        metrics,
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
