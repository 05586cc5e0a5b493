"""The values that cross folders. Frozen, without behaviour beyond naming themselves, and free of any client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # `receive` alone never loads Arrow
    import pyarrow as pa


# Kubernetes labels arrive bare or below one of these, depending on who attached them (contract 4.1, 4.3).
LABEL_PREFIXES: Final = ("", "k8s.pod.label.", "k8s.pod.labels.", "kubernetes.labels.")


class Signal(StrEnum):
    TRACES = "traces"
    LOGS = "logs"
    LEDGER = "ledger"  # counts of the above, on the same road (bridge/ledger.py)

    @property
    def topic(self) -> str:
        """The topic of this signal; for OTLP the names of the OpenTelemetry Collector's kafka components."""
        return _TOPICS[self]

    @property
    def item(self) -> str:
        """What one item is called in answers: span, log record."""
        return _ITEMS[self]


_TOPICS = {Signal.TRACES: "otlp_spans", Signal.LOGS: "otlp_logs", Signal.LEDGER: "headrace_ledger"}
_ITEMS = {Signal.TRACES: "span", Signal.LOGS: "log record", Signal.LEDGER: "ledger entry"}
OTLP_SIGNALS = (Signal.TRACES, Signal.LOGS)
SIGNAL_OF_TOPIC: Mapping[str, Signal] = {topic: signal for signal, topic in _TOPICS.items()}


class Origin(StrEnum):
    """Who wrote a record: the bridge, somebody without our headers, or somebody whose headers we cannot read."""

    OURS = "ours"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Record:
    """What is appended to the log: one enriched OTLP Export*ServiceRequest of one organisation.

    `value` is its protobuf encoding; `items` counts its spans or log records; `received_at_unix_nano` is when the
    request had been read. These become the headers of design section 4. `spread_by`, if the log is told to use it,
    spreads one organisation over partitions. `dead_letter` names the dead letter this is a replay of. `origin` says
    whether the bridge wrote it; a record of others holds its bytes and its time only.
    """

    signal: Signal
    org: str
    plane: str
    received_at_unix_nano: int
    items: int
    value: bytes
    spread_by: bytes = b""
    dead_letter: str = ""
    origin: Origin = Origin.OURS


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    topic: str
    number: int

    @property
    def signal(self) -> Signal:
        return SIGNAL_OF_TOPIC[self.topic]

    def __str__(self) -> str:
        return f"{self.topic}:{self.number}"


@dataclass(frozen=True, slots=True)
class ReadRecord:
    offset: int
    record: Record


@dataclass(frozen=True, slots=True)
class Intent:
    """A batch that is about to be inserted: offsets `first`..`last`, both inside, made by codec version `codec`.

    `rows`, once the store has refused the batch, are the rows [from, to) of it that are being inserted alone; all rows
    before them are written or dead-lettered.
    """

    first: int
    last: int
    codec: int
    rows: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Committed:
    """What a log remembers for a partition: the next offset to deliver, and the intent if an insert may be under way.

    With an intent, `intent.first == position` and exactly that range is delivered first, under the same token.
    """

    partition: Partition
    position: int
    intent: Intent | None = None


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """`end` is the offset the next append gets; `end - position` records are not yet committed."""

    partition: Partition
    position: int
    end: int

    @property
    def records(self) -> int:
        return max(0, self.end - self.position)


@dataclass(frozen=True, slots=True)
class Run:
    """Rows of a batch, one after the other, that come from one record: its items from `first_item` on.

    `record` names the record for ever, so `record` and item together name a row however the log is cut into batches.
    """

    record: str
    first_item: int
    rows: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One contiguous offset range of one partition, as columns. Never re-cut: a retry makes the same one again.

    `token` names the range, the log it stands in and the codec; a sink that has durably stored this token may drop
    the batch. One row of `table` is one span or one log record (`bridge/columns/schema.py`). `runs` cover the rows in
    order, for stores that keep rows by name; without them a row is named by the token and its number.
    """

    signal: Signal
    token: str
    table: pa.Table
    runs: tuple[Run, ...] = ()

    def row_names(self) -> list[str]:
        """The name of each row: it is the same whenever and in whatever batch the row is written again."""
        runs = self.runs or (Run(self.token, 0, self.table.num_rows),)
        return [f"{run.record}:{item}" for run in runs for item in range(run.first_item, run.first_item + run.rows)]


@dataclass(frozen=True, slots=True)
class Encoded:
    """A batch as its sink sends it; the table is not needed any more. What `body` is, only the sink knows."""

    signal: Signal
    token: str
    rows: int
    columns: tuple[str, ...]
    body: Any
