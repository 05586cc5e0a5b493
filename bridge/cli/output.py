"""Where the client commands write: rows on standard output in the wanted form, everything else on standard error."""

import os
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from typing import TextIO

from bridge.cli.follow import Entry
from bridge.cli.render import Screen
from bridge.cli.texts import harmless, json_line, raw_line

TABLE, JSON, RAW = "table", "json", "raw"


@dataclass(frozen=True, slots=True)
class Form:
    """`kind` None: a table on a terminal, else raw. `is_time_full`: times of tables as the store has them."""

    kind: str | None = None
    is_plain: bool = False
    is_time_full: bool = False


class Output:
    """Standard output in a form. Every `show_...` flushes, and raises `BrokenPipeError` when nobody reads any more."""

    def __init__(self, stream: TextIO, form: Form, otherwise: str = RAW) -> None:
        is_terminal = stream.isatty()
        is_coloured = is_terminal and not form.is_plain and not os.environ.get("NO_COLOR")
        self._stream = stream
        self._form = form
        self._is_terminal = is_terminal
        self.kind = form.kind or (TABLE if is_terminal else otherwise)
        self.screen = Screen(stream, is_terminal=is_terminal, is_coloured=is_coloured)

    def show_logs(self, entries: Sequence[Entry]) -> None:
        """All of them, in this order."""
        if self.kind == TABLE and entries:
            self.screen.show_logs(entries, is_time_full=self._form.is_time_full)
        elif self.kind == JSON:
            self.show_json(entries)
        else:
            lines = (raw_line(entry) for entry in entries)
            self._stream.writelines(f"{harmless(line) if self._is_terminal else line}\n" for line in lines)
        self._stream.flush()

    def show_json(self, objects: Sequence[Entry]) -> None:
        """One a line, as it came."""
        self._stream.writelines(f"{json_line(each, is_ascii=self._is_terminal)}\n" for each in objects)
        self._stream.flush()

    def wait(self, seconds: float) -> None:
        """Return when the time is over. Raises `BrokenPipeError` as soon as nobody reads the output any more."""
        if not hasattr(select, "poll"):
            time.sleep(seconds)
            return
        poll = select.poll()
        poll.register(self._stream.fileno(), 0)  # errors and hang-ups are always told
        if poll.poll(seconds * 1000):
            raise BrokenPipeError


def standard_output(form: Form, otherwise: str = RAW) -> Output:
    """Of this process; a character that its encoding does not have is written out instead of ending the command."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    return Output(sys.stdout, form, otherwise)


def note(text: str) -> None:
    """One line for the person at the terminal."""
    print(f"headrace: {harmless(text)}", file=sys.stderr, flush=True)
