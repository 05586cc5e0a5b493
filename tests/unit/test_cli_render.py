"""What is written: lines of the contract, harmless on a terminal, and tables that fit it."""

import io
import json
import os
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bridge.cli.output import Form, Output
from bridge.cli.render import Screen
from bridge.cli.texts import harmless, json_line, one_line, raw_line
from bridge.cli.waterfall import waterfall
from query_api.storage import Span
from tests.observer_server import entry

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def table(*entries: dict[str, Any], width: int | None = 80, is_coloured: bool = False) -> str:
    stream = io.StringIO()
    screen = Screen(stream, is_terminal=width is not None, is_coloured=is_coloured, width=width)
    screen.show_logs(entries, is_time_full=False)
    return stream.getvalue()


def falls(*spans: Span, width: int | None = 80, has_attributes: bool = False) -> list[str]:
    stream = io.StringIO()
    screen = Screen(stream, is_terminal=width is not None, is_coloured=False, width=width)
    screen.show_waterfall("t1", waterfall(spans), has_attributes=has_attributes)
    return stream.getvalue().splitlines()


def span(span_id: str, parent: str = "", start: int = 0, duration: int = 100, **more: Any) -> Span:
    told = {"status": "Unset", **more}
    return Span("t1", span_id, parent, f"name {span_id}", "Server", "shop", start, duration, **told)


def test_a_raw_line_is_the_contracts() -> None:
    """`<timestamp> [<container>] <log>`, and without a container no brackets (7.2)."""
    assert raw_line(entry("2026-01-31T12:00:00.5Z", "hello")) == "2026-01-31T12:00:00.5Z [main] hello"
    assert raw_line(entry("2026-01-31T12:00:00Z", "hello", container="")) == "2026-01-31T12:00:00Z hello"


@given(st.text())
def test_no_text_drives_a_terminal(text: str) -> None:
    """After `harmless` there is no control character, no turning of direction and nothing that cannot be written."""
    safe = harmless(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]", safe)
    assert safe.encode().decode() == safe
    assert not set(one_line(text)) & {"\n", "\t"}


def test_what_was_hidden_is_written_out() -> None:
    """An escape can be read where it was, and ordinary text of any script stays."""
    assert harmless("\x1b[31mred\x07\r\x9b") == "\\x1b[31mred\\x07\\x0d\\x9b"
    assert harmless("a\u202eb\ud800") == "a\\u202eb\\ud800"
    assert harmless("größe 価格 👍🏽\tok\n") == "größe 価格 👍🏽\tok\n"


def test_json_on_a_terminal_is_ascii() -> None:
    """The entry is the same, and nothing in it can be a C1 control."""
    row = entry("2026-01-31T12:00:00Z", "\x9b2J é")
    assert json_line(row, is_ascii=True).isascii()
    assert json.loads(json_line(row, is_ascii=True)) == json.loads(json_line(row, is_ascii=False)) == row


def test_rows_of_a_table_are_aligned() -> None:
    """Time in UTC with milliseconds, level, component, message; the components' column is as wide as needed."""
    first, second = table(
        entry("2026-01-31T12:00:00.123456789Z", "one"),
        entry("2026-01-31T12:00:01Z", "two", level="ERROR", component="api"),
    ).splitlines()
    assert first == "2026-01-31T12:00:00.123Z INFO  checkout  one"
    assert second == "2026-01-31T12:00:01.000Z ERROR api       two"


def test_long_and_several_lines_are_continued_below_the_message() -> None:
    """No row is wider than the terminal, and a line feed cannot begin what looks like another row."""
    body = "word " * 20 + "\n2026-01-31T12:00:00.000Z ERROR forged\n\tat x" + "y" * 100
    lines = table(entry("2026-01-31T12:00:00Z", body)).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert all(line.startswith(" " * 41) for line in lines[1:])
    assert "".join(line[41:].replace(" ", "") for line in lines) == re.sub(r"\s", "", body)


def test_wide_characters_take_two_cells() -> None:
    """Lines are wrapped by what the terminal shows, not by the number of characters."""
    lines = table(entry("2026-01-31T12:00:00Z", "価" * 40), width=81).splitlines()
    assert [line[41:].count("価") for line in lines] == [20, 20]


def test_a_narrow_terminal_has_the_message_below() -> None:
    """Where there is no room beside the columns, the message has the whole width."""
    lines = table(entry("2026-01-31T12:00:00Z", "a message of some length"), width=50).splitlines()
    assert lines == ["2026-01-31T12:00:00.000Z INFO  checkout", "    a message of some length"]


def test_in_a_file_nothing_is_wrapped() -> None:
    """Without a terminal a row is as long as it is."""
    assert table(entry("2026-01-31T12:00:00Z", "x" * 500), width=None).splitlines()[0].endswith("x" * 500)


