"""`GET /api/dual-read/report`: by organisation, who answers, and how far the stores agree. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from bridge.rfc3339 import format_time
from query_api import schemas
from query_api.dual_records import Mismatch, Record, Records
from query_api.routing import Routing
from query_api.schemas import COUNT, FLAG, NUMBER, TEXT, TIME, exactly, list_of, or_null
from query_api.sides import EVERYONE, Route, Side
from query_api.tenant import Tenant

_COUNTS: Final[schemas.Schema] = {"type": "object", "additionalProperties": COUNT}
_STORE: Final = exactly(questions=COUNT, failures=COUNT, p50Seconds=or_null(NUMBER), p95Seconds=or_null(NUMBER))
_ROUTE: Final = exactly(
    primary=TEXT, percent=COUNT, reason=TEXT, automatic=FLAG, since=or_null(TIME), by=TEXT, setFor=TEXT
)
_MISMATCH: Final = exactly(
    time=TIME,
    method=TEXT,
    answeredBy=TEXT,
    kinds=list_of(TEXT),
    fields=list_of(TEXT),
    counts=_COUNTS,
    requestId=TEXT,
)
SCHEMA: Final = exactly(
    countedSince=TIME,
    organizations=list_of(
        exactly(
            organizationId=TEXT,
            route=_ROUTE,
            comparisons=COUNT,
            mismatches=COUNT,
            mismatchesByKind=_COUNTS,
            driftRatio=NUMBER,
            secondaryErrors=_COUNTS,
            notCompared=_COUNTS,
            stores={"type": "object", "additionalProperties": _STORE},
            lastMismatches=list_of(_MISMATCH),
        )
    ),
)


def report(
    tenant: Tenant, routing: Routing, records: Records, window_seconds: float, since_unix_nano: int
) -> dict[str, Any]:
    """Of the organisations that the tenant may read the whole of; `*`, what belongs to none or several, is for who
    reads everything."""
    known = records.all()
    orgs = known.keys() | routing.routes().keys() | {EVERYONE} if tenant.is_unbound else set(tenant.orgs)
    shown = sorted(org for org in orgs if tenant.has_whole(org))
    told = [_organization(org, routing.of(org), known.get(org), records, window_seconds) for org in shown]
    return {"countedSince": format_time(since_unix_nano), "organizations": told}


def _organization(
    org: str, route: Route, record: Record | None, records: Records, window_seconds: float
) -> dict[str, Any]:
    return {
        "organizationId": org,
        "route": {
            "primary": str(route.primary),
            "percent": route.percent,
            "reason": route.reason,
            "automatic": route.is_automatic,
            "since": format_time(route.since_unix_nano) if route.since_unix_nano else None,
            "by": route.by,
            "setFor": route.org,
        },
        "comparisons": record.comparisons if record else 0,
        "mismatches": record.drifted if record else 0,
        "mismatchesByKind": _counts(record.kinds) if record else {},
        "driftRatio": records.drift_ratio(record) if record else 0.0,
        "secondaryErrors": _counts(record.secondary_errors) if record else {},
        "notCompared": _counts(record.not_compared) if record else {},
        "stores": {str(side): _store(side, record, records.now_seconds(), window_seconds) for side in Side},
        "lastMismatches": [_mismatch(each) for each in reversed(record.last)] if record else [],
    }


def _counts(counted: Mapping[Any, int]) -> dict[str, int]:
    return {str(name): count for name, count in counted.items()}


def _store(side: Side, record: Record | None, now_seconds: float, window_seconds: float) -> dict[str, Any]:
    """Times are of the window; counts are of the whole time."""
    lately = record.watched.sides[side].over(now_seconds, window_seconds) if record else None
    return {
        "questions": record.questions[side] if record else 0,
        "failures": record.failures[side] if record else 0,
        "p50Seconds": lately.quantile_seconds(0.5) if lately else None,
        "p95Seconds": lately.quantile_seconds(0.95) if lately else None,
    }


def _mismatch(mismatch: Mismatch) -> dict[str, Any]:
    return {
        "time": format_time(mismatch.at_unix_nano),
        "method": str(mismatch.method),
        "answeredBy": str(mismatch.side),
        "kinds": list(mismatch.kinds),
        "fields": list(mismatch.fields),
        "counts": mismatch.counts,
        "requestId": mismatch.request_id,
    }
