"""The query role answers from OpenSearch when it is told to."""

from pathlib import Path

import aiohttp
import pytest

from bridge.assembly_query import open_query
from bridge.documents import Family
from bridge.settings import Settings
from bridge.telemetry import Metrics
from tests.opensearch_service import OpenSearchNode
from tests.opensearch_storage import opened_opensearch
from tests.stored import NOON, Stored, place

pytestmark = pytest.mark.external


async def test_a_page_comes_from_opensearch(opensearch: OpenSearchNode, tmp_path: Path) -> None:
    """By `query.storage` alone: the same route, with a cursor that goes on."""
    async with opened_opensearch(opensearch, Family.A) as opened:
        stored = Stored()
        for number in range(3):
            stored.log(f"line {number}", NOON + number, place("acme"))
        await opened.write(stored)
        settings = Settings.model_validate(
            {
                "data_dir": tmp_path,
                "query": {"storage": "opensearch", "listen": "127.0.0.1:0"},
                "opensearch": {
                    "hosts": [opensearch.url],
                    "logs_prefix": opened.layout.logs_prefix,
                    "spans_prefix": opened.layout.spans_prefix,
                },
            }
        )
        metrics = Metrics()
        async with open_query(settings, lambda: None, metrics) as role, aiohttp.ClientSession() as client:
            url = f"http://127.0.0.1:{role.ports.main}/api/logs/project/shop"
            body = {"startTime": "2025-11-14T00:00:00Z", "endTime": "2025-11-15T00:00:00Z", "limit": 2}
            async with client.post(url, json=body) as answer:
                assert answer.status == 200, await answer.text()
                page, cursor = await answer.json(), answer.headers["X-Next-Cursor"]
            assert ([each["log"] for each in page["logs"]], page["totalCount"]) == (["line 2", "line 1"], 3)
            async with client.post(url, json={**body, "cursor": cursor}) as answer:
                assert [each["log"] for each in (await answer.json())["logs"]] == ["line 0"]
