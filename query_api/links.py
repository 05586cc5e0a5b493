"""Links into HyperDX that are signed and expire: how one is made. `links_verify.py` is the other side. Pure.

Two modes (`hyperdx.mode`). Both sign with HMAC-SHA256, written as unpadded base64url, and send `expires` (unix seconds)
and `signature` as parameters.

`signed` signs a JSON array of version, host, path, organisation, expiry and the sorted parameters: two different links
never have the same text, whatever is in their parameters. The organisation goes along as `org`.

`legacy` is the old Observer's (contract 1.7), whose URLs clients know: path, then `|key=value` sorted by key. Neither
host nor organisation is in it, any path is taken, and it is ambiguous: {"a": "1|b=2"} and {"a": "1", "b": "2"} are
signed alike, by which a caller could move the expiry too. Links with a `|` are therefore made but not verified.

In both modes the path has to be a normal one (`is_normal_path`), because what browsers and proxies rewrite would not
verify when it arrives.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote_plus, urlencode

from bridge.settings_links import HyperDX, is_normal_path
from query_api.errors import InvalidRequest

EXPIRES: Final = "expires"
SIGNATURE: Final = "signature"
ORG: Final = "org"
VERSION: Final = "headrace-hyperdx-1"
MAX_PATH_BYTES: Final = 2048
MAX_PARAMETERS: Final = 50
# With "GET ", " HTTP/1.1" or a header's name it has to fit the 8 KiB that nginx and aiohttp give to one line.
MAX_URL_BYTES: Final = 8000
DEFAULT_PORTS: Final = {"http": ":80", "https": ":443"}


class LinksNotConfigured(Exception):
    """`hyperdx.base_url` or `hyperdx.signing_key` is not set: answered 500 `Failed to generate HyperDX link` (V7)."""


def link(settings: HyperDX, path: str, params: Mapping[str, str], org: str, now_unix_seconds: float) -> str:
    """The URL of a HyperDX page, good for `hyperdx.ttl_seconds`. A missing leading `/` of `path` is put there.

    `org` is the canonical id of the organisation on whose behalf it is made (not used in `legacy` mode).
    Raises `InvalidRequest` (path or parameters cannot be signed; says which) and `LinksNotConfigured`.
    """
    if not path.strip():  # told first, also where links are not configured, as the old Observer's handler did
        raise InvalidRequest("Path is required", is_missing=True)
    if not settings.is_configured:
        raise LinksNotConfigured("links need hyperdx.base_url and hyperdx.signing_key; set both")
    path = _checked_path(settings, path)
    expires = int(now_unix_seconds) + settings.ttl_seconds
    key = settings.signing_key.get_secret_value()
    if settings.mode == "legacy":
        sent = _checked_params(params, {SIGNATURE}) | {EXPIRES: str(expires)}
        text = legacy_text(path, sent.items())
    else:
        if not org:
            raise InvalidRequest("An organization is required: a link is made for one", is_missing=True)
        if not _is_unicode(org):
            raise InvalidRequest("The organization is not Unicode text")
        own = _checked_params(params, {EXPIRES, SIGNATURE, ORG})
        text = canonical_text(host_of(settings), base_path(settings) + path, org, expires, own.items())
        sent = own | {EXPIRES: str(expires), ORG: org}
    query = form_encode({**sent, SIGNATURE: sign(key, text)})
    url = f"{settings.base_url.removesuffix('/')}{path}?{query}"
    if len(url) > MAX_URL_BYTES:
        raise InvalidRequest(
            f"The link would have {len(url)} bytes, at most {MAX_URL_BYTES} are possible: send less in it"
        )
    return url


def _checked_path(settings: HyperDX, path: str) -> str:
    path = path if path.startswith("/") else "/" + path
    if len(path) > MAX_PATH_BYTES:
        raise InvalidRequest(f"path has {len(path)} characters, at most {MAX_PATH_BYTES} are possible")
    if not is_normal_path(path):
        raise InvalidRequest(
            "path must be the plain path of a page, as /search: no ?, #, %, \\, spaces, //, or . and .. as segments;"
            " put everything else into params"
        )
    if settings.mode == "signed" and not settings.allows(path):
        raise InvalidRequest(f"path {path} is not among the pages that links may open (hyperdx.allowed_paths)")
    return path


def _checked_params(params: Mapping[str, str], reserved: Iterable[str]) -> dict[str, str]:
    if len(params) > MAX_PARAMETERS:
        raise InvalidRequest(f"params has {len(params)} entries, at most {MAX_PARAMETERS} are possible")
    for name in sorted(reserved):
        if name in params:
            raise InvalidRequest(f"params must not have {name!r}: it is set when the link is signed")
    for key, value in params.items():
        if not (_is_unicode(key) and _is_unicode(value)):
            raise InvalidRequest(f"params has an entry that is not Unicode text: {key!a}")
    return dict(params)


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8; JSON can hold halves of surrogate pairs, which cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical_text(host: str, path: str, org: str, expires: int, params: Iterable[tuple[str, str]]) -> str:
    """What is signed in `signed` mode. Other arguments (Unicode, params in any order) give another text."""
    return json.dumps([VERSION, host, path, org, expires, sorted(params)], separators=(",", ":"))


def legacy_text(path: str, params: Iterable[tuple[str, str]]) -> str:
    """What is signed in `legacy` mode; `params` hold `expires`. Ambiguous, see the module."""
    return path + "".join(f"|{key}={value}" for key, value in sorted(params))


def sign(key: str, text: str) -> str:
    """HMAC-SHA256 as unpadded base64url, 43 characters."""
    digest = hmac.digest(key.encode(), text.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def form_encode(params: Mapping[str, str]) -> str:
    """As Go's `url.Values.Encode`: sorted by key, space as `+`, all but letters, digits and `-_.~` percent-encoded."""
    return urlencode(sorted(params.items()), quote_via=quote_plus)


def host_of(settings: HyperDX) -> str:
    """Host of `hyperdx.base_url` as it is signed and compared; see `normal_host`."""
    return normal_host(settings, settings.base_url.partition("://")[2].partition("/")[0])


def normal_host(settings: HyperDX, host: str) -> str:
    """A host in lower case, without the port if that is the default one of base_url's scheme."""
    scheme = settings.base_url.partition("://")[0]
    return host.strip().lower().removesuffix(DEFAULT_PORTS.get(scheme, ""))


def base_path(settings: HyperDX) -> str:
    """The path of `hyperdx.base_url`, without a `/` at its end: empty, or as `/hyperdx`."""
    return ("/" + settings.base_url.partition("://")[2].partition("/")[2]).removesuffix("/")
