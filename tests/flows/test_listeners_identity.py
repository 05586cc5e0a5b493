"""Who may write what: tokens, certificates, and organisations that are not allowed, against the real listeners."""

import hashlib
import ssl
from pathlib import Path

import aiohttp
import grpc
import pytest
from cryptography import x509
from grpc import aio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from bridge.model import Signal
from bridge.settings import Settings
from tests.listeners import METHOD, PROTOBUF, Authority, Listening, authority, listening, one_span, unary

pytestmark = pytest.mark.usefixtures("grpc_engine")

TOKEN = "a-token-of-the-eu-plane"
CATALOG = f"""
[[data_planes]]
id = "eu"
token_sha256s = ["{hashlib.sha256(TOKEN.encode()).hexdigest()}"]
spiffe_ids = ["spiffe://acme/dp/eu"]
organizations = ["acme"]
default_organization = "acme"

[[data_planes]]
id = "us"
token_sha256s = ["{hashlib.sha256(b"other").hexdigest()}"]
organizations = ["globex"]
default_organization = "globex"

[[organizations]]
name = "acme"

[[organizations]]
name = "globex"
"""
GOOD = one_span().SerializeToString()


def with_catalog(tmp_path: Path, receive: dict[str, object] | None = None) -> Settings:
    file = tmp_path / "catalog.toml"
    file.write_text(CATALOG)
    return Settings.model_validate({"catalog": {"file": file}, "receive": receive or {}})


@pytest.mark.parametrize("authorization", ["", "Bearer nonsense", "nonsense", "Bearer", "Basic dTpw"])
async def test_no_or_unknown_credentials_are_unauthenticated(tmp_path: Path, authorization: str) -> None:
    """401 with WWW-Authenticate, UNAUTHENTICATED; counted; nothing stored."""
    async with listening(with_catalog(tmp_path)) as server:
        headers = {"Content-Type": PROTOBUF, **({"Authorization": authorization} if authorization else {})}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{server.http}/v1/traces", data=GOOD, headers=headers) as answer,
        ):
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        metadata = (("authorization", authorization),) if authorization else ()
        assert (await server.call(GOOD, metadata=metadata)).code == "UNAUTHENTICATED"
        assert server.log.held(Signal.TRACES) == []
        for transport in ("http", "grpc"):
            labels = {"signal": "traces", "transport": transport, "outcome": "unauthenticated"}
            assert server.count("bridge_receiver_requests_total", **labels) == 1


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", ""])
async def test_a_token_is_taken_with_and_without_its_scheme(tmp_path: Path, scheme: str) -> None:
    """ClickStack's agents send the bare key; both listeners take it, and the record bears the plane."""
    async with listening(with_catalog(tmp_path)) as server:
        assert (await server.post(GOOD, Authorization=scheme + TOKEN)).code == 200
        assert (await server.call(GOOD, metadata=(("authorization", scheme + TOKEN),))).code == "OK"
        assert [(record.org, record.plane) for record in server.log.held(Signal.TRACES)] == [("acme", "eu")] * 2


async def test_an_organisation_outside_the_credential_is_rejected_and_told(tmp_path: Path) -> None:
    """The tenant comes from the credential: another's name in the payload gets its items rejected, only them."""
    request = one_span("mine", organization_id="acme")
    request.MergeFrom(one_span("theirs", organization_id="globex"))
    body = request.SerializeToString()
    async with listening(with_catalog(tmp_path)) as server:
        for reply in (
            await server.post(body, Authorization=TOKEN),
            await server.call(body, metadata=(("authorization", TOKEN),)),
        ):
            partial = ExportTraceServiceResponse.FromString(reply.body).partial_success
            assert partial.rejected_spans == 1
            assert "organization_not_allowed" in partial.error_message
            assert "globex" in partial.error_message
        stored = server.log.held(Signal.TRACES)
        assert {record.org for record in stored} == {"acme"}
        assert not any(b"theirs" in record.value or b"globex" in record.value for record in stored)
        rejected = {"signal": "traces", "reason": "organization_not_allowed"}
        assert server.count("bridge_receiver_rejected_items_total", **rejected) == 2


