"""The aiohttp application of a table of routes: around every request its id, its caller, its limits and its record.

What happens to a request, in order: cross-origin preflight, route (404 and 405 as Go's text), credential, rate, a place
at the store, the handler; then headers, metric, and one line in the access log.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from aiohttp import web
from multidict import CIMultiDict

from query_api import request_ids
from query_api.api import HEADERS, WRITE_SECONDS, Api, BrokenOff, Exchange, Route, until_header
from query_api.auth.cors import cors_answer
from query_api.errors import QueryError, StoreFailed, StoreUnavailable, TooManyRequests
from query_api.limits import ANSWERS_BYTES, BODIES_BYTES, Gate, Rates, Room, answering
from query_api.links import LinksNotConfigured
from query_api.openapi import document
from query_api.render import Failure, failure_of, json_bytes
from query_api.serving import SILENT
from query_api.tenant import Caller

logger = logging.getLogger(__name__)
access = logging.getLogger("query_api.access")
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
NOT_FOUND: Final = "404 page not found\n"
NOT_ALLOWED: Final = "Method Not Allowed\n"
# On every answer: it holds a tenant's data, so nothing between may keep it, and it is of the type it says.
COMMON: Final = {"Server": "headrace", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
# What a socket's own buffers take at once is not worth a place.
LARGE_BYTES: Final = 1 << 18


class KnowsCallers(Protocol):
    """From a request's headers and verified certificate names to its caller; see `auth.authenticator`."""

    async def caller_of(self, headers: Mapping[str, str], uris: Sequence[str]) -> Caller: ...


