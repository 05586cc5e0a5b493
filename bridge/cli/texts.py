"""What an entry is as a line, and what text of others may be put on a terminal. Pure."""

import json
import re
from typing import Final

from bridge.cli.follow import Entry

# Everything that drives a terminal or hides the order of what is read: C0 and C1 controls except tab and line feed, the
# marks that turn the direction of writing, the Unicode line ends, and halves of characters, which cannot be written.
_HARMFUL: Final = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028\\u2029\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def harmless(text: str) -> str:
    """The text with every character that could drive a terminal written out (`\\x1b`); tabs and line feeds stay."""
    return _HARMFUL.sub(lambda found: _written(found.group()), text)


def one_line(text: str) -> str:
    """Harmless, and tabs and line feeds are written out too: for names and messages."""
    return harmless(text).replace("\n", "\\n").replace("\t", "\\t")


def _written(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def raw_line(entry: Entry) -> str:
    """`<timestamp> [<container>] <log>`, or without the container where there is none (contract 7.2)."""
    container = entry.get("containerName")
    parts = (entry.get("timestamp", ""), f"[{container}]" if container else "", entry.get("log", ""))
    return " ".join(str(part) for part in parts if part != "")


def json_line(entry: Entry, *, is_ascii: bool) -> str:
    """The entry as it came, on one line; `is_ascii` writes out everything else, for a terminal."""
    return json.dumps(entry, ensure_ascii=is_ascii)