async def test_several_organisations_in_one_request_become_a_record_each() -> None:
    """A plane that may write many has its request cut by organisation."""
    request = one_span("a", organization_id="acme")
    request.MergeFrom(one_span("g", organization_id="globex"))
    request.MergeFrom(one_span("b", organization_id="acme"))
    async with listening() as server:
        assert (await server.post(request.SerializeToString())).code == 200
        stored = {record.org: record for record in server.log.held(Signal.TRACES)}
        assert {org: record.items for org, record in stored.items()} == {"acme": 2, "globex": 1}
        assert b"globex" not in stored["acme"].value


def client_context(made: Authority, pair: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=made.file)
    if pair:
        context.load_cert_chain(*pair)
    return context


async def https(server: Listening, made: Authority, pair: tuple[Path, Path] | None) -> int:
    connector = aiohttp.TCPConnector(ssl=client_context(made, pair))
    async with aiohttp.ClientSession(connector=connector) as session:
        url = f"https://localhost:{server.http_port}/v1/traces"
        async with session.post(url, data=GOOD, headers={"Content-Type": PROTOBUF}) as answer:
            return answer.status


async def grpcs(server: Listening, made: Authority, pair: tuple[Path, Path] | None) -> int | str:
    chain = (pair[1].read_bytes(), pair[0].read_bytes()) if pair else (None, None)
    credentials = grpc.ssl_channel_credentials(made.file.read_bytes(), *chain)
    async with aio.secure_channel(f"localhost:{server.grpc_port}", credentials) as channel:
        return (await unary(channel, METHOD[Signal.TRACES], GOOD)).code


def mtls(tmp_path: Path, made: Authority) -> Settings:
    cert_file, key_file = made.issue("localhost", x509.DNSName("localhost"))
    tls = {"cert_file": cert_file, "key_file": key_file, "client_ca_file": made.file}
    return with_catalog(tmp_path, {"tls": tls})


async def test_a_spiffe_id_is_a_data_plane(tmp_path: Path) -> None:
    """A client certificate with a known SPIFFE id writes as its plane; an unknown one is 403, PERMISSION_DENIED."""
    made = authority(tmp_path)
    known = made.issue("known", x509.UniformResourceIdentifier("spiffe://acme/dp/eu"))
    unknown = made.issue("unknown", x509.UniformResourceIdentifier("spiffe://acme/dp/who"))
    async with listening(mtls(tmp_path, made)) as server:
        assert await https(server, made, known) == 200
        assert await grpcs(server, made, known) == "OK"
        assert [record.plane for record in server.log.held(Signal.TRACES)] == ["eu", "eu"]
        assert await https(server, made, unknown) == 403
        assert await grpcs(server, made, unknown) == "PERMISSION_DENIED"


async def test_an_expired_or_missing_certificate_does_not_get_in(tmp_path: Path) -> None:
    """TLS refuses before a request exists; the HTTP listener counts why."""
    made = authority(tmp_path)
    expired = made.issue("expired", x509.UniformResourceIdentifier("spiffe://acme/dp/eu"), days=-1)
    async with listening(mtls(tmp_path, made)) as server:
        for pair in (expired, None):
            with pytest.raises(aiohttp.ClientError):
                await https(server, made, pair)
            assert await grpcs(server, made, pair) == "UNAVAILABLE"
        failures = "bridge_receiver_tls_handshake_failures_total"
        assert server.count(failures, reason="certificate_expired") == 1
        assert server.count(failures, reason="certificate_missing") == 1
        assert server.log.held(Signal.TRACES) == []


async def test_a_token_and_a_certificate_must_agree(tmp_path: Path) -> None:
    """Two credentials of different planes are nobody's."""
    made = authority(tmp_path)
    pair = made.issue("known", x509.UniformResourceIdentifier("spiffe://acme/dp/eu"))
    async with listening(mtls(tmp_path, made)) as server:
        connector = aiohttp.TCPConnector(ssl=client_context(made, pair))
        async with aiohttp.ClientSession(connector=connector) as session:
            headers = {"Content-Type": PROTOBUF, "Authorization": "Bearer other"}
            url = f"https://localhost:{server.http_port}/v1/traces"
            async with session.post(url, data=GOOD, headers=headers) as answer:
                assert answer.status == 403
