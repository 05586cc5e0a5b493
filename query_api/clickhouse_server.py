"""Questions to ClickHouse servers over HTTP(S): the first host that answers is asked, the next ones when it does not.

clickhouse_connect's async client does the talking. Each host is pinged all the time, so a host that has stopped without
closing anything is known within `PULSE_SECONDS` + `PULSE_TIMEOUT_SECONDS`: what waits for it ends then, and later
questions are refused or go elsewhere at once. Only connection errors are tried again, for `RETRY_SECONDS` at most.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from aiohttp import ClientError
from clickhouse_connect.driver import create_async_client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from bridge.retry import backoff_seconds
from query_api.asking import Question, error_of
from query_api.errors import AnswerTooLarge, QueryError, StoreUnavailable
from query_api.limits import take_answer_bytes
from query_api.rows import complete_rows, failure_in

logger = logging.getLogger(__name__)
T = TypeVar("T")
Call = Callable[[Any], Awaitable[T]]
PULSE_SECONDS: Final = 0.4
PULSE_TIMEOUT_SECONDS: Final = 1.2
# A pulse is waited for in so many slices, each with a turn of the loop: while we ourselves are busy, no time passes.
PULSE_SLICES: Final = 6
RETRY_SECONDS: Final = 1.0
# of values in a URL, where quoting may take three times as much; servers and proxies take some 8 KiB at least
MAX_URL_BYTES: Final = 1500
# beyond the server's own limit on a question, which is the one that should end it
SPARE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Names as in clickhouse_connect. `hosts`: in order of preference."""

    hosts: tuple[tuple[str, int], ...]
    interface: Literal["http", "https"]
    username: str
    password: str
    connect_timeout_seconds: float
    answer_timeout_seconds: float
    max_connections: int
    verify: bool = True
    ca_cert: Path | None = None
    client_cert: Path | None = None
    client_cert_key: Path | None = None


@asynccontextmanager
async def open_servers(settings: ServerSettings) -> AsyncIterator["ServerAsker"]:
    """An asker whether or not any host is up; it connects, and connects again, by itself."""
    hosts = [_Host(host, port, settings) for host, port in settings.hosts]
    pulses = [asyncio.create_task(host.watch(), name=f"pulse of {host.name}") for host in hosts]
    try:  # not a TaskGroup: it would wrap the errors of the block it is around
        yield ServerAsker(hosts)
    finally:
        for pulse in pulses:
            pulse.cancel()
        await asyncio.gather(*pulses, return_exceptions=True)
        for host in hosts:
            await host.close()


class ServerAsker:
    """As `Asker`."""

    def __init__(self, hosts: "list[_Host]") -> None:
        self._hosts = hosts

    async def rows(self, question: Question) -> list[list[Any]]:
        """As `Asker.rows`."""
        _, rows = await self._ask(lambda client: _all_rows(client, question))
        return rows

    async def blocks(self, question: Question) -> AsyncGenerator[list[list[Any]], None]:
        """As `Asker.blocks`. An answer that breaks off raises, whatever came before."""
        host, stream = await self._ask(
            lambda client: _prepared(client, question).raw_stream(question.sql, **_options(question))
        )
        rest = b""
        async with stream:
            chunks = stream.gen
            while True:
                async with host.until_lost():
                    chunk = await anext(chunks, None)
                if chunk is None:
                    break
                rows, rest = complete_rows(rest + chunk)
                if rows:
                    yield rows
        if rest:
            raise failure_in(rest)

    async def _ask(self, call: Call[T]) -> "tuple[_Host, T]":
        """The first answer of a host, and the host. Raises what the hosts said last."""
        loop, attempt, last = asyncio.get_running_loop(), 0, None
        deadline = loop.time() + RETRY_SECONDS
        while True:
            for host in [each for each in self._hosts if not each.is_lost]:
                try:
                    async with host.until_lost():
                        return host, await call(await host.connected())
                except StoreUnavailable as error:
                    last = error
                    if error.reason != "connection":
                        raise
            attempt += 1
            delay_seconds = backoff_seconds(attempt, 0.05, 0.4, 1.0)
            if last is None or loop.time() + delay_seconds > deadline or all(host.is_lost for host in self._hosts):
                raise last or StoreUnavailable("the store does not answer", reason="connection")
            await asyncio.sleep(delay_seconds)


