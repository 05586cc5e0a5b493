"""What every store owes for texts: one level a record, and phrases found as substrings in any case."""

import itertools
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.levels import SCANNED, WORDS, level_of
from query_api.phrases import contains
from query_api.storage import LogQuery
from query_api.tenant import Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.contracts.storage_logs import bodies
from tests.stored import NOON, Stored, place

several: Final = settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=list(HealthCheck),
)
ROWS: Final = 200
_orgs = itertools.count(1)

_STRANGE: Final = ("warning", "errors", "x", "42", "\u0130", "\u212a", "er\u0159")
_WORDS: Final = st.sampled_from([*WORDS, *(word for word, _ in SCANNED), *_STRANGE])
_CASED: Final = st.builds(lambda word, how: how(word), _WORDS, st.sampled_from([str.lower, str.upper, str.title]))
_MARKS: Final = st.sampled_from([*" \t\n:='\"{}[],_-.\x00\u00e9\U0001f600\\$\xa0", "  ", " = ", ""])
_DECLARED: Final = st.sampled_from(
    [
        *("level=", "lvl: ", '"level":"', "severity =", '{"@l":"', "levelname:"),
        *("severity_text=", "mylevel=", "level", "LEVEL="),
    ]
)
_KLOG: Final = st.sampled_from(
    [
        *("I1114 10:00:00", "E1114 10:00:00.12", "W1114 10:0"),
        *("F0101 23:59:59", "X1114 10:00:00", "e1114 10:00:00"),
    ]
)
_PIECES: Final = st.one_of(_CASED, _MARKS, _MARKS, _DECLARED, _KLOG, st.text(max_size=4))
LINES: Final = st.lists(_PIECES, max_size=10).map("".join)
LONG: Final = st.builds(lambda n, line: "x" * n + line, st.sampled_from([2030, 2040, 2045, 2047, 2048]), LINES)
_NUMBERED: Final = st.builds(lambda a, b: a + b, _CASED, st.sampled_from(["2", " x", "4", "!"]))
SEVERITIES: Final = st.one_of(st.just(""), _CASED, _NUMBERED, st.text(max_size=6))
RECORDS: Final = st.tuples(st.sampled_from([0, 0, 0, *range(25)]), SEVERITIES, LINES | LONG)
ALPHABET: Final = st.sampled_from(
    "abABzZ019 _-.,:/=%\\'\"()\n\t\x00\u00e9\u00c9\u0436\u0416\u03c9\u4e2d\U0001f600\xa0__  "
)
TEXT: Final = st.text(ALPHABET, max_size=14)


async def fill(opened: Opened, records: list[tuple[int, str, str]]) -> Tenant:
    """The records, of an organisation of their own."""
    org = f"o{next(_orgs)}"
    stored = Stored()
    for number, severity, body in records:
        stored.log(body, NOON, place(org), severity=severity, number=number)
    await opened.write(stored)
    return Tenant.of(org)


class TextsContract(StorageCase):
    def in_order(self, rows: list[Any]) -> list[Any]:
        """Rows of one time, as they can be compared."""
        return rows if self.tells_one_time_as_written else sorted(rows)

    @several
    @given(records=st.lists(RECORDS, min_size=ROWS, max_size=ROWS))
    async def test_a_stored_level_is_the_level_of_its_record(
        self, opened: Opened, records: list[tuple[int, str, str]]
    ) -> None:
        """For any severity number, text and body, the column's expression and `level_of` say the same."""
        tenant = await fill(opened, records)
        rows = (await opened.storage.logs(tenant, LogQuery(limit=ROWS, is_descending=False))).rows
        found = [(row.body, row.level) for row in rows]
        wanted = [(body, level_of(number, severity, body)) for number, severity, body in records]
        assert self.in_order(found) == self.in_order(wanted)

    @several
    @given(
        texts=st.lists(TEXT, min_size=40, max_size=80),
        phrases=st.lists(TEXT.filter(bool), min_size=3, max_size=6),
        cut=st.integers(0, 13),
    )
    async def test_a_phrase_finds_the_bodies_that_contain_it(
        self, opened: Opened, texts: list[str], phrases: list[str], cut: int
    ) -> None:
        """Wherever it starts and ends, across words and marks, in any case: no body is lost and none too many."""
        lines = ["".join(texts[start : start + 3]) for start in range(len(texts))]
        tenant = await fill(opened, [(9, "", line) for line in lines])
        cuts = [line[cut : cut + 9] for line in lines[:6]] + [line[cut:].swapcase() for line in lines[6:10]]
        for phrase in [*phrases, *filter(None, cuts)]:
            page = await opened.storage.logs(tenant, LogQuery(phrase=phrase, limit=100, is_descending=False))
            wanted = [line for line in lines if contains(line, phrase)]
            assert self.in_order(bodies(page.rows)) == self.in_order(wanted), phrase

    @pytest.mark.parametrize(
        ("phrase", "body"),
        [
            ("nection fail", "connection failed"),
            ("ERROR: Database", "error: database connection"),
            ("a_b c", "xa_b cy"),
            ("order-17/x", "GET /order-17/x?y=1"),
            ("100%", "at 100% of it"),
            ("caf\u00e9 OL\u00c9", "Caf\u00e9 ol\u00e9!"),
            ("\u0416\u0423\u041a", "\u043c\u0430\u0439\u0441\u043a\u0438\u0439 \u0436\u0443\u043a"),
            ("\u4e2d\u6587", "\u8fd9\u662f\u4e2d\u6587\u65e5\u5fd7"),
            ("x \U0001f600 y", "xx \U0001f600 yy"),
            ("   ", "a   b"),
            ("\\n", "a \\n b"),
            ("a\x00b", "xa\x00by"),
        ],
    )
    async def test_a_phrase_is_a_substring_in_any_case(self, opened: Opened, phrase: str, body: str) -> None:
        """Parts of words, several words, marks and other scripts."""
        tenant = await fill(opened, [(9, "", body), (9, "", "something else")])
        for asked in (phrase, phrase.upper(), phrase.lower()):
            page = await opened.storage.logs(tenant, LogQuery(phrase=asked))
            assert (bodies(page.rows), page.total) == ([body], 1), asked
