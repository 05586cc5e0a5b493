"""Settings of authentication: what cannot be meant is refused, under the key that is at fault."""

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from bridge.settings import _describe
from bridge.settings_auth import Cors, QueryAuth

DIGEST = hashlib.sha256(b"s3cret").hexdigest()
TOKEN = {"name": "portal", "token_sha256": DIGEST, "roles": ["logs:acme/shop"]}
JWT = {"jwks_url": "https://idp.example.org/keys", "issuer": "https://idp.example.org", "audience": "headrace"}
BINDING = {"claim": "groups", "value": "admins", "roles": ["*"]}


def mistakes(tree: dict[str, Any], model: Any = QueryAuth) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(tree)
    return "\n".join(_describe(problem) for problem in caught.value.errors())


def test_good_settings_are_taken() -> None:
    """Every kind of credential together, and digests in any case."""
    tree = {"jwt": JWT | {"bindings": [BINDING]}, "tokens": [TOKEN | {"token_sha256": DIGEST.upper()}]}
    found = QueryAuth.model_validate(tree | {"spiffe_ids": [{"id": "spiffe://example.org/a/b", "roles": []}]})
    assert found.is_configured
    assert found.tokens[0].token_sha256 == DIGEST
    assert found.jwt is not None
    assert found.jwt.algorithms == ("RS256", "ES256")


@pytest.mark.parametrize(
    "tree", [{"jwt": JWT}, {"tokens": [TOKEN]}, {"spiffe_ids": [{"id": "spiffe://a/b", "roles": []}]}]
)
def test_any_credential_configures_authentication(tree: dict[str, Any]) -> None:
    """Without one nobody is asked; the header of the fork alone is none."""
    assert QueryAuth.model_validate(tree).is_configured
    assert not QueryAuth(accept_original_authorization=True).is_configured


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"jwks_url": None}, "jwt: exactly one of jwks_url and jwks_file"),
        ({"jwks_file": "keys.json"}, "jwt: exactly one of jwks_url and jwks_file"),
        ({"jwks_url": "ftp://idp/keys"}, "jwt.jwks_url: must be an http"),
        ({"jwks_url": "https:///keys"}, "jwt.jwks_url: must be an http"),
        ({"jwks_url": "https://user:pw@idp/keys"}, "jwt.jwks_url: must be an http"),
        ({"jwks_url": "http://idp/keys", "ca_file": "ca.pem"}, "jwt: ca_file is for"),
        ({"issuer": ""}, "jwt.issuer: "),
        ({"audience": ""}, "jwt.audience: "),
        ({"audience": None}, "jwt.audience: "),
        ({"algorithms": []}, "jwt.algorithms: "),
        ({"algorithms": ["RS256", "HS256"]}, "jwt.algorithms.1: "),
        ({"algorithms": ["none"]}, "jwt.algorithms.0: "),
        ({"leeway_seconds": -1}, "jwt.leeway_seconds: "),
        ({"leeway_seconds": 601}, "jwt.leeway_seconds: "),
        ({"leeway_seconds": "nan"}, "jwt.leeway_seconds: "),
        ({"jwks_min_refresh_seconds": 0}, "jwt.jwks_min_refresh_seconds: "),
        ({"roles_claim": "a..b"}, "jwt.roles_claim"),
        ({"bindings": [BINDING | {"value": ""}]}, "jwt.bindings.0.value: "),
        ({"bindings": [BINDING | {"claim": ""}]}, "jwt.bindings.0.claim: "),
        ({"bindings": [BINDING | {"roles": []}]}, "jwt.bindings.0.roles: "),
        ({"bindings": [BINDING | {"roles": ["acme/"]}]}, "jwt.bindings.0.roles.0: must be *, ORG, ORG/PROJECT"),
    ],
)
def test_what_an_identity_provider_cannot_be(more: dict[str, Any], expected: str) -> None:
    """Every mistake names its key."""
    assert expected in mistakes({"jwt": JWT | more})


@pytest.mark.parametrize("key", ["issuer", "audience"])
def test_issuer_and_audience_are_required(key: str) -> None:
    """Without one of them tokens made for others would open this API."""
    assert f"jwt.{key}: Field required" in mistakes({"jwt": {name: JWT[name] for name in JWT if name != key}})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"roles": ["write:acme"]}, "tokens.0.roles.0: the action before the colon must be one of logs, traces"),
        ({"roles": ["acme", ""]}, "tokens.0.roles.1: "),
        ({"roles": "*"}, "tokens.0.roles: "),
        ({"name": "a:b"}, "tokens.0.name: "),
        ({"name": ""}, "tokens.0.name: "),
        ({"token_sha256": DIGEST[:-1]}, "tokens.0.token_sha256: must be the token's SHA-256"),
        ({"token_sha256": hashlib.sha256().hexdigest()}, "tokens.0.token_sha256: is the SHA-256 of nothing"),
        ({"token_sha256": hashlib.sha256(b"\n").hexdigest()}, "tokens.0.token_sha256: is the SHA-256 of nothing"),
    ],
)
def test_what_a_static_token_cannot_be(more: dict[str, Any], expected: str) -> None:
    """Every mistake names its key."""
    assert expected in mistakes({"tokens": [TOKEN | more]})


def test_a_token_in_place_of_its_digest_is_not_repeated() -> None:
    """The message goes to a log; the token must not."""
    assert "hunter2-token" not in mistakes({"tokens": [TOKEN | {"token_sha256": "hunter2-token"}]})


def test_a_credential_has_one_holder() -> None:
    """The same token or id twice would leave open whose roles count."""
    assert "portal, other have the same token_sha256" in mistakes({"tokens": [TOKEN, TOKEN | {"name": "other"}]})
    spiffe = {"id": "spiffe://example.org/a", "roles": ["acme"]}
    assert "spiffe://example.org/a is there twice" in mistakes({"spiffe_ids": [spiffe, spiffe]})


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://",
        "spiffe://example.org",
        "spiffe://example.org/",
        "spiffe://Example.org/a",
        "SPIFFE://example.org/a",
        "spiffe://example.org/a/../b",
        "spiffe://example.org//a",
        "spiffe://example.org/a?b",
        "https://example.org/a",
        "spiffe://example.org/*",
        "spiffe://example.org/a\n",
        f"spiffe://example.org/{'a' * 2048}",
    ],
)
def test_what_a_spiffe_id_cannot_be(uri: str) -> None:
    """A whole trust domain, other spellings, patterns."""
    assert "spiffe_ids.0.id: must be a workload's SPIFFE id" in mistakes({"spiffe_ids": [{"id": uri, "roles": []}]})


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "",
        "portal.example.org",
        "https://*.example.org",
        "https://portal.example.org/",
        "https://a/b",
        "https://Portal.example.org",
        "https://portal.example.org:443",
        "http://a:80",
        "http://a:0",
        "http://a:99999",
        "https://user@portal.example.org",
        "ftp://a",
        "https://",
        "https://a:x",
        "https://a?b",
        "https://a#",
        "https://é.org",
    ],
)
def test_what_an_origin_cannot_be(origin: str) -> None:
    """No wildcard, no path, and no spelling that no browser sends."""
    assert "allowed_origins.0: must be what a browser sends" in mistakes({"allowed_origins": [origin]}, Cors)


@pytest.mark.parametrize(
    "origin", ["https://portal.example.org", "http://localhost:3000", "http://[::1]:8080", "http://a:443"]
)
def test_what_an_origin_is(origin: str) -> None:
    """Scheme, host and perhaps a port."""
    assert Cors(allowed_origins=(origin,)).allowed_origins == (origin,)
