"""Every setting, its default, its unit and what it does; the reference in docs/settings.md is made from this file.

Sources, later ones win: the defaults here, a TOML file, environment variables `HEADRACE_<SECTION>__<KEY>`. Unknown keys
are errors, all mistakes are told at once, and a component is given its own section, never the tree.
"""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
    model_validator,
)

from bridge.errors import SettingsInvalid
from bridge.settings_client import Client
from bridge.settings_costs import Costs
from bridge.settings_links import HyperDX
from bridge.settings_migration import Migration
from bridge.settings_opensearch import OpenSearch
from bridge.settings_query import Query
from bridge.settings_receive import MIB, Address, Receive, Section

ENVIRONMENT_PREFIX = "HEADRACE_"
# Variables with the prefix that are read elsewhere.
NOT_SETTINGS = ("HEADRACE_TEST_", "HEADRACE_CONFIG")
# An error about a key with one of these in it does not show the value.
SECRET_WORDS = ("secret", "password", "token", "salt", "signing_key")


class Catalog(Section):
    """Who may write what."""

    file: Path | None = Field(
        default=None,
        description="TOML file of data planes, organisations and projects. Without it: loopback, one organisation.",
    )
    reload_seconds: PositiveFloat = Field(default=2.0, description="How often the file is looked at for changes.")
    default_organization: str = Field(
        default="default", min_length=1, description="Without a catalog: the organisation of resources that claim none."
    )


class RedactRule(Section):
    """One attribute key that is not stored as sent."""

    key: str = Field(min_length=1, description="Attribute key, exactly.")
    action: Literal["drop", "hash"] = Field(description="Remove the attribute, or keep the SHA-256 of its value.")


class Enrich(Section):
    """What happens to a resource before it is stored."""

    redact: tuple[RedactRule, ...] = Field(default=(), description="Attribute keys to drop or hash, everywhere.")
    redact_salt: SecretStr = Field(default=SecretStr(""), description="Goes into every hash of `redact`.")
    enrichers: tuple[str, ...] = Field(
        default=(), description="Own enrichers as 'module:function', run after the built-in ones."
    )


class Log(Section):
    """The durable log."""

    max_bytes: PositiveInt = Field(
        default=1024 * MIB, description="Embedded log: size on disk at which it refuses instead of growing."
    )
    max_record_bytes: PositiveInt = Field(
        default=1_000_000, description="Larger requests are split into records of at most this size."
    )


class Kafka(Section):
    """The durable log of `headrace receive` and `headrace deliver`. Connection options have aiokafka's names."""

    bootstrap_servers: tuple[str, ...] = Field(
        default=("127.0.0.1:9092",), min_length=1, description="Brokers to start from, as HOST:PORT."
    )
    group_id: str = Field(
        default="headrace-clickhouse", min_length=1, description="Consumer group of deliver; one for each store."
    )
    topic_prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        description="Put before otlp_spans, otlp_logs, otlp_dlq and the ledger.",
    )
    partitions: PositiveInt = Field(default=12, description="Of topics that are created here.")
    replication_factor: int = Field(default=-1, ge=-1, description="Of topics that are created here; -1: the broker's.")
    create_topics: bool = Field(default=True, description="Create missing topics at start; else name them and end.")
    key: Literal["org", "org_trace_id"] = Field(
        default="org", description="What spreads records over partitions; org_trace_id is for one huge organisation."
    )
    append_timeout_seconds: PositiveFloat = Field(
        default=10.0, description="How long a request waits for the brokers' acknowledgement before it is refused."
    )
    linger_ms: int = Field(
        default=0, ge=0, le=1000, description="How long a partition that was idle waits for more to send together."
    )
    fetch_max_bytes: PositiveInt = Field(default=4 * MIB, description="Of one fetch, over all partitions.")
    max_partition_fetch_bytes: PositiveInt = Field(default=MIB, description="Of one fetch, per partition.")
    session_timeout_ms: int = Field(
        default=15_000, ge=6000, description="A deliver not heard of for this long loses its partitions."
    )
    rebalance_timeout_ms: int = Field(
        default=90_000, ge=1000, description="How long a deliver may take to finish its batches when partitions move."
    )
    foreign_data_plane: str | None = Field(
        default=None,
        description="Data plane of the catalog that records written by others (no `v` header) count as;"
        " without it they are dead-lettered, except where there is no catalog.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How to talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="With SASL_PLAINTEXT or SASL_SSL."
    )
    sasl_plain_username: str | None = Field(default=None, description="User of any SASL mechanism.")
    sasl_plain_password: SecretStr | None = Field(default=None, description="Password of any SASL mechanism.")
    ssl_cafile: Path | None = Field(default=None, description="PEM authorities of the brokers' certificates.")
    ssl_certfile: Path | None = Field(default=None, description="PEM certificate shown to the brokers.")
    ssl_keyfile: Path | None = Field(default=None, description="PEM key of ssl_certfile.")
    ssl_check_hostname: bool = Field(default=True, description="Hold the broker's certificate against its name.")

    @model_validator(mode="after")
    def _sasl_has_a_user(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.sasl_plain_username and self.sasl_plain_password):
            raise ValueError(f"{self.security_protocol} needs sasl_plain_username and sasl_plain_password")
        return self


