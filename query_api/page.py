"""The page on `/`: files of `query_api/page/` as they are, in memory and compressed once.

They hold no data and need no credential; what they show they ask the API of the same origin for, as everybody does.
The policy keeps a hostile log line from becoming anything but text: no inline code, no other host, no markup from
strings (Trusted Types, where the browser has them).
"""

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePath
from typing import Any, Final

from aiohttp import web

POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
# `no-cache`: kept, and asked for again with its ETag each time, so that an update is there at once.
HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
TYPES: Final = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file in both encodings. The ETag is a weak one: the two are not the same bytes."""

    content: bytes
    compressed: bytes
    content_type: str
    etag: str


def page_files() -> dict[str, PageFile]:
    """By path on the listener. Raises `OSError` if the package was installed without its files."""
    found = sorted(files("query_api").joinpath("page").iterdir(), key=lambda each: each.name)
    return {
        "/" if each.name == INDEX else f"/page/{each.name}": _page_file(each.name, each.read_bytes())
        for each in found
        if PurePath(each.name).suffix in TYPES
    }


def add_page(app: web.Application) -> None:
    """Serve the page's files; GET and HEAD."""
    for path, file in page_files().items():
        app.router.add_get(path, _handler(file))


def _page_file(name: str, content: bytes) -> PageFile:
    kind = TYPES[PurePath(name).suffix]
    digest = hashlib.sha256(content).hexdigest()[:20]
    return PageFile(content, gzip.compress(content, 9, mtime=0), kind, digest)


def _handler(file: PageFile) -> Callable[[web.Request], Any]:
    async def answer(request: web.Request) -> web.Response:
        headers = {**HEADERS, "ETag": f'W/"{file.etag}"'}
        if any(etag.value in (file.etag, "*") for etag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        is_gzip = "gzip" in request.headers.get("Accept-Encoding", "")
        if is_gzip:
            headers["Content-Encoding"] = "gzip"
        body = file.compressed if is_gzip else file.content
        return web.Response(body=body, headers=headers, content_type=file.content_type, charset="utf-8")

    return answer
