"""The next step of an organisation's way to another store, and whether it may be taken. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.migration.proof import Proof, why_not
from bridge.migration.refusal import Refusal
from bridge.migration.state import Event
from query_api.sides import EVERYONE, PERCENTS, Route, Side


@dataclass(frozen=True, slots=True)
class Wanted:
    """What `cutover` was told. `percent` None: the next step."""

    org: str
    to: Side
    percent: int | None
    reason: str
    is_forced: bool = False


def routes_of(events: Mapping[str, Event]) -> dict[str, Route]:
    """The routes that are kept, by organisation. Raises `ValueError` for one that nobody can have written."""
    return {org: Route.of(org, event.value, event.by, event.at_unix_nano) for org, event in events.items()}


def in_force(routes: Mapping[str, Route], org: str, default: Side) -> Route:
    """What an organisation is answered by: its own route, everyone's, or the setting query.storage."""
    return routes.get(org) or routes.get(EVERYONE) or Route(org, default)


def share(route: Route, side: Side) -> int:
    """Percent of the questions that this store answers."""
    return route.percent if route.primary is side else 100 - route.percent


def cut_over(before: Route, wanted: Wanted, proofs: Sequence[Proof], now_unix_nano: int) -> Route:
    """The route after it. Raises `Refusal` if there is no step left, or no proof for one to ClickHouse."""
    percent = wanted.percent if wanted.percent is not None else _next(before, wanted.to)
    if wanted.is_forced and not wanted.reason:
        raise Refusal("--force needs --reason: it is kept with the route")
    is_proven = wanted.to is Side.OPENSEARCH or not (missing := why_not(proofs, wanted.org, now_unix_nano))
    if not is_proven and not wanted.is_forced:
        raise Refusal(
            f"{missing}; compare the stores first: headrace migrate validate --from ... --to ..."
            " (or --force with a --reason, which is kept)"
        )
    reason = wanted.reason if is_proven else f"forced ({missing}): {wanted.reason}"
    return Route(wanted.org, wanted.to, percent, reason)


def _next(before: Route, to: Side) -> int:
    now = share(before, to)
    step = next((percent for percent in PERCENTS if percent > now), None)
    if step is None:
        raise Refusal(f"{before.org} is answered by {to} at 100 % already")
    return step


def rolled_back(org: str, reason: str) -> Route:
    """OpenSearch answers all of an organisation's questions again."""
    return Route(org, Side.OPENSEARCH, 100, reason)


def kept(route: Route, proofs: Sequence[Proof], *, is_forced: bool) -> dict[str, Any]:
    """The event's value: the route's, and what it was allowed by."""
    about = [proof for proof in proofs if proof.is_of(route.org)]
    newest = max(about, key=lambda proof: proof.at_unix_nano, default=None)
    return {**route.value(), "is_forced": is_forced, "report": newest.id if newest is not None else ""}


def told(route: Route) -> str:
    """A route in a few words."""
    rest = f", {100 - route.percent} % {route.primary.other}" if route.percent < 100 else ""
    automatic = " (switched back automatically)" if route.is_automatic else ""
    return f"{route.percent} % {route.primary}{rest}{automatic}"
