"""When the migration will not do what it was told."""

from bridge.errors import Permanent


class Refusal(Permanent):
    """Nothing was done; the text says why, and what to do first."""

    reason = "migration"
