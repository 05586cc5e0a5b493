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
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from bridge.admin import Ask, open_admin
from bridge.assembly import (
    Identities,
    build_health,
    build_receiver,
    count_lost,
    kafka_settings,
    letters_path,
    load_identities,
    shadow_kafka_settings,
)
from bridge.errors import BridgeError, LogUnavailable
from bridge.freshness import progress
from bridge.health import Health
from bridge.ledger import Books, Ledger
from bridge.log.embedded import open_embedded_log
from bridge.log.kafka_settings import KafkaSettings
from bridge.log.letters_file import FileLetters
from bridge.otlp.grpc_aio import open_grpc_aio
from bridge.otlp.grpc_queue import open_grpc_queue
from bridge.otlp.http import open_http
from bridge.otlp.receiver import Receiver
from bridge.patience import pause
from bridge.retry import backoff_seconds
from bridge.settings import Settings, is_loopback
from bridge.telemetry import Metrics

if TYPE_CHECKING:  # a role loads what it needs: Kafka's client is 12 MB, Arrow and ClickHouse's are 60
    from aiokafka.admin import AIOKafkaAdminClient

    from bridge.log.kafka_appender import KafkaAppender
    from sinks.clickhouse import ClickHouseSink

logger = logging.getLogger(__name__)

Started: TypeAlias = "asyncio.Future[Ports] | None"


@dataclass(frozen=True, slots=True)
class Ports:
    """What was bound, where the settings said port 0."""

    grpc: int
    http: int
    admin: int
    query: int = 0


async def run(settings: Settings, stop: asyncio.Event, started: Started = None) -> None:
    """Everything in one process until `stop`. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    from bridge.assembly_deliver import build_deliver, build_exit
    from bridge.assembly_query import open_query
    from bridge.assembly_store import clickhouse_settings
    from sinks.clickhouse import open_clickhouse

    metrics, identities = Metrics(), load_identities(settings)
    ledger = Ledger(metrics.ledger_items)
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(open_clickhouse(clickhouse_settings(settings)))
        log = await stack.enter_async_context(
            open_embedded_log(settings.data_dir / "log", max_bytes=settings.log.max_bytes)
        )
        letters = FileLetters(letters_path(settings))
        deliver = build_deliver(
            settings, log, build_exit(settings, sink, letters, identities=identities, ledger=ledger, metrics=metrics)
        )
        receiver = build_receiver(settings, identities, log, ledger, metrics)
        health = build_health(settings, metrics, identities, receiver=receiver, deliver=deliver, reader=log)
        health.log = log
        books = Books(ledger, "run", log.append, lambda: progress(deliver.health(), log.lag(), time.time_ns()))
        drained = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver.run(drained), name="deliver")
            group.create_task(books.keep(stop), name="ledger")
            start_side_tasks(group, settings, identities, sink, stop)
            ask = sink.json_rows if is_open_to_questions(settings) else None
            async with (
                open_query(settings, identities.current, metrics) as query,
                serve(settings, receiver, health, ask) as ports,
            ):
                health.query = query.check
                await _until_stop(settings, identities, replace(ports, query=query.ports.main), stop, started)
                health.is_draining = True
            await books.close()
            drained.set()
    logger.info("stopped")


async def run_receive(settings: Settings, stop: asyncio.Event, started: Started = None) -> None:
    """The receivers, appending to Kafka, until `stop`. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    metrics, identities = Metrics(), load_identities(settings)
    ledger, kafka = Ledger(metrics.ledger_items), kafka_settings(settings)
    async with AsyncExitStack() as stack:
        opened = await _open_kafka(stack, kafka, stop)
        if opened is None:
            return
        _, appender = opened
        receiver = build_receiver(settings, identities, appender, ledger, metrics)
        health = build_health(settings, metrics, identities, receiver=receiver)
        health.trouble = appender.trouble
        books = Books(ledger, "receive", appender.append, lambda: ())
        async with asyncio.TaskGroup() as group:
            group.create_task(books.keep(stop), name="ledger")
            start_side_tasks(group, settings, identities, None, stop)
            async with serve(settings, receiver, health, None) as ports:
                await _until_stop(settings, identities, ports, stop, started)
                health.is_draining = True
            await books.close()
    logger.info("stopped")


