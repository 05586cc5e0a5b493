"""The log routes: parse, ask, render."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing
from time import perf_counter
from typing import Any

from aiohttp import web

from query_api.api import HEADERS, WRITE_SECONDS, BrokenOff, Exchange, took_ms
from query_api.csv_text import LOG_HEADER, logs_csv
from query_api.cursors import to_text
from query_api.errors import QueryError
from query_api.log_params import component_query, export_query, gateway_query, organization_query, project_query
from query_api.render import adapter_log_entry, csv_cells, log_entry
from query_api.storage import LogPage, LogQuery, LogRow
from query_api.trace_params import adapter_log_query

Entry = Callable[[LogRow, str], Mapping[str, Any]]


async def component_logs(exchange: Exchange) -> web.StreamResponse:
    """POST /api/logs/component/{componentId}"""
    body = await exchange.body()
    return await _logs(exchange, component_query(exchange.part("componentId"), body, exchange.rules.undefined_level))


async def project_logs(exchange: Exchange) -> web.StreamResponse:
    """POST /api/logs/project/{projectId}"""
    body = await exchange.body()
    return await _logs(exchange, project_query(exchange.part("projectId"), body, exchange.rules.undefined_level))


async def organization_logs(exchange: Exchange) -> web.StreamResponse:
    """POST /api/logs/org/{orgId}"""
    body = await exchange.body()
    return await _logs(exchange, organization_query(exchange.part("orgId"), body, exchange.rules.undefined_level))


async def gateway_logs(exchange: Exchange) -> web.StreamResponse:
    """POST /api/logs/gateway"""
    return await _logs(exchange, gateway_query(await exchange.body()))


async def adapter_logs(exchange: Exchange) -> web.StreamResponse:
    """POST /api/v1/logs/query"""
    query = adapter_log_query(await exchange.body(), exchange.rules.undefined_level)
    return await _logs(exchange, query, "total", adapter_log_entry)


async def _logs(
    exchange: Exchange, query: LogQuery, total: str = "totalCount", entry: Entry = log_entry
) -> web.StreamResponse:
    started, level = perf_counter(), exchange.rules.undefined_level
    page = await exchange.storage.logs(exchange.tenant, query)
    answer = {"logs": [entry(row, level) for row in page.rows], total: page.total, "tookMs": took_ms(started)}
    return exchange.answer(answer, page_headers(page, query.limit))


def page_headers(page: LogPage, limit: int) -> dict[str, str]:
    """A full page may have another behind it."""
    headers = {"X-Total-Capped": "true"} if page.is_capped else {}
    if page.rows and len(page.rows) >= limit:
        headers["X-Next-Cursor"] = to_text(page.rows[-1].position)
    return headers


async def export_logs(exchange: Exchange) -> web.StreamResponse:
    """GET /api/logs/export/csv: streamed, so that a failure under way can only break the answer off."""
    query, level = export_query(list(exchange.request.query.items())), exchange.rules.undefined_level
    max_rows = exchange.rules.export_max_rows
    async with aclosing(exchange.storage.export_logs(exchange.tenant, query, max_rows)) as blocks:
        first = await anext(blocks, None)  # what fails at once still gets its status
        common: dict[str, str] = exchange.request[HEADERS]
        told = {"Content-Disposition": 'attachment; filename="logs.csv"', "X-Row-Limit": str(max_rows)}
        response = web.StreamResponse(headers={"Content-Type": "text/csv", **told, **common})
        await response.prepare(exchange.request)
        if exchange.request.method != "HEAD":  # whose answer has no body, which a stream has to know by itself
            try:
                await _write(response, LOG_HEADER + logs_csv(csv_cells(row, level) for row in first or ()))
                async for block in blocks:
                    await _write(response, logs_csv(csv_cells(row, level) for row in block))
            except (QueryError, TimeoutError) as error:
                raise BrokenOff(response) from error
    await response.write_eof()
    return response


async def _write(response: web.StreamResponse, text: bytes) -> None:
    """Raises `TimeoutError` if the client takes nothing for too long: it holds a place at the store meanwhile."""
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(text)
