"""Settings of the cost report: prices. What is multiplied with them is in query_api/costs.py."""

from pydantic import Field

from bridge.settings_receive import Section


class Costs(Section):
    """Prices of `/api/costs/export`, in US dollars; a TB is 1024^4 bytes. They are estimates until set to your own."""

    storage_usd_per_tb_month: float = Field(
        default=0.50,
        ge=0,
        allow_inf_nan=False,
        description="For estimated_cost_usd only: of log characters, not compressed. A constant of the old Observer.",
    )
    logs_usd_per_million: float = Field(
        default=2.0,
        ge=0,
        allow_inf_nan=False,
        description="For estimated_cost_usd only: of log records. A constant of the old Observer.",
    )
    compressed_storage_usd_per_tb_month: float = Field(
        default=0.50,
        ge=0,
        allow_inf_nan=False,
        description="Of bytes on disk. The list price in the ClickStack whitepaper, whose own total implies 100.",
    )
    query_usd_per_second: float = Field(
        default=0.0002,
        ge=0,
        allow_inf_nan=False,
        description="Of the time that queries ran. `monitoring.cost.queryPerSecondUsd` of the old Helm chart. Queries"
        " are priced by their CPU too (compute_usd_per_vcpu_hour): set one of the two to 0 to charge them once.",
    )
    compute_usd_per_vcpu_hour: float = Field(
        default=0.0514,
        ge=0,
        allow_inf_nan=False,
        description="Of the CPU time of queries. The whitepaper's 0.411 an hour for a c5.2xlarge, which has 8 vCPUs.",
    )