class Observes(Protocol):
    """Where durations go: (route, outcome, seconds)."""

    def __call__(self, route: str, outcome: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Guards:
    """Who may ask, and how much. Shared by all listeners of a process."""

    callers: KnowsCallers
    rates: Rates
    gate: Gate
    allowed_origins: Sequence[str] = ()
    max_request_bytes: int = 1 << 20
    bodies: Room = field(default_factory=lambda: Room(BODIES_BYTES, "request bodies"))
    answers: Room = field(default_factory=lambda: Room(ANSWERS_BYTES, "large answers"))

    def body_bytes(self, request: web.Request) -> int:
        """What its body may take here: the limit where the length is not told, is over it, or is of a packed one."""
        told = request.content_length if "Content-Encoding" not in request.headers else None
        if not request.body_exists:
            return 0
        return self.max_request_bytes if told is None else min(told, self.max_request_bytes)


@dataclass(slots=True)
class _Record:
    """What the access log says of a request."""

    route: str = "none"
    caller: str = ""
    outcome: str = ""


# aiohttp's own kind of part has no braces in it
_PART: Final = re.compile(r"\{(\w+)\}")
_RECORD: Final = web.RequestKey("record", _Record)


def create_app(api: Api, routes: Sequence[Route], guards: Guards, observe: Observes, title: str) -> web.Application:
    """An application that serves `routes` and their OpenAPI document; page routes are added by the caller."""
    app = web.Application(middlewares=[_around(guards, observe)], client_max_size=guards.max_request_bytes)
    for route in routes:
        handler = _handler(api, route, guards)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):  # as Go's mux
            app.router.add_route(method, _PART.sub(r"{\1:[^/]+}", route.path), handler)
    body = json_bytes(document(routes, title))

    async def openapi(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    app.router.add_get("/openapi.json", openapi)
    return app


def _around(guards: Guards, observe: Observes) -> Any:
    @web.middleware
    async def around(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        started, record = time.perf_counter(), _Record()
        cors = cors_answer(request.method, request.headers, guards.allowed_origins)
        request[_RECORD] = record
        request[HEADERS] = {"X-Request-Id": _request_id(request), **COMMON, **cors.headers}
        request_ids.CURRENT.set(request[HEADERS]["X-Request-Id"])
        request.app.get(SILENT, set()).discard(request.protocol)
        status = 0
        try:
            response = web.Response(status=204) if cors.is_preflight else await _answered(request, handler)
            if not response.prepared:
                _add_headers(response, request[HEADERS])
            status = response.status
            record.outcome = record.outcome or str(status)
        except asyncio.CancelledError:
            record.outcome = "cancelled"
            raise
        finally:
            seconds = time.perf_counter() - started
            observe(record.route, record.outcome or "disconnected", seconds)
            _log(request, status, record, seconds)
        return response

    return around


def _add_headers(response: web.StreamResponse, headers: dict[str, str]) -> None:
    """What an answer says of itself stays: the page may be kept, as its ETag has it. `Vary` is a list."""
    for name, value in headers.items():
        if name == "Vary" or name not in response.headers:
            response.headers.add(name, value)


async def _answered(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """The handler's answer, or Go's text for what has no route."""
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPMethodNotAllowed as error:
        return web.Response(status=405, text=NOT_ALLOWED, headers={"Allow": ", ".join(sorted(error.allowed_methods))})
    except web.HTTPException as error:
        return web.Response(status=404, text=NOT_FOUND) if error.status == 404 else _plain(error)
    return response


def _plain(error: web.HTTPException) -> web.Response:
    return web.Response(status=error.status, text=f"{error.reason}\n")


def _handler(api: Api, route: Route, guards: Guards) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.StreamResponse:
        record = request[_RECORD]
        record.route = route.name
        try:
            caller = await _caller(request, route, guards)
            record.caller = caller.name
            exchange = Exchange(api, request, route, caller)
            if route.action is not None:
                _ = exchange.tenant  # who may read nothing is told so, whatever the request says
            with guards.bodies.hold(caller.name, guards.body_bytes(request) if route.body else 0):
                return await _received(exchange, guards)
        except (QueryError, LinksNotConfigured) as error:
            return _failed(request, route, error)
        except BrokenOff as error:
            return _broken_off(request, route, error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            logger.exception("a defect in answering", extra={"fields": {"route": route.name}})
            return _failed(request, route, error)

    return handle


async def _received(exchange: Exchange, guards: Guards) -> web.StreamResponse:
    if exchange.route.body:
        await exchange.receive()
    if not exchange.route.is_heavy:
        return await _handled(exchange)
    caller = exchange.caller.name
    async with guards.gate.place(caller):
        with answering(guards.answers, caller):
            return await _sent(exchange, await _handled(exchange))


async def _sent(exchange: Exchange, response: web.StreamResponse) -> web.StreamResponse:
    """A large answer goes out while its place is held, so that no more of them are in memory than there are places.

    Who takes it slower than `WRITE_SECONDS` allows is cut off.
    """
    if response.prepared or not isinstance(response, web.Response) or (response.content_length or 0) < LARGE_BYTES:
        return response
    _add_headers(response, exchange.request[HEADERS])
    try:
        async with asyncio.timeout(WRITE_SECONDS):
            await response.prepare(exchange.request)
            await response.write_eof()
    except TimeoutError as error:
        raise BrokenOff(response) from error
    return response


async def _handled(exchange: Exchange) -> web.StreamResponse:
    """How far the store is complete is read before it is asked: what came in later may be in the answer or not."""
    exchange.request[HEADERS].update(until_header(exchange.api.complete_until(), exchange.route.signal))
    return await exchange.route.handler(exchange)


async def _caller(request: web.Request, route: Route, guards: Guards) -> Caller:
    if route.action is None:
        return Caller("", ())
    caller = await guards.callers.caller_of(request.headers, peer_uris(request))
    guards.rates.take(caller.name, time.monotonic())
    return caller


def peer_uris(request: web.Request) -> list[str]:
    """URI names of the client certificate that TLS has verified; none without one."""
    tls = request.transport.get_extra_info("ssl_object") if request.transport is not None else None
    certificate = tls.getpeercert() if tls is not None else None
    return [value for kind, value in (certificate or {}).get("subjectAltName", ()) if kind == "URI"]


def _failed(request: web.Request, route: Route, error: Exception) -> web.StreamResponse:
    """The error in the route's style. What is told of an internal one is the route's own sentence."""
    told = failure_of(error)
    request[_RECORD].outcome = told.type
    text = str(error) if told.status != 500 else route.failure
    if isinstance(error, StoreFailed | StoreUnavailable):
        reason = error.reason if isinstance(error, StoreUnavailable) else told.type
        fields = {"id": request[HEADERS]["X-Request-Id"], "route": route.name, "reason": reason}
        logger.warning("not answered: %s", error, extra={"fields": fields})
    headers: CIMultiDict[str] = CIMultiDict()
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(max(1, round(error.retry_after_seconds)))
    elif told.status == 503:
        headers["Retry-After"] = "2"
    elif told.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = json_bytes(_error_body(route, told, text))
    response = web.Response(status=told.status, body=body, content_type="application/json", headers=headers)
    if told.status in (408, 413):  # the rest of the body is not going to be read
        response.force_close()
    return response


def _broken_off(request: web.Request, route: Route, error: BrokenOff) -> web.StreamResponse:
    """The head is out, so all that can be told is that this is not the end: the connection is reset."""
    cause = error.__cause__
    is_slow = isinstance(cause, TimeoutError)
    request[_RECORD].outcome = "slowClient" if is_slow or not isinstance(cause, Exception) else failure_of(cause).type
    logger.warning("broken off: %s", cause, extra={"fields": {"route": route.name}})
    if request.transport is not None:
        request.transport.abort()
    return error.response


def _error_body(route: Route, told: Failure, text: str) -> dict[str, str]:
    if route.style == "observer":
        return {"error": told.type, "code": told.code, "message": text}
    code = {"errorCode": "OBS-V1-T-07"} if told.status == 404 else {}  # contract 1.12.3
    return {"title": told.title, **code, "message" if route.style == "public" else "detail": text}


def _request_id(request: web.Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _log(request: web.Request, status: int, record: _Record, seconds: float) -> None:
    """No path, query or body: they may hold what a tenant looked for. Status 0: the client was gone first."""
    fields = {
        "id": request[HEADERS]["X-Request-Id"],
        "method": request.method,
        "route": record.route,
        "status": status,
        "outcome": record.outcome,
        "ms": round(seconds * 1000, 1),
        "caller": record.caller,
    }
    access.info("answered", extra={"fields": fields})
