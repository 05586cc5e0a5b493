"""Both real OTLP listeners in this process, on a memory log, with what a test needs to send to them and look inside."""

import datetime
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bridge.assembly import build_receiver, load_identities
from bridge.ledger import Ledger
from bridge.log.memory import MemoryLog, open_memory_log
from bridge.model import Signal
from bridge.otlp.grpc_aio import open_grpc_aio
from bridge.otlp.grpc_queue import open_grpc_queue
from bridge.otlp.http import open_http
from bridge.otlp.receiver import Receiver
from bridge.settings import Settings
from bridge.telemetry import Metrics

METHOD = {
    Signal.TRACES: "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    Signal.LOGS: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
}
PATH = {Signal.TRACES: "/v1/traces", Signal.LOGS: "/v1/logs"}
PROTOBUF = "application/x-protobuf"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of either transport in one form: HTTP status or gRPC code name, body, and the hint in seconds."""

    code: int | str
    body: bytes
    message: str
    retry_after_seconds: float | None


@dataclass(slots=True)
class Listening:
    grpc_port: int
    http_port: int
    log: MemoryLog
    metrics: Metrics
    receiver: Receiver
    reload: Callable[[], None] = lambda: None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def count(self, name: str, **labels: str) -> float:
        """A counter's value; 0 if it was never touched."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    async def post(self, body: bytes, signal: Signal = Signal.TRACES, **headers: str) -> Reply:
        sent = {"Content-Type": PROTOBUF, **{key.replace("_", "-"): value for key, value in headers.items()}}
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.post(self.http + PATH[signal], data=io.BytesIO(body), headers=sent) as answer,
        ):
            hint = answer.headers.get("Retry-After")
            raw = await answer.read()
            message = Status.FromString(raw).message if answer.status >= 400 and answer.content_type == PROTOBUF else ""
            return Reply(answer.status, raw, message, float(hint) if hint else None)

    async def call(
        self,
        body: bytes,
        signal: Signal = Signal.TRACES,
        metadata: tuple[tuple[str, str], ...] = (),
        compression: grpc.Compression = grpc.Compression.NoCompression,
    ) -> Reply:
        async with aio.insecure_channel(f"127.0.0.1:{self.grpc_port}", compression=compression) as channel:
            return await unary(channel, METHOD[signal], body, metadata)


async def unary(channel: aio.Channel, method: str, body: bytes, metadata: tuple[tuple[str, str], ...] = ()) -> Reply:
    """One unary call with bytes in and out."""
    call: Any = channel.unary_unary(method)
    try:
        answer = await call(body, metadata=metadata, timeout=20)
    except aio.AioRpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        hint, info = None, RetryInfo()
        for detail in Status.FromString(details).details if isinstance(details, bytes) else ():
            if detail.Unpack(info):
                hint = info.retry_delay.ToMilliseconds() / 1000
        return Reply(error.code().name, b"", error.details() or "", hint)
    return Reply("OK", answer, "", None)


ENGINES = {"queue": open_grpc_queue, "aio": open_grpc_aio}


@pytest.fixture(params=list(ENGINES))
def grpc_engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the listeners promise holds on either engine."""
    monkeypatch.setattr("tests.listeners.open_grpc", ENGINES[request.param])


open_grpc = open_grpc_queue


@asynccontextmanager
async def listening(settings: Settings | None = None) -> AsyncIterator[Listening]:
    """Listeners with these settings (ports are free ones); `log` holds what was accepted."""
    settings = settings or Settings()
    receive, metrics, identities = settings.receive, Metrics(), load_identities(settings)
    async with open_memory_log() as log:
        receiver = build_receiver(settings, identities, log, Ledger(), metrics)
        async with (
            open_grpc("127.0.0.1:0", receive.tls, receiver, 0.0) as grpc_port,
            open_http("127.0.0.1:0", receive.tls, receiver, 0.0) as http_port,
        ):
            reload = identities.file.refresh if identities.file is not None else lambda: None
            yield Listening(grpc_port, http_port, log, metrics, receiver, reload)


def one_span(name: str = "GET /", **attributes: str) -> ExportTraceServiceRequest:
    """A request with one span, under a resource with these attributes (`_` stands for `.`)."""
    request = ExportTraceServiceRequest()
    entry = request.resource_spans.add()
    for key, value in attributes.items():
        entry.resource.attributes.add(key=key.replace("_", ".")).value.string_value = value
    entry.scope_spans.add().spans.add(name=name, trace_id=b"t" * 16, span_id=b"s" * 8, start_time_unix_nano=1)
    return request


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority of the tests, and its files."""

    directory: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def file(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, *names: x509.GeneralName, days: int = 1) -> tuple[Path, Path]:
        """Certificate and key files of `name`; negative `days` make it expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, key, (self.certificate, self.key), names, days)
        files = self.directory / f"{name}.pem", self.directory / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(_pem(key))
        return files


def authority(directory: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    made = Authority(directory, key, _certificate("test authority", key, None, (), 1))
    made.file.write_bytes(made.certificate.public_bytes(serialization.Encoding.PEM))
    return made


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None,
    names: tuple[x509.GeneralName, ...],
    days: int,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=30))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if issuer:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer[1].public_key())
        builder = builder.add_extension(identifier, critical=False)
    else:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256())
