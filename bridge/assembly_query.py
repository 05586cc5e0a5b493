"""From the settings tree to the query API's objects; apart, so that only who answers questions loads them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from bridge.admin import Check
from bridge.errors import SettingsInvalid
from bridge.settings import Settings, split_address
from bridge.settings_receive import Tls
from bridge.telemetry import Metrics
from enrichers.catalog import Catalog
from query_api.api import Api, Route, Rules
from query_api.app import Guards, KnowsCallers, create_app
from query_api.asking import Asker
from query_api.auth.authenticator import open_authenticator
from query_api.callers import AdapterCallers, LocalCallers
from query_api.clickhouse import ClickHouseStorage, ReadLimits
from query_api.clickhouse_embedded import open_embedded
from query_api.clickhouse_server import SPARE_SECONDS, ServerSettings, open_servers
from query_api.costs_report import Retention
from query_api.limits import ANSWERS_BYTES, BODIES_BYTES, Gate, Rates, Room
from query_api.page import add_page
from query_api.routes import LOGS_ADAPTER, MAIN, TRACING_ADAPTER
from query_api.serving import serve
from query_api.sides import Side
from query_api.storage import StorageProvider
from query_api.tenant import Grant, Tenant
from query_api.watermark import Watermark

KINDS: Final = ("organization", "project", "component")
FindCatalog = Callable[[], Catalog | None]


@dataclass(frozen=True, slots=True)
class QueryPorts:
    """What was bound; 0: not listening."""

    main: int
    logs_adapter: int
    tracing_adapter: int


@dataclass(frozen=True, slots=True)
class QueryRole:
    """The query API, listening."""

    ports: QueryPorts
    watermark: Watermark

    def check(self) -> Check:
        """For /readyz."""
        return Check(None if self.watermark.is_answering else "the store does not answer", {})


@asynccontextmanager
async def open_query(settings: Settings, catalog: FindCatalog, metrics: Metrics) -> AsyncIterator[QueryRole]:
    """Serve until the block is left. Raises `OSError` or `SettingsInvalid` if it cannot start."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        storage, report = await _open_storage(stack, settings, catalog, metrics)
        watermark = Watermark(storage)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(watermark.watch(stop), name="watermark")
        stack.callback(stop.set)
        api = Api(storage, _rules(settings), watermark.current, dual_report=report)
        guards = await _open_guards(stack, settings, catalog)
        ports = await _listen(stack, settings, api, guards, metrics)
        yield QueryRole(ports, watermark)


async def _open_storage(
    stack: AsyncExitStack, settings: Settings, catalog: FindCatalog, metrics: Metrics
) -> tuple[StorageProvider, Callable[[Tenant], Mapping[str, Any]] | None]:
    """What answers questions: one store, or both as one with a report of how far they agree."""
    dual = settings.query.dual
    if dual is None:
        return await stack.enter_async_context(open_side(Side(settings.query.storage), settings)), None
    from bridge.assembly_dual import open_dual

    known = partial(_org_id, catalog)
    opened = open_dual(settings, dual, lambda side: open_side(side, settings), known, metrics)
    both = await stack.enter_async_context(opened)
    return both.storage, both.report


@asynccontextmanager
async def open_side(side: Side, settings: Settings) -> AsyncIterator[StorageProvider]:
    """One store, to be read until the block is left."""
    if side is Side.OPENSEARCH:
        async with _open_opensearch(settings) as storage:
            yield storage
    else:
        async with _open_asker(settings) as asker:
            yield ClickHouseStorage(asker, settings.clickhouse.database, _limits(settings))


@asynccontextmanager
async def _open_opensearch(settings: Settings) -> AsyncIterator[StorageProvider]:
    from bridge.assembly_opensearch import opensearch_layout, opensearch_settings
    from bridge.opensearch import open_opensearch
    from query_api.opensearch import OpenSearchLimits, OpenSearchStorage

    query = settings.query
    longest_seconds = max(query.max_execution_seconds, query.export_seconds) + SPARE_SECONDS
    client_settings = replace(
        opensearch_settings(settings),
        request_timeout_seconds=longest_seconds,
        max_connections=_connections(settings),
    )
    limits = OpenSearchLimits(
        query.total_cap, query.max_execution_seconds, query.export_seconds, query.max_result_bytes
    )
    async with open_opensearch(client_settings) as client:
        yield OpenSearchStorage(client, opensearch_layout(settings), limits)


def _connections(settings: Settings) -> int:
    """As many as questions and comparisons may want at once, and some for what watches the store."""
    query = settings.query
    return query.max_concurrent_queries + (query.dual.max_concurrent if query.dual is not None else 0) + 4


def _org_id(catalog: FindCatalog, name: str) -> str:
    """The id of an organisation by its name, as the catalog has it now; what it does not know stays as it is."""
    known = catalog()
    named = known.find(KINDS[0], name) if known is not None and name else None
    return named.id if named is not None else name


