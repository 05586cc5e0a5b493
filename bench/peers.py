"""The peers, where their binaries are: the OpenTelemetry Collector and Rotel, and how each is set up for a leg.

BENCH_OTELCOL and BENCH_ROTEL name the binaries; without them the peer's rows are left out, and the
report says so. How to get them is in bench/README.md. Everything of the collector is 0.155.0 but its ClickHouse
exporter, which is 0.149.0.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MEMORY_LIMITER: Final = {"check_interval": "100ms", "limit_mib": 205, "spike_limit_mib": 40}
GO_ENVIRON: Final = {"GOMEMLIMIT": "200MiB", "GOMAXPROCS": "1"}


@dataclass(frozen=True, slots=True)
class Ports:
    grpc: int
    http: int
    kafka: str
    clickhouse_http: int
    clickhouse_tcp: int
    database: str
    prefix: str


def otelcol() -> str | None:
    return _binary("BENCH_OTELCOL")


def rotel() -> str | None:
    return _binary("BENCH_ROTEL")


def _binary(name: str) -> str | None:
    path = os.environ.get(name, "")
    return path if path and os.access(path, os.X_OK) else None


def collector(binary: str, folder: Path, config: Mapping[str, Any]) -> list[str]:
    """JSON is YAML."""
    path = folder / "otelcol.json"
    path.write_text(json.dumps(config, indent=1))
    return [binary, f"--config={path}"]


def receive_config(ports: Ports, *, is_durable: bool) -> dict[str, Any]:
    """OTLP -> Kafka. Durable: acks=all, no queue in memory. Its defaults: acks=1 behind a queue."""
    exporter: dict[str, Any] = {
        "brokers": [ports.kafka],
        "traces": {"topic": f"{ports.prefix}otlp_spans"},
        "logs": {"topic": f"{ports.prefix}otlp_logs"},
    }
    if is_durable:
        exporter |= {"producer": {"required_acks": -1, "compression": "lz4"}, "sending_queue": {"enabled": False}}
    return _config({"otlp": _otlp(ports)}, {"kafka": exporter}, {"memory_limiter": MEMORY_LIMITER})


def deliver_config(ports: Ports, *, has_limiter: bool) -> dict[str, Any]:
    """Kafka -> ClickHouse: offsets are marked after the write, batches are made by the batch processor."""
    topics = {"traces": {"topics": [f"{ports.prefix}otlp_spans"]}, "logs": {"topics": [f"{ports.prefix}otlp_logs"]}}
    marking = {"autocommit": {"enable": True, "interval": "1s"}, "message_marking": {"after": True, "on_error": False}}
    receiver = {"brokers": [ports.kafka], "initial_offset": "earliest", "group_id": f"{ports.prefix}peer"}
    limiter = {"memory_limiter": MEMORY_LIMITER} if has_limiter else {}
    return _config(
        {"kafka": {**receiver, **topics, **marking}},
        {"clickhouse": _clickhouse(ports, is_durable=True)},
        {**limiter, "batch": {"send_batch_size": 10_000, "timeout": "1s"}},
    )


def direct_config(ports: Ports) -> dict[str, Any]:
    """OTLP -> ClickHouse with a batch in memory: acknowledged before it is written."""
    return _config(
        {"otlp": _otlp(ports)},
        {"clickhouse": _clickhouse(ports, is_durable=False)},
        {"memory_limiter": MEMORY_LIMITER, "batch": {"send_batch_size": 10_000, "timeout": "1s"}},
    )


def rotel_command(binary: str, ports: Ports) -> list[str]:
    """OTLP -> ClickHouse, as it comes."""
    return [
        *(binary, "start", "--otlp-grpc-endpoint", f"127.0.0.1:{ports.grpc}"),
        *("--otlp-http-endpoint", f"127.0.0.1:{ports.http}", "--exporter", "clickhouse"),
        *("--clickhouse-exporter-endpoint", f"http://127.0.0.1:{ports.clickhouse_http}"),
        *("--clickhouse-exporter-database", ports.database, "--clickhouse-exporter-async-insert", "false"),
    ]


def _otlp(ports: Ports) -> dict[str, Any]:
    limit = 16
    return {
        "protocols": {
            "grpc": {"endpoint": f"127.0.0.1:{ports.grpc}", "max_recv_msg_size_mib": limit},
            "http": {"endpoint": f"127.0.0.1:{ports.http}"},
        }
    }


def _clickhouse(ports: Ports, *, is_durable: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "endpoint": f"tcp://127.0.0.1:{ports.clickhouse_tcp}?dial_timeout=10s&compress=lz4",
        "database": ports.database,
        "async_insert": False,
        "create_schema": True,
        "ttl": "87600h",
        "timeout": "30s",
    }
    return found | ({"sending_queue": {"enabled": False}} if is_durable else {})


def _config(receivers: Any, exporters: Any, processors: Any) -> dict[str, Any]:
    pipeline: dict[str, Sequence[str]] = {
        "receivers": list(receivers),
        "processors": list(processors),
        "exporters": list(exporters),
    }
    return {
        "receivers": receivers,
        "processors": processors,
        "exporters": exporters,
        "service": {
            "telemetry": {"metrics": {"level": "none"}, "logs": {"level": "warn"}},
            "pipelines": {"traces": pipeline, "logs": pipeline},
        },
    }
