"""Group commit: who shares a group, who hears of what, and how it ends."""

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.errors import LogUnavailable
from bridge.log.group import GroupCommit


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


class Disk:
    """Notes the groups it is given; each waits for `go`."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.began, self.go = threading.Event(), threading.Event()
        self.go.set()

    def perform(self, works: Sequence[int]) -> list[Exception | None]:
        self.groups.append(list(works))
        self.began.set()
        assert self.go.wait(20)
        if 13 in works:
            raise ZeroDivisionError
        return [LogUnavailable(f"refused {work}") if work < 0 else None for work in works]


def nothing(_: Sequence[int]) -> None:
    pass


async def test_those_who_come_together_share_a_group(thread: ThreadPoolExecutor) -> None:
    """All that is submitted in one turn of the loop is one group, and all that comes meanwhile is the next."""
    disk = Disk()
    group = GroupCommit(thread, disk.perform, nothing)
    disk.go.clear()
    first = [asyncio.ensure_future(group.submit(work)) for work in range(5)]
    assert await asyncio.to_thread(disk.began.wait, 20)
    second = [asyncio.ensure_future(group.submit(work)) for work in range(5, 9)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in first + second)
    disk.go.set()
    await asyncio.gather(*first, *second)
    assert disk.groups == [[0, 1, 2, 3, 4], [5, 6, 7, 8]]


async def test_each_hears_its_own_outcome(thread: ThreadPoolExecutor) -> None:
    """What fails in a group is raised to who submitted it, and to nobody else."""
    group = GroupCommit(thread, Disk().perform, nothing)
    outcomes = await asyncio.gather(*map(group.submit, (1, -2, 3, -4)), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["None", "refused -2", "None", "refused -4"]


async def test_a_bug_reaches_those_who_wait(thread: ThreadPoolExecutor) -> None:
    """An unexpected exception is raised to the whole group, and the next group is served."""
    group = GroupCommit(thread, Disk().perform, nothing)
    outcomes = await asyncio.gather(group.submit(12), group.submit(13), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError, ZeroDivisionError]
    await group.submit(14)


async def test_performed_comes_before_the_answers(thread: ThreadPoolExecutor) -> None:
    """The loop hears of a finished group before anybody who waits for it does."""
    seen: list[object] = []
    group = GroupCommit(thread, Disk().perform, lambda works: seen.append(list(works)))
    await group.submit(1)
    seen.append("answered")
    assert seen == [[1], "answered"]


async def test_drain_waits_for_what_is_under_way(thread: ThreadPoolExecutor) -> None:
    """After a drain nothing is under way: every submit has had its outcome set."""
    disk = Disk()
    group = GroupCommit(thread, disk.perform, nothing)
    working = [asyncio.ensure_future(group.submit(work)) for work in range(3)]
    await asyncio.sleep(0)
    await group.drain()
    await asyncio.wait(working, timeout=0)
    assert disk.groups == [[0, 1, 2]]
    assert all(task.done() and task.exception() is None for task in working)


async def test_a_drain_cut_short_refuses_the_rest(thread: ThreadPoolExecutor) -> None:
    """If the drain is cancelled, the group under way is finished, and those behind it are refused, not left waiting."""
    disk = Disk()
    group = GroupCommit(thread, disk.perform, nothing)
    disk.go.clear()
    under_way = asyncio.ensure_future(group.submit(1))
    assert await asyncio.to_thread(disk.began.wait, 20)
    waiting = asyncio.ensure_future(group.submit(2))
    draining = asyncio.ensure_future(group.drain())
    await asyncio.sleep(0)
    draining.cancel()
    await asyncio.wait((draining,))
    disk.go.set()
    await under_way
    with pytest.raises(LogUnavailable, match="closed"):
        await waiting
    assert disk.groups == [[1]]