async def run_deliver(settings: Settings, stop: asyncio.Event, started: Started = None) -> None:
    """From Kafka into the store until `stop`. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    from bridge.assembly_deliver import build_deliver, build_exit
    from bridge.assembly_store import clickhouse_settings
    from bridge.log.kafka_letters import KafkaLetters
    from bridge.log.kafka_reader import open_kafka_reader
    from sinks.clickhouse import open_clickhouse

    metrics, identities = Metrics(), load_identities(settings)
    ledger, kafka = Ledger(metrics.ledger_items), kafka_settings(settings)
    async with AsyncExitStack() as stack:
        opened = await _open_kafka(stack, kafka, stop)
        if opened is None:
            return
        admin, appender = opened
        reader = await stack.enter_async_context(open_kafka_reader(kafka, admin, count_lost(metrics)))
        sink = await stack.enter_async_context(open_clickhouse(clickhouse_settings(settings)))
        out = build_exit(
            settings, sink, KafkaLetters(kafka, appender), identities=identities, ledger=ledger, metrics=metrics
        )
        deliver = build_deliver(settings, reader, out)
        health = build_health(settings, metrics, identities, deliver=deliver, reader=reader)
        books = Books(
            ledger, "deliver", appender.append, lambda: progress(deliver.health(), reader.lag(), time.time_ns())
        )
        drained = asyncio.Event()
        admin_port = await stack.enter_async_context(open_admin(settings.admin.listen, health, metrics.registry, None))
        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(deliver.run(drained), name="deliver")
            group.create_task(books.keep(stop), name="ledger")
            start_side_tasks(group, settings, identities, sink, stop)
            await _until_stop(settings, identities, Ports(0, 0, admin_port), stop, started)
            health.is_draining = True
            drained.set()
            await asyncio.wait((delivering,))
            await books.close()
    logger.info("stopped")


async def run_shadow(settings: Settings, stop: asyncio.Event, started: Started = None) -> None:
    """From Kafka into OpenSearch, as a group of its own beside `run_deliver`, until `stop`. Raises as that does."""
    from bridge.assembly_deliver import build_deliver, build_shadow_exit
    from bridge.assembly_opensearch import open_shadow
    from bridge.log.kafka_letters import KafkaLetters
    from bridge.log.kafka_reader import open_kafka_reader

    metrics, identities = Metrics(), load_identities(settings)
    kafka = shadow_kafka_settings(settings)
    async with AsyncExitStack() as stack:
        opened = await _open_kafka(stack, kafka, stop)
        if opened is None:
            return
        admin, appender = opened
        reader = await stack.enter_async_context(open_kafka_reader(kafka, admin, count_lost(metrics)))
        sink = await stack.enter_async_context(open_shadow(settings, metrics))
        out = build_shadow_exit(settings, sink, KafkaLetters(kafka, appender), identities, metrics)
        deliver = build_deliver(settings, reader, out)
        health = build_health(settings, metrics, identities, deliver=deliver, reader=reader, is_shadow=True)
        drained = asyncio.Event()
        admin_port = await stack.enter_async_context(open_admin(settings.admin.listen, health, metrics.registry, None))
        async with asyncio.TaskGroup() as group:
            group.create_task(deliver.run(drained), name="deliver")
            start_side_tasks(group, settings, identities, None, stop)
            await _until_stop(settings, identities, Ports(0, 0, admin_port), stop, started, store="opensearch")
            health.is_draining = True
            drained.set()
    logger.info("stopped")


async def run_query(settings: Settings, stop: asyncio.Event, started: Started = None) -> None:
    """The query API until `stop`. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    from bridge.assembly_query import open_query

    metrics, identities = Metrics(), load_identities(settings)
    health = build_health(settings, metrics, identities)
    async with (
        open_query(settings, identities.current, metrics) as query,
        open_admin(settings.admin.listen, health, metrics.registry, None) as admin_port,
        asyncio.TaskGroup() as group,
    ):
        health.query = query.check
        start_side_tasks(group, settings, identities, None, stop)
        await _until_stop(settings, identities, Ports(0, 0, admin_port, query.ports.main), stop, started)
        health.is_draining = True
    logger.info("stopped")


