"""What a token whose signature holds says: whether it is for us and now, whose it is, and with which roles. Pure."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bridge.settings_auth import Jwt
from query_api.auth import refusals
from query_api.auth.refusals import refusal

Claims = Mapping[str, Any]
MAX_NAME_CHARS: Final = 200


def check_claims(claims: Claims, rules: Jwt, now_seconds: float) -> None:
    """Returns if the token is for us and now. `now_seconds` is unix time.

    Raises `NotAuthenticated`: wrong_issuer, wrong_audience, expired, not_yet_valid, malformed (no `exp`, no number).
    """
    issuer, audience = claims.get("iss"), claims.get("aud")
    if not isinstance(issuer, str) or issuer != rules.issuer:
        raise refusal(refusals.WRONG_ISSUER)
    if not _is_or_has(audience, rules.audience):
        raise refusal(refusals.WRONG_AUDIENCE)
    expires = _number(claims, "exp")
    if expires is None:
        raise refusal(refusals.MALFORMED, "it has no `exp`, so it would hold for ever")
    if now_seconds >= expires + rules.leeway_seconds:
        raise refusal(refusals.EXPIRED)
    begins = _number(claims, "nbf")
    if begins is not None and now_seconds < begins - rules.leeway_seconds:
        raise refusal(refusals.NOT_YET_VALID)


def name_of(claims: Claims) -> str:
    """Its `sub`, as it goes into the access log and the rate limit. Raises `NotAuthenticated` (malformed)."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject.strip() or not subject.isprintable():
        raise refusal(refusals.MALFORMED, "its `sub` must be a text of printable characters")
    if len(subject) > MAX_NAME_CHARS:
        raise refusal(refusals.MALFORMED, f"its `sub` has more than {MAX_NAME_CHARS} characters")
    return subject


def role_texts(claims: Claims, rules: Jwt) -> Iterator[str]:
    """The roles of `roles_claim`, then those of every binding that holds. What is of another type gives none."""
    told = claim_at(claims, rules.roles_claim) if rules.roles_claim else None
    if isinstance(told, str):
        yield from filter(None, told.split(" "))  # no other blanks: those may be part of a name
    elif isinstance(told, list):
        yield from (text for text in told if isinstance(text, str))
    for binding in rules.bindings:
        if _is_or_has(claim_at(claims, binding.claim), binding.value):
            yield from binding.roles


def claim_at(claims: Claims, path: str) -> Any:
    """The claim of that name; else the one that the dots of `path` lead to through objects; else None."""
    if path in claims:
        return claims[path]
    node: Any = claims
    for name in path.split("."):
        node = node.get(name) if isinstance(node, dict) else None
    return node


def _is_or_has(told: Any, value: str) -> bool:
    """Whether a claim is that text or a list with it: whole texts only, never a part of one or another type."""
    if isinstance(told, list):
        return any(isinstance(item, str) and item == value for item in told)
    return isinstance(told, str) and told == value


def _number(claims: Claims, name: str) -> float | None:
    """A NumericDate (RFC 7519 2), None if absent. Raises `NotAuthenticated` (malformed)."""
    if name not in claims:
        return None
    told = claims[name]
    try:
        number = math.nan if isinstance(told, bool) or not isinstance(told, int | float) else float(told)
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise refusal(refusals.MALFORMED, f"its `{name}` must be a number")
    return number
