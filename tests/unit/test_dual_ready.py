"""A process with two stores is of use while one of them answers."""

import pytest

from query_api.errors import StoreUnavailable
from query_api.sides import Side
from tests.dual import Kept, odd, telemetry, two


def down() -> Exception:
    return StoreUnavailable("the store cannot be reached now", reason="connection")


async def test_one_organisations_store_takes_nobody_else_out_of_service() -> None:
    """What is complete is not known then, whatever was before; with no store at all, nothing can be answered."""
    kept = Kept()
    kept.put("acme", Side.OPENSEARCH)
    clickhouse, opensearch = odd(telemetry()), odd(telemetry())
    clickhouse.until, opensearch.until = {"logs": 5}, {"logs": 3}
    async with two(clickhouse, opensearch, kept=kept) as both:
        assert await both.read.storage.complete_until() == {"logs": 3}
        for away in (opensearch, clickhouse):
            away.fails = down
            if away is opensearch:
                assert await both.read.storage.complete_until() == {}
        with pytest.raises(StoreUnavailable):
            await both.read.storage.complete_until()
        opensearch.fails = None
        assert await both.read.storage.complete_until() == {}
