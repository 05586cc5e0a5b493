"""A `LogQuery` as the lines and parameters of the log statements. Pure."""

from typing import Final

import orjson

from query_api.phrases import inner_words
from query_api.scoping import Scope, Values
from query_api.storage import LogQuery

DAY_NANO: Final = 86_400_000_000_000


def log_filters(query: LogQuery, scope: Scope) -> tuple[set[str], Values]:
    """What of `_log_filter` and of the cursor's lines is given, and its values."""
    given, placed = scope.filters()
    values = dict(placed)
    _add_times(query, given, values)
    for name, value in (
        ("levels", list(query.levels)),
        ("namespace", query.namespace),
        ("build_id", query.build_id),
        ("build_uuid", query.build_uuid),
        ("labels", list(query.labels)),
    ):
        if value:
            given.add(name)
            values[name] = value
    if query.is_build:
        given.add("is_build")
    if query.versions or query.version_ids:
        given.add("any_version")
        values |= {"versions": list(query.versions), "version_ids": list(query.version_ids)}
    _add_phrase(query.phrase, given, values)
    _add_gateway(query, given, values)
    return given, values


def storable(unix_nano: int) -> int:
    """The nearest time that the store can compare its times with, two days away from where it would wrap around."""
    return min(max(unix_nano, -DAY_NANO), 2**63 - 1 - 2 * DAY_NANO)


def _add_times(query: LogQuery, given: set[str], values: dict[str, object]) -> None:
    start, end = query.start_unix_nano, query.end_unix_nano
    if (cursor := query.cursor) is not None:
        given.add("before" if query.is_descending else "behind")
        values |= {"cursor_time": cursor.time_unix_nano, "cursor_block": cursor.block, "cursor_offset": cursor.offset}
        if query.is_descending:
            end = cursor.time_unix_nano if end is None else min(end, cursor.time_unix_nano)
        else:
            start = cursor.time_unix_nano if start is None else max(start, cursor.time_unix_nano)
    for name, at in (("start", start), ("end", end)):
        if at is not None:
            given.add(name)
            values |= {name: storable(at), f"{name}_bucket_seconds": _bucket_seconds(at)}


def _bucket_seconds(unix_nano: int) -> int:
    """The start of its five minutes, the nearest one that a DateTime can hold."""
    return min(max(unix_nano // 10**9, 0), 2**32 - 1) // 300 * 300


def _add_phrase(phrase: str, given: set[str], values: dict[str, object]) -> None:
    if not phrase:
        return
    given.add("ascii_phrase" if phrase.isascii() else "wide_phrase")
    values["phrase"] = phrase
    # beyond ASCII `lower` leaves case as it is, and a word in another case would not be found by the index
    if phrase.isascii() and (words := inner_words(phrase)):
        given.add("tokens")
        values["tokens"] = words


def _add_gateway(query: LogQuery, given: set[str], values: dict[str, object]) -> None:
    """A gateway's fields are attributes, or stand in its access log line as JSON (contract 2.5)."""
    if query.vhosts:
        given.add("vhosts")
        values |= {"vhosts": list(query.vhosts), "vhost_texts": [_member("gwHost", host) for host in query.vhosts]}
    if query.apis:
        given.add("apis")
        values |= {"apis": list(query.apis), "api_texts": [_member("apiUuid", api) for api, _ in query.apis]}


def _member(key: str, value: str) -> str:
    return f'"{key}":{orjson.dumps(value).decode()}'
