"""What must hold before an index is deleted: every rule that does not, all at once, with what to do. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bridge.migration.archive import Archive, Kept
from bridge.migration.indices import Index, day_end_unix_nano, day_start_unix_nano
from bridge.migration.proof import Proof, valid, why_not
from bridge.migration.routes import told
from bridge.migration.safety import Backup
from bridge.migration.shadow import Shadow
from bridge.model import OTLP_SIGNALS, Signal
from bridge.rfc3339 import SECOND, format_time
from query_api.sides import EVERYONE, Route, Side

DAY_SECONDS: Final = 86_400
MIN_SHADOW_DAYS: Final = 7
NAMED_AT_ONCE: Final = 5


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known now, asked of both stores. `refused`: names that were given, and why each is no index to delete.

    `archives` were verified once and again now; `broken_archives` were, and are not any more. `retention_days` None:
    kept for ever. `last_slice_unix_nano`: when backfill last brought something over, 0: never. `is_still_read`: the
    settings let the query API ask OpenSearch. `unproven`: documents of an index that are not of its day.
    """

    is_confirmed: bool
    cluster: str
    shadow: Shadow | None
    proofs: Sequence[Proof]
    routes: Mapping[str, Route]
    indices: Sequence[Index]
    refused: Mapping[str, str]
    archives: Sequence[Archive]
    broken_archives: Mapping[str, str]
    retention_days: Mapping[Signal, float | None]
    backups: Sequence[Backup]
    last_slice_unix_nano: int = 0
    is_still_read: bool = False
    unproven: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unmet:
    """`rule` is a short constant; `why` says what is there instead; `what_to_do` is a command where there is one."""

    rule: str
    why: str
    what_to_do: str


def unmet(facts: Facts, now_unix_nano: int) -> list[Unmet]:
    """All that is missing; empty: the indices may be deleted."""
    return [
        *_flag(facts),
        *_names(facts, now_unix_nano),
        *_shadow(facts, now_unix_nano),
        *_report(facts, now_unix_nano),
        *_routes(facts),
        *_readers(facts),
        *_archive(facts),
        *_retention(facts, now_unix_nano),
        *_backup(facts),
    ]


def _flag(facts: Facts) -> Iterator[Unmet]:
    if not facts.is_confirmed:
        yield Unmet("flag", "this is a dry run: --yes-delete was not given", "give --yes-delete when all else is met")


def _names(facts: Facts, now_unix_nano: int) -> Iterator[Unmet]:
    for name, why in facts.refused.items():
        yield Unmet("name", f"{name!r} {why}", "delete it yourself if it is to go; headrace deletes what it can name")
    for index in facts.indices:
        if index.day is None or not index.is_open:
            yield Unmet("name", f"{index.name} cannot be named", "leave it out")
        elif day_end_unix_nano(index.day) > now_unix_nano:
            yield Unmet("day", f"{index.name}: its day is not over", "leave it out, or wait until it is")


