"""All phases by what they have left in the state: what is done, when, by whom, and what comes next. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.migration.archive import Archive
from bridge.migration.proof import proof_of, why_not
from bridge.migration.routes import routes_of, told
from bridge.migration.safety import Backup
from bridge.migration.shadow import KEY, Shadow
from bridge.migration.state import Event, Kind
from bridge.rfc3339 import format_time
from query_api.sides import EVERYONE, Side

Events = Mapping[Kind, Mapping[str, Event]]


@dataclass(frozen=True, slots=True)
class Phase:
    """`at_unix_nano` and `by` are of its last event, 0 and empty if there is none; `next` is the command to give."""

    name: str
    is_done: bool
    what: str
    next: str
    at_unix_nano: int = 0
    by: str = ""

    def told(self) -> dict[str, Any]:
        """For machines."""
        at = format_time(self.at_unix_nano) if self.at_unix_nano else None
        return {"phase": self.name, "done": self.is_done, "what": self.what, "at": at, "by": self.by, "next": self.next}


def phases(events: Events, key: bytes | None, now_unix_nano: int) -> list[Phase]:
    """In the order of docs/migration.md."""
    return [
        _shadow(events[Kind.SHADOW], now_unix_nano),
        _backfill(events[Kind.SLICE]),
        _validate(events[Kind.REPORT], key, now_unix_nano),
        _cutover(events[Kind.ROUTE]),
        _archive(events[Kind.ARCHIVE]),
        _backup(events[Kind.BACKUP]),
        _teardown(events[Kind.TEARDOWN]),
    ]


def upcoming(all_phases: Sequence[Phase]) -> Phase | None:
    """The first that is not done."""
    return next((phase for phase in all_phases if not phase.is_done), None)


def _shadow(events: Mapping[str, Event], now_unix_nano: int) -> Phase:
    event = events.get(KEY)
    shadow = Shadow.of(event)
    do = "headrace migrate shadow start"
    if shadow is None or event is None:
        return Phase("shadow", False, "never started", do)
    days = shadow.ran_seconds(now_unix_nano) / 86_400
    what = f"{'runs' if shadow.is_running else 'ran'} since {format_time(shadow.started_at_unix_nano)}, {days:.1f} days"
    if not shadow.is_running:
        what += ", stopped"
    return Phase("shadow", True, what, "headrace migrate shadow status", event.at_unix_nano, event.by)


def _backfill(events: Mapping[str, Event]) -> Phase:
    do = "headrace migrate backfill"
    if not events:
        return Phase("backfill", False, "nothing brought over", do)
    return _last("backfill", True, f"{len(events)} slices moved and verified", do, events.values())


def _validate(events: Mapping[str, Event], key: bytes | None, now_unix_nano: int) -> Phase:
    do = "headrace migrate validate --from ... --to ..."
    if not events:
        return Phase("validate", False, "no report", do)
    missing = why_not([proof_of(event, key) for event in events.values()], EVERYONE, now_unix_nano)
    return _last("validate", not missing, missing or "the newest report passes", do, events.values())


def _cutover(events: Mapping[str, Event]) -> Phase:
    do = "headrace migrate cutover --org ID"
    if not events:
        return Phase("cutover", False, "no route is set", do)
    routes = routes_of(events)
    away = [org for org, route in routes.items() if route.primary is not Side.CLICKHOUSE or route.percent < 100]
    is_done = not away and EVERYONE in routes
    return _last(
        "cutover", is_done, "; ".join(f"{org}: {told(route)}" for org, route in routes.items()), do, events.values()
    )


def _archive(events: Mapping[str, Event]) -> Phase:
    archives = [Archive.of(event) for event in events.values()]
    good = [each for each in archives if each.is_verified]
    names = "; ".join(f"{each.name}: {len(each.indices)} indices" for each in good)
    what = f"{names} (verified)" if good else f"{len(archives)} begun, none verified" if archives else "none"
    return _last("archive", bool(good), what, "headrace migrate archive", events.values())


def _backup(events: Mapping[str, Event]) -> Phase:
    backups = [Backup.of(event) for event in events.values()]
    what = "; ".join(f"{each.name}: {each.status or 'vouched for, the server does not know it'}" for each in backups)
    is_done = any(not each.has_failed for each in backups)
    do = "headrace migrate backup record --name N --reference R"
    return _last("backup", is_done, what or "none recorded", do, events.values())


def _teardown(events: Mapping[str, Event]) -> Phase:
    done = sum(event.value.get("state") == "done" for event in events.values())
    open_ = len(events) - done
    what = f"{done} indices deleted" + (f", {open_} begun and not said to be done" if open_ else "")
    return _last("teardown", bool(done) and not open_, what, "headrace migrate teardown", events.values())


def _last(name: str, is_done: bool, what: str, do: str, events: Iterable[Event]) -> Phase:
    last = max(events, key=lambda event: event.at_unix_nano, default=None)
    if last is None:
        return Phase(name, is_done, what, do)
    return Phase(name, is_done, what, do, last.at_unix_nano, last.by)
