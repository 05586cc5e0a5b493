"""OpenSearch's filters as values: clauses, and the texts that may stand in a pattern. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bridge.documents import MAX_TERM_CHARACTERS, OWN
from bridge.levels import KLOG_LETTERS, SCANNED, WORDS

Clause = dict[str, Any]
EVERYTHING: Final[Clause] = {"match_all": {}}
NOTHING: Final[Clause] = {"match_none": {}}
# Of every document that Headrace has written, and of no other.
OWN_MARK: Final[Clause] = {"exists": {"field": f"{OWN}.time_unix_nano"}}
MAX_INT: Final = 2**63 - 1
DAY_NANO: Final = 86_400_000_000_000
# A pattern is an automaton to Lucene, which has at most so many states; what is longer is checked in Python.
MAX_PATTERN_CHARACTERS: Final = 200
MAX_RUNS: Final = 8
# Java and Python put these into lower case differently, and a wildcard field cannot have the first two.
_LOOSE: Final = {"\\": "?", "\x00": "?", "\u03a3": "?", "\u03c3": "?", "\u03c2": "?", "\u0130": "*", "\u0307": "*"}
_RUN: Final = re.compile(r"[0-9A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Part:
    """A clause, and whether it finds nothing but what is asked for; what it finds too is told apart by row."""

    clause: Clause
    is_exact: bool = True


def all_of(*clauses: Clause) -> Clause:
    """Every clause holds."""
    wanted = [clause for clause in clauses if clause != EVERYTHING]
    return {"bool": {"filter": wanted}} if wanted else EVERYTHING


def any_of(clauses: Iterable[Clause]) -> Clause:
    """At least one holds; of no clauses none does."""
    wanted = list(clauses)
    if len(wanted) == 1:
        return wanted[0]
    return {"bool": {"should": wanted, "minimum_should_match": 1}} if wanted else NOTHING


def none_of(*clauses: Clause) -> Clause:
    return {"bool": {"must_not": list(clauses)}}


def exists(field: str) -> Clause:
    return {"exists": {"field": field}}


def one_of(field: str, values: Iterable[str]) -> Clause:
    """The field has one of the texts; an empty text is the field that is not there, as one too long to be indexed is
    not."""
    wanted = sorted(set(values))
    kept = [value for value in wanted if 0 < len(value) <= MAX_TERM_CHARACTERS]
    found: list[Clause] = [{"terms": {field: kept}}] if kept else []
    if len(kept) < len(wanted):
        found.append(none_of(exists(field)))
    return any_of(found)


def case_free(field: str, value: str) -> Clause:
    """The whole text in any case."""
    return {"term": {field: {"value": value, "case_insensitive": True}}}


def leaves(clause: Any) -> int:
    """How many clauses Lucene counts in it (at most 1,024 by default)."""
    if isinstance(clause, list):
        return sum(leaves(each) for each in clause)
    inner = clause.get("bool")
    return sum(leaves(inner.get(name, [])) for name in ("filter", "should", "must_not")) if inner else 1


def substring(field: str, text: str) -> Clause:
    """A superset of the documents whose wildcard field with lower-case normalizer contains the text in any case."""
    pattern = "".join(_escaped(char) for char in text[:MAX_PATTERN_CHARACTERS])
    return {"wildcard": {field: {"value": f"*{pattern}*"}}}


def is_exact_pattern(text: str) -> bool:
    """Whether `substring` finds nothing but what contains the text."""
    return len(text) <= MAX_PATTERN_CHARACTERS and not any(char in _LOOSE for char in text)


def _escaped(char: str) -> str:
    return f"\\{char}" if char in "*?" else _LOOSE.get(char, char)


def words_of(field: str, text: str) -> Clause:
    """A superset of the documents that contain the text in any case, whether the field is a text or a wildcard.

    Lucene's standard tokenizer never cuts letters and digits of ASCII apart, so each run of them is in a word.
    """
    runs = sorted(
        {run.lower()[:MAX_PATTERN_CHARACTERS] for run in _RUN.findall(text)}, key=lambda run: (-len(run), run)
    )
    return all_of(*(_anywhere(field, run) for run in runs[:MAX_RUNS]))


def is_exact_word(text: str) -> bool:
    """Whether `words_of` finds nothing but what contains the text."""
    return len(text) <= MAX_PATTERN_CHARACTERS and _RUN.fullmatch(text) is not None


def _anywhere(field: str, run: str) -> Clause:
    return {"wildcard": {field: {"value": f"*{run}*", "case_insensitive": True}}}


def may_be_level(field: str, levels: Sequence[str]) -> Clause:
    """A superset of the lines whose level (`bridge/levels.py`) is one of these; every line, if "" is one."""
    if "" in levels:
        return EVERYTHING
    said = {word for word, level in WORDS.items() if level in levels}
    said |= {re.sub(r"\W.*", "", word) for word, level in SCANNED if level in levels}
    shortest = sorted(word for word in said if not any(other != word and other in word for other in said))
    clauses = [_anywhere(field, word) for word in shortest]
    for letter, level in KLOG_LETTERS:
        if level in levels:  # a word of a text; the start of a wildcard
            clauses.append({"regexp": {field: {"value": f"{letter.lower()}[0-9]{{4}}"}}})
            clauses.append({"wildcard": {field: {"value": f"{letter}???? ??:??:??*"}}})
    return any_of(clauses)


def bounds(field: str, start: int | None, end: int | None) -> Clause:
    """Of a long; None: there is none."""
    given = {name: min(max(at, -MAX_INT), MAX_INT) for name, at in (("gte", start), ("lte", end)) if at is not None}
    return {"range": {field: given}} if given else EVERYTHING


def storable(unix_nano: int) -> int:
    """The nearest time that a date_nanos can be compared with."""
    return min(max(unix_nano, 0), MAX_INT - 2 * DAY_NANO)
