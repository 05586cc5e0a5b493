"""Arguments of `headrace logs` and `headrace traces`, and how these commands end. Their code is imported when they run.

Exit status: 0 done (also when nothing was found, and when the reader of a pipe went away), 1 the query API refused or
cannot be reached, 2 wrong arguments or settings, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import BridgeError, SettingsInvalid
from bridge.settings import Settings

if TYPE_CHECKING:
    from bridge.cli.logs import Asked
    from bridge.cli.moments import Window
    from bridge.cli.output import Form

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
DEFAULT_LIMIT = 1000
DEFAULT_SINCE = "1h"
Parser = argparse.ArgumentParser


def add_client_commands(commands: Any, common: Parser) -> None:
    """`logs` and `traces` among the program's commands."""
    parents = [common, _connection()]
    logs = commands.add_parser("logs", help="read logs from the query API").add_subparsers(required=True, metavar="OF")
    for of, text in (
        ("component", "of a component"),
        ("project", "of a project, all components or some"),
        ("org", "of a whole organisation"),
        ("gateway", "of an organisation's gateways"),
    ):
        part = logs.add_parser(of, parents=parents, help=text)
        if of != "gateway":
            part.add_argument("name", metavar="NAME", type=_name, help=f"of the {of}: name or id")
            _add_filters(part)
        _add_scope(part, of)
        _add_window(part)
        _add_reading(part)
        _add_output(part, ("table", "json", "raw"), "a table on a terminal, else raw: TIME [CONTAINER] LOG")
        part.set_defaults(command=_logs, of=of)
    _add_traces(commands, parents)


def _add_traces(commands: Any, parents: list[Parser]) -> None:
    traces = commands.add_parser("traces", help="read traces from the query API")
    parts = traces.add_subparsers(required=True, metavar="WHAT")
    part = parts.add_parser("component", parents=parents, help="the newest traces of a component")
    part.add_argument("name", metavar="NAME", type=_name, help="of the component: name or id")
    for option, text in (("--org", "its organisation"), ("--project", "its project"), ("--env", "environment")):
        part.add_argument(option, metavar="NAME", type=_name, help=text)
    _add_window(part)
    part.add_argument("--limit", type=_count, default=20, metavar="N", help="at most so many (default 20, up to 1000)")
    part.add_argument("--errors", action="store_true", help="only traces with an error")
    _add_output(part, ("table", "json"), "a table")
    part.set_defaults(command=_traces)
    show = parts.add_parser("show", parents=parents, help="one trace as a waterfall")
    show.add_argument("trace_id", metavar="TRACE_ID", type=_trace_id, help="32 hexadecimal digits")
    show.add_argument("--org", metavar="NAME", type=_name, help="its organisation")
    show.add_argument("--attributes", action="store_true", help="with the attributes of every span")
    _add_output(show, ("table", "json"), "a waterfall; json: a span a line")
    show.set_defaults(command=_trace)


