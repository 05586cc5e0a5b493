"""`headrace ledger check`: does what was received add up with what is in the store?

Two independent sides: what the instances counted (ingest_ledger, handed over through the log), and what is really there
(rows of the base tables by the minute they were received in, and dead letters). An instance that was killed has counted
at most `HAND_OVER_SECONDS` too little, never too much, so rows beyond the counts are fine where one was killed, and
missing rows never are. The same goes for rows that were refused because the log did not answer in time, and that it
took all the same.
"""

import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bridge.assembly_store import clickhouse_settings
from bridge.cli.dlq import Filter, open_ends
from bridge.letters import DeadLetter, LetterState
from bridge.settings import Settings
from sinks.clickhouse import Connection

Scope = tuple[str, str]
TABLES = {"traces": "otel_traces", "logs": "otel_logs"}
# An instance not heard of for this long, without its last entry, was killed.
SILENT_SECONDS = 15
COUNTED = ("received", "refused", "rejected", "appended")
MAXIMA, SUMS = (", ".join(f"{what}({name}) AS {name}" for name in COUNTED) for what in ("max", "sum"))


@dataclass(frozen=True, slots=True)
class Sums:
    """Of one organisation and signal in the span of time."""

    received: int = 0
    refused: int = 0
    rejected: int = 0
    appended: int = 0
    stored: int = 0
    dead_lettered: int = 0

    @property
    def missing(self) -> int:
        """Items counted into the log that are neither stored nor dead-lettered; negative: more than were counted."""
        return self.appended - self.stored - self.dead_lettered


@dataclass(frozen=True, slots=True)
class Finding:
    scope: Scope
    sums: Sums
    problem: str | None
    note: str


def judge(sums: Mapping[Scope, Sums], killed: Sequence[str], *, is_complete: bool) -> list[Finding]:
    """Which sums close. Pure."""
    return [_judge_one(scope, each, killed, is_complete=is_complete) for scope, each in sorted(sums.items())]


def _judge_one(scope: Scope, sums: Sums, killed: Sequence[str], *, is_complete: bool) -> Finding:
    unaccounted = sums.received - sums.refused - sums.rejected - sums.appended
    if unaccounted:
        return Finding(scope, sums, f"{unaccounted} received items are neither refused, rejected nor appended", "")
    if sums.missing > 0:
        if not is_complete:
            return Finding(scope, sums, f"{sums.missing} items are still in flight: check again later", "")
        return Finding(scope, sums, f"{sums.missing} items were acknowledged and are nowhere", "")
    if sums.missing < 0:
        if -sums.missing <= sums.refused:
            return Finding(scope, sums, None, f"{-sums.missing} refused ones got into the log after all")
        if not killed:
            return Finding(scope, sums, f"{-sums.missing} more items are stored than were acknowledged", "")
        return Finding(scope, sums, None, f"{-sums.missing} not counted by instances that were killed")
    return Finding(scope, sums, None, "closes")


class Books:
    """What the store says, asked with its own client."""

    def __init__(self, connection: Connection, database: str, since: float, until: float) -> None:
        self._connection, self._database = connection, database
        self._span = f">= toDateTime({int(since)}) AND {{}} < toDateTime({int(until)})"

    def counted(self) -> list[list[Any]]:
        return self._rows(f"SELECT org, signal, {SUMS} FROM ({self._cells()}) GROUP BY org, signal")

    def _cells(self) -> str:
        """Each instance's count of a minute, of which it tells more and more: the highest is what it has counted."""
        return (
            f"SELECT org, signal, minute, {MAXIMA} FROM {{db}}.ingest_ledger"
            f" WHERE signal != '' AND minute {self._span.format('minute')} GROUP BY org, signal, minute, role, instance"
        )

    def stored(self, signal: str, by: str = "OrgId") -> dict[Any, int]:
        span = self._span.format("ReceivedAt")
        rows = self._rows(f"SELECT {by}, count() FROM {{db}}.{TABLES[signal]} WHERE ReceivedAt {span} GROUP BY {by}")
        return {key: int(count) for key, count in rows}

    def killed(self, now: float) -> list[str]:
        """Instances without an orderly end that nobody hears of any more."""
        rows = self._rows(
            "SELECT instance FROM {db}.ingest_ledger GROUP BY instance"
            f" HAVING max(is_last) = 0 AND max(heard_at) < toDateTime({int(now - SILENT_SECONDS)})"
        )
        return [str(name) for (name,) in rows]

    def complete_until(self) -> float:
        """Unix seconds: every partition that was ever heard of is delivered up to there; 0 if nothing is known."""
        rows = self._rows(
            "SELECT count(), toUnixTimestamp64Milli(min(until)) FROM (SELECT max(complete_until) AS until"
            " FROM {db}.ingest_ledger WHERE partition >= 0 GROUP BY signal, partition)"
        )
        return int(rows[0][1]) / 1000 if int(rows[0][0]) else 0.0

    def minutes(self, scope: Scope) -> list[tuple[int, int, int]]:
        """(minute, appended, stored) where they differ; dead letters are not in it."""
        org, signal = scope
        appended = {
            int(minute): int(count)
            for minute, count in self._rows(
                f"SELECT toUnixTimestamp(minute), sum(appended) FROM ({self._cells()})"
                f" WHERE org = {_quoted(org)} AND signal = '{signal}' GROUP BY minute"
            )
        }
        stored = {
            int(minute): int(count)
            for minute, count in self._rows(
                f"SELECT toUnixTimestamp(toStartOfMinute(ReceivedAt)), count() FROM {{db}}.{TABLES[signal]}"
                f" WHERE OrgId = {_quoted(org)} AND ReceivedAt {self._span.format('ReceivedAt')}"
                " GROUP BY toStartOfMinute(ReceivedAt)"
            )
        }
        both = sorted(appended.keys() | stored.keys())
        return [
            (minute, appended.get(minute, 0), stored.get(minute, 0))
            for minute in both
            if appended.get(minute, 0) != stored.get(minute, 0)
        ]

    def _rows(self, sql: str) -> list[list[Any]]:
        return self._connection.rows(sql.replace("{db}", self._database))


