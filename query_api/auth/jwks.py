"""The identity provider's keys: fetched or read from a file, kept, and looked at again when it is time.

`KeySource` decides when, a reader gets them. Whatever callers send, there is one fetch at a time and at most one in
`jwks_min_refresh_seconds`; while the provider is down the last good keys stay.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

import aiohttp

from bridge.errors import SettingsInvalid
from bridge.settings_auth import Jwt
from query_api.auth.jwt import Key, parse_keys
from query_api.errors import StoreUnavailable

logger = logging.getLogger(__name__)
Keys = tuple[Key, ...]
Read = Callable[[], Awaitable[Keys]]
MAX_BYTES: Final = 1 << 20
FETCH_TIMEOUT_SECONDS: Final = 5.0
# A file costs a stat to look at.
FILE_LOOK_SECONDS: Final = 1.0


class KeySource:
    """`read` gets the keys, or raises `ValueError` or `OSError`; `clock_seconds` is monotonic.

    `reads`, `failures` and `last_error` say how it went.
    """

    def __init__(
        self,
        read: Read,
        max_age_seconds: float,
        min_refresh_seconds: float,
        clock_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._clock = read, clock_seconds
        self._max_age, self._min_refresh = max_age_seconds, min_refresh_seconds
        self._keys: Keys | None = None
        self._read_at = self._tried_at = -float("inf")
        self._fetch: asyncio.Task[None] | None = None
        self.reads = self.failures = 0
        self.last_error: str | None = None

    async def current(self) -> Keys:
        """The keys, not older than `max_age_seconds` unless the provider is down.

        Raises `StoreUnavailable` (jwks) if they could never be read.
        """
        if self._keys is None or self._clock() - self._read_at >= self._max_age:
            fetch = self._refresh()
            # Known to be down, it is asked behind the callers' backs: its time-out is not theirs to wait for.
            if fetch is not None and (self._keys is None or self.last_error is None):
                await asyncio.shield(fetch)
        if self._keys is None:
            raise StoreUnavailable("the identity provider's keys cannot be read now", reason="jwks")
        return self._keys

    async def newer(self) -> Keys:
        """The keys after a look at the provider, if it is time for one: for a token whose key is not in `current`."""
        fetch = self._refresh()
        if fetch is not None:
            await asyncio.shield(fetch)
        return await self.current()

    async def aclose(self) -> None:
        """End the fetch under way, if there is one."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch under way, or a new one; None if the last one is too recent."""
        if self._fetch is not None and not self._fetch.done():
            return self._fetch
        if self._clock() - self._tried_at < self._min_refresh:
            return None
        self._tried_at = self._clock()
        self._fetch = asyncio.create_task(self._take(), name="jwks")
        return self._fetch

    async def _take(self) -> None:
        """Never raises: a reader's trouble is told once, and once more when it is over."""
        asked_at = self._clock()
        try:
            keys = await self._read()
        except (ValueError, OSError) as error:
            self.failures += 1
            text = f"{type(error).__name__}: {error}"
            if text != self.last_error:
                logger.error("identity provider's keys not taken, the last good ones stay: %s", text)  # noqa: TRY400
            self.last_error = text
            return
        if self.last_error is not None or self._keys is None or len(keys) != len(self._keys):
            logger.info("identity provider's keys read", extra={"fields": {"keys": len(keys)}})
        self._keys, self._read_at = keys, asked_at
        self.reads, self.last_error = self.reads + 1, None


@asynccontextmanager
async def open_keys(rules: Jwt, clock_seconds: Callable[[], float] = time.monotonic) -> AsyncIterator[KeySource]:
    """The source of the settings' keys; a URL is asked when the first token comes.

    Raises `SettingsInvalid` if the file cannot be used or `ca_file` not read.
    """
    if rules.jwks_file is not None:
        async with aclosing(
            KeySource(_File(rules).read, FILE_LOOK_SECONDS, FILE_LOOK_SECONDS, clock_seconds)
        ) as source:
            try:
                await source.current()
            except StoreUnavailable:
                raise SettingsInvalid(f"query.auth.jwt.jwks_file: {source.last_error}") from None
            yield source
        return
    async with _session(rules) as session:
        ages = (rules.jwks_cache_seconds, rules.jwks_min_refresh_seconds)
        async with aclosing(KeySource(lambda: _fetched(session, rules), *ages, clock_seconds)) as source:
            yield source


class _File:
    """Parsed again when it is another one than last time."""

    def __init__(self, rules: Jwt) -> None:
        self._rules = rules
        self._stamp: tuple[int, int, int] | None = None
        self._keys: Keys = ()

    async def read(self) -> Keys:
        return await asyncio.to_thread(self._look)

    def _look(self) -> Keys:
        path = self._rules.jwks_file
        assert path is not None  # noqa: S101 - the caller's case
        found = path.stat()
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp != self._stamp:
            with path.open("rb") as file:
                text = file.read(MAX_BYTES + 1)
            if len(text) > MAX_BYTES:
                raise ValueError(f"{path} has more than {MAX_BYTES} bytes")
            self._keys, self._stamp = parse_keys(text, self._rules.algorithms), stamp
        return self._keys


def _session(rules: Jwt) -> aiohttp.ClientSession:
    try:
        tls = ssl.create_default_context(cafile=rules.ca_file)
    except OSError as error:
        raise SettingsInvalid(f"query.auth.jwt.ca_file: {rules.ca_file}: {error}") from error
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=1, force_close=True),
        timeout=aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        # what is counted is what is parsed: nothing is inflated
        auto_decompress=False,
        headers={"Accept": "application/json", "Accept-Encoding": "identity"},
    )


async def _fetched(session: aiohttp.ClientSession, rules: Jwt) -> Keys:
    """Raises `ValueError` or `OSError`. A redirect is no answer: what is trusted is the address in the settings."""
    try:
        async with session.get(rules.jwks_url or "", allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"{rules.jwks_url} answered {response.status}; jwks_url must be the final address")
            text = b""
            async for chunk in response.content.iter_any():
                text += chunk
                if len(text) > MAX_BYTES:
                    raise ValueError(f"{rules.jwks_url} answered with more than {MAX_BYTES} bytes")
    except aiohttp.ClientError as error:
        raise OSError(f"{rules.jwks_url}: {error}") from error
    return parse_keys(text, rules.algorithms)
