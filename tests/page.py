"""The page in a real browser, over the real API with rows in memory, and what must never be seen of it."""

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, ConsoleMessage, Page, Request

from bridge.settings_auth import QueryAuth
from query_api.api import Api, Rules
from query_api.app import Guards, KnowsCallers, create_app
from query_api.auth.authenticator import Authenticator
from query_api.callers import LocalCallers
from query_api.limits import Gate, Rates
from query_api.memory import MemoryStorage
from query_api.page import add_page
from query_api.routes import MAIN
from query_api.serving import serve
from query_api.storage import LogPage, LogQuery
from query_api.tenant import Tenant
from tests.stored import SECOND, Stored, place

API: Final = place("acme", "shop", "api", service__name="api")
LEVELS: Final = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}
# Reports every violation of the policy as an error on the console.
WATCH: Final = (
    "addEventListener('securitypolicyviolation', e => console.error(`policy: ${e.violatedDirective} ${e.blockedURI}`))"
)


@dataclass(slots=True)
class Failing(MemoryStorage):
    """Raises `error` for logs as long as it is set."""

    error: Exception | None = None

    async def logs(self, tenant: Tenant, query: LogQuery) -> LogPage:
        if self.error is not None:
            raise self.error
        # `super()` without arguments does not work in a dataclass with slots
        return await MemoryStorage.logs(self, tenant, query)


def some_logs(count: int, *, seconds_apart: float = 1.0, resource: Mapping[str, str] = API) -> Stored:
    """Lines 'line 0' (the eldest) to the newest, of ten seconds ago."""
    stored, newest = Stored(), time.time_ns() - 10 * SECOND
    for number in range(count):
        at = newest - int((count - 1 - number) * seconds_apart * SECOND)
        stored.log(f"line {number}", at, resource, severity="INFO", number=LEVELS["INFO"])
    return stored


@asynccontextmanager
async def serving_page(storage: MemoryStorage, auth: QueryAuth | None = None) -> AsyncIterator[str]:
    """The URL of the main listener, as `bridge/assembly_query.py` makes it."""
    callers: KnowsCallers = LocalCallers() if auth is None else Authenticator(auth, None)
    guards = Guards(callers, Rates(10_000), Gate(12, 5.0))

    def until() -> dict[str, int]:
        return {"logs": time.time_ns() - 3 * SECOND, "traces": time.time_ns() - 3 * SECOND}

    app = create_app(Api(storage, Rules(), until), MAIN, guards, lambda *_: None, "test")
    add_page(app)
    async with serve(app, "127.0.0.1", 0, 1.0, None) as port:
        yield f"http://127.0.0.1:{port}"


@dataclass  # without slots: playwright keeps attributes of its own on the owners of its handlers
class Watched:
    """What a page did that it must not do: console errors, exceptions, requests elsewhere, dialogs of its scripts."""

    origin: str
    wrongs: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.wrongs.append(f"exception: {error}"))
        page.on("request", self._request)
        page.on("dialog", lambda dialog: self.wrongs.append(f"dialog: {dialog.message}"))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.wrongs.append(f"console: {message.text}")

    def _request(self, request: Request) -> None:
        if request.url.startswith(self.origin):
            self.paths.append(request.url.removeprefix(self.origin))
        else:
            self.wrongs.append(f"request to {request.url[:200]}")


@asynccontextmanager
async def open_page(
    browser: Browser, url: str, hash_part: str = "", *, allowed: Sequence[str] = (), **options: Any
) -> AsyncIterator[Page]:
    """The page, loaded. At the end nothing wrong may have been seen but messages that contain one of `allowed`."""
    watched = Watched(url)
    context = await browser.new_context(**{"viewport": {"width": 1240, "height": 800}, **options})
    try:
        page = await context.new_page()
        page.set_default_timeout(10_000)
        await page.add_init_script(WATCH)
        watched.watch(page)
        await page.goto(f"{url}/{hash_part}")
        yield page
    finally:
        await context.close()
    assert [wrong for wrong in watched.wrongs if not any(text in wrong for text in allowed)] == []
    assert watched.paths[0] == "/"
