"""From a request's credentials to a `Caller`.

A token decides if there is one, else the client certificate. A token that does not hold is never rescued by a
certificate, and what two credentials open is never added up.
"""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bridge.settings_auth import Jwt, QueryAuth, Role, parse_role
from query_api.auth import refusals
from query_api.auth.claims import check_claims, name_of, role_texts
from query_api.auth.jwks import KeySource, open_keys
from query_api.auth.jwt import keys_for, read_header, verified_claims
from query_api.auth.refusals import refusal
from query_api.auth.roles import Resolve, as_named, readable_roles, tenants_of
from query_api.callers import LOCAL
from query_api.tenant import Caller

logger = logging.getLogger(__name__)
MAX_TOKEN_CHARS: Final = 16_384
_SCHEME: Final = "bearer"
_SPIFFE: Final = "spiffe://"
_TOKEN: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class _Known:
    """Who has a credential of the settings."""

    name: str
    roles: tuple[Role, ...]


class Authenticator:
    """`is_open`: nothing is configured and every caller is `LOCAL`; whoever listens must then be on loopback.

    `keys` is for `settings.jwt`, and there when that is. `resolve` is called for every request, so it may follow a
    catalog that changes. `clock_seconds` is unix time.
    """

    def __init__(
        self,
        settings: QueryAuth,
        keys: KeySource | None,
        resolve: Resolve = as_named,
        clock_seconds: Callable[[], float] = time.time,
    ) -> None:
        self.is_open = not settings.is_configured
        self._jwt, self._keys = settings.jwt, keys
        self._resolve, self._clock = resolve, clock_seconds
        self._names = (
            "authorization",
            *(["x-original-authorization"] if settings.accept_original_authorization else []),
        )
        self._tokens = [
            (bytes.fromhex(token.token_sha256), _known(token.name, token.roles)) for token in settings.tokens
        ]
        self._spiffe = {spiffe.id: _known(spiffe.id, spiffe.roles) for spiffe in settings.spiffe_ids}
        self._taken_names = {known.name for _, known in self._tokens} | self._spiffe.keys()

    async def caller_of(self, headers: Mapping[str, str], uris: Sequence[str]) -> Caller:
        """Who sent this. A caller without roles is one too: it has no tenants, so everything it asks is `NotAllowed`.

        `headers`: names in any case, a repeated one as often as it came (`items()` of a multidict). `uris`: URI names
        of a client certificate that TLS has verified; never from a header.
        Raises `NotAuthenticated`, or `StoreUnavailable` (jwks) while the identity provider's keys were never read.
        """
        if self.is_open:
            return LOCAL
        authorization = _authorization(headers, self._names)
        if authorization is not None:
            return await self._caller_of_token(_bearer_token(authorization))
        return self._caller_of_certificate(uris)

    async def _caller_of_token(self, token: str) -> Caller:
        known = self._holder_of(token)
        if known is not None:
            return Caller(known.name, tenants_of(known.roles, self._resolve))
        if self._jwt is None or self._keys is None or token.count(".") != 2:
            raise refusal(refusals.UNKNOWN_TOKEN)
        return await self._caller_of_jwt(token, self._jwt, self._keys)

    def _holder_of(self, token: str) -> _Known | None:
        """Every digest is compared whole and in constant time, and none ends the search: time tells nothing."""
        digest = hashlib.sha256(token.encode("ascii")).digest()
        found = None
        for token_sha256, known in self._tokens:
            if hmac.compare_digest(token_sha256, digest):
                found = known
        return found

    async def _caller_of_jwt(self, token: str, rules: Jwt, source: KeySource) -> Caller:
        header = read_header(token)
        if header.algorithm not in rules.algorithms:
            raise refusal(refusals.BAD_ALGORITHM)
        keys = keys_for(await source.current(), header) or keys_for(await source.newer(), header)
        if not keys:
            raise refusal(refusals.UNKNOWN_KEY)
        claims = verified_claims(token, header.algorithm, keys)
        check_claims(claims, rules, self._clock())
        name = name_of(claims)
        roles, wrong = readable_roles(role_texts(claims, rules))
        if wrong:
            logger.debug("texts in claims that are no roles", extra={"fields": {"caller": name, "count": len(wrong)}})
        # A user may be able to choose a `sub`; that of a configured caller would share its rate limit and log lines.
        told = f"jwt:{name}" if name in self._taken_names else name
        return Caller(told, tenants_of(roles, self._resolve))

    def _caller_of_certificate(self, uris: Sequence[str]) -> Caller:
        ids = [uri for uri in uris if uri.startswith(_SPIFFE)] if self._spiffe else []
        if not ids:
            raise refusal(refusals.MISSING)
        if len(ids) > 1:  # SPIFFE X.509-SVID 5.2 wants one; of several, a caller could pick
            raise refusal(refusals.MALFORMED, "the certificate has several SPIFFE ids")
        known = self._spiffe.get(ids[0])
        if known is None:
            raise refusal(refusals.UNKNOWN_SPIFFE_ID)
        return Caller(known.name, tenants_of(known.roles, self._resolve))


@asynccontextmanager
async def open_authenticator(
    settings: QueryAuth, resolve: Resolve = as_named, clock_seconds: Callable[[], float] = time.time
) -> AsyncIterator[Authenticator]:
    """An authenticator with its source of keys, until the block is left. Raises `SettingsInvalid`."""
    if settings.jwt is None:
        yield Authenticator(settings, None, resolve, clock_seconds)
        return
    async with open_keys(settings.jwt) as keys:
        yield Authenticator(settings, keys, resolve, clock_seconds)


def _known(name: str, roles: Iterable[str]) -> _Known:
    return _Known(name, tuple(parse_role(role) for role in roles))


def _authorization(headers: Mapping[str, str], names: Sequence[str]) -> str | None:
    """The first of the headers that says something; one that says two things is not taken."""
    for wanted in names:
        told = [value.strip(" \t") for name, value in headers.items() if name.lower() == wanted]
        if len(told) > 1:
            raise refusal(refusals.MALFORMED, "its header is there twice")
        if told and told[0]:
            return told[0]
    return None


def _bearer_token(authorization: str) -> str:
    """The token of `Bearer <token>` (RFC 6750 2.1). Raises `NotAuthenticated` (malformed)."""
    scheme, _, rest = authorization.partition(" ")
    token = rest.strip(" ")
    if scheme.lower() != _SCHEME or not token:
        raise refusal(refusals.MALFORMED, "send 'Authorization: Bearer <token>'")
    if len(token) > MAX_TOKEN_CHARS:
        raise refusal(refusals.MALFORMED, f"a token has at most {MAX_TOKEN_CHARS} characters")
    if not _TOKEN.fullmatch(token):
        raise refusal(refusals.MALFORMED, "a token has printable ASCII characters only, and no blanks")
    return token
