"""The statements of `sql/`, by name. Values are never put into their text: they are the server's parameters.

A line that ends in `--if name` is part of the statement only when `name` is asked for, so a question that does not
filter by something does not read it either. `--include name` is the whole of another file. `$database` and the fields
of `fields.py` (`$version`, ...) are replaced by words of our own.
"""

import re
from collections.abc import Collection
from functools import cache
from importlib.resources import files
from string import Template
from typing import Final

from bridge.fields import FIELDS, sql_of
from bridge.model import LABEL_PREFIXES

_IF: Final = re.compile(r"\s*--if (\w+)$")
_INCLUDE: Final = re.compile(r"\s*--include (\w+)$")


def statement(name: str, database: str, given: Collection[str]) -> str:
    """The text to send. `KeyError` or `FileNotFoundError` here is a bug."""
    lines = []
    for line in _lines(name, database):
        wanted = _IF.search(line)
        if wanted is None or wanted[1] in given:
            lines.append(_IF.sub("", line))
    return "\n".join(lines)


@cache
def _lines(name: str, database: str) -> tuple[str, ...]:
    text = Template("\n".join(_read(name))).substitute(
        {field: sql_of(field) for field in FIELDS},
        database=database,
        label_prefixes=", ".join(f"'{prefix}'" for prefix in LABEL_PREFIXES),
    )
    return tuple(text.splitlines())


def _read(name: str) -> list[str]:
    found = []
    for line in files("query_api").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8").splitlines():
        included = _INCLUDE.match(line)
        if included:
            found += _read(included[1])
        elif not line.startswith("-- "):
            found.append(line)
    return found


def names() -> list[str]:
    """Every file of `sql/`; those starting with `_` are parts."""
    return sorted(each.name.removesuffix(".sql") for each in files("query_api").joinpath("sql").iterdir())
