"""Which store answers which organisation now: the routes as they are kept, and our own decisions until they are."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from query_api.sides import EVERYONE, OPENSEARCH_BLOCK, Route, Side
from query_api.storage import Position
from query_api.tenant import Tenant


class RouteStore(Protocol):
    """Where routes are kept. Calls block, and raise whatever keeps them from answering."""

    def read(self) -> Mapping[str, Route]:
        """The route in force of each key."""
        ...

    def has_way_back(self) -> bool:
        """Whether the store that is left behind still has everything: no teardown has begun."""
        ...

    def write(self, route: Route) -> Route:
        """Return it, with when and by whom, when it is kept."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """Of a question. `orgs`: canonical ids of what it may touch; None: anybody's. `label`: whom it is counted for."""

    orgs: tuple[str, ...] | None
    label: str


def scope_of(tenant: Tenant, organization: str, resolve: Callable[[str], str], known: Callable[[str], bool]) -> Scope:
    """The organisations that a question with this name (or none) touches.

    A name that nobody can resolve leaves all that the tenant may read. What an unbound caller names is counted under
    that name only if `known` says that it is an organisation.
    """
    named = resolve(organization) if organization else ""
    if tenant.is_unbound:
        is_known = bool(named) and known(named)
        return Scope((named,) if is_known else None, named if is_known else EVERYONE)
    orgs = (named,) if named in tenant.orgs else tenant.orgs
    return Scope(orgs, orgs[0] if len(orgs) == 1 else EVERYONE)


def side_of(cursor: Position) -> Side:
    """The store that has made it."""
    return Side.OPENSEARCH if cursor.block & OPENSEARCH_BLOCK else Side.CLICKHOUSE


@dataclass(frozen=True, slots=True)
class _Override:
    """A decision of this process. `instead_of`: when the route that it replaces was written; 0: there was none."""

    route: Route
    instead_of_unix_nano: int


class Routing:
    """`default` answers where nothing is set. Routes change between two awaits, never within a question."""

    def __init__(self, default: Side, draw: Callable[[], float] = random.random) -> None:
        self.default, self._draw = default, draw
        self._kept: Mapping[str, Route] = {}
        self._overrides: dict[str, _Override] = {}
        self.has_way_back = True

    def of(self, org: str) -> Route:
        """The route in force: its own, else that of everyone, else the default."""
        routes = self.routes()
        return routes.get(org) or routes.get(EVERYONE) or Route(EVERYONE, self.default, reason="no route is set")

    def routes(self) -> dict[str, Route]:
        """What is set, by key."""
        return {**self._kept, **{key: each.route for key, each in self._overrides.items()}}

    def is_switched(self, route: Route) -> bool:
        """Whether it may go back by itself: somebody has led it away from the default, which still has everything."""
        return self.has_way_back and route.primary is not self.default and not route.is_automatic

    def pick(self, scope: Scope) -> Side:
        """Who answers. Organisations of one question must agree; where they do not, the default answers."""
        if not self._kept and not self._overrides:
            return self.default
        orgs = scope.orgs if scope.orgs is not None else (EVERYONE, *self.routes())
        routes = [self.of(org) for org in orgs]
        sides = {route.primary for route in routes}
        if len(sides) != 1:
            return self.default
        percent = min(route.percent for route in routes)
        primary = sides.pop()
        return primary if percent == 100 or self._draw() * 100 < percent else primary.other

    def in_use(self) -> frozenset[Side]:
        """The stores that answer somebody first."""
        return frozenset({self.of(EVERYONE).primary, *(route.primary for route in self.routes().values())})

    def answering(self) -> frozenset[Side]:
        """The stores that answer anybody at all."""
        routes = [self.of(EVERYONE), *self.routes().values()]
        return self.in_use() | {route.primary.other for route in routes if route.percent < 100}

    def load(self, kept: Mapping[str, Route]) -> list[Route]:
        """Obey what is kept; return the routes that have changed. A decision that somebody has overruled is dropped."""
        before = self.routes()
        self._kept = dict(kept)
        for key, override in list(self._overrides.items()):
            if _since(kept, key) != override.instead_of_unix_nano:
                del self._overrides[key]
        return [route for key, route in self.routes().items() if _what(before.get(key)) != _what(route)]

    def switch(self, route: Route) -> None:
        """In force from now on, and to be written."""
        self._overrides[route.org] = _Override(route, _since(self._kept, route.org))

    def pending(self) -> Iterable[Route]:
        """Decisions that are not written yet."""
        return [override.route for override in self._overrides.values()]

    def written(self, route: Route) -> None:
        """One of them is kept now."""
        self._kept = {**self._kept, route.org: route}
        self._overrides.pop(route.org, None)


def _since(routes: Mapping[str, Route], key: str) -> int:
    return routes[key].since_unix_nano if key in routes else 0


def _what(route: Route | None) -> Route | None:
    """Without who and when, which a decision gets when it is written."""
    return route if route is None or route.is_automatic is False else replace(route, by="", since_unix_nano=0)
