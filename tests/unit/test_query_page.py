"""The page's files as they are served: types, policy, caching, compression."""

import gzip
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from query_api.memory import MemoryStorage
from query_api.page import page_files
from tests.page import serving_page

MAX_BYTES = 80_000
MAX_COMPRESSED_BYTES = 32_000


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with serving_page(MemoryStorage()) as served:
        yield served


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


@pytest.mark.parametrize("path", sorted(page_files()))
async def test_every_file_is_served_under_the_policy(url: str, client: aiohttp.ClientSession, path: str) -> None:
    """Nothing inline, nothing from elsewhere, no sniffing, no frame around it."""
    async with client.get(url + path, headers={"Accept-Encoding": "identity"}) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert answer.status == 200
        assert await answer.read() == page_files()[path].content
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_a_file_that_has_not_changed_is_not_sent_again(url: str, client: aiohttp.ClientSession) -> None:
    """The browser asks each time with the ETag, and gets 304 without a body."""
    async with client.get(f"{url}/page/app.js") as first:
        etag = first.headers["ETag"]
        assert first.headers["Cache-Control"] == "no-cache"
    async with client.get(f"{url}/page/app.js", headers={"If-None-Match": etag}) as again:
        assert (again.status, await again.read()) == (304, b"")
        assert again.headers["ETag"] == etag
    async with client.get(f"{url}/page/app.js", headers={"If-None-Match": 'W/"other"'}) as other:
        assert other.status == 200


async def test_a_file_is_sent_compressed_to_who_takes_it(url: str, client: aiohttp.ClientSession) -> None:
    """Compressed once at start; a cache in between keeps the two apart."""
    async with client.get(f"{url}/", headers={"Accept-Encoding": "br, gzip"}) as answer:
        assert (answer.headers["Content-Encoding"], answer.headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(await answer.read()) == page_files()["/"].content
    async with client.head(f"{url}/") as head:
        assert (head.status, await head.read()) == (200, b"")


def test_the_page_is_small() -> None:
    """It is loaded in one round trip or two also over a slow line."""
    files = page_files().values()
    assert sum(len(file.content) for file in files) <= MAX_BYTES
    assert sum(len(file.compressed) for file in files) <= MAX_COMPRESSED_BYTES


def test_no_file_of_the_page_makes_markup_from_text() -> None:
    """What the store holds is put in as text: the ways to markup are not used at all."""
    banned = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\("
    found = [path for path, file in page_files().items() if re.search(banned, file.content.decode())]
    assert found == []


def test_the_page_stays_readable() -> None:
    """Its files keep the house's limit of lines."""
    assert [path for path, file in page_files().items() if file.content.count(b"\n") > 400] == []
