"""Since when both stores are written: what `migrate shadow` keeps, and what the later phases count their days from."""

from dataclasses import dataclass
from typing import Any, Final, Self

from bridge.migration.refusal import Refusal
from bridge.migration.state import Event
from bridge.rfc3339 import SECOND, format_time, unix_nano_of

KEY: Final = "opensearch"


@dataclass(frozen=True, slots=True)
class Shadow:
    """`is_given`: the start was told afterwards (`--at`). `stopped_at_unix_nano` is None while it runs."""

    started_at_unix_nano: int
    cluster: str
    family: str
    is_given: bool = False
    stopped_at_unix_nano: int | None = None

    @property
    def is_running(self) -> bool:
        return self.stopped_at_unix_nano is None

    def ran_seconds(self, now_unix_nano: int) -> int:
        """From its start to its end, or until now; never negative."""
        end = now_unix_nano if self.stopped_at_unix_nano is None else self.stopped_at_unix_nano
        return max(0, end - self.started_at_unix_nano) // SECOND

    def value(self) -> dict[str, Any]:
        """As it is kept, under `KEY`."""
        kept: dict[str, Any] = {
            "started_at": format_time(self.started_at_unix_nano),
            "running": self.is_running,
            "cluster": self.cluster,
            "family": self.family,
            "given": self.is_given,
        }
        if self.stopped_at_unix_nano is not None:
            kept["stopped_at"] = format_time(self.stopped_at_unix_nano)
        return kept

    @classmethod
    def of(cls, event: Event | None) -> Self | None:
        """From what is kept; None: it was never started."""
        if event is None:
            return None
        value = event.value
        stopped = value.get("stopped_at")
        return cls(
            unix_nano_of(str(value["started_at"])),
            str(value.get("cluster", "")),
            str(value.get("family", "")),
            bool(value.get("given")),
            None if value.get("running") else unix_nano_of(str(stopped)) if stopped else event.at_unix_nano,
        )


def started(kept: Shadow | None, wanted: Shadow, now_unix_nano: int) -> Shadow:
    """The shadow in force after a start: one that runs is left as it is, one that was stopped begins anew.

    Raises `Refusal` for a start that has not come yet, and for another cluster than the one that is written.
    """
    if kept is not None and kept.is_running:
        if kept.cluster != wanted.cluster:
            raise Refusal(
                f"the shadow that runs is on the cluster {kept.cluster}, and opensearch.hosts is {wanted.cluster};"
                " end it first: headrace migrate shadow stop"
            )
        return kept
    if wanted.started_at_unix_nano > now_unix_nano:
        raise Refusal(f"--at {format_time(wanted.started_at_unix_nano)} has not come yet")
    return wanted