def _connection() -> Parser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--url", help="of the query API (default: setting client.url, http://127.0.0.1:9097)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="bearer token (default: setting client.token)")
    return parser


def _add_scope(part: Parser, of: str) -> None:
    if of == "gateway":
        part.add_argument("--org", metavar="NAME", type=_name, required=True, help="the organisation")
        part.add_argument("--vhost", action="append", default=[], type=_name, metavar="HOST", help="of these hosts")
        part.add_argument(
            "--api", action="append", default=[], type=_name, metavar="ID[=VERSION]", help="of these APIs"
        )
        part.add_argument("--search", metavar="TEXT", help="with this text, any case")
    elif of == "org":
        part.add_argument(
            "--label", action="append", default=[], type=_pair, metavar="KEY=VALUE", help="with these pod labels"
        )
    else:
        part.add_argument("--org", metavar="NAME", type=_name, help="only of this organisation")
    if of == "component":
        part.add_argument("--project", metavar="NAME", type=_name, help="only of this project")
    if of == "project":
        part.add_argument("--component", action="append", default=[], type=_name, metavar="NAME", help="of these only")


def _add_filters(part: Parser) -> None:
    part.add_argument("--env", metavar="NAME", type=_name, help="environment: name or id")
    part.add_argument("--namespace", metavar="NAME", type=_name, help="Kubernetes namespace")
    part.add_argument(
        "--level", action="append", default=[], type=_name, metavar="L", help="ERROR, WARN, ...; repeatable"
    )
    part.add_argument("--search", metavar="TEXT", help="with this text, any case")
    part.add_argument("--version", action="append", default=[], type=_name, metavar="V", help="of these versions")
    part.add_argument("--build", metavar="ID", type=_name, help="of this build")
    part.add_argument("--build-uuid", metavar="UUID", type=_name, help="of the build with this uuid")
    part.add_argument(
        "--type",
        choices=["runtime", "build"],
        help="build: of build pods, of any time unless one is given (default runtime)",
    )


def _add_window(part: Parser) -> None:
    start = part.add_mutually_exclusive_group()
    start.add_argument("--since", metavar="AGO", help=f"30s, 15m, 1h30m, 2d (default {DEFAULT_SINCE})")
    start.add_argument("--from", dest="start", metavar="TIME", help="as 2026-01-31T12:00:00Z; UTC if it says nothing")
    part.add_argument("--to", dest="end", metavar="TIME", help="until then (default now)")


def _add_reading(part: Parser) -> None:
    count = part.add_mutually_exclusive_group()
    count.add_argument(
        "--tail", type=_count_or_none, metavar="N", help="only the newest N; with --follow 0 is possible"
    )
    count.add_argument(
        "--limit", type=_count, metavar="N", help=f"at most so many, oldest first (default {DEFAULT_LIMIT})"
    )
    part.add_argument("-f", "--follow", action="store_true", help="go on with new rows until interrupted")
    part.add_argument("--interval", type=_seconds, default=2.0, metavar="SECONDS", help="between looks (default 2)")
    part.add_argument("--timestamps", action="store_true", help="times in full in the table, as they are stored")


def _add_output(part: Parser, kinds: tuple[str, ...], default: str) -> None:
    part.add_argument("--output", choices=kinds, help=f"default: {default}")
    part.add_argument("--no-color", action="store_true", help="nor if NO_COLOR is set, nor outside of a terminal")


def _name(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def _pair(text: str) -> str:
    key, is_pair, _ = text.partition("=")
    if not is_pair or not key:
        raise argparse.ArgumentTypeError(f"must be KEY=VALUE, not {text!r}")
    return text


def _trace_id(text: str) -> str:
    digits = text.strip().lower()
    if len(digits) != 32 or set(digits) - set("0123456789abcdef"):
        raise argparse.ArgumentTypeError(f"must be 32 hexadecimal digits, not {text!r}")
    return digits


def _count_or_none(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be a whole number, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if (number := _count_or_none(text)) < 1:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"must be from 0.1 to 3600 seconds, not {text!r}")
    return seconds


def _logs(settings: Settings, arguments: argparse.Namespace) -> int:
    def run() -> int:
        from bridge.cli.logs import Follow, show_logs
        from bridge.cli.observer import Observer
        from bridge.cli.output import standard_output

        asked = asked_of(arguments)
        observer = Observer.of(settings, arguments.url, arguments.token_file)
        output = standard_output(_form(arguments))
        if arguments.follow:
            return Follow(observer, asked, output, arguments.interval).run()
        return show_logs(observer, asked, output)

    return ended(run)


def _traces(settings: Settings, arguments: argparse.Namespace) -> int:
    def run() -> int:
        from bridge.cli.observer import Observer
        from bridge.cli.output import TABLE, standard_output
        from bridge.cli.traces import MAX_TRACES, TracesAsked, show_traces

        if arguments.limit > MAX_TRACES:
            raise SettingsInvalid(f"--limit: at most {MAX_TRACES} traces are told at once")
        scope = {"namespace": arguments.org, "project": arguments.project, "environment": arguments.env}
        told = {key: value for key, value in scope.items() if value} | {"component": arguments.name}
        asked = TracesAsked(told, _window(arguments), arguments.limit, arguments.errors)
        observer = Observer.of(settings, arguments.url, arguments.token_file)
        return show_traces(observer, asked, standard_output(_form(arguments), TABLE))

    return ended(run)


def _trace(settings: Settings, arguments: argparse.Namespace) -> int:
    def run() -> int:
        from bridge.cli.observer import Observer
        from bridge.cli.output import TABLE, standard_output
        from bridge.cli.traces import show_trace

        scope = {"namespace": arguments.org} if arguments.org else {}
        observer = Observer.of(settings, arguments.url, arguments.token_file)
        output = standard_output(_form(arguments), TABLE)
        return show_trace(observer, arguments.trace_id, scope, output, has_attributes=arguments.attributes)

    return ended(run)


def asked_of(arguments: argparse.Namespace) -> "Asked":
    """What is asked for. Raises `SettingsInvalid` naming the option that does not go with another."""
    from urllib.parse import quote

    from bridge.cli.logs import Asked

    if arguments.follow and arguments.end is not None:
        raise SettingsInvalid("--to does not go with --follow, which has no end")
    if arguments.follow and arguments.limit is not None:
        raise SettingsInvalid("--limit does not go with --follow; --tail N says with how many rows to begin")
    if not arguments.follow and arguments.tail == 0:
        raise SettingsInvalid("--tail 0 shows nothing without --follow")
    path = arguments.of if arguments.of == "gateway" else f"{arguments.of}/{quote(arguments.name, safe='')}"
    filters = _gateway_filters(arguments) if arguments.of == "gateway" else _filters(arguments)
    told = {key: value for key, value in filters.items() if value}
    return Asked(path, told, _window(arguments), arguments.tail, arguments.limit or DEFAULT_LIMIT)


def _filters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fields of the contract's bodies (1.3), and ours that narrow by organisation and project."""
    return {
        "organizationId": getattr(arguments, "org", None),
        "projectId": getattr(arguments, "project", None),
        "componentIds": getattr(arguments, "component", None),
        "podLabels": dict(pair.split("=", 1) for pair in getattr(arguments, "label", [])),
        "environmentId": arguments.env,
        "namespace": arguments.namespace,
        "logLevels": [level.upper() for level in arguments.level],
        "searchPhrase": arguments.search,
        "versions": arguments.version,
        "buildId": arguments.build,
        "buildUuid": arguments.build_uuid,
        "logType": (arguments.type or "").upper(),
    }


def _gateway_filters(arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "organizationId": arguments.org,
        "gatewayVHosts": arguments.vhost,
        "apiIdToVersionMap": {api.partition("=")[0]: api.partition("=")[2] for api in arguments.api},
        "searchPhrase": arguments.search,
    }


def _window(arguments: argparse.Namespace) -> "Window":
    """Until now if nothing else is said. Raises `SettingsInvalid`."""
    import time

    from bridge.cli.moments import Window, parse_duration, parse_moment

    def read(option: str, text: str, parse: Callable[[str], int]) -> int:
        try:
            return parse(text)
        except ValueError as error:
            raise SettingsInvalid(f"{option}: {error}") from error

    end = time.time_ns() if arguments.end is None else read("--to", arguments.end, parse_moment)
    if arguments.start is not None:
        start = read("--from", arguments.start, parse_moment)
        if start > end:
            bound = "--to" if arguments.end is not None else "now"
            raise SettingsInvalid(f"--from {arguments.start} is after {bound}")
        return Window(start, end)
    if arguments.since is None and arguments.end is None and getattr(arguments, "type", None) == "build":
        return Window(None, None)
    ago = read("--since", arguments.since or DEFAULT_SINCE, parse_duration)
    return Window(max(end - ago, 0), end)


def _form(arguments: argparse.Namespace) -> "Form":
    from bridge.cli.output import Form

    return Form(arguments.output, arguments.no_color, getattr(arguments, "timestamps", False))


def ended(run: Callable[[], int]) -> int:
    """The command's exit status, whichever way it ends."""
    try:
        status = run()
        sys.stdout.flush()
    except SettingsInvalid as error:
        return _told(error, EXIT_USAGE)
    except BridgeError as error:
        return _told(error, 1)
    except BrokenPipeError:
        _forget_output()
        return 0
    except KeyboardInterrupt:
        try:
            sys.stdout.flush()
        except OSError:
            _forget_output()
        return EXIT_INTERRUPTED
    return status


def _told(error: BridgeError, status: int) -> int:
    from bridge.cli.output import note

    note(str(error))
    return status


def _forget_output() -> None:
    """What is buffered goes nowhere, or Python would try to write it once more at its end and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
