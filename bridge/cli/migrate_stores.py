"""What the phases of the migration open: both stores and the state, from the settings."""

import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from bridge.assembly_opensearch import opensearch_settings
from bridge.assembly_store import clickhouse_settings
from bridge.errors import SettingsInvalid, SinkUnavailable
from bridge.migration.proof import Proof, proof_of
from bridge.migration.state import Kind, State
from bridge.opensearch import OpenSearch, OpenSearchError, open_opensearch
from bridge.settings import Settings
from sinks.clickhouse import ClickHouseSettings, Connection


def server_settings(settings: Settings) -> ClickHouseSettings:
    """ClickHouse's. Raises `SettingsInvalid` for the one that lives inside another process."""
    if settings.clickhouse.interface == "chdb":
        raise SettingsInvalid(
            "clickhouse.interface: chdb lives inside `headrace run`; migrate needs a server: http or https"
        )
    return clickhouse_settings(settings)


@contextmanager
def open_connection(settings: Settings) -> Iterator[Connection]:
    """ClickHouse, asked from threads."""
    connection = Connection(server_settings(settings))
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def open_state(settings: Settings) -> Iterator[State]:
    """The migration's state."""
    with open_connection(settings) as connection:
        yield State(connection)


@asynccontextmanager
async def open_cluster(settings: Settings) -> AsyncIterator[OpenSearch]:
    """OpenSearch; what goes wrong with it inside the block is the bridge's error, and so the command's last word."""
    try:
        async with open_opensearch(opensearch_settings(settings)) as opensearch:
            yield opensearch
    except OpenSearchError as error:
        hosts = ", ".join(settings.opensearch.hosts)
        raise SinkUnavailable(f"OpenSearch ({hosts}): {error}", reason="opensearch") from error


def signing_key(settings: Settings) -> bytes | None:
    """What reports are sealed with; None: a checksum only. Raises `SettingsInvalid` if the file cannot be read."""
    path = settings.migration.signing_key_file
    try:
        return None if path is None else path.read_bytes().strip()
    except OSError as error:
        raise SettingsInvalid(f"migration.signing_key_file: {path}: {error.strerror}") from error


def proofs(settings: Settings, state: State) -> list[Proof]:
    """What the kept reports prove."""
    key, sample = signing_key(settings), settings.opensearch.sample
    is_sampled = bool(sample.organizations) or sample.trace_ratio < 1
    return [proof_of(event, key, is_sampled=is_sampled) for event in state.latest(Kind.REPORT).values()]


def now() -> int:
    """Unix nanoseconds, cut to what the state keeps."""
    return time.time_ns() // 1000 * 1000


def progress(done: int, total: int) -> None:
    """One line that is written over on a terminal; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
