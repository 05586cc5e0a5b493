"""Exports of two stores: what is held of one to be compared, and whose time it takes."""

from contextlib import aclosing
from dataclasses import replace
from typing import Final

from query_api.questions import HELD_CHARACTERS, Held
from query_api.sides import Side
from query_api.storage import LogQuery
from query_api.tenant import Tenant
from tests.dual import odd, telemetry, two
from tests.stored import MINUTE, NOON

LOGS: Final = LogQuery(NOON - MINUTE, NOON + MINUTE, organization="acme")


def test_an_export_is_held_by_all_that_it_is() -> None:
    """Attributes take room as bodies do."""
    (row,) = telemetry().to_memory().log_rows[:1]
    for large in (replace(row, body="x" * HELD_CHARACTERS), replace(row, attributes={"a": "x" * HELD_CHARACTERS})):
        held = Held()
        held.add([row])
        assert (held.rows, held.is_too_long) == ([row], False)
        held.add([large])
        assert (held.rows, held.is_too_long) == ([], True)


async def test_the_time_of_an_export_makes_no_store_slow() -> None:
    """It is the client's of the store that answers, so of the other it is not counted either."""
    async with two(odd(telemetry()), odd(telemetry())) as both:
        async with aclosing(both.read.storage.export_logs(Tenant.of("acme"), LOGS, 1000)) as blocks:
            assert sum([len(block) async for block in blocks]) == 6
        await both.compared()
        sides = both.read.records.all()["acme"].watched.sides
        lately = {side: series.over(both.clock(), 60) for side, series in sides.items()}
        assert {side: (tally.questions, tally.timed) for side, tally in lately.items()} == dict.fromkeys(Side, (1, 0))
