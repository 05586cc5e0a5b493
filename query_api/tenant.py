"""Who may read what: the first argument of every storage method. A value; nothing in it comes from a request's body."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

ANY_ACTION: Final = "*"


class Action(StrEnum):
    """What is done with what a grant opens."""

    LOGS = "logs"
    TRACES = "traces"
    COSTS = "costs"
    LINKS = "links"


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """A whole organisation, a project of it, or a component of that; canonical ids, empty is "all of them"."""

    org: str
    project: str = ""
    component: str = ""

    def covers(self, org: str, project: str, component: str) -> bool:
        """Whether a row of that place is opened by this."""
        return self.org == org and self.project in ("", project) and self.component in ("", component)

    def __str__(self) -> str:
        return "/".join(part for part in (self.org, self.project, self.component) if part)


@dataclass(frozen=True, slots=True)
class Tenant:
    """The rows a caller may read: those any of `grants` covers. No grants: none at all.

    `is_unbound` reads everything; it exists only where no authentication is configured, on loopback, and for callers
    whose role is `*`.
    """

    grants: tuple[Grant, ...] = ()
    is_unbound: bool = False

    @classmethod
    def of(cls, *places: str) -> Self:
        """Of grants written `org`, `org/project` or `org/project/component`. Raises `ValueError` naming a bad one."""
        return cls(tuple(sorted({parse_grant(place) for place in places})))

    def covers(self, org: str, project: str, component: str) -> bool:
        """Whether a row of that place may be read."""
        return self.is_unbound or any(grant.covers(org, project, component) for grant in self.grants)

    @property
    def orgs(self) -> tuple[str, ...]:
        """Organisations of which something may be read; says nothing when `is_unbound`."""
        return tuple(sorted({grant.org for grant in self.grants}))

    def has_whole(self, org: str) -> bool:
        """Whether all of that organisation may be read."""
        return self.is_unbound or Grant(org) in self.grants

    def has_part(self, org: str) -> bool:
        """Whether something of that organisation may be read."""
        return self.is_unbound or org in self.orgs

    def within(self, org: str) -> "Tenant":
        """The part of it in one organisation; nothing outside `self` is ever opened."""
        if self.is_unbound:
            return Tenant((Grant(org),))
        return Tenant(tuple(grant for grant in self.grants if grant.org == org))


EVERYTHING: Final = Tenant(is_unbound=True)
NOTHING: Final = Tenant()


def parse_grant(text: str) -> Grant:
    """`org`, `org/project` or `org/project/component`. Raises `ValueError`."""
    parts = [part.strip() for part in text.split("/")]
    if not 1 <= len(parts) <= 3 or not all(parts):
        raise ValueError(f"{text!r} must be ORG, ORG/PROJECT or ORG/PROJECT/COMPONENT")
    return Grant(*parts)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller. `name` is for the access log and the rate limit (never a secret)."""

    name: str
    tenants: tuple[tuple[str, Tenant], ...]  # (an Action or `*`, what it opens)

    def tenant_for(self, action: Action) -> Tenant:
        """What may be read for this action: the grants of the action and those of any action, together."""
        found = [tenant for wanted, tenant in self.tenants if wanted in (action, ANY_ACTION)]
        if any(tenant.is_unbound for tenant in found):
            return EVERYTHING
        return Tenant(tuple(sorted(_grants(found))))


def _grants(tenants: Iterable[Tenant]) -> set[Grant]:
    return {grant for tenant in tenants for grant in tenant.grants}
