"""What a ClickHouse error number means for the batch that got it. Numbers, never texts, survive upgrades.

Retryable unless listed as permanent: losing accepted data to a guess would be wrong, waiting is not. What an operator
mends (missing table, read-only, no rights) is retryable with advice.
"""

from collections.abc import Mapping
from typing import Final

from bridge.errors import BridgeError, RejectedBySink, SinkUnavailable

# src/Common/ErrorCodes.cpp of ClickHouse. These say that a value in the batch cannot be stored as it is.
PERMANENT: Final[Mapping[int, str]] = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    43: "ILLEGAL_TYPE_OF_ARGUMENT",
    50: "UNKNOWN_TYPE",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    130: "CANNOT_READ_ARRAY_FROM_TEXT",
    190: "SIZES_OF_ARRAYS_DONT_MATCH",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
    636: "CANNOT_EXTRACT_TABLE_STRUCTURE",
}
# number: (reason for metrics, what to do)
RETRYABLE: Final[Mapping[int, tuple[str, str]]] = {
    8: ("schema", "run `headrace schema check`"),
    10: ("schema", "run `headrace schema check`"),
    16: ("schema", "run `headrace schema check`"),
    47: ("schema", "run `headrace schema check`"),
    60: ("schema", "run `headrace schema apply`"),
    81: ("schema", "run `headrace schema apply`"),
    115: ("setting", "this server is older than Headrace needs"),
    159: ("timeout", "the server was too slow"),
    160: ("timeout", "the server was too slow"),
    164: ("readonly", "clickhouse.username may not write"),
    192: ("credentials", "check clickhouse.username"),
    193: ("credentials", "check clickhouse.password"),
    194: ("credentials", "check clickhouse.password"),
    202: ("overloaded", "too many queries at once on the server"),
    209: ("timeout", "the server's socket timed out"),
    210: ("connection", "the server lost its connection"),
    225: ("readonly", "the server has lost its Keeper"),
    236: ("stopping", "the server stopped the insert"),
    241: ("memory", "the server is at its memory limit"),
    242: ("readonly", "the table is read-only"),
    243: ("disk", "the server's disk is full"),
    252: ("too_many_parts", "merges are behind; fewer, larger batches help"),
    285: ("replicas", "too few replicas are alive"),
    319: ("replicas", "it is unknown whether enough replicas have it"),
    394: ("stopping", "the query was cancelled"),
    497: ("rights", "clickhouse.username lacks rights"),
    516: ("credentials", "check clickhouse.username and clickhouse.password"),
}


def error_of(code: int | None, text: str) -> BridgeError:
    """The error to raise for a failed call; `code` is None when the server could not be asked."""
    short = text.partition(" with url:")[0].strip()[:500]  # the url holds the whole statement
    if code is None or code == 0:
        return SinkUnavailable(short, reason="connection")
    if code in PERMANENT:
        return RejectedBySink(f"{PERMANENT[code]} ({code}): {short}", code)
    reason, advice = RETRYABLE.get(code, ("server_error", ""))
    return SinkUnavailable(f"{advice}: {short}" if advice else short, reason=reason)
