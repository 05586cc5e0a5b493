"""`headrace run`, `receive`, `deliver` and `query`: a role in one process, until SIGTERM or SIGINT.

`deliver --sink opensearch` is the role `shadow` here: it writes beside the store, and needs none.
"""

from typing import Final

import uvloop

from bridge.app import Role, run, run_deliver, run_query, run_receive, run_shadow, run_until_signal
from bridge.errors import SettingsInvalid
from bridge.settings import Settings
from bridge.telemetry import set_up_logging

ROLES: Final[dict[str, Role]] = {
    "run": run,
    "receive": run_receive,
    "deliver": run_deliver,
    "shadow": run_shadow,
    "query": run_query,
}


def run_role(settings: Settings, name: str) -> int:
    """0 after a soft stop. Raises `OSError`, `SettingsInvalid` or `LogUnavailable` if it could not start."""
    if name in ("deliver", "query") and settings.clickhouse.interface == "chdb":
        raise SettingsInvalid(
            f"clickhouse.interface: chdb lives inside `headrace run`; {name} needs a server: http or https"
        )
    set_up_logging(settings.logging.level, settings.logging.format)
    uvloop.run(run_until_signal(settings, ROLES[name]))
    return 0