async def _until_stop(
    settings: Settings,
    identities: Identities,
    ports: Ports,
    stop: asyncio.Event,
    started: Started,
    *,
    store: str | None = None,
) -> None:
    """Say that we are there, and wait."""
    _announce(settings, identities, ports, store or settings.clickhouse.interface)
    if started is not None:
        started.set_result(ports)
    gc.collect()
    gc.freeze()  # what is loaded now stays; collections need not look at it again
    await stop.wait()


def start_side_tasks(
    group: asyncio.TaskGroup,
    settings: Settings,
    identities: Identities,
    sink: "ClickHouseSink | None",
    stop: asyncio.Event,
) -> None:
    """What runs beside the flows: the schema where there is a store, the catalog's watch where there is a file."""
    if sink is not None and settings.clickhouse.apply_schema:
        group.create_task(apply_schema(sink, settings, stop), name="schema")
    if identities.file is not None:
        group.create_task(identities.file.watch(stop, settings.catalog.reload_seconds), name="catalog")


async def _open_kafka(
    stack: AsyncExitStack, kafka: KafkaSettings, stop: asyncio.Event
) -> "tuple[AIOKafkaAdminClient, KafkaAppender] | None":
    """Connected, with its topics checked, however long that takes; None if a stop comes first."""
    from bridge.log.kafka_appender import open_kafka_appender
    from bridge.log.kafka_client import check_topics, open_admin_client

    attempt = 0
    while not stop.is_set():
        async with AsyncExitStack() as trying:
            try:
                admin = await trying.enter_async_context(open_admin_client(kafka))
                await check_topics(admin, kafka)
                appender = await trying.enter_async_context(open_kafka_appender(kafka))
            except LogUnavailable as error:
                attempt += 1
                if attempt & (attempt - 1) == 0:
                    logger.warning("waiting for kafka: %s", error, extra={"fields": {"attempt": attempt}})
            else:
                await stack.enter_async_context(trying.pop_all())
                return admin, appender
        await pause(stop, backoff_seconds(attempt, 0.2, 5.0, 1.0))
    return None


@asynccontextmanager
async def serve(settings: Settings, receiver: Receiver, health: Health, ask: Ask | None) -> AsyncIterator[Ports]:
    """All listeners; left in reverse, so the admin port answers until the receivers have finished."""
    grace_seconds = settings.stop_seconds / 2
    receive = settings.receive
    open_grpc = open_grpc_queue if receive.grpc_engine == "queue" else open_grpc_aio
    async with (
        open_admin(settings.admin.listen, health, health.metrics.registry, ask) as admin,
        open_grpc(receive.grpc_listen, receive.tls, receiver, grace_seconds) as grpc_port,
        open_http(receive.http_listen, receive.tls, receiver, grace_seconds) as http_port,
    ):
        yield Ports(grpc_port, http_port, admin)


Role = Callable[[Settings, asyncio.Event], Awaitable[None]]


async def run_until_signal(settings: Settings, role: Role) -> None:
    """The role until SIGTERM or SIGINT, with the hard deadline of a soft stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def soft_stop() -> None:
        if not stop.is_set():
            logger.info("stopping", extra={"fields": {"deadline_seconds": settings.stop_seconds}})
            loop.call_later(settings.stop_seconds, _hard_stop, settings.stop_seconds)
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, soft_stop)
    await role(settings, stop)


def _hard_stop(stop_seconds: float) -> None:
    """Threads in an insert cannot be cancelled, so nothing gentler ends the process in time."""
    logger.error(
        "not stopped within stop_seconds; what is not yet delivered stays in the log",
        extra={"fields": {"stop_seconds": stop_seconds}},
    )
    logging.shutdown()
    os._exit(1)


async def apply_schema(sink: "ClickHouseSink", settings: Settings, stop: asyncio.Event) -> None:
    """Create what is missing as soon as the store is there; until then inserts wait, as they would for the store."""
    from bridge.assembly_store import schema_options

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


def _announce(settings: Settings, identities: Identities, ports: Ports, store: str) -> None:
    if identities.local_plane is not None:
        logger.warning(
            "no catalog: every caller is data plane 'local' and may write any organisation it claims",
            extra={"fields": {"default_organization": settings.catalog.default_organization}},
        )
    bound = {"grpc": ports.grpc, "http": ports.http, "query": ports.query, "admin": ports.admin}
    fields = {**{name: port for name, port in bound.items() if port}, "store": store}
    logger.info("ready", extra={"fields": fields})
