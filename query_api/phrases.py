"""A phrase as the store can look for it: a substring in any case, helped by the words that must be whole in it."""

import re
from typing import Final

# As ClickHouse's tokenizer splitByNonAlpha: letters and digits of ASCII, and every byte beyond it, belong to a word.
_WORD: Final = re.compile(r"[0-9A-Za-z\x80-\U0010ffff]+")


def inner_words(phrase: str) -> list[str]:
    """Words with a separator on both sides within the phrase: wherever it occurs, they are whole words of the body.

    The first and the last may be parts of longer words there ("ection fail" is in "connection failed").
    """
    found = [match for match in _WORD.finditer(phrase) if match.start() > 0 and match.end() < len(phrase)]
    return sorted({_lower(match.group()) for match in found})


def _lower(text: str) -> str:
    """As ClickHouse's `lower`: ASCII only."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def contains(body: str, phrase: str) -> bool:
    """What a phrase means: an ASCII phrase takes ASCII letters in either case, any other takes each letter's two."""
    if phrase.isascii():
        return _lower(phrase) in _lower(body)
    return _each_lower(phrase) in _each_lower(body)


def _each_lower(text: str) -> str:
    """Letter by letter: Python's `lower` makes another letter of a sigma that ends a word."""
    return text.replace("\u03a3", "\u03c3").lower()
