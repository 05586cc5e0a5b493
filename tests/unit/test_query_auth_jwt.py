"""Tokens of an identity provider: what is taken, and every way in which one is not."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from query_api.auth.claims import check_claims
from query_api.auth.jwt import parse_keys
from query_api.errors import NotAuthenticated
from tests.unit.query_tokens import (
    AUDIENCE,
    ISSUER,
    b64,
    caller,
    claims,
    jwk,
    jwks,
    private_key,
    raw_signed,
    reason,
    settings,
    signed,
)

ALL = ("RS256", "PS256", "ES256", "ES384", "EdDSA")


@pytest.mark.parametrize("key", ["rsa", "p256", "p384", "ed25519"])
async def test_a_token_of_every_type_of_key_is_taken(key: str) -> None:
    """RSA, both curves and Ed25519 work where the settings allow them."""
    assert (await caller(signed(key), (key,), algorithms=ALL)).name == "user-1"


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
async def test_an_audience_is_a_text_or_a_list(audience: Any) -> None:
    """Both forms of RFC 7519 4.1.3 are taken."""
    assert (await caller(signed(aud=audience))).name == "user-1"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({"iss": "https://idp.example.org/"}, "wrong_issuer"),
        ({"iss": None}, "wrong_issuer"),
        ({"iss": [ISSUER]}, "wrong_issuer"),
        ({"aud": "headrace-2"}, "wrong_audience"),
        ({"aud": "head"}, "wrong_audience"),
        ({"aud": None}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": {AUDIENCE: True}}, "wrong_audience"),
        ({"aud": [[AUDIENCE]]}, "wrong_audience"),
        ({"exp": None}, "malformed"),
        ({"exp": "9999999999"}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": 10**400}, "malformed"),
        ({"exp": {}}, "malformed"),
        ({"exp": 0}, "expired"),
        ({"exp": -1}, "expired"),
        ({"nbf": 4_000_000_000}, "not_yet_valid"),
        ({"nbf": "0"}, "malformed"),
        ({"sub": None}, "malformed"),
        ({"sub": ""}, "malformed"),
        ({"sub": " "}, "malformed"),
        ({"sub": 7}, "malformed"),
        ({"sub": "a\nlevel=error"}, "malformed"),
        ({"sub": "\u202eadmin"}, "malformed"),
        ({"sub": "\ud800"}, "malformed"),
        ({"sub": "x" * 201}, "malformed"),
    ],
)
async def test_claims_that_do_not_hold_are_refused_with_their_reason(told: dict[str, Any], expected: str) -> None:
    """A good signature is not enough: each claim has its own reason."""
    assert await reason(signed(**told)) == expected


@pytest.mark.parametrize(
    ("claim", "seconds", "expected"),
    [("exp", -29.9, ""), ("exp", -30, "expired"), ("nbf", 30, ""), ("nbf", 30.1, "not_yet_valid")],
)
def test_the_leeway_is_as_wide_as_set(claim: str, seconds: float, expected: str) -> None:
    """Clocks may differ by leeway_seconds and no more, to both sides."""
    rules = settings(leeway_seconds=30).jwt
    assert rules is not None
    found = ""
    try:
        check_claims(claims(**{"exp": 5000.0, claim: 1000.0 + seconds}), rules, 1000.0)
    except NotAuthenticated as error:
        found = error.reason
    assert found == expected


async def test_a_signature_of_another_key_is_refused() -> None:
    """The kid says which key, and only that one counts, whoever else signed."""
    assert await reason(signed("rsa-evil", {"kid": "rsa"})) == "bad_signature"


async def test_changed_claims_are_refused() -> None:
    """The signature covers what is said."""
    head, _, signature = signed().split(".")
    evil = b64(json.dumps(claims(headrace_roles="*")).encode())
    assert await reason(f"{head}.{evil}.{signature}") == "bad_signature"


async def test_an_unknown_key_is_refused() -> None:
    """A kid nobody published, also where the token brings the key along."""
    assert await reason(signed("rsa-evil")) == "unknown_key"
    for headers in ({"jwk": jwk("rsa-evil")}, {"jku": "http://127.0.0.1:9/"}, {"x5u": "http://127.0.0.1:9/"}):
        assert await reason(signed("rsa-evil", headers)) == "unknown_key"
        assert await reason(signed("rsa-evil", headers | {"kid": "rsa"})) == "bad_signature"


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "HS256", "RS512", "rs256", "ES256K"])
@pytest.mark.parametrize("signature", ["", b64(b"x" * 64)])
async def test_an_algorithm_that_is_not_set_is_refused(alg: str, signature: str) -> None:
    """No spelling of none, no other algorithm, with any signature or without."""
    header = b64(json.dumps({"alg": alg, "kid": "rsa"}).encode())
    assert await reason(f"{header}.{b64(json.dumps(claims()).encode())}.{signature}") == "bad_algorithm"


@pytest.mark.parametrize("form", ["pem", "der", "n"])
async def test_a_public_key_is_no_secret_of_an_hmac(form: str) -> None:
    """HS256 made with the published key (CVE-2015-9235 and its kin) is refused."""
    public = private_key("rsa").public_key()
    secret = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "n": jwk("rsa")["n"].encode(),
    }[form]
    text = b64(b'{"alg":"HS256","kid":"rsa"}') + "." + b64(json.dumps(claims()).encode())
    token = text + "." + b64(hmac.digest(secret, text.encode(), hashlib.sha256))
    assert await reason(token) == "bad_algorithm"


async def test_a_key_checks_only_its_own_algorithms() -> None:
    """A kid of a key of another type, another curve or for another algorithm is refused."""
    assert await reason(signed("rsa", {"kid": "p256"})) == "bad_algorithm"
    assert await reason(signed("p256", {"kid": "rsa"})) == "bad_algorithm"
    assert await reason(signed("p384", {"alg": "ES256"}), ("p384",), algorithms=ALL) == "bad_algorithm"
    only_pss = jwk("rsa", alg="PS256")
    assert await reason(signed("rsa"), (only_pss, "p256"), algorithms=ALL) == "bad_algorithm"


async def test_a_symmetric_key_in_the_set_is_no_key() -> None:
    """What an issuer publishes by mistake opens nothing."""
    assert parse_keys(jwks({"kty": "oct", "k": b64(b"secret" * 8), "kid": "x", "alg": "HS256"}), ALL) == ()


@pytest.mark.parametrize(
    "more",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kty": "EC"},
        {"kty": ["RSA"]},
        {"kty": None},
        {"alg": "HS256"},
        {"alg": ["RS256"]},
        {"kid": 7},
        {"d": "AQAB"},
        {"n": 5},
        {"n": None},
        {"n": ""},
        {"e": ""},
        {"n": "\u00e9"},
    ],
)
def test_a_key_that_is_not_for_checking_is_left_out(more: dict[str, Any]) -> None:
    """Encryption keys, private keys and broken ones are passed over, and the good one beside them stays."""
    assert [key.kid for key in parse_keys(jwks(jwk("rsa", **more), "p256"), ALL)] == ["p256"]


@pytest.mark.parametrize("key", ["rsa", "p256", "ed25519"])
def test_a_private_key_in_the_set_is_left_out(key: str) -> None:
    """Published by mistake it is anybody's: nothing it signs is believed."""
    kinds: dict[str, Any] = {"rsa": RSAAlgorithm, "p256": ECAlgorithm, "ed25519": OKPAlgorithm}
    told = kinds[key].to_jwk(private_key(key), as_dict=True)
    assert "d" in told
    told.pop("key_ops", None)
    assert parse_keys(jwks(told), ALL) == ()


