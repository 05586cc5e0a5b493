"""`headrace`: arguments -> settings -> the command. Heavy imports happen inside the commands, after `tune_process`."""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bridge.cli.client_arguments import add_client_commands
from bridge.cli.migrate import add_migrate_commands
from bridge.errors import BridgeError
from bridge.process import tune_process
from bridge.settings import Settings, effective, load_settings

Command = Callable[[Settings, argparse.Namespace], int]

EXIT_USAGE = 2
SINKS = ("clickhouse", "opensearch")


def main(argv: Sequence[str] | None = None) -> int:
    """The process's exit status: 0 done, 1 failed, 2 wrong arguments or settings (nothing was started)."""
    arguments = _parser().parse_args(argv)
    tune_process()
    try:
        settings = load_settings(arguments.config, os.environ)
    except BridgeError as error:
        print(f"settings:\n{error}", file=sys.stderr)  # noqa: T201 - before there is a log
        return EXIT_USAGE
    command: Command = arguments.command
    try:
        return command(settings, arguments)
    except (BridgeError, OSError) as error:
        print(f"headrace: {error}", file=sys.stderr)  # noqa: T201 - the last word of a command
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="headrace", description="OTLP in, enriched, durable, in ClickHouse once.")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--config", type=Path, default=_default_config(), help="TOML file (default: $HEADRACE_CONFIG, else none)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    for role, text in (
        ("run", "receive, deliver and serve, all in this process"),
        ("receive", "OTLP -> Kafka; as many processes as needed"),
        ("deliver", "Kafka -> ClickHouse; as many processes as there are partitions"),
        ("query", "the query API on ClickHouse"),
    ):
        part = commands.add_parser(role, parents=[common], help=text)
        part.set_defaults(command=_run, role=role, sink="clickhouse")
        if role == "deliver":
            part.add_argument("--sink", choices=SINKS, help="opensearch: the shadow, as a group of its own")

    demo = commands.add_parser("demo", parents=[common], help="send a small shop's telemetry and show what was stored")
    demo.add_argument("--orders", type=int, default=40, help="orders the shop takes (default 40)")
    demo.add_argument("--timeout-seconds", type=float, default=60.0, help="how long to wait for the store")
    demo.set_defaults(command=_demo)

    config = commands.add_parser("config", help="look at the settings").add_subparsers(required=True, metavar="ACTION")
    check = config.add_parser("check", parents=[common], help="print the effective settings, secrets masked")
    check.set_defaults(command=_config_check)

    schema = commands.add_parser("schema", help="tables and views").add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("plan", "print the statements that are missing"),
        ("apply", "create what is missing; destroys nothing"),
        ("check", "say what differs from this version's schema"),
    ):
        part = schema.add_parser(action, parents=[common], help=text)
        part.set_defaults(command=_schema, action=action)
    _add_dlq(commands, common)
    ledger = commands.add_parser("ledger", help="what became of every item").add_subparsers(
        required=True, metavar="ACTION"
    )
    sums = ledger.add_parser("check", parents=[common], help="say whether received, stored and dead-lettered add up")
    sums.add_argument("--from", dest="since", required=True, help="first minute, as 2026-01-31T12:00:00Z")
    sums.add_argument("--to", dest="until", required=True, help="the minute behind the last")
    sums.add_argument("--wait-seconds", type=float, default=30.0, help="for items still on their way (default 30)")
    sums.set_defaults(command=_ledger_check)
    _add_capacity(commands, common)
    add_client_commands(commands, common)
    add_migrate_commands(commands, common)
    return parser


def _add_dlq(commands: Any, common: argparse.ArgumentParser) -> None:
    dlq = commands.add_parser("dlq", help="dead letters").add_subparsers(required=True, metavar="ACTION")
    for action, text in (
        ("list", "one line a letter"),
        ("show", "all of it, with the item as OTLP JSON"),
        ("replay", "put the items back into the log; doing it twice writes them once"),
        ("drop", "let them go for good"),
    ):
        part = dlq.add_parser(action, parents=[common], help=text)
        part.add_argument("ids", nargs="*", metavar="ID", help="letters by id; none: all that match")
        part.add_argument("--org", help="of this organisation")
        part.add_argument("--reason", help="with this reason, as rejected_by_sink")
        part.add_argument("--since", help="dead since, as 2026-01-31T12:00:00Z")
        part.add_argument("--until", help="dead before")
        part.add_argument("--all", action="store_true", help="list and show: also replayed and dropped ones")
        part.add_argument("--json", action="store_true", help="list: a JSON object a line")
        part.add_argument("--sink", choices=SINKS, default="clickhouse", help="opensearch: what the shadow refused")
        part.set_defaults(command=_dlq, action=action)


def _add_capacity(commands: Any, common: argparse.ArgumentParser) -> None:
    part = commands.add_parser("capacity", parents=[common], help="how many pods, partitions and servers a load takes")
    part.add_argument("--events-per-second", type=_above_zero, required=True, metavar="N", help="items, all senders")
    part.add_argument("--bytes-per-event", type=_above_zero, required=True, metavar="B", help="of OTLP, uncompressed")
    part.add_argument("--signal", choices=["logs", "traces"], default="logs", help="default logs")
    part.add_argument("--items-per-request", type=_count, default=1000, help="as senders batch (default 1000)")
    part.add_argument("--retention-days", type=_above_zero, default=30.0, help="in ClickHouse (default 30)")
    part.add_argument("--latest", type=Path, metavar="FILE", help="costs of a bench report, bench/results/latest.json")
    part.add_argument("--costs", type=Path, metavar="FILE", help="JSON of figures to replace (docs/capacity.md)")
    part.add_argument("--json", action="store_true", help="all figures as one JSON object")
    part.set_defaults(command=_capacity)


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number above 0, not {text!r}")
    return int(text)


def _default_config() -> Path | None:
    path = os.environ.get("HEADRACE_CONFIG")
    return Path(path) if path else None


def _run(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.run import run_role

    return run_role(settings, "shadow" if arguments.sink == "opensearch" else arguments.role)


def _dlq(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.dlq import Filter, dlq, parse_time
    from bridge.letters import LetterState

    is_all = arguments.all and arguments.action in ("list", "show")
    wanted = Filter(
        org=arguments.org,
        reason=arguments.reason,
        since=parse_time(arguments.since) if arguments.since else None,
        until=parse_time(arguments.until) if arguments.until else None,
        ids=tuple(arguments.ids),
        states=tuple(LetterState) if is_all else (LetterState.WAITING,),
    )
    is_shadow = arguments.sink == "opensearch"
    return dlq(settings, arguments.action, wanted, as_json=arguments.json, is_shadow=is_shadow)


def _ledger_check(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.dlq import parse_time
    from bridge.cli.ledger import ledger_check

    return ledger_check(settings, parse_time(arguments.since), parse_time(arguments.until), arguments.wait_seconds)


def _demo(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.demo import demo

    return demo(settings, arguments.orders, arguments.timeout_seconds)


def _schema(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.schema import schema

    return schema(settings, arguments.action)


def _capacity(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.capacity import Load
    from bridge.cli.capacity import Asked, capacity

    load = Load(
        arguments.signal,
        arguments.events_per_second,
        arguments.bytes_per_event,
        arguments.items_per_request,
        arguments.retention_days,
    )
    return capacity(settings, Asked(load, arguments.latest, arguments.costs, arguments.json))


def _config_check(settings: Settings, _: argparse.Namespace) -> int:
    print(effective(settings))  # noqa: T201 - what was asked for
    return 0


if __name__ == "__main__":
    sys.exit(main())
