"""Which of two stores answers an organisation: the values that the migration writes and the query API obeys."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self

EVERYONE: Final = "*"
PERCENTS: Final = (5, 20, 50, 100)


class Side(StrEnum):
    """A store."""

    CLICKHOUSE = "clickhouse"
    OPENSEARCH = "opensearch"

    @property
    def other(self) -> "Side":
        return Side.OPENSEARCH if self is Side.CLICKHOUSE else Side.CLICKHOUSE


@dataclass(frozen=True, slots=True)
class Route:
    """`percent` of an organisation's questions are answered by `primary`, the others by the other store.

    `org` is a canonical id, or `EVERYONE` for all that have no route of their own. `is_automatic`: a switch back that
    the query API has made by itself. In the migration's state a route is an event of kind `route` whose key is `org`.
    """

    org: str
    primary: Side
    percent: int = 100
    reason: str = ""
    is_automatic: bool = False
    by: str = ""
    since_unix_nano: int = 0

    def value(self) -> dict[str, Any]:
        """As it is kept; who and when are the event's."""
        return {
            "primary": str(self.primary),
            "percent": self.percent,
            "reason": self.reason,
            "is_automatic": self.is_automatic,
        }

    @classmethod
    def of(cls, org: str, value: Mapping[str, Any], by: str, since_unix_nano: int) -> Self:
        """From what is kept. Raises `ValueError` for anything `value()` has not made."""
        percent = value.get("percent", 100)
        if not isinstance(percent, int) or not 0 < percent <= 100:
            raise ValueError(f"percent must be 1 to 100, not {percent!r}")
        reason, is_automatic = str(value.get("reason", "")), bool(value.get("is_automatic"))
        return cls(org, Side(str(value.get("primary"))), percent, reason, is_automatic, by, since_unix_nano)


# A position with this bit in `block` is one of OpenSearch's: a cursor goes on in the store that has made it.
OPENSEARCH_BLOCK: Final = 1 << 63
ANOTHER_STORE: Final = "cursor: it is one of another store; start again without it"
