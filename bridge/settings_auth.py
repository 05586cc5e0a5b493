"""Settings of who may ask the query API, and the grammar of roles, which is the same in settings and in claims."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PositiveFloat, model_validator

from bridge.settings_receive import Section

# `query_api.tenant.Action`, which settings cannot import; a test holds the two together.
ACTIONS: Final = ("logs", "traces", "costs", "links")
EVERY: Final = "*"
MAX_ROLE_CHARS: Final = 800
_TOKEN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$"  # noqa: S105 - a pattern; no colon: names of others are kept apart by one
_SPIFFE_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")
_HOST_AND_PORT = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?")
_MAX_SPIFFE_ID_CHARS = 2048
# of the empty text and of a lone newline: what is left of `echo $UNSET | sha256sum`
_DIGESTS_OF_NOTHING = frozenset(hashlib.sha256(nothing).hexdigest() for nothing in (b"", b"\n"))


class Role(NamedTuple):
    """`action`: one of `ACTIONS`, or `*`. `place`: one to three names, or none at all: everything."""

    action: str
    place: tuple[str, ...]


def parse_role(text: str) -> Role:
    """What a role's text says, never more. Raises `ValueError` saying what is wrong with it.

    `*`, `ORG`, `ORG/PROJECT`, `ORG/PROJECT/COMPONENT`, each perhaps behind an action and a colon. A colon behind the
    first slash is part of a name.
    """
    if not text.isprintable() or len(text) > MAX_ROLE_CHARS:
        raise ValueError(f"a role is a text of at most {MAX_ROLE_CHARS} printable characters")
    head, colon, rest = text.partition(":")
    is_prefixed = bool(colon) and "/" not in head
    if is_prefixed and head not in ACTIONS:
        raise ValueError(f"the action before the colon must be one of {', '.join(ACTIONS)}")
    action, place = (head, rest) if is_prefixed else (EVERY, text)
    if place == EVERY:
        return Role(action, ())
    parts = place.split("/")
    if len(parts) > 3 or not all(part and part == part.strip() and EVERY not in part for part in parts):
        raise ValueError(
            "must be *, ORG, ORG/PROJECT or ORG/PROJECT/COMPONENT, perhaps after an action and a colon, as logs:acme;"
            " no part may be empty, have a * or blanks around it"
        )
    return Role(action, tuple(parts))


def _role(text: str) -> str:
    parse_role(text)
    return text


def _token_sha256(text: str) -> str:
    digest = text.lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("must be the token's SHA-256 in hex (64 digits), never the token itself")
    if digest in _DIGESTS_OF_NOTHING:
        raise ValueError('is the SHA-256 of nothing; hash the token: printf %s "$TOKEN" | sha256sum')
    return digest


def _spiffe_id(text: str) -> str:
    segments = text.split("/")[3:]
    if len(text) > _MAX_SPIFFE_ID_CHARS or not _SPIFFE_ID.fullmatch(text) or {".", ".."} & set(segments):
        raise ValueError("must be a workload's SPIFFE id, as spiffe://example.org/ns/portal/sa/backend, exactly")
    return text


def _http_url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or url.username is not None or url.fragment:
        raise ValueError("must be an http:// or https:// URL with a host, without user and fragment")
    return text


def _origin(text: str) -> str:
    if not _is_origin(text):
        raise ValueError(
            "must be what a browser sends as Origin: scheme://host or scheme://host:port in lower case, without path,"
            " wildcard and the scheme's own port, as https://portal.example.org"
        )
    return text


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
        is_own_port = url.port == {"http": 80, "https": 443}.get(url.scheme)
    except ValueError:
        return False
    is_exact = text == f"{url.scheme}://{url.netloc}" and _HOST_AND_PORT.fullmatch(url.netloc) is not None
    return url.scheme in ("http", "https") and is_exact and not is_own_port


def _claim_path(text: str) -> str:
    if not all(text.split(".")):
        raise ValueError("must be a claim's name, or names joined by dots for a claim inside others")
    return text


RoleText = Annotated[str, AfterValidator(_role)]
ClaimPath = Annotated[str, Field(min_length=1), AfterValidator(_claim_path)]
_ROLES_ARE = "Roles: `*` (everything), ORG, ORG/PROJECT or ORG/PROJECT/COMPONENT, alone (every action) or behind"
_ROLES_ARE += f" {', '.join(ACTIONS[:-1])} or {ACTIONS[-1]} and a colon, as logs:acme/shop."


class Binding(Section):
    """Roles of whoever has a value in a claim."""

    claim: ClaimPath = Field(
        description="Claim that is looked at, as `groups` of users or `sub` of service accounts; dots lead inside."
    )
    value: str = Field(
        min_length=1, description="The claim must be this text, or a list that has it as an item; exactly, whole."
    )
    roles: tuple[RoleText, ...] = Field(min_length=1, description=_ROLES_ARE)


class Jwt(Section):
    """JSON Web Tokens of an identity provider."""

    jwks_url: Annotated[str, AfterValidator(_http_url)] | None = Field(
        default=None,
        description="Where the provider publishes its keys; not followed elsewhere when it redirects. http:// only"
        " where nobody can change what comes back: who can, can sign tokens.",
    )
    jwks_file: Path | None = Field(
        default=None, description="The keys as a file (a JSON Web Key Set), read again when it changes."
    )
    issuer: str = Field(
        min_length=1,
        description="`iss` that every token must have, exactly. Required: keys are sometimes shared between issuers"
        " (realms, environments) whose users are not the same.",
    )
    audience: str = Field(
        min_length=1,
        description="`aud` that every token must have or hold. Required: without it any token of the provider for"
        " some other service, shown there in good faith, could be used here by that service.",
    )
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = Field(
        default=("RS256", "ES256"),
        min_length=1,
        description="Signatures that are taken, each only with a key of its type. Never `none` or HS*: the keys are"
        " public, so anybody could make those.",
    )
    leeway_seconds: float = Field(
        default=30.0, ge=0, le=600, description="How far the provider's clock may be off, for `exp` and `nbf`."
    )
    jwks_cache_seconds: PositiveFloat = Field(
        default=300.0, description="Keys are fetched again when older. While the provider is down the last ones stay."
    )
    jwks_min_refresh_seconds: PositiveFloat = Field(
        default=10.0, description="A token with an unknown key has the keys fetched again, at most this often."
    )
    roles_claim: ClaimPath | Literal[""] = Field(
        default="headrace_roles",
        description="Claim with roles, a list or one text with blanks between; dots lead inside claims"
        " (realm_access.roles), a claim with just that name wins. It is believed, `*` included: the provider has signed"
        " it, so let nobody set it there who may not have everything. Empty: only `bindings` give roles.",
    )
    bindings: tuple[Binding, ...] = Field(default=(), description="Roles by the value of a claim.")
    ca_file: Path | None = Field(
        default=None, description="PEM authorities of jwks_url's certificate, instead of the system's."
    )

    @model_validator(mode="after")
    def _keys_come_from_one_place(self) -> Self:
        if (self.jwks_url is None) == (self.jwks_file is None):
            raise ValueError("exactly one of jwks_url and jwks_file must be set")
        if self.ca_file is not None and not (self.jwks_url or "").startswith("https://"):
            raise ValueError("ca_file is for a jwks_url that starts with https://")
        return self


class Token(Section):
    """A static bearer token."""

    name: str = Field(pattern=_TOKEN_NAME, description="Of its holder, for the access log and the rate limit.")
    token_sha256: Annotated[str, AfterValidator(_token_sha256)] = Field(
        description="SHA-256 of the token in hex; make tokens of 32 random bytes: `openssl rand -hex 32`."
    )
    roles: tuple[RoleText, ...] = Field(description=_ROLES_ARE)


class Spiffe(Section):
    """A workload that shows a client certificate."""

    id: Annotated[str, AfterValidator(_spiffe_id)] = Field(
        description="The one spiffe:// URI of its certificate, exactly."
    )
    roles: tuple[RoleText, ...] = Field(description=_ROLES_ARE)


class QueryAuth(Section):
    """Who may ask the query API, and for what. Nothing set: everybody for everything, which only loopback allows."""

    jwt: Jwt | None = Field(default=None, description="Tokens of an identity provider.")
    tokens: tuple[Token, ...] = Field(default=(), description="Static bearer tokens.")
    spiffe_ids: tuple[Spiffe, ...] = Field(default=(), description="Workloads known by their client certificate.")
    accept_original_authorization: bool = Field(
        default=False,
        description="Read X-Original-Authorization where there is no Authorization, as the fork's portal sends.",
    )

    @property
    def is_configured(self) -> bool:
        """Whether callers have to say who they are."""
        return self.jwt is not None or bool(self.tokens) or bool(self.spiffe_ids)

    @model_validator(mode="after")
    def _credentials_are_distinct(self) -> Self:
        if twice := _repeated(token.token_sha256 for token in self.tokens):
            names = [token.name for token in self.tokens if token.token_sha256 in twice]
            raise ValueError(f"tokens: {', '.join(names)} have the same token_sha256")
        if twice := _repeated(spiffe.id for spiffe in self.spiffe_ids):
            raise ValueError(f"spiffe_ids: {', '.join(sorted(twice))} is there twice")
        return self


class Cors(Section):
    """Pages of other origins that may use the query API from a browser."""

    allowed_origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(), description="Origins, exactly as browsers send them: scheme://host[:port]. Empty: none."
    )


def _repeated(values: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {value for value in values if value in seen or seen.add(value)}  # type: ignore[func-returns-value]