def test_a_weak_key_is_left_out() -> None:
    """RSA below 2048 bits can be broken."""
    assert parse_keys(jwks("rsa1024"), ALL) == ()


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": [], "keys": []}', b"\xff", b"<html>", b"[" * 9000]
)
def test_what_is_no_key_set_is_an_error(text: bytes) -> None:
    """An error page or half an answer is never taken for "no keys"."""
    with pytest.raises(ValueError, match=r"."):
        parse_keys(text, ALL)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
members = st.sampled_from(["kty", "crv", "n", "e", "x", "y", "kid", "use", "alg", "key_ops", "d", "p", "oth"])
usual = st.sampled_from(["RSA", "EC", "OKP", "P-256", "Ed25519", "RS256", "AQAB", "AA", "sig", ""])


@given(st.lists(st.dictionaries(members, usual | json_values) | json_values, max_size=3))
def test_no_key_set_breaks_the_reader(keys: list[Any]) -> None:
    """Whatever is in a list of keys, the reader answers with those that are good."""
    assert all(key.by_algorithm for key in parse_keys(json.dumps({"keys": keys}).encode(), ALL))


async def test_a_kid_is_not_needed_where_it_would_say_nothing() -> None:
    """The only key of a fitting type is used if the token or the key has no kid; of two it is not guessed."""
    assert (await caller(signed("rsa", {"kid": None}))).name == "user-1"
    assert (await caller(signed("rsa"), (jwk("rsa", kid=None), "p256"))).name == "user-1"
    assert await reason(signed("rsa", {"kid": None}), ("rsa", "rsa-2")) == "unknown_key"
    assert await reason(signed("rsa"), (jwk("rsa", kid=None), "rsa-2")) == "unknown_key"
    assert await reason(signed("rsa", {"kid": "other"}), ("rsa",)) == "unknown_key"


