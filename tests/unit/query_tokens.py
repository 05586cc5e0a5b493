"""What the tests of the query API's authentication are made with: an issuer's keys, its tokens, its server of keys."""

import base64
import functools
import hashlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bridge.settings_auth import QueryAuth
from query_api.auth.authenticator import Authenticator
from query_api.auth.jwks import KeySource
from query_api.auth.jwt import parse_keys
from query_api.errors import NotAuthenticated
from query_api.tenant import Caller

ISSUER, AUDIENCE = "https://idp.example.org", "headrace"


@functools.cache
def private_key(name: str) -> Any:
    """One for each name, of the kind that it starts with."""
    if name.startswith("rsa1024"):
        return rsa.generate_private_key(65537, 1024)  # noqa: S505 - too weak on purpose
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 2048)
    if name.startswith("p384"):
        return ec.generate_private_key(ec.SECP384R1())
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def algorithm_of(name: str) -> str:
    """What keys of that name sign with."""
    kinds = {"rsa": "RS256", "p38": "ES384", "ed": "EdDSA"}
    return next((kind for start, kind in kinds.items() if name.startswith(start)), "ES256")


def jwk(name: str, **more: Any) -> dict[str, Any]:
    """The public key as the issuer publishes it; None takes a member away."""
    public = private_key(name).public_key()
    algorithms = jwt.algorithms
    if isinstance(public, rsa.RSAPublicKey):
        told = algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        told = algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        told = algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    return {key: value for key, value in {**told, "kid": name, **more}.items() if value is not None}


def jwks(*keys: str | dict[str, Any]) -> bytes:
    """A key set of names or of keys."""
    return json.dumps({"keys": [jwk(key) if isinstance(key, str) else key for key in keys]}).encode()


def claims(**more: Any) -> dict[str, Any]:
    """Good claims; None takes one away."""
    told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "user-1", "exp": time.time() + 600} | more
    return {name: value for name, value in told.items() if value is not None}


def signed(key: str = "rsa", headers: Mapping[str, Any] | None = None, **more: Any) -> str:
    """A token as the issuer makes it."""
    return raw_signed(json.dumps(claims(**more)).encode(), key, headers)


def raw_signed(payload: bytes, key: str = "rsa", headers: Mapping[str, Any] | None = None) -> str:
    """A good signature over any bytes."""
    header = {"kid": key, "alg": algorithm_of(key)} | dict(headers or {})
    header = {name: value for name, value in header.items() if value is not None}
    text = b64(json.dumps(header).encode()) + "." + b64(payload)
    algorithm: Any = jwt.algorithms.get_default_algorithms()[algorithm_of(key)]
    return text + "." + b64(algorithm.sign(text.encode(), private_key(key)))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def settings(**jwt_more: Any) -> QueryAuth:
    """With a JWT section (keys are given apart), one static token `s3cret` and one SPIFFE id."""
    section = {"jwks_file": "unused", "issuer": ISSUER, "audience": AUDIENCE} | jwt_more
    return QueryAuth.model_validate(
        {
            "jwt": section,
            "tokens": [{"name": "portal", "token_sha256": sha256("s3cret"), "roles": ["acme"]}],
            "spiffe_ids": [{"id": "spiffe://example.org/portal", "roles": ["logs:*"]}],
        }
    )


def authenticator(keys: Sequence[str | dict[str, Any]] = ("rsa", "p256"), **jwt_more: Any) -> Authenticator:
    """With keys that are there already."""
    told = settings(**jwt_more)
    assert told.jwt is not None
    found = parse_keys(jwks(*keys), told.jwt.algorithms)

    async def read() -> tuple[Any, ...]:
        return found

    return Authenticator(told, KeySource(read, 3600, 3600))


async def caller(token: str, keys: Sequence[str | dict[str, Any]] = ("rsa", "p256"), **jwt_more: Any) -> Caller:
    """Who has that token."""
    return await authenticator(keys, **jwt_more).caller_of(bearer(token), ())


async def reason(token: str, keys: Sequence[str | dict[str, Any]] = ("rsa", "p256"), **jwt_more: Any) -> str:
    """Why that token is refused."""
    with pytest.raises(NotAuthenticated) as caught:
        await caller(token, keys, **jwt_more)
    assert len(token) < 8 or token not in str(caught.value)
    return caught.value.reason


class Issuer:
    """An issuer's server of keys: `body` and `status` are what it answers, `asked` how often it was."""

    def __init__(self) -> None:
        self.body, self.status, self.asked = jwks("rsa"), 200, 0
        self.headers: dict[str, str] = {}
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(body=self.body, status=self.status, headers=self.headers)


@asynccontextmanager
async def issuer_on(port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Issuer]:
    """A server on that port, a free one by default, until the block is left."""
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/{path:.*}", issuer.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    issuer.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield issuer
    finally:
        await runner.cleanup()
