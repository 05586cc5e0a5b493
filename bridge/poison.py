"""Which records of a batch can become rows, and the dead letters of those that cannot. Pure, and the same for the same
records: a replay after a crash sorts as the first attempt did."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bridge.columns import to_table
from bridge.errors import BridgeError, Malformed, Permanent, RejectedBySink
from bridge.letters import WHOLE_RECORD, DeadLetter, letter_id, record_name
from bridge.messages import SHAPES, count_items, item_at, parse
from bridge.model import Origin, Partition, ReadRecord, Record, Run, Signal

# Takes a record of somebody else and returns it enriched, cut by organisation. Raises `Permanent`.
AcceptForeign = Callable[[Record], Sequence[Record]]

# ClickHouse names a column, OpenSearch a field, in one of several sentences
_COLUMN = re.compile(r"""(?:[Cc]olumn[: ]+[`']?|(?:parse field|mapping(?: for)?) \[|in field=")([@A-Za-z_][\w.@/-]*)""")


@dataclass(frozen=True, slots=True)
class Sorted:
    """`good` have one table row an item, in order; `letters` are for the rest; `adopted` of the good were others'."""

    good: list[ReadRecord]
    letters: list[DeadLetter]
    adopted: list[Record]


def sort_out(
    partition: Partition, records: Sequence[ReadRecord], accept_foreign: AcceptForeign, *, is_strict: bool
) -> Sorted:
    """`is_strict` looks into every record by itself: for a batch that turned out not to be OTLP as a whole."""
    good: list[ReadRecord] = []
    letters: list[DeadLetter] = []
    adopted: list[Record] = []
    for read in records:
        try:
            accepted = _readable(read.record, accept_foreign)
            if is_strict:
                to_table(partition.signal, accepted)
        except Permanent as error:
            letters.append(_letter(partition, read, WHOLE_RECORD, read.record.value, error))
        else:
            good += [ReadRecord(read.offset, record) for record in accepted]
            if read.record.origin is Origin.FOREIGN:
                adopted += accepted
    return Sorted(good, letters, adopted)


def _readable(record: Record, accept_foreign: AcceptForeign) -> Sequence[Record]:
    if record.origin is Origin.OURS:
        return (record,)
    if record.origin is Origin.UNREADABLE:
        raise Malformed("its headers are not those of this version", reason="unreadable_headers")
    if not record.value:
        return ()
    return accept_foreign(record)


def items_of(signal: Signal, record: Record) -> int:
    """How many rows a record makes; the header may have been written by anybody."""
    if signal is Signal.LEDGER:
        return len(json.loads(record.value))
    shape = SHAPES[signal]
    request = parse(signal, record.value)
    return sum(count_items(shape, entry) for entry in getattr(request, shape.resources))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row comes from: item `index` of the record, and `number` of all items that lay at its offset.

    The two differ where a record of others has become one for each organisation in it.
    """

    read: ReadRecord
    index: int
    number: int


def _numbered(signal: Signal, good: Sequence[ReadRecord]) -> Iterator[tuple[ReadRecord, int, int]]:
    """Each record with the number of its first item among all that lay at its offset, and how many items it has."""
    number, offset = 0, None
    for read in good:
        number = number if read.offset == offset else 0
        offset, items = read.offset, items_of(signal, read.record)
        yield read, number, items
        number += items


def locate(signal: Signal, good: Sequence[ReadRecord], row: int) -> Place:
    """The row's place. Raises `IndexError`."""
    for read, number, items in _numbered(signal, good):
        if row < items:
            return Place(read, row, number + row)
        row -= items
    raise IndexError(f"row {row} lies beyond the batch")


def runs_of(log_id: str, partition: Partition, good: Sequence[ReadRecord]) -> tuple[Run, ...]:
    """The names of all rows that `good` makes, a run for each record (`bridge.letters.record_name`)."""
    runs: list[Run] = []
    for read, number, items in _numbered(partition.signal, good):
        name, first = record_name(log_id, partition, read)
        runs.append(Run(name, first + number, items))
    return tuple(runs)


def cut(runs: Sequence[Run], first: int, last: int) -> tuple[Run, ...]:
    """The runs of rows [first, last)."""
    found, start = [], 0
    for run in runs:
        begin, end = max(first, start), min(last, start + run.rows)
        if begin < end:
            found.append(Run(run.record, run.first_item + begin - start, end - begin))
        start += run.rows
    return tuple(found)


def letter_of_row(partition: Partition, good: Sequence[ReadRecord], row: int, error: BridgeError) -> DeadLetter:
    """The letter of one item that the store has refused."""
    place = locate(partition.signal, good, row)
    value = item_at(partition.signal, place.read.record.value, place.index)
    return _letter(partition, place.read, place.number, value, error)


def id_of_row(partition: Partition, good: Sequence[ReadRecord], row: int) -> str:
    place = locate(partition.signal, good, row)
    return letter_id(partition, place.read, place.number)


def _letter(partition: Partition, read: ReadRecord, index: int, value: bytes, error: BridgeError) -> DeadLetter:
    record, text = read.record, str(error)
    column = _COLUMN.search(text)
    return DeadLetter(
        id=letter_id(partition, read, index),
        signal=partition.signal,
        topic=partition.topic,
        partition=partition.number,
        offset=read.offset,
        index=index,
        org=record.org,
        plane=record.plane,
        items=record.items if index == WHOLE_RECORD else 1,
        received_at_unix_nano=record.received_at_unix_nano,
        dead_at_unix_nano=time.time_ns(),
        reason=error.reason,
        code=error.code if isinstance(error, RejectedBySink) else 0,
        column=column.group(1) if column else "",
        message=text[:1000],
        is_otlp=index != WHOLE_RECORD,
        value=value,
    )
