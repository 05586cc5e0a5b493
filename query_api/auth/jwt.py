"""Signatures of JSON Web Tokens (RFC 7515, 7517, 8725); the only home of PyJWT. What a token says is for `claims.py`.

A key takes only the algorithms of its own type that the settings allow, so a token's `alg` picks among what holds
anyway. Keys come from `jwks.py` alone: `jwk`, `jku`, `x5u` and `x5c` in a token's header are never looked at, and a
header that demands something of us (`crit`, `b64`) is refused, because we understand none of it.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from query_api.auth import refusals
from query_api.auth.refusals import refusal

# RFC 7518 3.1, RFC 8037 3.1: what a key of a type and curve can make
_ALGORITHMS_OF: Final[Mapping[tuple[str, str], frozenset[str]]] = {
    ("RSA", ""): frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA"}),
}
MAX_KEYS: Final = 100
# 2048: NIST SP 800-131A; 8192: a check of a larger one takes a millisecond and more
_RSA_BITS: Final = range(2048, 8193)


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: `kid` is empty if it has none; `by_algorithm` is the library's form of it for each it may check."""

    kid: str
    by_algorithm: Mapping[str, jwt.PyJWK]


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says about its own signature, to look up a key with."""

    algorithm: str
    kid: str


def parse_keys(text: bytes, algorithms: Iterable[str]) -> tuple[Key, ...]:
    """The keys of a JSON Web Key Set that may check one of `algorithms`; others in it are left out.

    No keys at all is an answer (everything was withdrawn). Raises `ValueError` if this is no key set.
    """
    tree = parse_json(text)
    keys = tree.get("keys")
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise ValueError(f"not a JSON Web Key Set: `keys` must be a list of at most {MAX_KEYS}")
    allowed = frozenset(algorithms)
    found = (_key(key, allowed) for key in keys if isinstance(key, dict))
    return tuple(key for key in found if key is not None)


def parse_json(text: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 in which no name is there twice and every number is finite. Raises `ValueError`.

    Stricter than RFC 7519 4, which lets the last of two names win: two readers that differ would see two tokens.
    """
    try:
        tree = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(tree, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - a mistake in bytes, not in our types
    return tree


def read_header(token: str) -> Unverified:
    """The header of a token of three parts. Raises `NotAuthenticated` (malformed)."""
    try:
        segment = token.partition(".")[0]
        header = parse_json(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except ValueError:
        raise refusal(refusals.MALFORMED, "its header is not JSON") from None
    algorithm, kid = header.get("alg"), header.get("kid", "")
    if not isinstance(algorithm, str) or not isinstance(kid, str):
        raise refusal(refusals.MALFORMED, "`alg` and `kid` of its header must be texts")
    if "crit" in header or "b64" in header:
        raise refusal(refusals.MALFORMED, "no extension (`crit`, `b64`) of its header is understood here")
    return Unverified(algorithm, kid)


def keys_for(keys: Iterable[Key], wanted: Unverified) -> tuple[Key, ...]:
    """The keys that may have signed, almost always one; none if they have to be fetched again.

    Those of that kid. With none of that kid, or no kid told, the only key of a fitting type, if one of the two has no
    kid to differ by. Raises `NotAuthenticated` (bad_algorithm) if the kid is of keys of another type.
    """
    known = tuple(keys)
    if wanted.kid and (named := [key for key in known if key.kid == wanted.kid]):
        fitting = tuple(key for key in named if wanted.algorithm in key.by_algorithm)
        if not fitting:
            raise refusal(refusals.BAD_ALGORITHM)
        return fitting
    fitting = tuple(key for key in known if wanted.algorithm in key.by_algorithm)
    return fitting if len(fitting) == 1 and not (wanted.kid and fitting[0].kid) else ()


def verified_claims(token: str, algorithm: str, keys: Iterable[Key]) -> dict[str, Any]:
    """What the token says, once one of the keys holds for it; nothing in it is checked yet.

    `algorithm` is the header's, allowed by the settings. Raises `NotAuthenticated` (bad_signature, malformed).
    """
    for key in keys:
        try:
            signed = _JWS.decode_complete(token, key=key.by_algorithm[algorithm], algorithms=[algorithm])
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError:
            raise refusal(refusals.MALFORMED) from None
        try:
            return parse_json(signed["payload"])
        except ValueError:
            raise refusal(refusals.MALFORMED, "its claims are not JSON with distinct names") from None
    raise refusal(refusals.BAD_SIGNATURE)


_JWS: Final = jwt.PyJWS()


def _key(told: Mapping[str, Any], allowed: frozenset[str]) -> Key | None:
    """None if it is not for checking signatures, is weak, is private, or is of no type that is allowed."""
    kid, use, operations, alg = (told.get(name) for name in ("kid", "use", "key_ops", "alg"))
    if not isinstance(kid, str | None) or use not in (None, "sig") or "d" in told:
        return None
    if operations is not None and not (isinstance(operations, list) and "verify" in operations):
        return None
    algorithms = allowed & _algorithms_of(told)
    if alg is not None:
        algorithms &= {alg} if isinstance(alg, str) else frozenset()
    try:
        by_algorithm = {name: jwt.PyJWK(dict(told), name) for name in algorithms}
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, OverflowError):
        return None
    if told.get("kty") == "RSA" and not all(key.key.key_size in _RSA_BITS for key in by_algorithm.values()):
        return None
    return Key(kid or "", by_algorithm) if by_algorithm else None


def _algorithms_of(told: Mapping[str, Any]) -> frozenset[str]:
    kind, curve = told.get("kty"), told.get("crv", "")
    if not isinstance(kind, str) or not isinstance(curve, str):
        return frozenset()
    return _ALGORITHMS_OF.get((kind, "" if kind == "RSA" else curve), frozenset())


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")
