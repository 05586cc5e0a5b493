"""One question to a store: its text, its values, and what it may cost. What sends it has two implementations."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from query_api.errors import AnswerTooLarge, InvalidRequest, QueryError, QueryTimeout, StoreFailed, StoreUnavailable

TOO_SLOW: Final = "the query did not finish in time: tighten the time range or name a component"
# of one value or setting: http_max_field_value_size of ClickHouse, less what quoting may add to it
MAX_VALUE_BYTES: Final = 120 << 10
# Stop reading when there are enough rows: with buffers before the merge each stream is read on, nearly all of 1.6M rows
# for a page of 100 instead of 120,000 (26.7; tests/external/test_storage_reads.py).
FIRST_ROWS: Final = {"read_in_order_use_buffering": 0, "max_block_size": 8192}
# src/Common/ErrorCodes.cpp of ClickHouse; numbers, never texts, survive upgrades.
TIMEOUTS: Final = frozenset({158, 159, 160, 241, 307})
TOO_LARGE: Final = frozenset({396})
UNAVAILABLE: Final[Mapping[int, str]] = {
    8: "schema",
    10: "schema",
    16: "schema",
    47: "schema",
    60: "schema",
    81: "schema",
    164: "rights",
    192: "credentials",
    193: "credentials",
    194: "credentials",
    202: "overloaded",
    209: "connection",
    210: "connection",
    236: "stopping",
    279: "connection",
    394: "stopping",
    497: "rights",
    516: "credentials",
}


@dataclass(frozen=True, slots=True)
class Question:
    """`table_filters` is the tenant (guard.py). A limit of 0 is none. `max_result_bytes`: of the values as the
    store counts them, and of them as JSON. `is_first_rows`: few, in the key's order."""

    sql: str
    parameters: Mapping[str, object]
    table_filters: str
    log_comment: str
    max_execution_seconds: float
    max_rows_to_read: int
    max_memory_bytes: int
    max_result_bytes: int
    is_first_rows: bool = False

    @property
    def parameters_bytes(self) -> int:
        """About as many as the values take."""
        return sum(len(str(value)) for value in self.parameters.values())

    def check(self) -> None:
        """Raises `AnswerTooLarge` or `InvalidRequest` for what a server would not take."""
        try:
            longest = max((len(orjson.dumps(value)) for value in self.parameters.values()), default=0)
        except orjson.JSONEncodeError as error:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
            raise InvalidRequest("texts must be valid Unicode") from error
        if longest > MAX_VALUE_BYTES:
            raise AnswerTooLarge("too many places match, or a text is too long: name an organisation or a project")
        if len(self.table_filters) > MAX_VALUE_BYTES:
            raise AnswerTooLarge("this caller has too many roles on single components: give it roles on projects")

    def settings(self) -> dict[str, object]:
        """ClickHouse's settings for it: read-only, bounded, filtered."""
        settings: dict[str, object] = {
            "readonly": 1,
            "max_execution_time": self.max_execution_seconds,
            "timeout_overflow_mode": "throw",
            "max_rows_to_read": self.max_rows_to_read,
            "read_overflow_mode": "throw",
            "max_memory_usage": self.max_memory_bytes,
            "max_result_bytes": self.max_result_bytes,
            "result_overflow_mode": "throw",
            "log_comment": self.log_comment,
            "output_format_json_quote_64bit_integers": 0,
            "output_format_json_validate_utf8": 1,
            "output_format_json_quote_denormals": 0,
        }
        if self.is_first_rows:
            settings |= FIRST_ROWS
        if self.table_filters:
            settings["additional_table_filters"] = self.table_filters
        return settings


class Asker(Protocol):
    """Sends questions; safe to use from several tasks. Raises the errors of `error_of`."""

    async def rows(self, question: Question) -> list[list[Any]]:
        """All rows of the answer."""
        ...

    def blocks(self, question: Question) -> AsyncGenerator[list[list[Any]], None]:
        """The answer in blocks of rows, as they come."""
        ...


def error_of(code: int | None, text: str) -> QueryError:
    """What a failed question means for its caller; `code` is ClickHouse's, None when it could not be asked."""
    if code is None or code == 0:
        return StoreUnavailable("the store cannot be reached now", reason="connection")
    if code in TIMEOUTS:
        return QueryTimeout(TOO_SLOW)
    if code in TOO_LARGE:
        return AnswerTooLarge()
    if code in UNAVAILABLE:
        return StoreUnavailable("the store cannot answer now", reason=UNAVAILABLE[code])
    return StoreFailed(f"clickhouse error {code}: {text[:500]}")
