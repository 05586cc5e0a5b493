"""The query API over TLS, as its composition root opens it: who a verified client certificate is."""

import hashlib
import json
import ssl
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from bridge.assembly_query import open_query
from bridge.settings import load_settings
from bridge.telemetry import Metrics
from tests.listeners import authority

WORKLOAD = "spiffe://example.org/ns/portal/sa/backend"
# nobody is there: who is authenticated is told that the store is down, who is not is told that
STORE = {"HEADRACE_CLICKHOUSE__INTERFACE": "http", "HEADRACE_CLICKHOUSE__PORT": "1"}


async def status(url: str, context: ssl.SSLContext, **headers: str) -> int:
    """Of a question, with what the context shows."""
    async with aiohttp.ClientSession() as http, http.get(url, ssl=context, headers=headers) as answer:
        return answer.status


async def test_a_certificate_of_a_known_workload_is_a_credential(tmp_path: Path) -> None:
    """Verified by our authorities and named in the settings; others and none are 401, a token does as well."""
    for name in ("ours", "others"):
        (tmp_path / name).mkdir()
    made, others = authority(tmp_path / "ours"), authority(tmp_path / "others")
    server = made.issue("server", x509.DNSName("localhost"))
    tls = {"cert_file": str(server[0]), "key_file": str(server[1]), "client_ca_file": str(made.file)}
    digest = hashlib.sha256(b"a-token").hexdigest()
    settings = load_settings(
        None,
        {
            **STORE,
            "HEADRACE_QUERY__LISTEN": "127.0.0.1:0",
            "HEADRACE_QUERY__TLS": json.dumps(tls),
            "HEADRACE_QUERY__AUTH__SPIFFE_IDS": json.dumps([{"id": WORKLOAD, "roles": ["acme"]}]),
            "HEADRACE_QUERY__AUTH__TOKENS": json.dumps([{"name": "t", "token_sha256": digest, "roles": ["acme"]}]),
        },
    )

    def context(pair: tuple[Path, Path] | None) -> ssl.SSLContext:
        made_of = ssl.create_default_context(cafile=str(made.file))
        if pair is not None:
            made_of.load_cert_chain(*pair)
        return made_of

    known = made.issue("known", x509.UniformResourceIdentifier(WORKLOAD))
    unknown = made.issue("unknown", x509.UniformResourceIdentifier(f"{WORKLOAD}-2"))
    foreign = others.issue("foreign", x509.UniformResourceIdentifier(WORKLOAD))
    async with open_query(settings, lambda: None, Metrics()) as query:
        url = f"https://localhost:{query.ports.main}/api/places"
        assert await status(url, context(known)) == 503
        assert await status(url, context(None), Authorization="Bearer a-token") == 503
        assert await status(url, context(None)) == 401
        assert await status(url, context(unknown)) == 401
        assert await status(url, context(known), Authorization="Bearer wrong") == 401
        with pytest.raises(aiohttp.ClientError):
            await status(url, context(foreign))
        with pytest.raises(aiohttp.ClientError):
            await status(url.replace("https", "http"), context(known))
