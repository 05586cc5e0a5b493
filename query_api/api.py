"""What handlers work with: the storage, the rules of answers, and what a route is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from bridge.rfc3339 import format_time
from bridge.settings_costs import Costs
from bridge.settings_links import HyperDX
from query_api.body import MALFORMED, Member, read_body
from query_api.costs_report import Retention
from query_api.errors import InvalidRequest, NotAllowed, RequestTooLarge, SlowBody
from query_api.render import json_bytes
from query_api.storage import StorageProvider
from query_api.tenant import Action, Caller, Tenant

# A body that takes longer: 408. A client that takes nothing of a stream for longer: broken off.
READ_SECONDS: Final = 10.0
WRITE_SECONDS: Final = 30.0
# Headers that every answer to a request gets, whoever makes it.
HEADERS: Final = web.RequestKey("headers", dict[str, str])
# How errors are told: the fork's body, Gen C's, or Gen C's with `detail` (contract 1.5, 1.12.3, 1.12.5).
Style = Literal["observer", "public", "tracing adapter"]


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings that shape answers."""

    undefined_level: str = "INFO"
    export_max_rows: int = 100_000
    max_answer_bytes: int = 32 << 20
    default_organization: str = ""
    hyperdx: HyperDX = field(default_factory=HyperDX)
    costs: Costs = field(default_factory=Costs)
    retention: Retention = field(default_factory=Retention)


@dataclass(frozen=True, slots=True)
class Api:
    """`complete_until`: by signal, unix nanoseconds; asked before a question, so that it holds for its answer.
    `dual_report`: where two stores are asked, what is told of that."""

    storage: StorageProvider
    rules: Rules
    complete_until: Callable[[], Mapping[str, int]] = dict
    clock_seconds: Callable[[], float] = time.time
    dual_report: Callable[[Tenant], Mapping[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request being answered."""

    api: Api
    request: web.Request
    route: "Route"
    caller: Caller

    @property
    def storage(self) -> StorageProvider:
        return self.api.storage

    @property
    def rules(self) -> Rules:
        return self.api.rules

    @property
    def tenant(self) -> Tenant:
        """What the caller may read on this route. Raises `NotAllowed` if that is nothing at all."""
        assert self.route.action is not None  # noqa: S101 - asked by routes that have one
        tenant = self.caller.tenant_for(self.route.action)
        if not tenant.is_unbound and not tenant.grants:
            raise NotAllowed(f"no role of this caller allows {self.route.action}")
        return tenant

    async def receive(self) -> None:
        """Have the body here, before a place at the store is taken. Raises `InvalidRequest` or `RequestTooLarge`."""
        try:
            async with asyncio.timeout(READ_SECONDS):
                await self.request.read()
        except TimeoutError:
            raise SlowBody(f"the request body did not come within {READ_SECONDS:g} seconds") from None
        except web.HTTPRequestEntityTooLarge:
            raise RequestTooLarge("the request body is over query.max_request_bytes") from None
        except (ClientPayloadError, HttpProcessingError, web.RequestPayloadError):
            raise InvalidRequest(MALFORMED) from None

    async def body(self) -> dict[str, Any]:
        """The declared members of the body. Raises `InvalidRequest`."""
        return read_body(self.route.body, self.request.headers.get("Content-Type"), await self.request.read())

    def part(self, name: str) -> str:
        """A part of the path, decoded."""
        return self.request.match_info[name]

    def answer(self, value: Any, headers: Mapping[str, str] | None = None) -> web.Response:
        """JSON with 200. The type has no charset, as Go's (contract 1.1)."""
        body = json_bytes(value, self.rules.max_answer_bytes)
        return web.Response(body=body, content_type="application/json", headers=headers)


Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


class BrokenOff(Exception):
    """An answer failed when its head was out: the connection has to end so that nobody takes it for whole.

    Raised from the error that says why.
    """

    def __init__(self, response: web.StreamResponse) -> None:
        super().__init__()
        self.response = response


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a query string, for the OpenAPI document."""

    name: str
    text: str
    is_required: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Route:
    """One line of the table of routes. `action` None: no credential is asked for. `signal`: whose freshness is told.

    `failure`: what an internal error is called (contract 1.5). `answer`: JSON schema of a 200, or None with
    `answer_type` for another type.
    """

    name: str
    method: str
    path: str
    handler: Handler
    action: Action | None
    text: str
    style: Style = "observer"
    body: tuple[Member, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    signal: str = ""
    failure: str = "Failed to retrieve logs"
    answer: Mapping[str, Any] | None = None
    answer_type: str = "application/json"
    is_heavy: bool = True


def until_header(until: Mapping[str, int], signal: str) -> dict[str, str]:
    """`X-Complete-Until` for answers of this signal; none if it is not known, or the answer is of none."""
    return {"X-Complete-Until": format_time(until[signal])} if signal in until else {}


def took_ms(started: float) -> int:
    """Since that `time.perf_counter`."""
    return int((time.perf_counter() - started) * 1000)