def _shadow(facts: Facts, now_unix_nano: int) -> Iterator[Unmet]:
    shadow = facts.shadow
    if shadow is None:
        yield Unmet("shadow", "the shadow was never started", "headrace migrate shadow start, then 7 days")
        return
    if shadow.cluster != facts.cluster:
        yield Unmet(
            "shadow",
            f"the shadow ran on the cluster {shadow.cluster}, this is {facts.cluster}",
            "set opensearch.hosts to the cluster that was migrated",
        )
    ran = shadow.ran_seconds(now_unix_nano)
    if ran < MIN_SHADOW_DAYS * DAY_SECONDS:
        since = format_time(shadow.started_at_unix_nano)
        wait = format_time(shadow.started_at_unix_nano // SECOND * SECOND + MIN_SHADOW_DAYS * DAY_SECONDS * SECOND)
        yield Unmet(
            "shadow",
            f"the shadow ran for {ran / DAY_SECONDS:.1f} days (since {since}), not for {MIN_SHADOW_DAYS}",
            f"wait until {wait}" if shadow.is_running else "it was stopped too early: headrace migrate shadow start",
        )


def _report(facts: Facts, now_unix_nano: int) -> Iterator[Unmet]:
    do = "headrace migrate validate --from ... --to ..., over all days that are to be deleted"
    signals = sorted({index.signal for index in facts.indices}) or tuple(OTLP_SIGNALS)
    if missing := why_not(facts.proofs, EVERYONE, now_unix_nano, signals):
        yield Unmet("report", missing, do)
        return
    proofs = [proof for proof in valid(facts.proofs, now_unix_nano) if proof.is_whole]
    dated = [index for index in facts.indices if index.day is not None]
    if bare := [index.name for index in dated if not _is_covered(index, proofs)]:
        yield Unmet("report", f"no passing report of the last 24 h covers the whole day of {_some(bare)}", do)
    if doubted := [index.name for index in dated if _is_doubted(index, facts.proofs)]:
        yield Unmet("report", f"the newest report of the day of {_some(doubted)} did not pass", do)
    for name, documents in facts.unproven.items():
        yield Unmet(
            "report",
            f"{name} has {documents} documents of other days than its own or without a time: no report speaks of them",
            "leave it out; look at them, and delete it yourself if they may go",
        )


def _is_doubted(index: Index, proofs: Sequence[Proof]) -> bool:
    """Whether the newest report that reaches into its day fails, whatever passed before it."""
    if index.day is None:
        return False
    start, end = day_start_unix_nano(index.day), day_end_unix_nano(index.day)
    about = [each for each in proofs if each.is_whole and each.reaches_into(index.signal, start, end)]
    newest = max(about, key=lambda proof: proof.at_unix_nano, default=None)
    return newest is not None and not (newest.is_passing and newest.is_genuine)


def _is_covered(index: Index, proofs: Sequence[Proof]) -> bool:
    day = index.day
    return day is not None and any(
        proof.covers(index.signal, day_start_unix_nano(day), day_end_unix_nano(day)) for proof in proofs
    )


def _routes(facts: Facts) -> Iterator[Unmet]:
    if EVERYONE not in facts.routes:
        do = "headrace migrate cutover --org '*' --percent 100"
        yield Unmet("route", "organisations without a route of their own were never cut over", do)
    for org, route in sorted(facts.routes.items()):
        if route.primary is not Side.CLICKHOUSE or route.percent < 100 or route.is_automatic:
            reason = f": {route.reason}" if route.reason else ""
            do = f"headrace migrate cutover --org '{org}' --percent 100"
            yield Unmet("route", f"{org} is answered {told(route)}{reason}", do)


def _readers(facts: Facts) -> Iterator[Unmet]:
    if facts.is_still_read:
        yield Unmet(
            "reader",
            "query.dual or query.storage in these settings has OpenSearch read: what is missing there would be drift",
            "set query.storage to clickhouse, take query.dual away, restart the query processes",
        )


def archived(index: Index, archives: Sequence[Archive]) -> Archive | None:
    """The newest archive that holds all that is in the index now; `archives` are in order, newest last."""
    return next((each for each in reversed(archives) if (kept := each.kept(index.name)) and kept.holds(index)), None)


def _archive(facts: Facts) -> Iterator[Unmet]:
    for name, why in facts.broken_archives.items():
        yield Unmet("archive", f"the archive {name} is not what it was: {why}", "headrace migrate archive, again")
    here = [each for each in facts.archives if each.cluster == facts.cluster]
    missing = [index for index in facts.indices if archived(index, here) is None]
    by_reason: dict[str, list[str]] = {}
    for index in missing:
        found = [kept for each in here if (kept := each.kept(index.name)) is not None]
        by_reason.setdefault(_why_not_archived(index, found), []).append(index.name)
    for reason, names in by_reason.items():
        yield Unmet("archive", f"{reason}: {_some(names)}", "headrace migrate archive, then validate again")


def _why_not_archived(index: Index, found: Sequence[Kept]) -> str:
    if not found:
        return "in no verified archive"
    if all(kept.uuid != index.uuid for kept in found):
        return "made anew since it was archived (another uuid)"
    return "written to since it was archived"


def _retention(facts: Facts, now_unix_nano: int) -> Iterator[Unmet]:
    for signal, days in facts.retention_days.items():
        dated = [index.day for index in facts.indices if index.signal is signal and index.day is not None]
        if not dated or days is None:
            continue
        age_days = (now_unix_nano - day_start_unix_nano(min(dated))) / SECOND / DAY_SECONDS
        if days < age_days:
            yield Unmet(
                "retention",
                f"ClickHouse keeps {signal} for {days:g} days, and the oldest index ({min(dated)}) is"
                f" {age_days:.1f} days old: its rows are gone or about to go",
                f"clickhouse.{signal}_ttl_days and ALTER TABLE ... MODIFY TTL, then backfill --again, and validate",
            )


def _backup(facts: Facts) -> Iterator[Unmet]:
    do = "BACKUP DATABASE ... TO ..., then headrace migrate backup record --name N --reference R"
    if not facts.backups:
        yield Unmet("backup", "nobody has recorded a backup of ClickHouse", do)
        return
    newest = max(facts.backups, key=lambda backup: backup.taken_at_unix_nano)
    if newest.has_failed:
        yield Unmet("backup", f"the backup {newest.name} has status {newest.status} {newest.error}".strip(), do)
    if newest.taken_at_unix_nano < facts.last_slice_unix_nano:
        at, last = format_time(newest.taken_at_unix_nano), format_time(facts.last_slice_unix_nano)
        yield Unmet("backup", f"the backup {newest.name} of {at} is older than what backfill brought at {last}", do)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED_AT_ONCE} more" if len(names) > NAMED_AT_ONCE else ""
    return ", ".join(names[:NAMED_AT_ONCE]) + more