async def test_keys_that_share_a_kid_are_each_tried() -> None:
    """Some issuers name keys alike while they change them."""
    assert (await caller(signed("rsa"), (jwk("rsa-2", kid="rsa"), "rsa"))).name == "user-1"


@pytest.mark.parametrize(
    "headers",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"crit": None, "b64": True},
        {"kid": 7},
        {"kid": ["rsa"]},
        {"alg": None},
        {"alg": ["RS256"]},
    ],
)
async def test_a_header_that_asks_for_more_is_refused(headers: dict[str, Any]) -> None:
    """RFC 7515 4.1.11: an extension that is not understood makes a token invalid."""
    assert await reason(signed("rsa", headers)) == "malformed"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"x"',
        b"{",
        b"\xff\xfe{\x00}\x00",
        b'{"exp": NaN}',
        b"[" * 9000,
        b'{"sub": "a", "sub": "b"}',
        b'{"a": {"b": 1, "b": 2}}',
        b'{"exp": ' + b"9" * 5000 + b"}",
    ],
)
async def test_claims_that_are_no_clean_json_are_refused(payload: bytes) -> None:
    """A name that is there twice is refused too, on any level: another reader might take the other one."""
    assert await reason(raw_signed(payload)) == "malformed"


@pytest.mark.parametrize(
    "token", ["..", "a.b.c", ".e30.x", "e30..", "é".encode().hex() + "..", "=.=.=", "e30=.e30.e30"]
)
async def test_what_only_looks_like_a_token_is_malformed(token: str) -> None:
    """Three parts that hold nothing."""
    assert await reason(token) == "malformed"


async def test_a_token_is_spelt_in_one_way() -> None:
    """Bits behind the end and characters outside the alphabet are refused, so one token is one text."""
    head, body, signature = signed().split(".")
    assert await reason(f"{head}.{body}.{signature[:-1]}{chr(ord(signature[-1]) + 1)}") in (
        "malformed",
        "bad_signature",
    )
    assert await reason(f"{head}.!{body}.{signature}") == "malformed"
    assert await reason(f"{head[:4]}!!!!{head[4:]}.{body}.{signature}") == "malformed"


async def test_a_huge_token_is_refused_before_it_is_read() -> None:
    """Over 16 KiB nothing is decoded."""
    assert await reason(signed(groups=["g" * 100] * 200)) == "malformed"


@pytest.mark.parametrize("part", [0, 1, 2])
@given_settings(deadline=None)  # the first example makes the keys
@given(junk=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
async def test_no_part_of_a_token_breaks_the_reader(part: int, junk: str) -> None:
    """Any text in place of a part ends in a refusal with a reason."""
    parts = signed().split(".")
    parts[part] = junk
    assert await reason(".".join(parts)) in ("malformed", "bad_signature", "unknown_token", "bad_algorithm")
