"""Costs, links, places, freshness and health: parse, ask, render."""

import asyncio
from typing import Final
from urllib.parse import quote

from aiohttp import web

from bridge.rfc3339 import format_time
from query_api.api import Exchange
from query_api.costs import CostRow, Month, cost_rows, month_bounds, tenant_costs
from query_api.costs_report import cost_csv, cost_json
from query_api.errors import InvalidRequest, NotAllowed, NotFound, StoreUnavailable
from query_api.links import link
from query_api.links_verify import Verified, verify
from query_api.render import json_bytes
from query_api.storage import Place

HEALTH_SECONDS: Final = 5.0


async def health(exchange: Exchange) -> web.StreamResponse:
    """GET /health (contract 1.6): whether questions can be answered now. Restart nothing on it: /livez is for that."""
    try:
        async with asyncio.timeout(HEALTH_SECONDS):
            await exchange.storage.ping()
    except (StoreUnavailable, TimeoutError):
        body = json_bytes({"status": "unhealthy", "error": "the store cannot be reached"})
        return web.Response(status=503, body=body, content_type="application/json")
    now_unix_nano = int(exchange.api.clock_seconds() * 1e9)
    return exchange.answer({"status": "healthy", "timestamp": format_time(now_unix_nano)})


async def adapter_health(exchange: Exchange) -> web.StreamResponse:
    """GET /health of the logs adapter, /healthz of the tracing adapter (contract V9, V10)."""
    answered = await health(exchange)
    return answered if answered.status != 200 else exchange.answer({"status": "healthy"})


async def export_costs(exchange: Exchange) -> web.StreamResponse:
    """GET /api/costs/export?month=YYYY-MM"""
    month, rows = await _costs(exchange)
    headers = {"Content-Disposition": f'attachment; filename="clickstack-cost-{month.name}.csv"'}
    body = cost_csv(rows, exchange.rules.retention)
    return web.Response(body=body, content_type="text/csv", headers=headers)


async def organization_costs(exchange: Exchange) -> web.StreamResponse:
    """GET /api/costs/organizations?month=YYYY-MM"""
    month, rows = await _costs(exchange)
    costs = [cost_json(row, exchange.rules.retention) for row in tenant_costs(rows)]
    return exchange.answer({"month": month.name, "organizations": costs})


async def _costs(exchange: Exchange) -> tuple[Month, list[CostRow]]:
    month = month_bounds(exchange.request.query.get("month", ""), exchange.api.clock_seconds())
    tenant, storage = exchange.tenant, exchange.storage
    usages = await storage.usage(tenant, month.start_unix_nano, month.end_unix_nano)
    # what an organisation asked is told to those who may see all of its costs
    uses = [
        use
        for use in await storage.query_use(tenant, month.start_unix_nano, month.end_unix_nano)
        if tenant.has_whole(use.org)
    ]
    return month, cost_rows(usages, uses, exchange.rules.costs)


async def hyperdx_link(exchange: Exchange) -> web.StreamResponse:
    """POST /api/hyperdx/link"""
    body = await exchange.body()
    tenant, named = exchange.tenant, body["organizationId"]
    if named and not tenant.has_whole(named):
        raise NotAllowed(f"no role of this caller allows links into organisation {named[:100]!r}")
    whole = [grant.org for grant in tenant.grants if not grant.project]
    if not tenant.is_unbound and not whole:
        raise NotAllowed("links open a whole organisation, and no role of this caller does")
    if not named and len(whole) > 1:
        raise InvalidRequest("organizationId is required: this caller has several", is_missing=True)
    org = named or (whole[0] if whole else exchange.rules.default_organization)
    url = link(exchange.rules.hyperdx, body["path"], body["params"], org, exchange.api.clock_seconds())
    return exchange.answer({"url": url})


async def hyperdx_verify(exchange: Exchange) -> web.StreamResponse:
    """GET /api/hyperdx/verify, for a reverse proxy's auth_request: 204 or 403."""
    headers = exchange.request.headers
    target = headers.get("X-Original-URI") or headers.get("X-Forwarded-Uri") or ""
    host = headers.get("X-Original-Host") or headers.get("X-Forwarded-Host") or ""
    verdict = verify(exchange.rules.hyperdx, target, host, exchange.api.clock_seconds())
    if isinstance(verdict, Verified):
        return web.Response(
            status=204, headers={"X-Headrace-Organization": quote(verdict.org)} if verdict.org else None
        )
    return web.Response(status=403, text=f"{verdict.reason}\n")


async def no_events(exchange: Exchange) -> web.StreamResponse:
    """POST /api/v1/events/query: Kubernetes events are not stored here, which 501 says (contract 1.12.5)."""
    body = json_bytes({"title": "notImplemented", "message": "Kubernetes events are not stored here"})
    return web.Response(status=501, body=body, content_type="application/json")


async def places(exchange: Exchange) -> web.StreamResponse:
    """GET /api/places"""
    return exchange.answer({"places": [_place(place) for place in await exchange.storage.places(exchange.tenant)]})


def _place(place: Place) -> dict[str, str]:
    return {
        "organizationId": place.org,
        "organizationName": place.org_name,
        "projectId": place.project,
        "projectName": place.project_name,
        "componentId": place.component,
        "componentName": place.component_name,
        "environmentId": place.environment,
        "environmentName": place.environment_name,
        "serviceName": place.service,
        "lastSeen": format_time(place.last_seen_unix_nano),
    }


async def dual_report(exchange: Exchange) -> web.StreamResponse:
    """GET /api/dual-read/report"""
    if exchange.api.dual_report is None:
        raise NotFound("one store alone is asked here (query.dual is not set)")
    return exchange.answer(exchange.api.dual_report(exchange.tenant))


async def freshness(exchange: Exchange) -> web.StreamResponse:
    """GET /api/freshness"""
    now_unix_nano = int(exchange.api.clock_seconds() * 1e9)
    found, tenant = [], exchange.tenant
    for each in await exchange.storage.freshness(tenant):
        until = each.complete_until_unix_nano
        found.append(
            {
                "organizationId": each.org,
                "signal": each.signal,
                "completeUntil": None if until is None else format_time(until),
                "behindSeconds": None if until is None else round((now_unix_nano - until) / 1e9, 3),
                # a whole organisation's number is for who may read the whole
                "lastMinuteItems": each.last_minute_items if tenant.has_whole(each.org) else None,
            }
        )
    return exchange.answer({"freshness": found})
