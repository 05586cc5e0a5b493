"""CSV: any text comes back as it was, and none is a formula."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.csv_text import LOG_COLUMNS, LOG_HEADER, logs_csv, rfc3339_seconds, safe_cell

FORMULA_STARTS = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
unicode_texts = st.text(st.characters(exclude_categories=["Cs"]))
cells = st.one_of(unicode_texts, st.text("=+-@\t\r\n\"',; a\uff1d"))
rows = st.lists(st.lists(cells, min_size=9, max_size=9), max_size=6)


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


@given(rows)
def test_logs_read_back_and_hold_no_formula(given_rows: list[list[str]]) -> None:
    """A strict reader finds every text as it was, but for a ' before what would be a formula."""
    found = read(LOG_HEADER + logs_csv(given_rows))
    assert found[0] == list(LOG_COLUMNS)
    assert len(found) == len(given_rows) + 1
    for row, wanted in zip(found[1:], given_rows, strict=True):
        for cell, text in zip(row, wanted, strict=True):
            assert not cell.startswith(FORMULA_STARTS)
            assert cell == ("'" + text if text.startswith(FORMULA_STARTS) else text)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("", ""),
        ("plain 'text'", "plain 'text'"),
        ("a,b", '"a,b"'),
        ('say "x"', '"say ""x"""'),
        ("two\nlines", '"two\nlines"'),
        ("lone\rreturn", '"lone\rreturn"'),
        (" space", '" space"'),
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://evil","x")', '"\'=HYPERLINK(""http://evil"",""x"")"'),
        ("-1", "'-1"),
        ("\t=1", "'\t=1"),
        ("\r\n=1", '"\'\r\n=1"'),
        ("\uff1d1", "'\uff1d1"),
    ],
)
def test_cells_are_written_so(text: str, cell: str) -> None:
    """Quotes only where they are needed, a ' only where a spreadsheet would calculate."""
    assert safe_cell(text) == cell


def test_the_export_of_logs_looks_as_the_contract_says() -> None:
    """Nine columns in their order, lines end in a line feed, and the header stands alone without rows."""
    assert LOG_HEADER == b"Timestamp,LogLevel,ComponentID,EnvironmentID,ProjectID,Namespace,PodID,ContainerName,Log\n"
    row = ("2025-11-14T10:00:00Z", "ERROR", "api", "dev", "shop", "dp-acme", "pod-123", "main", "ERROR: no, really")
    assert logs_csv([row]) == b'2025-11-14T10:00:00Z,ERROR,api,dev,shop,dp-acme,pod-123,main,"ERROR: no, really"\n'
    assert logs_csv([]) == b""


def test_half_a_surrogate_pair_costs_a_letter_not_the_export() -> None:
    """Text that cannot be UTF-8 is written with a question mark."""
    assert logs_csv([["\ud800x"] * 9]) == b",".join([b"?x"] * 9) + b"\n"


@pytest.mark.parametrize(
    ("unix_nano", "text"),
    [
        (1_763_114_400_123_456_789, "2025-11-14T10:00:00Z"),
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59Z"),
        (2**63 - 1, "2262-04-11T23:47:16Z"),
        (-(2**63), "1677-09-21T00:12:43Z"),
    ],
)
def test_times_are_told_in_whole_seconds(unix_nano: int, text: str) -> None:
    """Of every time that 64 bits of nanoseconds hold, fractions cut off."""
    assert rfc3339_seconds(unix_nano) == text
