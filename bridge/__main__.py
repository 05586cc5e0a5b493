"""`headrace`: arguments -> settings -> the command. Heavy imports happen inside the commands, after `tune_process`."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bridge.errors import BridgeError
from bridge.process import tune_process
from bridge.settings import Settings, effective, load_settings

Command = Callable[[Settings, argparse.Namespace], int]

EXIT_USAGE = 2


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

    run = commands.add_parser("run", parents=[common], help="receive, deliver and serve, all in this process")
    run.set_defaults(command=_run)

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
    return parser


def _default_config() -> Path | None:
    path = os.environ.get("HEADRACE_CONFIG")
    return Path(path) if path else None


def _run(settings: Settings, _: argparse.Namespace) -> int:
    from bridge.cli.run import run

    return run(settings)


def _demo(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.demo import demo

    return demo(settings, arguments.orders, arguments.timeout_seconds)


def _schema(settings: Settings, arguments: argparse.Namespace) -> int:
    from bridge.cli.schema import schema

    return schema(settings, arguments.action)


def _config_check(settings: Settings, _: argparse.Namespace) -> int:
    print(effective(settings))  # noqa: T201 - what was asked for
    return 0


if __name__ == "__main__":
    sys.exit(main())
