"""What roles open: from role texts to the tenants of a `Caller`. Pure, and deny by default: no role opens nothing."""

from collections.abc import Callable, Iterable
from typing import Final

from bridge.settings_auth import Role, parse_role
from query_api.tenant import EVERYTHING, Grant, Tenant

Resolve = Callable[[Grant], Grant]
# of `Caller.tenants`
Tenants = tuple[tuple[str, Tenant], ...]
MAX_ROLES: Final = 1000


def as_named(grant: Grant) -> Grant:
    """For where names are canonical ids already."""
    return grant


def readable_roles(texts: Iterable[str]) -> tuple[list[Role], list[str]]:
    """The roles among texts that a claim gave, and the texts that are none: those open nothing and harm no others.

    At most `MAX_ROLES` distinct ones, because a store is asked with all of them in one filter; what is over counts as
    wrong.
    """
    roles: dict[Role, None] = {}
    wrong = []
    for text in texts:
        try:
            role = parse_role(text)
        except ValueError:
            wrong.append(text)
            continue
        if role in roles or len(roles) < MAX_ROLES:
            roles[role] = None
        else:
            wrong.append(text)
    return list(roles), wrong


def tenants_of(roles: Iterable[Role], resolve: Resolve = as_named) -> Tenants:
    """What the roles open, by action; `resolve` turns the names of each into canonical ids.

    Raises `ValueError` if `resolve` answers with a wider grant than it was given: that is a bug, and nothing is opened.
    """
    grants: dict[str, set[Grant]] = {}
    unbound = set()
    for role in roles:
        if role.place:
            grants.setdefault(role.action, set()).add(_resolved(Grant(*role.place), resolve))
        else:
            unbound.add(role.action)
    opened = {action: Tenant(tuple(sorted(found))) for action, found in grants.items()}
    opened |= dict.fromkeys(unbound, EVERYTHING)
    return tuple(sorted(opened.items(), key=lambda item: item[0]))


def _resolved(grant: Grant, resolve: Resolve) -> Grant:
    found = resolve(grant)
    if _depth(found) != _depth(grant):
        raise ValueError(f"resolving {grant} gave {found}, which is another kind of place")
    return found


def _depth(grant: Grant) -> tuple[bool, bool, bool]:
    return bool(grant.org), bool(grant.project), bool(grant.component)
