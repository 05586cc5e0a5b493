"""Whether a link into HyperDX is one of ours and still good: for a reverse proxy's auth_request. Pure.

The proxy tells the request's target as it came (nginx `$request_uri`, Traefik's X-Forwarded-Uri) and its host with the
port (nginx `$http_host`; `$host` has no port). Order of parameters and spelling of percent-encodings do not matter:
the values are compared, not their text. What HyperDX could read in another way than we do is refused instead: a
parameter twice, bytes that are no UTF-8, an encoded `/` or `.` segment in the path.
"""

import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import unquote_to_bytes

from bridge.settings_links import HyperDX, is_normal_path
from query_api.links import (
    EXPIRES,
    MAX_URL_BYTES,
    ORG,
    SIGNATURE,
    base_path,
    canonical_text,
    host_of,
    legacy_text,
    normal_host,
    sign,
)

MAX_EXPIRES_DIGITS: Final = 12
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class Refusal(StrEnum):
    """Why a link does not hold: a label for the metric and the answer, no more than a caller may know."""

    NOT_CONFIGURED = "not_configured"
    MALFORMED = "malformed"
    WRONG_HOST = "wrong_host"
    DUPLICATE_PARAMETER = "duplicate_parameter"
    AMBIGUOUS = "ambiguous"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Verified:
    """One of our links, good while now is before `expires_unix_seconds`. `org` is empty in `legacy` mode."""

    org: str
    expires_unix_seconds: int


@dataclass(frozen=True, slots=True)
class Refused:
    reason: Refusal


class _Refused(Exception):
    def __init__(self, reason: Refusal) -> None:
        super().__init__(reason)
        self.reason = reason


def verify(settings: HyperDX, target: str, host: str, now_unix_seconds: float) -> Verified | Refused:
    """What a request's target (path and query, as sent) and host say. `host` empty: taken to be base_url's.

    Never raises for what a request holds. Keys in `previous_signing_keys` count like the one in use. A link is told to
    be expired only if it is ours.
    """
    try:
        return _verified(settings, target, host, now_unix_seconds)
    except _Refused as refused:
        return Refused(refused.reason)


def _verified(settings: HyperDX, target: str, host: str, now_unix_seconds: float) -> Verified:
    if not settings.is_configured:
        raise _Refused(Refusal.NOT_CONFIGURED)
    path, params = _read_target(target)
    if host and normal_host(settings, host) != host_of(settings):
        raise _Refused(Refusal.WRONG_HOST)
    signature, expires = params.pop(SIGNATURE, ""), _read_expires(params.pop(EXPIRES, ""))
    org, text = _signed_text(settings, path, params, expires)
    if not _is_ours(settings, text, signature):
        raise _Refused(Refusal.BAD_SIGNATURE)
    if now_unix_seconds >= expires:
        raise _Refused(Refusal.EXPIRED)
    return Verified(org, expires)


def _signed_text(settings: HyperDX, path: str, params: dict[str, str], expires: int) -> tuple[str, str]:
    """The organisation, and the text that the signature must be of."""
    if settings.mode == "signed":
        org = params.pop(ORG, "")
        if not org:
            raise _Refused(Refusal.MALFORMED)
        return org, canonical_text(host_of(settings), path, org, expires, params.items())
    if not path.startswith(base_path(settings) + "/"):
        raise _Refused(Refusal.BAD_SIGNATURE)
    # Free of these, a text can be taken apart in one way only, so a signature made for another link cannot pass.
    if any("|" in key or "=" in key or "|" in value for key, value in params.items()):
        raise _Refused(Refusal.AMBIGUOUS)
    return "", legacy_text(path.removeprefix(base_path(settings)), [*params.items(), (EXPIRES, str(expires))])


def _is_ours(settings: HyperDX, text: str, signature: str) -> bool:
    """Every key is tried, whichever fits, so the time taken does not tell which one did."""
    keys = (settings.signing_key, *settings.previous_signing_keys)
    fits = [hmac.compare_digest(sign(key.get_secret_value(), text).encode(), signature.encode()) for key in keys]
    return any(fits)


def _read_target(target: str) -> tuple[str, dict[str, str]]:
    """Path and parameters, decoded. What a browser would not send like this is malformed."""
    if len(target) > MAX_URL_BYTES or not target.isascii() or not target.isprintable() or {" ", "#"} & set(target):
        raise _Refused(Refusal.MALFORMED)
    raw_path, _, query = target.partition("?")
    path = _decode(raw_path)
    # Decoding made no new separators or it was refused: `/`, `?`, `#`, `%` and `\` are never encoded in our paths.
    if not is_normal_path(path) or path.count("/") != raw_path.count("/"):
        raise _Refused(Refusal.MALFORMED)
    return path, _read_query(query.split("&"))


def _read_query(pieces: Iterable[str]) -> dict[str, str]:
    """As browsers' URLSearchParams: empty pieces are nothing, a name without `=` has an empty value, `;` is plain."""
    params: dict[str, str] = {}
    for piece in pieces:
        if piece:
            key, _, value = piece.replace("+", " ").partition("=")
            if (key := _decode(key)) in params:
                raise _Refused(Refusal.DUPLICATE_PARAMETER)
            params[key] = _decode(value)
    return params


def _decode(text: str) -> str:
    """Percent-decoded UTF-8. A `%` without two hexadecimal digits, or bytes that are no UTF-8, are malformed."""
    for after in text.split("%")[1:]:
        if len(after) < 2 or not _HEX.issuperset(after[:2]):
            raise _Refused(Refusal.MALFORMED)
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise _Refused(Refusal.MALFORMED) from None


def _read_expires(text: str) -> int:
    """Decimal digits as we write them, so that one time has one spelling."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_EXPIRES_DIGITS
    if not is_number or str(int(text)) != text:
        raise _Refused(Refusal.MALFORMED)
    return int(text)
