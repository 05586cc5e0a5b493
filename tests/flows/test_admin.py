"""The admin port: what it says, and whom it answers."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bridge.admin import Check, open_admin
from bridge.errors import SinkUnavailable
from bridge.telemetry import Metrics


class Known:
    """Health as a test wants it."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.refreshed = 0

    def live(self) -> Mapping[str, Check]:
        return {"loops": Check(None, {})}

    def ready(self) -> Mapping[str, Check]:
        return {"receive": Check(None, {"x": 1}), "deliver": Check(self.problem, {})}

    def refresh(self) -> None:
        self.refreshed += 1


async def ask(sql: str) -> bytes:
    if sql == "bad":
        raise SinkUnavailable("syntax")
    return b"[1]\n"


@asynccontextmanager
async def admin(known: Known, is_open: bool = True) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    async with (
        open_admin("127.0.0.1:0", known, Metrics().registry, ask if is_open else None) as port,
        aiohttp.ClientSession() as session,
    ):
        yield session, f"http://127.0.0.1:{port}"


async def test_readiness_is_told_as_a_whole_and_by_part() -> None:
    """One part that is not well fails the whole; the other part is still asked for alone."""
    known = Known()
    known.problem = "ClickHouse is away"
    async with admin(known) as (session, url):
        for path, status in (("/readyz", 503), ("/readyz/receive", 200), ("/readyz/deliver", 503), ("/livez", 200)):
            async with session.get(url + path) as answer:
                assert answer.status == status, path
        async with session.get(f"{url}/readyz") as answer:
            assert await answer.json() == {
                "receive": {"status": "ok", "x": 1},
                "deliver": {"status": "ClickHouse is away"},
            }
        async with session.get(f"{url}/readyz/other") as answer:
            assert answer.status == 404
        async with session.get(f"{url}/metrics") as answer:
            assert "bridge_receiver_accepted_items_total" in await answer.text()
        assert known.refreshed == 1


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Host": "evil.example"}])
async def test_sql_is_not_for_web_pages(headers: dict[str, str]) -> None:
    """A page that posts to this machine, or that was rebound to it, gets nothing; a command line does."""
    async with admin(Known()) as (session, url):
        async with session.post(f"{url}/sql", data="SELECT 1", headers=headers) as answer:
            assert answer.status == 403
        async with session.post(f"{url}/sql", data="SELECT 1") as answer:
            assert (answer.status, await answer.text()) == (200, "[1]\n")
        async with session.post(f"{url}/sql", data="bad") as answer:
            assert answer.status == 400


async def test_sql_is_there_only_where_it_is_allowed() -> None:
    """With a server, a catalog or another address there is no such route."""
    async with admin(Known(), is_open=False) as (session, url), session.post(f"{url}/sql", data="SELECT 1") as answer:
        assert answer.status == 404
