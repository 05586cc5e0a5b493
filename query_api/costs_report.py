"""The cost report as CSV (contract 1.9, with columns of ours behind its six) and as JSON for dashboards. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from query_api.costs import CostRow
from query_api.csv_text import csv_lines

# The old Observer's: their names, order, meaning and format stay.
FIRST_COLUMNS: Final = (
    "organization_id",
    "project_id",
    "component_id",
    "log_count",
    "estimated_storage_bytes",
    "estimated_cost_usd",
)
# What they mean is told in query_api/costs.py and, by their fields, in `Usage`; retention is in days, 0: for ever.
COLUMNS: Final = (
    *FIRST_COLUMNS,
    "log_bytes",
    "log_compressed_bytes",
    "span_count",
    "span_bytes",
    "span_compressed_bytes",
    "logs_retention_days",
    "traces_retention_days",
    "storage_cost_usd",
    "query_seconds",
    "compute_hours",
    "query_cost_usd",
    "compute_cost_usd",
    "total_cost_usd",
)


@dataclass(frozen=True, slots=True)
class Retention:
    """Days that stored items are kept; 0: for ever."""

    logs_days: int = 0
    traces_days: int = 0


def cost_csv(rows: Iterable[CostRow], retention: Retention) -> bytes:
    """The header, also without rows, and a line for each of `rows` in their order (`cost_rows` sorts them)."""
    return csv_lines([COLUMNS, *([*_first_cells(row), *_further_cells(row, retention)] for row in rows)])


def _first_cells(row: CostRow) -> list[str]:
    """`estimated_storage_bytes` are log characters, as the old Observer counted them (contract 1.9)."""
    usage = row.usage
    counts = [f"{usage.logs:d}", f"{usage.log_characters:.0f}", f"{row.estimated_cost_usd:.4f}"]
    return [usage.org, usage.project, usage.component, *counts]


def _further_cells(row: CostRow, retention: Retention) -> list[str]:
    """Dollars in millionths: of a gigabyte's storage, four places would leave one digit."""
    usage = row.usage
    sizes = [usage.log_bytes, usage.log_compressed_bytes, usage.spans, usage.span_bytes, usage.span_compressed_bytes]
    return [
        *(f"{number:d}" for number in (*sizes, retention.logs_days, retention.traces_days)),
        f"{row.storage_cost_usd:.6f}",
        f"{row.query_seconds:.3f}",
        f"{row.compute_hours:.6f}",
        f"{row.query_cost_usd:.6f}",
        f"{row.compute_cost_usd:.6f}",
        f"{row.total_cost_usd:.6f}",
    ]


def cost_json(row: CostRow, retention: Retention) -> dict[str, str | int | float | None]:
    """One row for `json.dumps`, in the spelling of the API's other answers; with the ratio and the storage's split."""
    usage = row.usage
    return {
        "organizationId": usage.org,
        "projectId": usage.project,
        "componentId": usage.component,
        "logCount": usage.logs,
        "estimatedStorageBytes": usage.log_characters,
        "estimatedCostUsd": row.estimated_cost_usd,
        "logBytes": usage.log_bytes,
        "logCompressedBytes": usage.log_compressed_bytes,
        "spanCount": usage.spans,
        "spanBytes": usage.span_bytes,
        "spanCompressedBytes": usage.span_compressed_bytes,
        "compressionRatio": row.compression_ratio,
        "logsRetentionDays": retention.logs_days,
        "tracesRetentionDays": retention.traces_days,
        "logsStorageCostUsd": row.logs_storage_cost_usd,
        "tracesStorageCostUsd": row.traces_storage_cost_usd,
        "storageCostUsd": row.storage_cost_usd,
        "querySeconds": row.query_seconds,
        "computeHours": row.compute_hours,
        "queryCostUsd": row.query_cost_usd,
        "computeCostUsd": row.compute_cost_usd,
        "totalCostUsd": row.total_cost_usd,
    }
