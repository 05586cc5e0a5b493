"""Settings of links into HyperDX. What a link is made of and how it is checked is in query_api/links.py."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, PositiveInt, SecretStr, field_validator, model_validator

from bridge.settings_receive import Section

MIN_KEY_BYTES: Final = 16  # 128 bits; a key that can be guessed can be tried out on one link, without asking us
# Pages of hyperdxio/hyperdx, packages/app/pages, that show telemetry; settings, team and log-in pages are left out.
PAGES: Final = (
    "/search",
    "/search/*",
    "/dashboards",
    "/dashboards/*",
    "/chart",
    "/trace/*",
    "/sessions",
    "/services",
    "/service-map",
    "/kubernetes",
)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"(?:/[A-Za-z0-9\-._~!$&'()*+,;=:@]+)*/?")


def is_normal_path(path: str) -> bool:
    """Whether a URL's path says one thing only, to browsers, proxies and servers: characters of RFC 3986's `pchar`
    without percent-encoding, one `/` at the start, no empty segment but the last, no `.` and no `..`.
    """
    return bool(path) and _PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))


def _base_url(value: str) -> str:
    if value and not _is_base(value):
        raise ValueError(
            "must be http(s)://HOST[:PORT][/PATH] without user, query or fragment, as https://hyperdx.example.com"
        )
    return value


def _is_base(value: str) -> bool:
    scheme, separator, rest = value.partition("://")
    host, slash, path = rest.partition("/")
    is_web = bool(separator) and scheme in ("http", "https") and _HOST.fullmatch(host) is not None
    return is_web and (not slash or is_normal_path("/" + path))


class HyperDX(Section):
    """Signed links into HyperDX, and their check for a reverse proxy in front of it."""

    base_url: Annotated[str, AfterValidator(_base_url)] = Field(
        default="",
        description="Where browsers find HyperDX. Empty, or without signing_key: links are not configured.",
    )
    signing_key: SecretStr = Field(
        default=SecretStr(""), description="Links are signed with this; in `signed` mode at least 16 bytes of it."
    )
    previous_signing_keys: tuple[SecretStr, ...] = Field(
        default=(), description="Keys that signing_key replaced: links they signed are still taken, none is made."
    )
    ttl_seconds: PositiveInt = Field(default=900, description="How long a link is good for.")
    mode: Literal["signed", "legacy"] = Field(
        default="signed",
        description="`signed`: organisation, host, path and parameters are signed, unambiguously. `legacy`: URLs are"
        " byte for byte those of the old Observer: any path, no organisation and no host in the signature.",
    )
    allowed_paths: tuple[str, ...] = Field(
        default=PAGES,
        min_length=1,
        description="Pages that `signed` links may open: exact paths, or everything below one, as `/dashboards/*`.",
    )

    @field_validator("allowed_paths")
    @classmethod
    def _paths_are_normal(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            prefix = path.removesuffix("*")
            if "*" in prefix or not is_normal_path(prefix) or (prefix != path and not prefix.endswith("/")):
                raise ValueError(f"{path!r} must be a path as /search, or everything below one as /dashboards/*")
        return value

    @model_validator(mode="after")
    def _keys_can_be_used(self) -> Self:
        key, previous = self.signing_key.get_secret_value(), [k.get_secret_value() for k in self.previous_signing_keys]
        if key and not self.base_url:
            raise ValueError("signing_key needs base_url: set base_url to where browsers find HyperDX")
        if previous and not key:
            raise ValueError("previous_signing_keys needs signing_key: set signing_key to the key in use")
        if not all(previous):
            raise ValueError("previous_signing_keys must not hold an empty key, with which anybody can sign")
        for each in [*previous, *([key] if key else [])]:
            if self.mode == "signed" and len(each.encode()) < MIN_KEY_BYTES:
                raise ValueError(f"signing_key and previous_signing_keys must each have {MIN_KEY_BYTES} bytes or more")
        return self

    @property
    def is_configured(self) -> bool:
        """Whether links can be made and checked."""
        return bool(self.base_url and self.signing_key.get_secret_value())

    def allows(self, path: str) -> bool:
        """Whether `allowed_paths` has this (normal) path; `/x/*` has what is below `/x/`, not `/x/` itself."""
        return any(
            path.startswith(allowed[:-1]) and len(path) > len(allowed) - 1
            if allowed.endswith("/*")
            else path == allowed
            for allowed in self.allowed_paths
        )