def ledger_check(settings: Settings, since: float, until: float, wait_seconds: float) -> int:
    """0 if all sums close, 1 if not; open ones are looked at again for `wait_seconds`.

    `since` and `until` are cut to minutes; an `until` in the future is now. Raises the sink's and the log's errors.
    """
    since, until = since // 60 * 60, until // 60 * 60
    target = min(until, time.time())
    books = Books(Connection(clickhouse_settings(settings)), settings.clickhouse.database, since, until)
    deadline = time.monotonic() + wait_seconds
    while True:
        is_complete, killed = books.complete_until() >= target, books.killed(time.time())
        letters = asyncio.run(_letters(settings))
        findings = judge(collect(books, letters, since, until), killed, is_complete=is_complete)
        problems = [finding for finding in findings if finding.problem]
        if (is_complete and not problems) or time.monotonic() > deadline:
            break
        time.sleep(1.0)
    _print(findings, killed)
    _print_minutes(books, problems)
    if not is_complete:
        told = _time(books.complete_until())
        print(f"not everything of this span is in the store yet: complete until {told}", file=sys.stderr)
    return 1 if problems else 0


def _print_minutes(books: Books, problems: Sequence[Finding]) -> None:
    """Where the sums of an organisation do not close."""
    for finding in problems:
        if finding.scope[1] in TABLES:
            for minute, appended, stored in books.minutes(finding.scope):
                print(f"  {'/'.join(finding.scope)} {_time(minute)}: appended {appended}, stored {stored}")


def collect(books: Books, letters: Sequence[DeadLetter], since: float, until: float) -> dict[Scope, Sums]:
    """All figures by organisation and signal. Items rejected before they had an organisation are under ''."""
    figures: dict[Scope, dict[str, int]] = {}
    for org, signal, *counts in books.counted():
        figures[str(org), str(signal)] = dict(zip(COUNTED, map(int, counts), strict=True))
    for signal in TABLES:
        for org, count in books.stored(signal).items():
            figures.setdefault((str(org), signal), {})["stored"] = count
    for letter in letters:
        received_at = letter.received_at_unix_nano / 1e9
        if letter.state is not LetterState.REPLAYED and since <= received_at < until:
            row = figures.setdefault((letter.org, str(letter.signal)), {})
            row["dead_lettered"] = row.get("dead_lettered", 0) + letter.items
    return {scope: Sums(**row) for scope, row in figures.items()}


async def _letters(settings: Settings) -> list[DeadLetter]:
    async with open_ends(settings, is_replay=False) as ends:
        return [letter for letter in await ends.letters.letters() if Filter(states=tuple(LetterState)).matches(letter)]


def _print(findings: Sequence[Finding], killed: Sequence[str]) -> None:
    print(
        f"{'org':<24}{'signal':<8}{'received':>11}{'refused':>11}{'rejected':>10}{'appended':>11}{'stored':>11}{'dead':>8}"
    )
    for finding in findings:
        sums, (org, signal) = finding.sums, finding.scope
        print(
            f"{org or '-':<24}{signal:<8}{sums.received:>11}{sums.refused:>11}{sums.rejected:>10}{sums.appended:>11}"
            f"{sums.stored:>11}{sums.dead_lettered:>8}  {finding.problem or finding.note}"
        )
    if killed:
        print(f"ended without their last entry: {', '.join(killed)}")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _time(unix_seconds: float) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
