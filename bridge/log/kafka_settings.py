"""What the Kafka log is told; free of the client, so that a process without Kafka does not load it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bridge.model import Signal

# key, headers and framing beside a record's value, and what zstd adds to bytes it cannot compress
MESSAGE_OVERHEAD_BYTES: Final = 4096
DEAD_LETTER_TOPIC: Final = "otlp_dlq"
SHADOW_DEAD_LETTER_TOPIC: Final = "otlp_dlq_opensearch"


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """Where the cluster is and how the bridge uses it. Names of connection options are aiokafka's.

    `signals` are those that the group reads; `letters_topic` takes what its store refuses.
    """

    bootstrap_servers: tuple[str, ...]
    group_id: str
    topic_prefix: str
    partitions: int
    replication_factor: int
    create_topics: bool
    by_trace: bool
    max_record_bytes: int
    append_timeout_seconds: float
    linger_ms: int
    fetch_max_bytes: int
    max_partition_fetch_bytes: int
    session_timeout_ms: int
    rebalance_timeout_ms: int
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_plain_username: str | None = None
    sasl_plain_password: str | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_check_hostname: bool = True
    signals: tuple[Signal, ...] = tuple(Signal)
    letters_topic: str = DEAD_LETTER_TOPIC

    def topic(self, name: str) -> str:
        """What a topic is called in the cluster."""
        return f"{self.topic_prefix}{name}"

    @property
    def max_message_bytes(self) -> int:
        return self.max_record_bytes + MESSAGE_OVERHEAD_BYTES
