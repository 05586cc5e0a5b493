"""The real query API on real ports, over any storage: what tests of its HTTP side talk to."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from yarl import URL

from bridge.settings_auth import QueryAuth
from query_api.api import Api, Route, Rules
from query_api.app import Guards, KnowsCallers, create_app
from query_api.auth.authenticator import Authenticator
from query_api.callers import LocalCallers
from query_api.limits import Gate, Rates
from query_api.page import add_page
from query_api.routes import LOGS_ADAPTER, MAIN, TRACING_ADAPTER
from query_api.serving import serve
from query_api.storage import StorageProvider


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Served:
    """`main`, `logs_adapter` and `tracing_adapter` are URLs; `observed` has (route, outcome) of every request."""

    session: aiohttp.ClientSession
    main: str = ""
    logs_adapter: str = ""
    tracing_adapter: str = ""
    observed: list[tuple[str, str]] = field(default_factory=list)

    async def post(self, path: str, body: Any = None, *, base: str = "", **headers: Any) -> Answer:
        """A JSON body, or bytes as they are; header names have `_` for the dash."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        typed: dict[str, Any] = {"Content_Type": "application/json"} | headers
        return await self.ask("POST", path, raw, base=base, **typed)

    async def get(self, path: str, *, base: str = "", **headers: Any) -> Answer:
        return await self.ask("GET", path, base=base, **headers)

    async def ask(self, method: str, path: str, body: bytes | None = None, *, base: str = "", **headers: str) -> Answer:
        """`path` goes out as it is written here."""
        told = {name.replace("_", "-"): value for name, value in headers.items() if value}
        skipped = () if "Content-Type" in told else ("Content-Type",)
        url = URL((base or self.main) + path, encoded=True)
        async with self.session.request(
            method, url, data=body, headers=told, skip_auto_headers=skipped, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())


@asynccontextmanager
async def serving(
    storage: StorageProvider,
    *,
    rules: Rules | None = None,
    callers: KnowsCallers | None = None,
    until: Mapping[str, int] | None = None,
    grace_seconds: float = 5.0,
    gate: Gate | None = None,
    rates: Rates | None = None,
    has_page: bool = False,
    **guards: Any,
) -> AsyncIterator[Served]:
    """All three listeners, as `bridge.assembly_query` opens them. `guards`: the rest of `Guards`, and `dual_report`."""
    dual_report = guards.pop("dual_report", None)
    api = Api(storage, rules or Rules(), lambda: until or {}, dual_report=dual_report)
    guard = Guards(callers or LocalCallers(), rates or Rates(10_000), gate or Gate(12, 5.0), **guards)
    async with AsyncExitStack() as stack:
        served = Served(await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False)))

        async def listen(routes: Sequence[Route]) -> str:
            app = create_app(api, routes, guard, lambda *seen: served.observed.append(seen[:2]), "Headrace test")
            if has_page and routes is MAIN:
                add_page(app)
            port = await stack.enter_async_context(serve(app, "127.0.0.1", 0, grace_seconds, None))
            return f"http://127.0.0.1:{port}"

        served.main = await listen(MAIN)
        served.logs_adapter, served.tracing_adapter = await listen(LOGS_ADAPTER), await listen(TRACING_ADAPTER)
        yield served


def known(roles: Mapping[str, Sequence[str]], *, accept_original_authorization: bool = True) -> Authenticator:
    """Callers by static tokens: the token is the caller's name, `roles` are by name."""
    tokens = [
        {"name": name, "token_sha256": hashlib.sha256(name.encode()).hexdigest(), "roles": list(of_it)}
        for name, of_it in roles.items()
    ]
    settings = QueryAuth.model_validate(
        {"tokens": tokens, "accept_original_authorization": accept_original_authorization}
    )
    return Authenticator(settings, None)
