"""What a validation's report proves, of whom and of which time: read from the state's `report` events. Pure.

Of the report these fields are read: `passed`, `at`, `from` and `to` (RFC 3339, `to` is not in it), `organizations`
(those that had rows), `signals`, and `is_filtered` (whether rows were left out on purpose, as by opensearch.sample).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bridge.migration.report import is_genuine
from bridge.migration.state import Event
from bridge.model import OTLP_SIGNALS, Signal
from bridge.rfc3339 import SECOND, format_time, unix_nano_of
from query_api.sides import EVERYONE

MAX_AGE_SECONDS: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Proof:
    """`orgs` had rows in it, None: not told. `is_whole`: no organisation and no row was left out."""

    id: str
    at_unix_nano: int
    is_passing: bool
    is_genuine: bool
    start_unix_nano: int
    end_unix_nano: int
    orgs: frozenset[str] | None = None
    signals: frozenset[Signal] = frozenset(OTLP_SIGNALS)
    is_whole: bool = True

    def is_of(self, org: str) -> bool:
        """Whether it says something of this organisation; of `EVERYONE` only if nothing was left out."""
        return self.is_whole if org == EVERYONE else self.orgs is None or org in self.orgs

    def covers(self, signal: Signal, start_unix_nano: int, end_unix_nano: int) -> bool:
        """Whether all of this time was compared."""
        is_inside = self.start_unix_nano <= start_unix_nano and end_unix_nano <= self.end_unix_nano
        return signal in self.signals and is_inside

    def reaches_into(self, signal: Signal, start_unix_nano: int, end_unix_nano: int) -> bool:
        """Whether some of this time was compared."""
        return signal in self.signals and self.start_unix_nano < end_unix_nano and start_unix_nano < self.end_unix_nano

    def age_seconds(self, now_unix_nano: int) -> int:
        return (now_unix_nano - self.at_unix_nano) // 10**9


def proof_of(event: Event, key: bytes | None, *, is_sampled: bool = False) -> Proof:
    """From what `migrate validate` has kept; what cannot be read proves nothing.

    `is_sampled`: the shadow is a partial one, so that no report can be of everything.
    """
    value = event.value
    try:
        start, end = unix_nano_of(str(value["from"])), unix_nano_of(str(value["to"]))
        orgs = frozenset(map(str, value["organizations"])) if "organizations" in value else None
        is_whole = not is_sampled and not value.get("is_filtered")
        signals = frozenset(Signal(str(each)) for each in value.get("signals", OTLP_SIGNALS))
        passed = value.get("passed") is True
        # what is sealed counts: an event with a report of long ago is as old as the report
        written = unix_nano_of(str(value["at"])) + SECOND if "at" in value else event.at_unix_nano
    except (KeyError, ValueError, TypeError):
        return Proof(event.key, event.at_unix_nano, False, False, 0, 0)
    at = min(event.at_unix_nano, written)
    return Proof(event.key, at, passed, is_genuine(value, key), start, end, orgs, signals, is_whole)


def why_not(
    proofs: Sequence[Proof], org: str, now_unix_nano: int, signals: Sequence[Signal] = tuple(OTLP_SIGNALS)
) -> str:
    """Why nothing proves that the stores agree on this organisation; empty if the newest report of each signal does."""
    whom = "all organisations" if org == EVERYONE else f"the organisation {org}"
    about = [proof for proof in proofs if proof.is_of(org)]
    if not about:
        partial = " (opensearch.sample leaves some of them out)" if any(not proof.is_whole for proof in proofs) else ""
        return f"there is no report of {whom}{partial}"
    reasons = (
        _why_not([proof for proof in about if each in proof.signals], each, whom, now_unix_nano) for each in signals
    )
    return next(filter(None, reasons), "")


def _why_not(about: Sequence[Proof], signal: Signal, whom: str, now_unix_nano: int) -> str:
    if not about:
        return f"there is no report of the {signal} of {whom}"
    newest = max(about, key=lambda proof: proof.at_unix_nano)
    at = format_time(newest.at_unix_nano // 10**9 * 10**9)
    if not newest.is_genuine:
        return f"the report {newest.id} of {at} was changed, or sealed with another migration.signing_key_file"
    if not newest.is_passing:
        return f"the newest report of {whom}, {newest.id} of {at}, did not pass"
    if (age := newest.age_seconds(now_unix_nano)) > MAX_AGE_SECONDS:
        return f"the newest report of {whom}, {newest.id} of {at}, is {age / 3600:.1f} h old; 24 h is the limit"
    return ""


def valid(proofs: Sequence[Proof], now_unix_nano: int) -> list[Proof]:
    """Those that count now."""
    return [
        proof
        for proof in proofs
        if proof.is_genuine and proof.is_passing and proof.age_seconds(now_unix_nano) <= MAX_AGE_SECONDS
    ]
