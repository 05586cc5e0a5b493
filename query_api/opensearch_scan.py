"""Rows of a filter in an order, in blocks: each looked at in Python, and none of them twice.

Blocks grow and shrink with their rows, so that what is held of an answer is bounded.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from query_api.asking import TOO_SLOW
from query_api.errors import AnswerTooLarge, QueryTimeout
from query_api.limits import take_answer_bytes
from query_api.opensearch_asking import Asker
from query_api.opensearch_clauses import Clause
from query_api.opensearch_query import SortValues, behind
from query_api.opensearch_rows import Hit, size_of
from query_api.storage import LogRow, Span

FIRST_BLOCK_ROWS: Final = 250
MAX_BLOCK_ROWS: Final = 1_000
BLOCK_BYTES: Final = 4 << 20
# One `_seq_no` may be in as many shards: rows beyond a page that are read to put those of its end in order.
TIES: Final = 16

Row = TypeVar("Row", bound=LogRow | Span)


@dataclass(frozen=True, slots=True)
class Scan(Generic[Row]):
    """What to read. `row_of`: a hit's row, None if it does not answer the question. `is_exact`: whether the filter
    finds nothing but answers, so that it can be counted by the store."""

    indices: str
    clause: Clause
    sort: list[Clause]
    is_descending: bool
    row_of: Callable[[Hit], Row | None]
    is_exact: bool = True
    after: SortValues | None = None
    pit: Mapping[str, Any] | None = None


@dataclass(slots=True)
class Block(Generic[Row]):
    """Rows of one answer, how many documents it had, and what the store says of how many there are in all."""

    rows: list[Row] = field(default_factory=list)
    documents: int = 0
    total: int = 0
    is_capped: bool = False


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time of the loop's clock."""

    at_seconds: float

    @classmethod
    def within(cls, seconds: float) -> "Deadline":
        return cls(asyncio.get_running_loop().time() + seconds)

    @property
    def left_seconds(self) -> float:
        """Raises `QueryTimeout` if there is none."""
        left = self.at_seconds - asyncio.get_running_loop().time()
        if left <= 0:
            raise QueryTimeout(TOO_SLOW)
        return left


@dataclass(frozen=True, slots=True)
class Each:
    """So much for every call: an export is as slow as who reads it."""

    left_seconds: float


async def blocks(
    asker: Asker, scan: Scan[Row], first_rows: int, total_cap: int, deadline: Deadline | Each
) -> AsyncGenerator[Block[Row], None]:
    """To the end. `total_cap`: how far the first answer counts; 0: not at all."""
    size, after, seen = min(first_rows, MAX_BLOCK_ROWS), scan.after, set[str]()
    counted: int | bool = total_cap or False
    while True:
        body = {"query": scan.clause, "sort": scan.sort, "size": size, "track_total_hits": counted}
        body |= {"search_after": after} if after is not None else {}
        body |= {"pit": scan.pit} if scan.pit is not None else {}
        answer = await asker.search(scan.indices, body, deadline.left_seconds)
        hits = answer["hits"]["hits"]
        new = [hit for hit in hits if _name(hit) not in seen]
        rows = [row for row in map(scan.row_of, new) if row is not None]
        bytes_ = sum(map(size_of, rows))
        total = answer["hits"].get("total", {})
        yield Block(rows, len(new), int(total.get("value", 0)), total.get("relation") == "gte")
        if len(hits) < size:
            return
        counted, last = False, hits[-1]["sort"]
        after, seen = behind(last, is_descending=scan.is_descending), {_name(h) for h in hits if h["sort"] == last}
        size = _next_rows(bytes_, len(rows), len(seen))


def _name(hit: Hit) -> str:
    return f"{hit['_index']}/{hit['_id']}"


def _next_rows(bytes_: int, rows: int, ties: int) -> int:
    fitting = BLOCK_BYTES * rows // bytes_ if rows else MAX_BLOCK_ROWS
    return min(MAX_BLOCK_ROWS, max(fitting, 10)) + ties


@dataclass(slots=True)
class Found(Generic[Row]):
    """Rows up to a number; `is_whole`: there are no more. `total` is of the filter, if it could be counted."""

    rows: list[Row] = field(default_factory=list)
    is_whole: bool = False
    total: int = 0
    is_capped: bool = False
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Most:
    """Of a page: rows, how many are counted, and bytes of the rows."""

    rows: int
    total_cap: int
    bytes_: int


async def first_rows(asker: Asker, scan: Scan[Row], most: Most, deadline: Deadline) -> Found[Row]:
    """At least `most.rows` rows, if there are so many. Raises `AnswerTooLarge`, `QueryTimeout`."""
    found, is_first, bytes_ = Found[Row](), True, 0
    found.is_counted = scan.is_exact
    stream = blocks(asker, scan, min(most.rows + TIES, FIRST_BLOCK_ROWS), most.total_cap, deadline)
    try:
        async for block in stream:
            if is_first:
                found.total, found.is_capped, is_first = block.total, block.is_capped, False
            found.is_counted = found.is_counted and len(block.rows) == block.documents
            found.rows += block.rows
            size_bytes = sum(map(size_of, block.rows))
            take_answer_bytes(size_bytes)
            bytes_ += size_bytes
            if bytes_ > most.bytes_:
                raise AnswerTooLarge
            if len(found.rows) >= most.rows + TIES:
                return found
    finally:
        await stream.aclose()
    found.is_whole = True
    return found


async def counted(asker: Asker, scan: Scan[Row], max_documents: int, deadline: Deadline) -> tuple[int, bool]:
    """How many rows there are, of the first so many documents; True: there may be more."""
    total, documents = 0, 0
    stream = blocks(asker, scan, MAX_BLOCK_ROWS, 0, deadline)
    try:
        async for block in stream:
            total, documents = total + len(block.rows), documents + block.documents
            if documents >= max_documents:
                return total, True
    finally:
        await stream.aclose()
    return total, False
