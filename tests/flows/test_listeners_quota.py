"""Quotas on the real listeners: refusals with the time to wait, and a reload that applies at once."""

import hashlib
from pathlib import Path

import aiohttp
import pytest

from bridge.settings import Settings
from tests.listeners import PROTOBUF, listening, one_span

pytestmark = pytest.mark.usefixtures("grpc_engine")

TOKENS = {"acme": "acme-token", "globex": "globex-token"}
GOOD = one_span().SerializeToString()


def catalog(quota: str) -> str:
    text = ""
    for org, token in TOKENS.items():
        text += f'[[organizations]]\nname = "{org}"\n'
        if org == "acme":
            text += f"{quota}\n"
        sha256 = hashlib.sha256(token.encode()).hexdigest()
        text += (
            f'[[data_planes]]\nid = "{org}"\ntoken_sha256s = ["{sha256}"]\norganizations = ["{org}"]\n'
            f'default_organization = "{org}"\n'
        )
    return text


async def test_over_the_quota_is_429_with_the_time_to_wait(tmp_path: Path) -> None:
    """Both transports, the hint in both; the other tenant is not touched; the metrics say who was refused."""
    file = tmp_path / "catalog.toml"
    file.write_text(catalog("quota = { items_per_second = 0.1, burst_seconds = 10 }"))
    async with (
        listening(Settings.model_validate({"catalog": {"file": file}})) as server,
        aiohttp.ClientSession() as http,
    ):

        async def post(org: str) -> tuple[int, str | None]:
            headers = {"Content-Type": PROTOBUF, "Authorization": f"Bearer {TOKENS[org]}"}
            async with http.post(f"{server.http}/v1/traces", data=GOOD, headers=headers) as answer:
                return answer.status, answer.headers.get("Retry-After")

        assert await post("acme") == (200, None)
        status, hint = await post("acme")
        assert status == 429
        assert hint is not None
        assert 9 <= int(hint) <= 12
        refused = await server.call(GOOD, metadata=(("authorization", f"Bearer {TOKENS['acme']}"),))
        assert refused.code == "RESOURCE_EXHAUSTED"
        assert refused.retry_after_seconds is not None
        assert 8 < refused.retry_after_seconds < 12
        assert await post("globex") == (200, None)
        for transport in ("http", "grpc"):
            labels = {"signal": "traces", "transport": transport, "outcome": "quota"}
            assert server.count("bridge_receiver_requests_total", **labels) == 1


async def test_a_request_of_several_organisations_is_counted_against_each(tmp_path: Path) -> None:
    """A plane of two organisations is refused behind the parse, and its items are counted as refused."""
    file = tmp_path / "catalog.toml"
    text = catalog("quota = { items_per_second = 0.1, burst_seconds = 10 }")
    file.write_text(text.replace('organizations = ["acme"]', 'organizations = ["acme", "globex"]'))
    async with listening(Settings.model_validate({"catalog": {"file": file}})) as server:
        metadata = (("authorization", f"Bearer {TOKENS['acme']}"),)
        assert (await server.call(GOOD, metadata=metadata)).code == "OK"
        refused = await server.call(GOOD, metadata=metadata)
        assert (refused.code, refused.retry_after_seconds is not None) == ("RESOURCE_EXHAUSTED", True)
        assert server.count("bridge_quota_refused_items_total", org="acme", signal="traces") == 1
        assert server.count("bridge_receiver_refused_items_total", reason="quota", signal="traces") == 1


async def test_a_changed_quota_applies_with_the_next_request(tmp_path: Path) -> None:
    """The catalog is asked every time; a quota that is gone limits nobody."""
    file = tmp_path / "catalog.toml"
    file.write_text(catalog("quota = { items_per_second = 0.1, burst_seconds = 10 }"))
    async with listening(Settings.model_validate({"catalog": {"file": file}})) as server:
        metadata = (("authorization", f"Bearer {TOKENS['acme']}"),)
        assert (await server.call(GOOD, metadata=metadata)).code == "OK"
        assert (await server.call(GOOD, metadata=metadata)).code == "RESOURCE_EXHAUSTED"
        file.write_text(catalog(""))
        server.reload()
        assert (await server.call(GOOD, metadata=metadata)).code == "OK"


async def test_what_is_rejected_counts_against_the_quota(tmp_path: Path) -> None:
    """A sender of nothing but claims that are not its own costs as much as one of good data, and is told to wait."""
    file = tmp_path / "catalog.toml"
    file.write_text(catalog("quota = { items_per_second = 0.1, burst_seconds = 10 }"))
    foreign = one_span(openchoreo_dev_namespace="globex", organization_id="globex").SerializeToString()
    async with listening(Settings.model_validate({"catalog": {"file": file}})) as server:
        metadata = (("authorization", f"Bearer {TOKENS['acme']}"),)
        assert (await server.call(foreign, metadata=metadata)).code == "OK"
        assert (await server.call(foreign, metadata=metadata)).code == "RESOURCE_EXHAUSTED"
