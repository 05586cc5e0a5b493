"""Settings of the query API. Who may ask is in settings_auth.py, links and prices in files of their own."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bridge.settings_auth import Cors, QueryAuth
from bridge.settings_dual import Dual
from bridge.settings_receive import MIB, Address, Section, Tls


class Adapters(Section):
    """The logs and tracing adapters that a stock OpenChoreo Observer asks (contract 1.12.5)."""

    logs_listen: Address | None = Field(
        default=None, description="HOST:PORT of the logs adapter, as 0.0.0.0:9098. Not set: none."
    )
    tracing_listen: Address | None = Field(
        default=None, description="HOST:PORT of the tracing adapter, as 0.0.0.0:9100. Not set: none."
    )
    trust_network: bool = Field(
        default=False,
        description="Answer these two listeners without credentials, as their contract has it: whoever reaches them"
        " reads everything, so only a network policy keeps others away. Off: query.auth counts here too.",
    )


class ReadHosts(Section):
    """Where the query API reads, if that is not where deliver writes."""

    hosts: tuple[Address, ...] = Field(
        default=(),
        description="ClickHouse servers as HOST:PORT; the first that answers is asked. Empty: clickhouse.host, port.",
    )
    username: str | None = Field(
        default=None, description="A user that may only read. Not set: clickhouse.username and password."
    )
    password_file: Path | None = Field(default=None, description="File with the password of `username`.")


class Query(Section):
    """The query API."""

    listen: Address = Field(default="127.0.0.1:9097", description="HOST:PORT.")
    tls: Tls | None = Field(default=None, description="TLS for this listener and the adapters'.")
    storage: Literal["clickhouse", "opensearch"] = Field(
        default="clickhouse",
        description="The store that answers; with `dual`, the one that does where no route is set.",
    )
    dual: Dual | None = Field(default=None, description="Set: the other store is asked as well, and compared.")
    auth: QueryAuth = QueryAuth()
    cors: Cors = Cors()
    adapters: Adapters = Adapters()
    read: ReadHosts = ReadHosts()
    undefined_level: Literal["INFO", "UNDEFINED"] = Field(
        default="INFO", description="Level told of log records that nothing gives one; the old Observer said UNDEFINED."
    )
    max_request_bytes: PositiveInt = Field(default=MIB, description="Largest request body; over it: 413.")
    max_execution_seconds: PositiveFloat = Field(
        default=10.0, description="How long the store may work on one question; over it: 504."
    )
    export_seconds: PositiveFloat = Field(default=60.0, description="The same for a CSV export.")
    export_max_rows: PositiveInt = Field(default=100_000, description="Rows of a CSV export; the rest is left out.")
    max_rows_to_read: PositiveInt = Field(
        default=2_000_000_000, description="Rows the store may read for one question; over it: 504."
    )
    max_memory_bytes: PositiveInt = Field(
        default=2048 * MIB, description="Memory the store may take for one question; over it: 504."
    )
    max_result_bytes: PositiveInt = Field(
        default=16 * MIB, description="Largest answer to one question, as the store counts it; over it: 400."
    )
    total_cap: PositiveInt = Field(
        default=1_000_000, description="totalCount is exact up to here, and this (X-Total-Capped: true) beyond."
    )
    max_concurrent_queries: PositiveInt = Field(
        default=12, description="Requests that the store works on at once; one caller has at most half of them."
    )
    max_wait_seconds: PositiveFloat = Field(
        default=5.0, description="How long a request waits for one of these places; over it: 429."
    )
    requests_per_second: PositiveFloat = Field(
        default=200.0, description="Of one caller, with twice as many at once; over it: 429 with Retry-After."
    )
