"""A role that kills itself with SIGKILL at a step: `python -m tests.crash_at STEP:COUNT ROLE`.

The step is a method of an adapter, before it does anything or after it has done it; the process dies when it comes
there for the COUNTth time. Nothing in the product knows of this.
"""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bridge.__main__ import main
from bridge.log.kafka_appender import KafkaAppender
from bridge.log.kafka_letters import KafkaLetters
from bridge.log.kafka_reader import KafkaReader
from sinks.clickhouse import ClickHouseSink


def _is_intent(committed: Any) -> bool:
    return committed.intent is not None


def _is_data(batch: Any) -> bool:
    return str(batch.signal) != "ledger"


def _any(_: Any) -> bool:
    return True


# step: where it is, which calls of it count, and whether the call is made before the end
STEPS: dict[str, tuple[type, str, Callable[[Any], bool], bool]] = {
    "before the append": (KafkaAppender, "append", _any, False),
    "between the append and the answer": (KafkaAppender, "append", _any, True),
    "between the read and the intent": (KafkaReader, "commit", _is_intent, False),
    "between the intent and the insert": (ClickHouseSink, "write", _is_data, False),
    "between the insert and the commit": (ClickHouseSink, "write", _is_data, True),
    "between the commit and the next read": (KafkaReader, "commit", lambda each: not _is_intent(each), True),
    "before a dead letter is written": (KafkaLetters, "put", _any, False),
    "between a dead letter and the next commit": (KafkaLetters, "put", _any, True),
}
RECEIVING = {"before the append", "between the append and the answer"}


def arm(step: str, count: int) -> None:
    """From now on the process ends at the step."""
    owner, name, counts, is_after = STEPS[step]
    original: Callable[..., Awaitable[Any]] = getattr(owner, name)
    left = count

    async def armed(self: Any, value: Any) -> Any:
        nonlocal left
        if counts(value):
            left -= 1
        is_due = left <= 0 and counts(value)
        if is_due and not is_after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await original(self, value)
        if is_due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, armed)


if __name__ == "__main__":
    wanted, _, number = sys.argv[1].rpartition(":")
    arm(wanted, int(number))
    sys.exit(main(sys.argv[2:]))