class _Host:
    """One server: its client, and whether it has a pulse."""

    def __init__(self, host: str, port: int, settings: ServerSettings) -> None:
        self.name = f"{host}:{port}"
        self.is_lost = False
        self._address, self._settings = (host, port), settings
        self._client: Any = None
        # one of its own: behind a queue of questions a pulse would tell of them, not of the host
        self._pinging: Any = None
        self._connecting = asyncio.Lock()
        self._running: set[asyncio.Timeout] = set()

    @asynccontextmanager
    async def until_lost(self) -> AsyncIterator[None]:
        """Around waiting for it. Raises the errors of `error_of`; `StoreUnavailable` as soon as the host is lost."""
        waiting = asyncio.timeout(None)
        try:
            async with waiting:
                self._running.add(waiting)
                yield
        except TimeoutError as error:
            raise StoreUnavailable("the store does not answer", reason="connection") from error
        except (ClickHouseError, ClientError, OSError) as error:
            raise _error(error) from error
        finally:
            self._running.discard(waiting)

    async def watch(self) -> None:
        """Ping until cancelled."""
        while True:
            is_lost = not await self._answers()
            if is_lost != self.is_lost:
                logger.log(
                    logging.WARNING if is_lost else logging.INFO,
                    "clickhouse %s",
                    "does not answer" if is_lost else "answers again",
                    extra={"fields": {"host": self.name}},
                )
            self.is_lost = is_lost
            if is_lost:
                self._give_up()
            await asyncio.sleep(PULSE_SECONDS)

    async def _answers(self) -> bool:
        pulse = asyncio.create_task(self._pulse(), name=f"ping of {self.name}")
        try:
            for _ in range(PULSE_SLICES):
                await asyncio.wait([pulse], timeout=PULSE_TIMEOUT_SECONDS / PULSE_SLICES)
                if pulse.done():
                    return pulse.result()
            return False
        finally:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)

    async def _pulse(self) -> bool:
        """Never raises: whatever a client makes of a broken answer, the loop of pulses has to go on."""
        try:
            if self._pinging is None:
                self._pinging = await _connect(*self._address, replace(self._settings, max_connections=1))
            # we end it ourselves, long before
            return bool(await self._pinging.ping(10 * PULSE_TIMEOUT_SECONDS))
        except Exception as error:
            logger.debug("no pulse: %s", error, extra={"fields": {"host": self.name}})
            return False

    def _give_up(self) -> None:
        for waiting in self._running:
            if not waiting.expired():  # it may still be on its way out since the last time
                waiting.reschedule(0)

    async def connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                self._client = await _connect(*self._address, self._settings)
        return self._client

    async def close(self) -> None:
        for client in (self._client, self._pinging):
            if client is not None:
                await client.close()


async def _all_rows(client: Any, question: Question) -> list[list[Any]]:
    """Read no further than the limit: a character of the store may take six as JSON, which it does not count."""
    parts, size_bytes = [], 0
    async with await _prepared(client, question).raw_stream(question.sql, **_options(question)) as stream:
        async for part in stream.gen:
            take_answer_bytes(len(part))
            parts.append(part)
            size_bytes += len(part)
            if 0 < question.max_result_bytes < size_bytes:
                raise AnswerTooLarge
    rows, rest = complete_rows(b"".join(parts))
    if rest:
        raise failure_in(rest)
    return rows


async def _connect(host: str, port: int, settings: ServerSettings) -> Any:
    options: dict[str, Any] = {
        "interface": settings.interface,
        "host": host,
        "port": port,
        "username": settings.username,
        "password": settings.password,
        "connect_timeout": settings.connect_timeout_seconds,
        "send_receive_timeout": settings.answer_timeout_seconds,
        "verify": settings.verify,
        "compress": False,  # hosts are near, and answers small
        "query_retries": 0,  # retrying is done here, over all hosts
        "autogenerate_session_id": False,  # sessions would forbid questions side by side
        "connector_limit": settings.max_connections,
        "connector_limit_per_host": settings.max_connections,
    }
    for name in ("ca_cert", "client_cert", "client_cert_key"):
        path: Path | None = getattr(settings, name)
        options[name] = str(path) if path is not None else None
    return await create_async_client(**options)


def _prepared(client: Any, question: Question) -> Any:
    """Parameters travel in the URL, or as a form if they are long. A form costs twice the CPU of a whole request.

    The client reads this once, before it first gives way to another task.
    """
    client.form_encode_query_params = len(question.table_filters) + question.parameters_bytes > MAX_URL_BYTES
    return client


def _options(question: Question) -> dict[str, Any]:
    settings = {**question.settings(), "cancel_http_readonly_queries_on_client_close": 1}
    return {"parameters": dict(question.parameters), "settings": settings, "fmt": "JSONCompactEachRow"}


def _error(error: Exception) -> QueryError:
    return error_of(error.code if isinstance(error, Error) else None, str(error))
