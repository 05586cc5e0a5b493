"""Settings of the receiver, and what all sections are made with."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

MIB = 1 << 20


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be HOST:PORT with a port from 0 to 65535 (0 picks a free one), as 127.0.0.1:4317")
    return value


Address = Annotated[str, AfterValidator(_address)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tls(Section):
    """TLS of both OTLP listeners."""

    cert_file: Path = Field(description="PEM certificate chain of this server.")
    key_file: Path = Field(description="PEM private key of `cert_file`.")
    client_ca_file: Path | None = Field(
        default=None,
        description="PEM authorities of client certificates. Set: every client must show one of theirs (mTLS).",
    )


class Receive(Section):
    """The OTLP receiver."""

    grpc_listen: Address = Field(default="127.0.0.1:4317", description="HOST:PORT of OTLP/gRPC.")
    http_listen: Address = Field(default="127.0.0.1:4318", description="HOST:PORT of OTLP/HTTP.")
    grpc_engine: Literal["queue", "aio"] = Field(
        default="queue",
        description="`queue`: on grpc core's completion queue. `aio`: on grpc.aio, at several times the CPU a call.",
    )
    insecure: bool = Field(
        default=False, description="Allow a listener on another address than loopback without credentials."
    )
    tls: Tls | None = Field(default=None, description="TLS for both listeners; without it they speak plain text.")
    max_request_bytes: PositiveInt = Field(
        default=16 * MIB, description="Largest request, as sent and decompressed; over it: 413 / RESOURCE_EXHAUSTED."
    )
    max_grpc_message_bytes: PositiveInt = Field(
        default=4 * MIB,
        description="Largest OTLP/gRPC message as sent (compressed or not), at most max_request_bytes; over it:"
        " RESOURCE_EXHAUSTED. So much of max_in_flight_bytes is held while one is read: gRPC does not tell its length.",
    )
    max_in_flight_bytes: PositiveInt = Field(
        default=32 * MIB,
        description="Bytes of requests held at once, at least max_request_bytes; over it: 503 / UNAVAILABLE.",
    )
    max_attributes_per_resource: PositiveInt = Field(
        default=1024, description="A resource with more attributes has its items rejected."
    )
    read_timeout_seconds: PositiveFloat = Field(
        default=10.0, description="How long a client may take to send one request's body."
    )

    @model_validator(mode="after")
    def _budget_holds_a_request(self) -> Self:
        if self.max_in_flight_bytes < self.max_request_bytes:
            raise ValueError(
                f"max_in_flight_bytes ({self.max_in_flight_bytes}) must be at least max_request_bytes"
                f" ({self.max_request_bytes}), or the largest request could never be taken"
            )
        return self