class ClickHouse(Section):
    """The store."""

    interface: Literal["chdb", "http", "https"] = Field(
        default="chdb", description="chdb: inside this process, under data_dir. http, https: a server."
    )
    host: str = Field(default="127.0.0.1", description="Server host.")
    port: int = Field(default=8123, ge=1, le=65535, description="Server HTTP port.")
    username: str = Field(default="default", description="Server user.")
    password: SecretStr = Field(default=SecretStr(""), description="Server password.")
    database: str = Field(
        default="telemetry", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="Database of all tables."
    )
    cluster: str | None = Field(default=None, description="Set: replicated tables, created ON CLUSTER.")
    compression: Literal["lz4", "zstd", "none"] = Field(default="lz4", description="Of the Arrow buffers of an insert.")
    connect_timeout_seconds: PositiveInt = Field(default=5, description="To open a connection.")
    send_receive_timeout_seconds: PositiveInt = Field(default=60, description="For one insert.")
    verify: bool = Field(default=True, description="Check the server's certificate.")
    ca_cert: Path | None = Field(default=None, description="PEM authorities of the server's certificate.")
    client_cert: Path | None = Field(default=None, description="PEM certificate shown to the server.")
    client_cert_key: Path | None = Field(default=None, description="PEM key of client_cert.")
    logs_ttl_days: int = Field(
        default=30, ge=1, le=3650, description="Log rows whose time is older than this are deleted by the store."
    )
    traces_ttl_days: int = Field(
        default=30, ge=1, le=3650, description="Span rows whose time is older than this are deleted by the store."
    )
    apply_schema: bool = Field(default=True, description="Create missing tables and views at start.")


class Deliver(Section):
    """From the log into the store."""

    max_rows: PositiveInt = Field(default=30_000, description="Rows that close a batch.")
    max_bytes: PositiveInt = Field(default=6 * MIB, description="OTLP bytes that close a batch.")
    max_age_seconds: PositiveFloat = Field(default=1.0, description="Age of its first record that closes a batch.")
    max_inserts_in_flight: PositiveInt = Field(
        default=2, description="Batches converted and inserted at once, over all partitions; one of them is converted."
    )
    max_pending_bytes: PositiveInt = Field(
        default=24 * MIB,
        description="OTLP bytes read and not yet written, over all partitions; every partition may have"
        " its share of half as much again.",
    )
    max_dead_letters_per_minute: PositiveInt = Field(
        default=1000, description="More than this stops the process's partitions until a restart."
    )
    retry_initial_seconds: PositiveFloat = Field(default=0.2, description="First back-off after a failed insert.")
    retry_max_seconds: PositiveFloat = Field(default=15.0, description="Longest back-off.")
    no_progress_seconds: PositiveFloat = Field(
        default=15.0, description="With data waiting and nothing written for this long, /readyz fails."
    )


class Admin(Section):
    """/livez, /readyz and /metrics."""

    listen: Address = Field(default="127.0.0.1:9464", description="HOST:PORT.")


class Logging(Section):
    """The program's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level written.")
    format: Literal["text", "json"] = Field(default="text", description="Lines for people or for machines.")


class Settings(Section):
    data_dir: Path = Field(default=Path("data"), description="Folder of the embedded log and the embedded ClickHouse.")
    stop_seconds: PositiveFloat = Field(default=20.0, description="Deadline of a soft stop; then the process exits 1.")
    receive: Receive = Receive()
    catalog: Catalog = Catalog()
    enrich: Enrich = Enrich()
    log: Log = Log()
    kafka: Kafka = Kafka()
    clickhouse: ClickHouse = ClickHouse()
    opensearch: OpenSearch = OpenSearch()
    migration: Migration = Migration()
    deliver: Deliver = Deliver()
    query: Query = Query()
    client: Client = Client()
    admin: Admin = Admin()
    hyperdx: HyperDX = HyperDX()
    costs: Costs = Costs()
    logging: Logging = Logging()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The effective settings. Raises `SettingsInvalid` whose text has one line for every mistake."""
    tree: dict[str, Any] = {}
    if path is not None:
        tree = _read_toml(path)
    mistakes = _overlay(tree, environ)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        mistakes += [_describe(problem) for problem in error.errors()]
    else:
        mistakes += _cross_checks(settings)
    if mistakes:
        raise SettingsInvalid("\n".join(mistakes))
    return settings


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalid(f"--config {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"--config {path}: not TOML: {error}") from error


def _overlay(tree: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Fold HEADRACE_A__B=value into `tree`; the mistakes that the model cannot see are returned."""
    mistakes = []
    for name in sorted(environ):
        if not name.startswith(ENVIRONMENT_PREFIX) or name.startswith(NOT_SETTINGS):
            continue
        *sections, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
        node: Any = tree
        for section in sections:
            node = node.setdefault(section, {}) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node[key] = _environment_value(environ[name])
        else:
            mistakes.append(f"{name}: there is no section {'.'.join(sections)}")
    return mistakes


def _environment_value(text: str) -> Any:
    """Lists and tables are written as JSON; everything else is left to the model, which reads numbers from text."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def _describe(problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"]) or "settings"
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; allowed here: {', '.join(_siblings(problem['loc']))}"
    shown = f" (got {problem['input']!r})" if _may_be_shown(key, problem) else ""
    return f"{key}: {problem['msg'].removeprefix('Value error, ')}{shown}"


