"""The one level a log record has, whoever asks: DEBUG, INFO, WARN, ERROR, FATAL, or empty where nothing says one.

A declared severity decides (OTLP: number before text). Lines without one are read as the contract's section 2.4 has it:
a level declared in the line, klog's header letter, then the first of a few whole words that no `=` follows. Only the
first `SCANNED_BYTES` of a body are looked at. The store works it out when a row is written, by the expression made
from the same words and patterns here; `level_of` is that expression in Python, and a test holds the two together.
"""

import re
from collections.abc import Mapping
from typing import Final

LEVELS: Final = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
SCANNED_BYTES: Final = 2048
# OTLP's severity numbers, upper bound of each (logs data model, "Severity Fields").
NUMBERS: Final = ((8, "DEBUG"), (12, "INFO"), (16, "WARN"), (20, "ERROR"), (24, "FATAL"))
_SAID: Final[Mapping[str, str]] = {
    "DEBUG": "trace verbose fine finer finest silly debug dbug",
    "INFO": "info information informational notice config",
    "WARN": "warn warning",
    "ERROR": "err error severe",
    "FATAL": "fatal crit critical panic emerg emergency alert",
}
WORDS: Final[Mapping[str, str]] = {word: level for level, words in _SAID.items() for word in words.split()}
# RE2 and Python read these alike on lower-cased ASCII; ClickHouse has no raw strings, so there is no backslash in them.
SEVERITY_TEXT: Final = "^[ ]*([a-z]+)"
DECLARED: Final = (
    '(?:^|[ \t{,])["]?(?:lvl|level|severity|severity_text|severitytext|levelname|@l)["]?[ ]*[=:][ ]*["]?([a-z]+)'
)
KLOG: Final = "[0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2}"
KLOG_LETTERS: Final = (("I", "INFO"), ("W", "WARN"), ("E", "ERROR"), ("F", "FATAL"))
# In this order, whatever comes first in the line.
SCANNED: Final = (
    ("error", "ERROR"),
    ("fatal", "FATAL"),
    ("severe", "ERROR"),
    ("warn(?:ing)?", "WARN"),
    ("info", "INFO"),
    ("debug", "DEBUG"),
)
BEFORE_WORD: Final = "(?:^|[^a-z0-9_])"
AFTER_WORD: Final = "[^a-z0-9_=]"

_SEVERITY_TEXT = re.compile(SEVERITY_TEXT.encode())
_DECLARED = re.compile(DECLARED.encode())
_KLOG = re.compile(f"([{''.join(letter for letter, _ in KLOG_LETTERS)}]){KLOG}".encode())
_SCANNED = tuple((re.compile(f"{BEFORE_WORD}{word}(?:{AFTER_WORD}|\\Z)".encode()), level) for word, level in SCANNED)


def level_of(severity_number: int, severity_text: str, body: str) -> str:
    """The level; empty where nothing says one."""
    for highest, level in NUMBERS:
        if 1 <= severity_number <= highest:
            return level
    text, start = _bytes(severity_text), _bytes(body)[:SCANNED_BYTES]
    lowered = start.lower()
    for pattern, where in ((_SEVERITY_TEXT, text.lower()), (_DECLARED, lowered)):
        found = pattern.search(where)
        level = WORDS.get(found[1].decode(), "") if found else ""
        if level:
            return level
    if klog := _KLOG.match(start):
        return dict(KLOG_LETTERS)[klog[1].decode()]
    return next((level for pattern, level in _SCANNED if pattern.search(lowered)), "")


def level_sql(number: str, text: str, body: str) -> str:
    """The same as an expression of ClickHouse over these columns."""
    start, lowered = f"substring({body}, 1, {SCANNED_BYTES})", f"lower(substring({body}, 1, {SCANNED_BYTES}))"
    words, levels = ([f"'{each}'" for each in column] for column in (WORDS, WORDS.values()))
    cases = [
        f"{number} BETWEEN {highest - 7 if highest == 8 else highest - 3} AND {highest}, '{level}'"
        for highest, level in NUMBERS
    ]
    for pattern, where in ((SEVERITY_TEXT, f"lower({text})"), (DECLARED, lowered)):
        said = f"transform(extract({where}, '{pattern}'), [{', '.join(words)}], [{', '.join(levels)}], '')"
        cases.append(f"{said} != '', {said}")
    cases += [f"match({start}, '^{letter}{KLOG}'), '{level}'" for letter, level in KLOG_LETTERS]
    cases += [f"match({lowered}, '{BEFORE_WORD}{word}(?:{AFTER_WORD}|$)'), '{level}'" for word, level in SCANNED]
    return "multiIf(\n    " + ",\n    ".join(cases) + ",\n    '')"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
