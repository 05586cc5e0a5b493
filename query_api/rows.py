"""Rows out of a stream of ClickHouse's JSONCompactEachRow, and what a stream that broke off says of itself. Pure."""

import re
from typing import Any, Final

import orjson

from query_api.asking import error_of
from query_api.errors import QueryError

_CODE: Final = re.compile(rb"Code: (\d+)")


def complete_rows(text: bytes) -> tuple[list[list[Any]], bytes]:
    """The rows that end in `text`, and what is behind them: the start of a row, or the server's word of a failure."""
    rows, start = [], 0
    while (end := text.find(b"\n", start)) >= 0:
        try:
            rows.append(orjson.loads(text[start:end]))
        except orjson.JSONDecodeError:
            break
        start = end + 1
    return rows, text[start:]


def failure_in(rest: bytes) -> QueryError:
    """An answer that does not end with a row's end did not end well."""
    found = _CODE.search(rest)
    return error_of(int(found[1]) if found else None, rest[-500:].decode(errors="replace"))
