"""What an organisation's telemetry costs in a month: from usage and prices to rows and sums. Pure; contract 1.9.

Two reckonings stand side by side. `estimated_cost_usd` is the old Observer's, kept in meaning: log characters as if
they were stored uncompressed, and a price for every record. `total_cost_usd` is ours, and has nothing of the first:

  storage_cost_usd  the compressed bytes on disk of logs and spans x compressed_storage_usd_per_tb_month
  query_cost_usd    the seconds that queries ran x query_usd_per_second
  compute_cost_usd  the CPU hours of queries x compute_usd_per_vcpu_hour
  total_cost_usd    the sum of these three

Queries are known by organisation only. A row has its share of them by its share of the organisation's bytes (as sent,
logs and spans), or the same as every other row where there are none. An organisation that asked but has nothing stored
has a row for that, so rows always add up to what was used.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Final

from bridge.settings_costs import Costs
from query_api.errors import InvalidRequest
from query_api.storage import QueryUse, Usage

TB: Final = 1024**4
UNKNOWN: Final = "unknown"
_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
# Unix nanoseconds of every month in between fit 64 bits, signed.
MIN_YEAR: Final = 1970
MAX_YEAR: Final = 2261
# the same as a JSON schema says it
MONTHS: Final = "^((19[7-9][0-9]|2[01][0-9]{2}|22[0-5][0-9]|226[01])-(0[1-9]|1[0-2]))?$"


@dataclass(frozen=True, slots=True)
class Month:
    """A UTC month as `YYYY-MM`, and its bounds: [start, end)."""

    name: str
    start_unix_nano: int
    end_unix_nano: int


def month_bounds(text: str, now_unix_seconds: float) -> Month:
    """Of `YYYY-MM` from 1970 to 2261; empty is the month of now. Raises `InvalidRequest` with the contract's words."""
    text = text or datetime.fromtimestamp(now_unix_seconds, UTC).strftime("%Y-%m")
    found = _MONTH.fullmatch(text)
    if found is None or not MIN_YEAR <= int(found[1]) <= MAX_YEAR:
        raise InvalidRequest("invalid month format, expected YYYY-MM")
    year, month = int(found[1]), int(found[2])
    return Month(text, _start_unix_nano(year, month), _start_unix_nano(year + month // 12, month % 12 + 1))


def _start_unix_nano(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


@dataclass(frozen=True, slots=True)
class CostRow:
    """Of one (organisation, project, component), `unknown` where an id is not known. The module says what costs are."""

    usage: Usage
    query_seconds: float
    compute_hours: float
    prices: Costs

    @property
    def estimated_cost_usd(self) -> float:
        """The old Observer's formula over log characters and records."""
        of_characters = self.usage.log_characters / TB * self.prices.storage_usd_per_tb_month
        return of_characters + self.usage.logs / 1e6 * self.prices.logs_usd_per_million

    @property
    def logs_storage_cost_usd(self) -> float:
        return self.usage.log_compressed_bytes / TB * self.prices.compressed_storage_usd_per_tb_month

    @property
    def traces_storage_cost_usd(self) -> float:
        return self.usage.span_compressed_bytes / TB * self.prices.compressed_storage_usd_per_tb_month

    @property
    def storage_cost_usd(self) -> float:
        return self.logs_storage_cost_usd + self.traces_storage_cost_usd

    @property
    def query_cost_usd(self) -> float:
        return self.query_seconds * self.prices.query_usd_per_second

    @property
    def compute_cost_usd(self) -> float:
        return self.compute_hours * self.prices.compute_usd_per_vcpu_hour

    @property
    def total_cost_usd(self) -> float:
        return self.storage_cost_usd + self.query_cost_usd + self.compute_cost_usd

    @property
    def compression_ratio(self) -> float | None:
        """Bytes as sent for one on disk; None: nothing is stored."""
        stored = self.usage.log_compressed_bytes + self.usage.span_compressed_bytes
        return (self.usage.log_bytes + self.usage.span_bytes) / stored if stored else None


def cost_rows(usages: Iterable[Usage], query_uses: Iterable[QueryUse], prices: Costs) -> list[CostRow]:
    """One row for each place with usage, or organisation with queries only, sorted by the three ids."""
    uses = _by_org(query_uses)
    rows = []
    for org, group in groupby(_places(usages, uses), key=lambda usage: usage.org):
        use, places = uses.get(org, QueryUse(org)), list(group)
        for usage, share in zip(places, _shares(places), strict=True):
            rows.append(CostRow(usage, use.query_seconds * share, use.cpu_seconds / 3600 * share, prices))
    return rows


def _by_org(query_uses: Iterable[QueryUse]) -> dict[str, QueryUse]:
    uses: dict[str, QueryUse] = {}
    for use in query_uses:
        org = use.org or UNKNOWN
        had = uses.get(org, QueryUse(org))
        query_seconds, cpu_seconds = had.query_seconds + use.query_seconds, had.cpu_seconds + use.cpu_seconds
        uses[org] = replace(had, query_seconds=query_seconds, cpu_seconds=cpu_seconds)
    return uses


def _places(usages: Iterable[Usage], orgs_that_asked: Iterable[str]) -> list[Usage]:
    """Usage with its ids as they are told, one for each, sorted."""
    places: dict[tuple[str, str, str], Usage] = {}
    for usage in usages:
        key = (usage.org or UNKNOWN, usage.project or UNKNOWN, usage.component or UNKNOWN)
        places[key] = _sum([*([places[key]] if key in places else []), usage], *key)
    for org in set(orgs_that_asked) - {org for org, _, _ in places}:
        places[org, UNKNOWN, UNKNOWN] = Usage(org, UNKNOWN, UNKNOWN)
    return [places[key] for key in sorted(places)]


def tenant_costs(rows: Iterable[CostRow]) -> list[CostRow]:
    """One row for each organisation, with project and component empty: the sums of its rows, which come sorted."""
    return [_total(org, list(group)) for org, group in groupby(rows, key=lambda row: row.usage.org)]


def _total(org: str, rows: Sequence[CostRow]) -> CostRow:
    usage = _sum([row.usage for row in rows], org, "", "")
    return CostRow(
        usage, sum(row.query_seconds for row in rows), sum(row.compute_hours for row in rows), rows[0].prices
    )


def _sum(usages: Sequence[Usage], org: str, project: str, component: str) -> Usage:
    return Usage(
        org,
        project,
        component,
        logs=sum(usage.logs for usage in usages),
        log_characters=sum(usage.log_characters for usage in usages),
        log_bytes=sum(usage.log_bytes for usage in usages),
        log_compressed_bytes=sum(usage.log_compressed_bytes for usage in usages),
        spans=sum(usage.spans for usage in usages),
        span_bytes=sum(usage.span_bytes for usage in usages),
        span_compressed_bytes=sum(usage.span_compressed_bytes for usage in usages),
    )


def _shares(places: Sequence[Usage]) -> list[float]:
    """Of each in the organisation's bytes; they add up to 1."""
    sizes = [usage.log_bytes + usage.span_bytes for usage in places]
    total = sum(sizes)
    return [size / total if total else 1 / len(places) for size in sizes]
