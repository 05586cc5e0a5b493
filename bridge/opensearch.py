"""OpenSearch's client: the one place that imports it. A call is a method, a path and a body; an answer is its JSON.

opensearch-py's async transport does the talking (pool of hosts, TLS, a user); what a call means is the callers'.
"""

import io
import logging
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from opensearchpy import AIOHttpConnection, AsyncOpenSearch, RoundRobinSelector, TransportError
from opensearchpy.exceptions import ConnectionError as NoAnswer
from opensearchpy.exceptions import ConnectionTimeout, OpenSearchException, SerializationError

from bridge.errors import SettingsInvalid

Json = dict[str, Any]
NDJSON = {"Content-Type": "application/x-ndjson"}
JSON = {"Content-Type": "application/json"}
# A host that was silent is asked again after this long, if others are there: each attempt costs a whole timeout.
SILENT_SECONDS: Final = 300.0
# It writes a line a call, with URLs and at DEBUG with documents; what fails is told by who calls.
logging.getLogger("opensearch").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class OpenSearchSettings:
    """`hosts` are URLs, asked in turn; what does not answer is left alone for a while."""

    hosts: tuple[str, ...]
    username: str | None = None
    password: str = ""
    verify: bool = True
    ca_certs: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    request_timeout_seconds: float = 30.0
    max_connections: int = 8


class OpenSearchError(Exception):
    """A call that brought no result."""


class NotReached(OpenSearchError):
    """No answer: nobody listens, the connection broke, or time ran out (`is_timeout`). What was asked may be done."""

    def __init__(self, message: str, *, is_timeout: bool) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout


class Refused(OpenSearchError):
    """An answer that is an error: the HTTP status, OpenSearch's name of it (`type`) and its reason."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(f"{status} {kind}: {reason}")
        self.status, self.kind, self.reason = status, kind, reason

    @property
    def is_temporary(self) -> bool:
        """Whether the same call may work later: too many requests, no quorum, a node that is going."""
        return self.status in (408, 429) or self.status >= 500


@asynccontextmanager
async def open_opensearch(settings: OpenSearchSettings) -> AsyncIterator["OpenSearch"]:
    """A client that connects when it is first used. Raises `SettingsInvalid` for certificates it cannot read."""
    options: dict[str, Any] = {
        "hosts": list(settings.hosts),
        "timeout": settings.request_timeout_seconds,
        "maxsize": settings.max_connections,
        "max_retries": len(settings.hosts) - 1,  # another host; trying again is the callers', with their metrics
        "retry_on_status": (),
        "http_compress": False,
        "connection_class": _Connection,
        "selector_class": _Selector,
    }
    if any(host.startswith("https") for host in settings.hosts):
        _check_certificates(settings)
        options |= {"verify_certs": settings.verify, "ssl_show_warn": False}
        files = {name: getattr(settings, name) for name in ("ca_certs", "client_cert", "client_key")}
        options |= {name: str(path) for name, path in files.items() if path is not None}
    if settings.username is not None:
        options["http_auth"] = (settings.username, settings.password)
    client = AsyncOpenSearch(**options)
    try:
        yield OpenSearch(client)
    finally:
        await client.close()
        for connection, _ in client.transport.connection_pool.connection_opts:  # also those that were left alone
            await connection.close()


def _check_certificates(settings: OpenSearchSettings) -> None:
    """opensearch-py reads them at the first request, and says of every later one that there are no hosts."""
    context, ca_certs, name = ssl.create_default_context(), settings.ca_certs, "ca_certs"
    try:
        if ca_certs is not None and not ca_certs.is_dir():
            context.load_verify_locations(ca_certs)
        name = "client_cert"
        if settings.client_cert is not None:
            context.load_cert_chain(settings.client_cert, settings.client_key)
    except OSError as error:
        raise SettingsInvalid(f"opensearch.{name}: {getattr(settings, name)} cannot be used: {error}") from error


class _Connection(AIOHttpConnection):
    """Sends large bodies in pieces, as aiohttp wants them; a stream is made for each attempt, which reads it up.

    `silent_until` (monotonic seconds): it has not answered in time. opensearch-py leaves alone only what refuses.
    """

    silent_until = 0.0

    async def perform_request(
        self, method: str, url: str, params: Any = None, body: bytes | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        stream = io.BytesIO(body) if body is not None else None
        try:
            return await super().perform_request(method, url, params, stream, *args, **kwargs)  # type: ignore[arg-type]
        except ConnectionTimeout:
            self.silent_until = time.monotonic() + SILENT_SECONDS
            raise

    def _raise_error(self, status_code: int, raw_data: str | bytes, content_type: str | None = None) -> None:
        try:
            super()._raise_error(status_code, raw_data, content_type)
        except AttributeError as error:  # JSON that is no object, as of a gateway before the nodes
            raise TransportError(status_code, raw_data, None) from error


class _Selector(RoundRobinSelector):
    """Hosts in turn, those that were silent only if there is no other: a batch of many requests would never end."""

    def select(self, connections: Any) -> Any:
        now = time.monotonic()
        return super().select([each for each in connections if each.silent_until <= now] or connections)


class OpenSearch:
    """Safe to use from several tasks at once."""

    def __init__(self, client: AsyncOpenSearch) -> None:
        self._client = client

    async def call(
        self,
        method: str,
        path: str,
        body: Json | bytes | None = None,
        *,
        params: Mapping[str, str | int] | None = None,
        timeout_seconds: float | None = None,
    ) -> Json:
        """The answer. `body` as bytes is NDJSON. Raises `NotReached` or `Refused`."""
        data, headers = (body, NDJSON) if isinstance(body, bytes) else (orjson.dumps(body), JSON)
        try:
            answer = await self._client.transport.perform_request(
                method,
                path,
                params=dict(params or {}),
                body=None if body is None else data,
                timeout=timeout_seconds,
                headers=None if body is None else headers,
            )
        except ConnectionTimeout as error:
            raise NotReached(f"{method} {path}: no answer in time", is_timeout=True) from error
        except (NoAnswer, SerializationError) as error:
            raise NotReached(f"{method} {path}: {error}", is_timeout=False) from error
        except TransportError as error:
            raise _refused(error) from error
        except OpenSearchException as error:
            raise NotReached(f"{method} {path}: {error}", is_timeout=False) from error
        return answer if isinstance(answer, dict) else {"answer": answer}


def _refused(error: TransportError) -> Refused:
    told = error.info.get("error") if isinstance(error.info, Mapping) else None
    if not isinstance(told, Mapping):
        return Refused(int(error.status_code), str(error.error)[:200], str(told or error.info)[:500])
    cause = (told.get("root_cause") or [told])[0]
    return Refused(int(error.status_code), str(cause.get("type", "")), str(cause.get("reason", ""))[:500])
