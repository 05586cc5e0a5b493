"""How logs and traces look in a terminal: the only module that knows `rich`. All text of others is made harmless here.

Widths are in cells of the terminal; a width of None is for files and pipes, where nothing is wrapped or cut.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from bridge.cli.follow import Entry
from bridge.cli.moments import duration_text, milliseconds, parse_moment
from bridge.cli.texts import harmless, one_line
from bridge.cli.waterfall import Line, Waterfall, bar_cells

LEVEL_STYLES: Final = {
    "FATAL": "bold red",
    "ERROR": "red",
    "WARN": "yellow",
    "INFO": "green",
    "DEBUG": "blue",
    "TRACE": "dim",
}
LEVEL_CELLS: Final = 5
MAX_COMPONENT_CELLS: Final = 24
LEAST_BODY_CELLS: Final = 30
FILE_CELLS: Final = 120  # of a waterfall that is not shown on a terminal
LEAST_BAR_CELLS: Final = 10
MAX_INDENT: Final = 20  # levels; deeper ones say how deep they are
ERROR_STYLE: Final = "red"


class Screen:
    """Writes to a stream; with styles only where `is_coloured`."""

    def __init__(self, stream: TextIO, *, is_terminal: bool, is_coloured: bool, width: int | None = None) -> None:
        self._console = Console(
            file=stream,
            force_terminal=is_terminal,
            color_system="auto" if is_coloured else None,
            width=width,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self.width = self._console.width if is_terminal else None
        self._is_unicode = (getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"
        self._component_cells = 0

    def show_logs(self, entries: Sequence[Entry], *, is_time_full: bool) -> None:
        """One row an entry, continued below its message where it is longer than the line or has several."""
        names = [cell_len(_component(entry)) for entry in entries]
        self._component_cells = min(MAX_COMPONENT_CELLS, max([self._component_cells, *names]))
        self._print(line for entry in entries for line in self._log_lines(entry, is_time_full=is_time_full))

    def _log_lines(self, entry: Entry, *, is_time_full: bool) -> Iterator[Text]:
        level = one_line(str(entry.get("logLevel") or "-"))
        head = Text(_time(entry.get("timestamp"), is_full=is_time_full), style="dim")
        head = Text.assemble(
            head,
            " ",
            (set_cell_size(level, LEVEL_CELLS), LEVEL_STYLES.get(level.upper(), "")),
            " ",
            (_fitted(_component(entry), self._component_cells), "cyan"),
            "  ",
        )
        indent = head.cell_len
        if self.width is not None and self.width - indent < LEAST_BODY_CELLS:
            head.rstrip()
            yield head
            head, indent = Text(" " * 4), 4
        for number, line in enumerate(self._wrapped(harmless(str(entry.get("log", ""))), indent)):
            line.rstrip()
            yield Text.assemble(head if number == 0 else " " * indent, line)

    def _wrapped(self, body: str, indent: int) -> list[Text]:
        lines = body.rstrip("\n").expandtabs(4).split("\n")
        if self.width is None:
            return [Text(line) for line in lines]
        room = max(self.width - indent, 1)
        return [
            part
            for line in lines
            for part in (
                [Text(line)] if cell_len(line) <= room else Text(line).wrap(self._console, room, overflow="fold")
            )
        ]

    def show_traces(self, traces: Sequence[Mapping[str, Any]]) -> None:
        """One row a trace under a heading."""
        self._print([Text(f"{'STARTED':<24}  {'TRACE':<32}  {'TOOK':>9}  {'SPANS':>6}  {'':5}  ROOT", style="bold")])
        self._print(self._trace_line(trace) for trace in traces)

    def _trace_line(self, trace: Mapping[str, Any]) -> Text:
        took = trace.get("durationNs")
        name = one_line(str(trace.get("rootSpanName") or trace.get("traceName") or "-"))
        line = Text.assemble(
            (f"{_time(trace.get('startTime')):<24}", "dim"),
            f"  {one_line(str(trace.get('traceId'))):<32}",
            f"  {duration_text(took) if isinstance(took, int) else '-':>9}",
            f"  {one_line(str(trace.get('spanCount'))):>6}  ",
            ("ERROR" if trace.get("hasErrors") else "     ", ERROR_STYLE),
            f"  {name}",
        )
        if self.width is not None:
            line.truncate(max(self.width, 1), overflow="ellipsis" if self._is_unicode else "crop")
        return line

    def show_waterfall(self, trace_id: str, fall: Waterfall, *, has_attributes: bool) -> None:
        """A heading, and a row a span: indented name and service, bar in the trace's time, duration."""
        spans = [line.span for line in fall.lines if line.span is not None]
        errors = sum(span.status == "Error" for span in spans)
        heading = Text.assemble(
            f"{milliseconds(fall.start_unix_nano)}  {duration_text(fall.duration_nano)}  ",
            f"{_counted(len(spans), 'span')} of {_counted(len({span.service for span in spans}), 'service')}",
            (f"  {_counted(errors, 'span')} with an error" if errors else "", ERROR_STYLE),
        )
        self._print([Text(f"trace {one_line(trace_id)}", style="bold"), heading, Text("")])
        columns = _columns(fall.lines, self.width or FILE_CELLS)
        self._print(
            text
            for line in fall.lines
            for text in self._fall_lines(line, columns, fall.duration_nano, has_attributes=has_attributes)
        )

    def _fall_lines(self, line: Line, columns: "Columns", duration: int, *, has_attributes: bool) -> Iterator[Text]:
        span = line.span
        is_error = span is not None and span.status == "Error"
        took = span.duration_nano if span is not None else round(line.length * duration)
        name = _name(line)
        name.truncate(columns.name, overflow="ellipsis" if self._is_unicode else "crop", pad=True)
        yield Text.assemble(
            (name if not is_error else Text(name.plain, style=ERROR_STYLE)),
            "  ",
            (self._bar(line, columns.bar), "dim" if span is None else ERROR_STYLE if is_error else "green"),
            f" {duration_text(took):>9}",
        )
        if span is None:
            return
        below = " " * (2 * min(line.depth, MAX_INDENT) + 2)
        if is_error or span.status_message:
            message = one_line(span.status_message) or "error"
            yield from self._below(below, f"! {message}", ERROR_STYLE if is_error else "")
        if has_attributes:
            for key, value in sorted(span.attributes.items()):
                yield from self._below(below, f"{one_line(key)} = {one_line(value)}", "dim")

    def _below(self, indent: str, text: str, style: str) -> Iterator[Text]:
        room = max((self.width or FILE_CELLS) - len(indent), LEAST_BAR_CELLS)
        parts = [Text(text)] if self.width is None else Text(text).wrap(self._console, room, overflow="fold")
        for part in parts:
            part.stylize(style)
            yield Text.assemble(indent, part)

    def _bar(self, line: Line, cells: int) -> str:
        first, count = bar_cells(line.start, line.length, cells)
        mark = ("░" if line.span is None else "█") if self._is_unicode else ("." if line.span is None else "=")
        return " " * first + mark * count + " " * (cells - first - count)

    def _print(self, lines: Iterable[Text]) -> None:
        text = Text("\n").join(lines)
        self._console.print(text, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Columns:
    """Cells of a waterfall's names and bars; what is between and behind them is fixed."""

    name: int
    bar: int


def _columns(lines: Sequence[Line], width: int) -> Columns:
    """Names get what they need up to half of the line, bars the rest."""
    needed = max((_name(line).cell_len for line in lines), default=0)
    room = width - 2 - 10  # between the columns, and the duration
    name = max(min(needed, room // 2, room - LEAST_BAR_CELLS), 1)
    return Columns(name, max(room - name, LEAST_BAR_CELLS))


def _name(line: Line) -> Text:
    depth = f"({line.depth}) " if line.depth > MAX_INDENT else ""
    indent = "  " * min(line.depth, MAX_INDENT) + depth
    if line.span is None:
        return Text.assemble(indent, (f"? parent {one_line(line.missing_id)} cannot be read", "dim"))
    circle = "(its own ancestor) " if line.is_in_circle else ""
    return Text.assemble(
        indent, circle, one_line(line.span.name) or "-", "  ", (one_line(line.span.service) or "-", "cyan")
    )


def _component(entry: Entry) -> str:
    """What wrote it: the component, for a gateway's rows the container."""
    return one_line(str(entry.get("componentId") or entry.get("containerName") or "-"))


def _fitted(text: str, cells: int) -> str:
    """Exactly so wide; what is cut off is marked."""
    return set_cell_size(text, cells) if cell_len(text) <= cells else set_cell_size(text, cells - 1) + "~"


def _time(text: Any, *, is_full: bool = False) -> str:
    try:
        return one_line(str(text)) if is_full else milliseconds(parse_moment(str(text)))
    except ValueError:
        return one_line(str(text))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
