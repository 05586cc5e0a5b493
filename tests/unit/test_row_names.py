"""Names of rows: the same for the same item, in whatever batch, and after whatever way it came."""

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from bridge.columns import to_table
from bridge.errors import RejectedBySink
from bridge.letters import WHOLE_RECORD
from bridge.model import Batch, Partition, ReadRecord, Record, Signal
from bridge.poison import cut, id_of_row, letter_of_row, runs_of
from tests.load import Book

LOG = "cluster/prefix-"
PARTITION = Partition("otlp_logs", 3)


def record(items: int, seed: int = 1) -> Record:
    body, _ = Book().request(Signal.LOGS, items, random.Random(seed))
    return Record(Signal.LOGS, "o", "p", 1_000 + seed, items, body)


def names(good: list[ReadRecord], rows: tuple[int, int] | None = None) -> list[str]:
    table = to_table(Signal.LOGS, [read.record for read in good])
    runs = runs_of(LOG, PARTITION, good)
    if rows is not None:
        runs, table = cut(runs, *rows), table.slice(rows[0], rows[1] - rows[0])
    found = Batch(Signal.LOGS, "any", table, runs).row_names()
    assert len(found) == table.num_rows
    return found


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.data())
def test_a_row_has_one_name_however_the_log_is_cut(sizes: list[int], data: st.DataObject) -> None:
    """Batches of any records, and parts of batches, name a row as the whole does; no two rows share a name."""
    good = [ReadRecord(10 * number, record(items, number)) for number, items in enumerate(sizes)]
    whole = names(good)
    assert len(set(whole)) == sum(sizes)
    middle = data.draw(st.integers(0, len(good)))
    assert [*names(good[:middle]), *names(good[middle:])] == whole
    first = data.draw(st.integers(0, len(whole) - 1))
    last = data.draw(st.integers(first + 1, len(whole)))
    assert names(good, (first, last)) == whole[first:last]


def test_records_of_one_offset_do_not_share_names_or_letters() -> None:
    """A record of others that holds two organisations becomes two of ours where it lay."""
    good = [ReadRecord(7, record(2)), ReadRecord(7, record(3)), ReadRecord(8, record(1))]
    assert len(set(names(good))) == 6
    assert len({id_of_row(PARTITION, good, row) for row in range(6)}) == 6


def test_the_count_in_a_header_names_nothing() -> None:
    """Headers can be written by anybody; the rows are those that are there."""
    honest = [ReadRecord(1, record(3, 1)), ReadRecord(2, record(2, 2))]
    lying = [ReadRecord(read.offset, replace(read.record, items=1)) for read in honest]
    assert names(lying) == names(honest)


def test_any_letter_in_a_header_makes_a_name() -> None:
    """Headers can be written by anybody: also a number that Python does not read."""
    for letter in (f"x:{'9' * 5_000}@a", "x", ":@", "x:-1@zz"):
        assert len(set(names([ReadRecord(1, replace(record(2), dead_letter=letter))]))) == 2


def test_an_item_put_back_from_a_dead_letter_keeps_its_name() -> None:
    """The store refused it, the shadow has it: the replay is the same row to the shadow."""
    good = [ReadRecord(5, record(4))]
    letter = letter_of_row(PARTITION, good, 2, RejectedBySink("no", 1))
    back = Record(Signal.LOGS, "o", "p", 1_001, 1, letter.value, dead_letter=letter.id)
    assert names([ReadRecord(99, back)]) == [names(good)[2]]


def test_a_whole_record_put_back_has_items_with_names_and_letters_of_their_own() -> None:
    """What could not be read at first is read later, as if it were read where it lay."""
    whole = f"{PARTITION}:5:{WHOLE_RECORD}@{1_001:x}"
    back = [ReadRecord(99, replace(record(3), dead_letter=whole))]
    assert names(back) == names([ReadRecord(5, record(3))])
    assert [id_of_row(PARTITION, back, row) for row in range(3)] == [
        id_of_row(PARTITION, [ReadRecord(5, record(3))], row) for row in range(3)
    ]