async def _open_guards(stack: AsyncExitStack, settings: Settings, catalog: FindCatalog) -> Guards:
    query = settings.query
    callers: KnowsCallers = LocalCallers()
    if query.auth.is_configured:
        callers = await stack.enter_async_context(open_authenticator(query.auth, _resolver(catalog)))
    gate = Gate(query.max_concurrent_queries, query.max_wait_seconds)
    origins = query.cors.allowed_origins
    bodies = Room(max(BODIES_BYTES, 2 * query.max_request_bytes), "request bodies")
    answers = Room(max(ANSWERS_BYTES, 2 * query.max_result_bytes), "large answers")
    rates = Rates(query.requests_per_second)
    return Guards(callers, rates, gate, origins, query.max_request_bytes, bodies, answers)


async def _listen(stack: AsyncExitStack, settings: Settings, api: Api, guards: Guards, metrics: Metrics) -> QueryPorts:
    query, tls = settings.query, _tls(settings.query.tls)

    def observe(route: str, outcome: str, seconds: float) -> None:
        metrics.query_seconds.labels(route, outcome).observe(seconds)
        if outcome == "serviceUnavailable":
            metrics.connection_errors.inc()

    async def listen(setting: str, address: str | None, routes: tuple[Route, ...], who: Guards) -> int:
        if address is None:
            return 0
        app = create_app(api, routes, who, observe, f"Headrace {setting}")
        if routes is MAIN:
            add_page(app)
        try:
            return await stack.enter_async_context(serve(app, *split_address(address), settings.stop_seconds / 2, tls))
        except OSError as error:
            raise OSError(f"{setting}: {address} cannot be bound: {error.strerror}") from error

    adapters = query.adapters
    trusted = replace(guards, callers=AdapterCallers()) if adapters.trust_network else guards
    return QueryPorts(
        await listen("query.listen", query.listen, MAIN, guards),
        await listen("query.adapters.logs_listen", adapters.logs_listen, LOGS_ADAPTER, trusted),
        await listen("query.adapters.tracing_listen", adapters.tracing_listen, TRACING_ADAPTER, trusted),
    )


def _open_asker(settings: Settings) -> AbstractAsyncContextManager[Asker]:
    query, store = settings.query, settings.clickhouse
    if store.interface == "chdb":
        return open_embedded(settings.data_dir / "clickhouse", min(4, query.max_concurrent_queries))
    hosts = tuple(split_address(host) for host in query.read.hosts) or ((store.host, store.port),)
    username, password = store.username, store.password.get_secret_value()
    if query.read.username is not None:
        username, password = query.read.username, _password(settings)
    return open_servers(
        ServerSettings(
            hosts=hosts,
            interface=store.interface,
            username=username,
            password=password,
            connect_timeout_seconds=min(1.0, store.connect_timeout_seconds),
            answer_timeout_seconds=max(query.max_execution_seconds, query.export_seconds) + SPARE_SECONDS,
            max_connections=_connections(settings),
            verify=store.verify,
            ca_cert=store.ca_cert,
            client_cert=store.client_cert,
            client_cert_key=store.client_cert_key,
        )
    )


def _password(settings: Settings) -> str:
    file = settings.query.read.password_file
    try:
        return file.read_text(encoding="utf-8").strip() if file is not None else ""
    except OSError as error:
        raise SettingsInvalid(f"query.read.password_file: {file}: {error.strerror}") from error


def _limits(settings: Settings) -> ReadLimits:
    query = settings.query
    return ReadLimits(
        total_cap=query.total_cap,
        max_execution_seconds=query.max_execution_seconds,
        export_seconds=query.export_seconds,
        max_rows_to_read=query.max_rows_to_read,
        max_memory_bytes=query.max_memory_bytes,
        max_result_bytes=query.max_result_bytes,
    )


def _rules(settings: Settings) -> Rules:
    store = settings.clickhouse
    return Rules(
        undefined_level=settings.query.undefined_level,
        export_max_rows=settings.query.export_max_rows,
        max_answer_bytes=2 * settings.query.max_result_bytes,
        default_organization=settings.catalog.default_organization,
        hyperdx=settings.hyperdx,
        costs=settings.costs,
        retention=Retention(store.logs_ttl_days, store.traces_ttl_days),
    )


def _resolver(catalog: FindCatalog) -> Callable[[Grant], Grant]:
    """Names in roles to canonical ids, as the catalog has them now; what it does not know stays as it is."""

    def resolve(grant: Grant) -> Grant:
        known = catalog()
        if known is None:
            return grant
        ids: list[str] = []
        for kind, name in zip(KINDS, (grant.org, grant.project, grant.component), strict=True):
            named = known.find(kind, *ids, name) if name else None
            ids.append(named.id if named is not None else name)
        return Grant(*ids)

    return resolve


def _tls(tls: Tls | None) -> ssl.SSLContext | None:
    """Client certificates are asked for where there are authorities to hold them against; a token does as well."""
    if tls is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.load_verify_locations(tls.client_ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
