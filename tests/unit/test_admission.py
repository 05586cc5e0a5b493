"""The budget of bytes in flight."""

import asyncio

import pytest

from bridge import admission
from bridge.admission import Budget, Hold
from bridge.errors import Overloaded


async def test_a_request_over_the_budget_is_refused_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no room comes in time the caller is told when to return, and nothing leaks."""
    monkeypatch.setattr(admission, "MAX_WAIT_SECONDS", 0.01)
    budget = Budget(10)
    await budget.take(8)
    with pytest.raises(Overloaded) as caught:
        await budget.take(3)
    assert caught.value.retry_after_seconds is not None
    assert caught.value.retry_after_seconds >= 1.0
    budget.give(8)
    await budget.take(10)
    assert budget.taken_bytes == 10


async def test_waiters_are_served_in_order() -> None:
    """A small request does not overtake a large one that came first."""
    budget = Budget(10)
    await budget.take(10)
    order: list[str] = []

    async def request(name: str, wanted_bytes: int) -> None:
        await budget.take(wanted_bytes)
        order.append(name)

    large = asyncio.create_task(request("large", 9))
    await asyncio.sleep(0)
    small = asyncio.create_task(request("small", 1))
    await asyncio.sleep(0)
    budget.give(5)
    await asyncio.sleep(0)
    assert order == []
    budget.give(5)
    await asyncio.gather(large, small)
    assert order == ["large", "small"]


async def test_a_waiter_cancelled_as_its_turn_comes_gives_the_bytes_back() -> None:
    """Bytes granted to a request that was cancelled in the same moment are not lost."""
    budget = Budget(10)
    await budget.take(10)
    waiter = asyncio.create_task(budget.take(10))
    await asyncio.sleep(0)
    budget.give(10)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert budget.taken_bytes == 0


async def test_a_waiter_cancelled_before_its_turn_lets_the_next_one_in() -> None:
    """A cancelled waiter at the head does not block those behind it."""
    budget = Budget(10)
    await budget.take(5)
    head = asyncio.create_task(budget.take(10))
    await asyncio.sleep(0)
    behind = asyncio.create_task(budget.take(5))
    await asyncio.sleep(0)
    head.cancel()
    await asyncio.gather(head, return_exceptions=True)
    await behind
    assert budget.taken_bytes == 10


async def test_a_hold_gives_back_exactly_what_it_holds() -> None:
    """Whatever grew or shrank, leaving the block returns it all, on errors too."""
    budget = Budget(100)
    with Hold(budget) as hold:
        await hold.reserve(50)
        hold.settle(20)
        assert budget.taken_bytes == 20
        hold.settle(90)
        with pytest.raises(Overloaded):
            hold.settle(101)
        assert budget.taken_bytes == 90
    assert budget.taken_bytes == 0