def test_levels_have_colours_and_bodies_do_not_choose_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours are ours: taken away, nothing but text is left, and markup in a message is text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    row = entry("2026-01-31T12:00:00Z", "[red]not markup[/red] \x1b[32m :smile:", level="ERROR")
    coloured = table(row, is_coloured=True)
    assert "\x1b[31mERROR\x1b[0m" in coloured
    assert ESCAPES.sub("", coloured) == table(row)
    assert "[red]not markup[/red] \\x1b[32m :smile:" in table(row)


@pytest.mark.parametrize("form", [Form(), Form("table"), Form("json")])
def test_no_colour_leaves_the_process_that_is_not_on_a_terminal(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipes and files get plain text, even where the environment asks for colours."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    Output(stream, form).show_logs([entry("2026-01-31T12:00:00Z", "x", level="ERROR")])
    assert "\x1b" not in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {}])
def test_no_color_is_respected(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR or --no-color: not one escape on a terminal; without them there are some."""
    monkeypatch.setattr(os, "environ", {"TERM": "xterm-256color", **environ})
    plain, coloured = Terminal(), Terminal()
    Output(plain, Form(is_plain=not environ)).show_logs([entry("2026-01-31T12:00:00Z", "x")])
    Output(coloured, Form()).show_logs([entry("2026-01-31T12:00:00Z", "x")])
    assert "\x1b" not in plain.getvalue()
    assert ("\x1b" in coloured.getvalue()) == (not environ)


def test_raw_on_a_terminal_is_harmless_and_elsewhere_unchanged() -> None:
    """A file has the line as it was sent."""
    row = entry("2026-01-31T12:00:00Z", "\x1b]0;owned\x07")
    terminal, file = Terminal(), io.StringIO()
    Output(terminal, Form("raw")).show_logs([row])
    Output(file, Form("raw")).show_logs([row])
    assert terminal.getvalue() == "2026-01-31T12:00:00Z [main] \\x1b]0;owned\\x07\n"
    assert file.getvalue() == "2026-01-31T12:00:00Z [main] \x1b]0;owned\x07\n"


def test_a_waterfall_has_its_bars_under_each_other() -> None:
    """Names are indented, bars are where the time was, and the duration ends the line."""
    lines = falls(span("a"), span("b", "a", 50, 50))
    assert lines[0] == "trace t1"
    assert "100 ns  2 spans of 1 service" in lines[1]
    first, second = lines[3:]
    assert first.startswith("name a  shop")
    assert second.startswith("  name b  shop")
    assert second.count("█") * 2 == first.count("█") > 40
    assert second.index("█") - first.index("█") == second.count("█")
    assert first.rindex("█") == second.rindex("█")
    assert {len(first), len(second)} == {80}


def test_errors_and_missing_parents_are_told() -> None:
    """An error has its message below, and a parent that cannot be read a line of its own."""
    lines = falls(span("b", "gone", status="Error", status_message="card\ndeclined"), width=None)
    text = "\n".join(lines)
    assert "1 span with an error" in text
    assert "? parent gone cannot be read" in text
    assert "    ! card\\ndeclined" in text


def test_attributes_are_below_their_span() -> None:
    """Sorted, one a line, and only when asked for."""
    one = span("a", attributes={"b": "2", "a": "\x1b[1m"})
    assert [line.strip() for line in falls(one, has_attributes=True)[-2:]] == ["a = \\x1b[1m", "b = 2"]
    assert "b = 2" not in "\n".join(falls(one))


@given(st.integers(1, 200), st.integers(0, 60), st.text(max_size=40))
def test_a_waterfall_fits_its_terminal(width: int, depth: int, name: str) -> None:
    """Whatever names and depths there are, no line of spans is wider than a terminal of at least 30 cells."""
    parents = ["", *map(str, range(depth))]
    chain = [Span("t1", str(n), parent, name, "Server", name, n, 60, "Unset") for n, parent in enumerate(parents)]
    lines = falls(*chain, width=width)
    assert len(lines) == 3 + len(chain)
    assert width < 30 or all(cell_len(line) <= width for line in lines[3:])


def test_traces_are_a_table() -> None:
    """Time, id, duration, spans, whether one failed, and the root's name, cut at the terminal's edge."""
    stream = io.StringIO()
    trace = {
        "traceId": "b" * 32,
        "rootSpanName": "GET /checkout" + "x" * 100,
        "spanCount": 7,
        "startTime": "2026-01-31T12:00:00Z",
        "durationNs": 1_500_000,
        "hasErrors": True,
    }
    Screen(stream, is_terminal=True, is_coloured=False, width=110).show_traces([trace])
    heading, line = stream.getvalue().splitlines()
    assert heading.split() == ["STARTED", "TRACE", "TOOK", "SPANS", "ROOT"]
    assert line.split()[:7] == ["2026-01-31T12:00:00.000Z", "b" * 32, "1.50", "ms", "7", "ERROR", "GET"]
    assert len(line) == 110
