"""Settings of OpenSearch, the store that can be written beside ClickHouse and read instead of it."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from bridge.settings_receive import MIB, Section


class Sample(Section):
    """Which part of the data a shadow holds; `headrace migrate validate` does not miss what is left out."""

    organizations: tuple[str, ...] = Field(
        default=(), description="Only these organisations, by canonical id. Empty: all of them."
    )
    trace_ratio: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        description="This share of traces, whole, with their log records; records without a trace by whole seconds.",
    )
    max_days_off: PositiveInt = Field(
        default=31,
        le=3650,
        description="What was received more days than this before or after its own time is left out, and counted: each"
        " day is an index, and one sender's clock is not to fill the cluster with them.",
    )


class OpenSearch(Section):
    """OpenSearch: `headrace deliver --sink opensearch` writes it, the query API and `headrace migrate` read it."""

    hosts: tuple[str, ...] = Field(
        default=("http://127.0.0.1:9200",), min_length=1, description="Nodes as URLs, asked in turn."
    )
    username: str | None = Field(default=None, description="User; not set: none.")
    password: SecretStr = Field(default=SecretStr(""), description="Password of the user.")
    verify: bool = Field(default=True, description="Check the nodes' certificates.")
    ca_certs: Path | None = Field(default=None, description="PEM authorities of the nodes' certificates.")
    client_cert: Path | None = Field(default=None, description="PEM certificate shown to the nodes.")
    client_key: Path | None = Field(default=None, description="PEM key of client_cert.")
    family: Literal["a", "bc"] = Field(
        default="a",
        description="Documents as which Observer reads them: a: kubernetes-YYYY.MM.DD and otel-v1-apm-span;"
        " bc: container-logs-YYYY-MM-DD and otel-traces-YYYY-MM-DD.",
    )
    logs_prefix: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Of the log indices, instead of the family's."
    )
    spans_prefix: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9._-]*$", description="Of the span indices, instead of the family's."
    )
    group_id: str = Field(
        default="headrace-opensearch", min_length=1, description="Kafka consumer group of the shadow."
    )
    number_of_shards: PositiveInt = Field(default=1, description="Of an index that is created by our template.")
    number_of_replicas: int = Field(default=1, ge=0, description="Of an index that is created by our template.")
    indexed_labels: tuple[str, ...] = Field(
        default=(), description="Pod labels, beside the known ones, that an old Observer can filter by (podLabels)."
    )
    max_bulk_bytes: PositiveInt = Field(default=4 * MIB, description="Of one bulk request.")
    request_timeout_seconds: PositiveFloat = Field(default=30.0, description="For one bulk request.")
    sample: Sample = Sample()
