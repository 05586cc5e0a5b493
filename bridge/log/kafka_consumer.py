"""A consumer of the group as aiokafka 0.14 makes it, and what it needs to be one that can be relied on.

It has tasks of its own that nobody awaits: what ends one of them ends the consumer, and `breakdown` is how one sees it.
"""

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, UnknownMemberIdError

from bridge.log.kafka_client import connection_options
from bridge.log.kafka_settings import KafkaSettings

logger = logging.getLogger(__name__)

FETCH_MAX_WAIT_MS: Final = 200
# A lane that waits for its store does not read; that is no reason to leave the group. /livez tells of a stuck loop.
MAX_POLL_INTERVAL_MS: Final = 2**31 - 1
# How long new partitions, or a topic that one broker told of and another did not, may go unseen.
METADATA_MAX_AGE_MS: Final = 30_000
STOP_SECONDS: Final = 10.0
# They end only with the consumer; the others come and go with the membership, and end early by an error.
LASTING: Final = frozenset({"metadata", "coordination", "fetch"})


def new_consumer(settings: KafkaSettings) -> AIOKafkaConsumer:
    """To be started, and then fenced by `refuse_commits_of_nobody`."""
    return AIOKafkaConsumer(
        **connection_options(settings),
        group_id=settings.group_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        fetch_max_bytes=settings.fetch_max_bytes,
        max_partition_fetch_bytes=settings.max_partition_fetch_bytes,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
        metadata_max_age_ms=METADATA_MAX_AGE_MS,
        session_timeout_ms=settings.session_timeout_ms,
        heartbeat_interval_ms=max(100, settings.session_timeout_ms // 5),
        rebalance_timeout_ms=settings.rebalance_timeout_ms,
        # Exactly one: aiokafka 0.14 joins once for each, every join a new rebalance, and two members never settle.
        partition_assignment_strategy=(RoundRobinPartitionAssignor,),
    )


def refuse_commits_of_nobody(consumer: AIOKafkaConsumer) -> None:
    """An expelled member has no generation left, and a commit without one is taken by a group that is empty.

    aiokafka 0.14 sends it; so a process that slept until all others were gone would move what they had committed. The
    request is made in the first step of the method that this replaces, so nothing comes between the look and it.
    """
    coordinator = consumer._coordinator
    commit = coordinator._do_commit_offsets

    async def fenced(assignment: Any, committed: Any) -> None:
        if coordinator.generation < 0:
            raise UnknownMemberIdError("this consumer is no member of the group")
        await commit(assignment, committed)

    coordinator._do_commit_offsets = fenced


def breakdown(consumer: AIOKafkaConsumer) -> str | None:
    """Which of the consumer's own tasks has ended and of what; none of them is ever started again by aiokafka."""
    for name, task in _tasks(consumer).items():
        if not task.done():
            continue
        error = None if task.cancelled() else task.exception()
        if error is not None or name in LASTING:
            return f"its {name} task has ended ({error!r})"
    return None


def take_trouble(consumer: AIOKafkaConsumer) -> str | None:
    """What the group's coordination has met; it rests until somebody has asked, and only a read asks by itself."""
    try:
        consumer._coordinator.check_errors()
    except KafkaError as error:
        return str(error)
    return None


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group and close; what the client cannot end in time or at all is cancelled. Raises nothing of its."""
    if await _ends(consumer.stop()):
        return
    tasks = _tasks(consumer).values()
    for task in tasks:
        task.cancel()
    if tasks:  # what one of them has called of ours is over before a successor begins
        await asyncio.wait(tasks, timeout=STOP_SECONDS)
    client = consumer._client
    if client._sync_task is not None and client._sync_task.done():
        client._sync_task = None  # its error would come out of the close, before a connection is closed
    await _ends(client.close())


async def _ends(closing: Awaitable[None]) -> bool:
    """Whether it came to a good end within its time.

    It may also end as cancelled by nobody: aiokafka 0.14 awaits a fetch that it has cancelled in its pause of a retry.
    """
    task = asyncio.ensure_future(closing)
    try:
        done, _ = await asyncio.wait((task,), timeout=STOP_SECONDS)
    finally:
        task.cancel()
    if not done or task.cancelled():
        return False
    error = task.exception()
    if error is not None:
        logger.warning("the kafka consumer could not be stopped softly: %r", error)
    return error is None


def _tasks(consumer: AIOKafkaConsumer) -> dict[str, "asyncio.Task[None]"]:
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    found = {
        "metadata": consumer._client._sync_task,
        "coordination": coordinator and coordinator._coordination_task,
        "heartbeat": coordinator and coordinator._heartbeat_task,
        "offsets": coordinator and coordinator._commit_refresh_task,
        "fetch": fetcher and fetcher._fetch_task,
    }
    return {name: task for name, task in found.items() if task is not None}
