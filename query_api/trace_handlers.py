"""The trace routes: parse, ask, render."""

from time import perf_counter

from aiohttp import web

from query_api.api import Exchange, took_ms
from query_api.errors import NotFound
from query_api.render import adapter_span_entry, span_entry, trace_entry
from query_api.trace_params import span_query, trace_query, trace_spans_query

_CAPPED = {"X-Total-Capped": "true"}


async def component_spans(exchange: Exchange) -> web.StreamResponse:
    """POST /api/traces/component"""
    query = span_query(await exchange.body())
    started = perf_counter()
    page = await exchange.storage.spans(exchange.tenant, query)
    answer = {
        "spans": [span_entry(span) for span in page.spans],
        "totalCount": page.total,
        "tookMs": took_ms(started),
    }
    return exchange.answer(answer, _CAPPED if page.is_capped else None)


async def traces(exchange: Exchange) -> web.StreamResponse:
    """POST /api/v1alpha1/traces/query"""
    query = trace_query(await exchange.body())
    started = perf_counter()
    page = await exchange.storage.traces(exchange.tenant, query)
    answer = {"traces": [trace_entry(trace) for trace in page.traces], "total": page.total, "tookMs": took_ms(started)}
    return exchange.answer(answer, _CAPPED if page.is_capped else None)


async def trace_spans(exchange: Exchange) -> web.StreamResponse:
    """POST /api/v1alpha1/traces/{traceId}/spans/query"""
    body = await exchange.body()
    query = trace_spans_query(exchange.part("traceId"), body)
    started = perf_counter()
    page = await exchange.storage.trace(exchange.tenant, query)
    spans = [adapter_span_entry(span, with_attributes=body["includeAttributes"]) for span in page.spans]
    answer = {"spans": spans, "total": page.total, "tookMs": took_ms(started)}
    return exchange.answer(answer, _CAPPED if page.is_capped else None)


async def span_details(exchange: Exchange) -> web.StreamResponse:
    """GET /api/v1alpha1/traces/{traceId}/spans/{spanId}"""
    trace_id, span_id = exchange.part("traceId").lower(), exchange.part("spanId").lower()
    span = await exchange.storage.span(exchange.tenant, trace_id, span_id)
    if span is None:
        raise NotFound("span not found")
    return exchange.answer(adapter_span_entry(span, with_attributes=True))