def _may_be_shown(key: str, problem: Any) -> bool:
    """Whether what was given is safe to print: a secret is not, nor a whole section, which may hold one."""
    is_secret = any(word in key for word in SECRET_WORDS)
    return problem["type"] != "missing" and not is_secret and not isinstance(problem["input"], Mapping)


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    model: Any = Settings
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(model, type) and issubclass(model, BaseModel):
            annotation = model.model_fields[part].annotation
            inner = [a for a in getattr(annotation, "__args__", (annotation,)) if isinstance(a, type)]
            model = next((a for a in inner if issubclass(a, BaseModel)), None)
    return sorted(model.model_fields) if model is not None else []


def _cross_checks(settings: Settings) -> list[str]:
    """Rules over several sections, and files that must be there."""
    mistakes = []
    receive = settings.receive
    if settings.log.max_bytes < 4 * settings.log.max_record_bytes:
        mistakes.append(
            f"log.max_bytes: {settings.log.max_bytes} must be at least four times log.max_record_bytes"
            f" ({settings.log.max_record_bytes}), or a large request could never be taken"
        )
    for key, listen in (("receive.grpc_listen", receive.grpc_listen), ("receive.http_listen", receive.http_listen)):
        if not is_loopback(listen) and settings.catalog.file is None and not receive.insecure:
            mistakes.append(
                f"{key}: {listen} can be reached from other machines but there are no credentials;"
                " set catalog.file, listen on 127.0.0.1, or allow it with receive.insecure = true"
            )
    mistakes += _query_checks(settings.query)
    for key, file in _files(settings):
        if file is not None and not file.is_file():
            mistakes.append(f"{key}: {file} is not a file that can be read")
    return mistakes


def _query_checks(query: Query) -> list[str]:
    """Without credentials everything can be read, so then only this machine may ask."""
    listeners = [("query.listen", query.listen, False)]
    adapters = query.adapters
    for key, listen in (("logs_listen", adapters.logs_listen), ("tracing_listen", adapters.tracing_listen)):
        if listen is not None:
            listeners.append((f"query.adapters.{key}", listen, adapters.trust_network))
    return [
        f"{key}: {listen} can be reached from other machines but nobody is authenticated; set query.auth"
        + (" (or query.adapters.trust_network behind a network policy)" if "adapters" in key else "")
        + " or listen on 127.0.0.1"
        for key, listen, is_trusted in listeners
        if not is_loopback(listen) and not query.auth.is_configured and not is_trusted
    ]


def _files(settings: Settings) -> list[tuple[str, Path | None]]:
    files: list[tuple[str, Path | None]] = [("catalog.file", settings.catalog.file)]
    names = ("ca_cert", "client_cert", "client_cert_key")
    files += [(f"clickhouse.{name}", getattr(settings.clickhouse, name)) for name in names]
    names = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")
    files += [(f"kafka.{name}", getattr(settings.kafka, name)) for name in names]
    names = ("ca_file", "cert_file", "key_file")
    files += [(f"client.{name}", getattr(settings.client, name)) for name in names]
    for section, tls in (("receive", settings.receive.tls), ("query", settings.query.tls)):
        names = ("cert_file", "key_file", "client_ca_file")
        files += [(f"{section}.tls.{name}", getattr(tls, name, None)) for name in names]
    files.append(("query.read.password_file", settings.query.read.password_file))
    return files


def split_address(address: str) -> tuple[str, int]:
    """Host (without the brackets of IPv6) and port of an `Address`."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def is_loopback(address: str) -> bool:
    host, _ = split_address(address)
    return host in ("localhost", "::1") or host.startswith("127.")


def effective(settings: Settings) -> str:
    """The whole tree as TOML-like lines, secrets masked: what `headrace config check` prints."""
    return "\n".join(_lines("", settings.model_dump(mode="json")))


def _lines(prefix: str, tree: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += _lines(f"{prefix}{key}.", value)
        else:
            lines.append(f"{prefix}{key} = {json.dumps(value)}")
    return lines
