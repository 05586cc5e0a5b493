"""Both stores as the commands of `headrace migrate` use them, from the settings."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Final

from bridge.assembly import load_identities
from bridge.assembly_opensearch import opensearch_layout, opensearch_settings
from bridge.cli.migrate_stores import server_settings
from bridge.cli.moments import parse_moment
from bridge.documents import Layout
from bridge.errors import SettingsInvalid
from bridge.migration.convert import Converter, build_converter
from bridge.migration.read_clickhouse import Rows
from bridge.migration.shadow import KEY, Shadow
from bridge.migration.state import Kind, State
from bridge.model import OTLP_SIGNALS, Signal
from bridge.opensearch import OpenSearch, OpenSearchError, open_opensearch
from bridge.settings import Settings
from sinks.clickhouse import ClickHouseSink, Connection, open_clickhouse

# a page of large documents takes longer than a bulk request
READ_TIMEOUT_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Stores:
    settings: Settings
    layout: Layout
    opensearch: OpenSearch
    clickhouse: ClickHouseSink
    rows: Rows
    state: State
    converter: Converter


@asynccontextmanager
async def open_stores(settings: Settings) -> AsyncIterator[Stores]:
    """They connect when they are first used. Raises `SettingsInvalid`."""
    target = server_settings(settings)
    client = opensearch_settings(settings)
    async with AsyncExitStack() as stack:
        timeout = max(READ_TIMEOUT_SECONDS, client.request_timeout_seconds)
        opensearch = await stack.enter_async_context(open_opensearch(replace(client, request_timeout_seconds=timeout)))
        sink = await stack.enter_async_context(open_clickhouse(target))
        connection = Connection(target)
        stack.callback(connection.close)
        converter = build_converter(settings, load_identities(settings))
        yield Stores(
            settings, opensearch_layout(settings), opensearch, sink, Rows(connection), State(connection), converter
        )


def shadow_start_unix_nano(state: State) -> int | None:
    """When the shadow began to write what comes in; None: `headrace migrate shadow start` was never given."""
    shadow = Shadow.of(state.latest(Kind.SHADOW).get(KEY))
    return shadow.started_at_unix_nano if shadow is not None else None


def day(text: str) -> date:
    """Raises `SettingsInvalid` that says how one is written."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC).date()
    except ValueError as error:
        raise SettingsInvalid(f"{text!r} is not a day; it is written as 2026-01-31") from error


def moment(text: str) -> int:
    """Unix nanoseconds. Raises `SettingsInvalid` that says how a time is written."""
    try:
        return parse_moment(text)
    except ValueError as error:
        raise SettingsInvalid(str(error)) from error


def signals(name: str | None) -> tuple[Signal, ...]:
    return OTLP_SIGNALS if name is None else (Signal(name),)


async def reported(command: Callable[[], Awaitable[int]]) -> int:
    """The command's exit status; 1 with the reason if OpenSearch did not do what it was asked."""
    try:
        return await command()
    except OpenSearchError as error:
        print(f"headrace: OpenSearch: {error}", file=sys.stderr)
        return 1
