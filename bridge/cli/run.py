"""`headrace run`: everything in one process, until SIGTERM or SIGINT."""

import uvloop

from bridge.app import run_until_signal
from bridge.settings import Settings
from bridge.telemetry import set_up_logging


def run(settings: Settings) -> int:
    """0 after a soft stop. Raises `OSError` or `SettingsInvalid` if it could not start."""
    set_up_logging(settings.logging.level, settings.logging.format)
    uvloop.run(run_until_signal(settings))
    return 0
