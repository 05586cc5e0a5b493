"""CSV that is safe to open in a spreadsheet: cells, lines, and the export of logs (contract 1.8). Pure.

Lines end in `\\n` and cells are quoted only where RFC 4180 needs it, as the old Observer's Go writer did.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

LOG_COLUMNS: Final = (
    "Timestamp",
    "LogLevel",
    "ComponentID",
    "EnvironmentID",
    "ProjectID",
    "Namespace",
    "PodID",
    "ContainerName",
    "Log",
)
LOG_HEADER: Final = (",".join(LOG_COLUMNS) + "\n").encode()
# What starts a formula in Excel, LibreOffice and Google Sheets, also in full width and behind what they skip (OWASP,
# "CSV Injection").
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_NEEDS_QUOTES: Final = re.compile(r'[",\r\n]|^\s')


def safe_cell(text: str) -> str:
    """A cell that holds `text`, quoted if it has to be. One that would be taken for a formula starts with `'`."""
    if text.startswith(_FORMULA_STARTS):
        text = "'" + text
    if _NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Rows of any text as CSV in UTF-8, without a header; what has no UTF-8 (half a surrogate pair) becomes `?`."""
    return "".join([",".join(map(safe_cell, row)) + "\n" for row in rows]).encode(errors="replace")


def logs_csv(rows: Iterable[Sequence[str]]) -> bytes:
    """A block of log rows, each the nine texts of `LOG_COLUMNS`. `LOG_HEADER` goes out once before, also without rows.

    The time of a row is made with `rfc3339_seconds`.
    """
    return csv_lines(rows)


def rfc3339_seconds(unix_nano: int) -> str:
    """UTC as `2025-11-14T10:00:00Z`; fractions are cut off. Of any time that 64 bits of nanoseconds can tell."""
    return datetime.fromtimestamp(unix_nano // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
