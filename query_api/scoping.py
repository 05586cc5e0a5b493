"""From the places a question is about to the parameters and lines of a statement. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from query_api.storage import LogQuery, TraceQuery, TraceSpansQuery
from query_api.tenant import Tenant

Values = Mapping[str, object]
PlaceRow = tuple[str, str, str, str]  # ids of organisation, project, component and environment; "" where not asked for


@dataclass(frozen=True, slots=True)
class Asked:
    """Names or ids of a question; what is empty is not asked for."""

    organization: str = ""
    project: str = ""
    components: tuple[str, ...] = ()
    environment: str = ""
    service: str = ""


def asked_of(query: LogQuery | TraceQuery | TraceSpansQuery) -> Asked:
    """The places that a question names."""
    components = query.components if isinstance(query, LogQuery) else tuple(filter(None, (query.component,)))
    return Asked(query.organization, query.project, components, query.environment)


def tenant_values(tenant: Tenant) -> Values:
    """The parameters that a statement names its tenant with."""
    return {"orgs": list(tenant.orgs), "is_unbound": tenant.is_unbound}


@dataclass(frozen=True, slots=True)
class Depth:
    """How finely places have to be told apart to answer within a tenant."""

    by_project: bool
    by_component: bool
    by_environment: bool


def depth_of(asked: Asked, tenant: Tenant) -> Depth:
    """As coarse as the question and the tenant's grants allow: an organisation has thousands of components."""
    by_component = bool(asked.components or asked.service) or any(grant.component for grant in tenant.grants)
    by_project = by_component or bool(asked.project) or any(grant.project for grant in tenant.grants)
    return Depth(by_project, by_component, bool(asked.environment))


def lookup(asked: Asked, tenant: Tenant, limit: int) -> tuple[set[str], Values]:
    """The lines and parameters of `places_of`."""
    depth = depth_of(asked, tenant)
    given = {name if is_deep else f"not_{name}" for name, is_deep in _flags(depth)}
    values: dict[str, object] = {**tenant_values(tenant), "limit": limit}
    for name, value in (
        ("organization", asked.organization),
        ("project", asked.project),
        ("components", list(asked.components)),
        ("environment", asked.environment),
        ("service", asked.service),
    ):
        if value:
            given.add(name)
            values[name] = value
    return given, values


def _flags(depth: Depth) -> list[tuple[str, bool]]:
    return [
        ("by_project", depth.by_project),
        ("by_component", depth.by_component),
        ("by_environment", depth.by_environment),
    ]


@dataclass(frozen=True, slots=True)
class Scope:
    """The places to read: never empty, never wider than the tenant they were looked up for."""

    rows: tuple[PlaceRow, ...]
    depth: Depth

    @property
    def is_one_component(self) -> bool:
        """Whether rows of this scope lie in the order of time."""
        return self.depth.by_component and len({row[:3] for row in self.rows}) == 1

    def filters(self) -> tuple[set[str], Values]:
        """The lines and parameters of `_log_filter` and `_span_filter`."""
        orgs = sorted({row[0] for row in self.rows})
        projects, components = sorted({row[:2] for row in self.rows}), sorted({row[:3] for row in self.rows})
        given, values = set[str](), dict[str, object](orgs=orgs)
        if len(orgs) == 1:
            given.add("org")
            values["org"] = orgs[0]
        if self.is_one_component:
            given |= {"project", "component"}
            values |= {"project": components[0][1], "component": components[0][2]}
        elif self.depth.by_component:
            given.add("components")
            values["components"] = components
        elif self.depth.by_project:
            given.add("project" if len(projects) == 1 else "projects")
            values |= {"project": projects[0][1]} if len(projects) == 1 else {"projects": projects}
        if self.depth.by_environment:
            given.add("environments")
            values["environments"] = sorted({(row[0], row[3]) for row in self.rows})
        return given, values


def scope_of(rows: Sequence[Sequence[str]], asked: Asked, tenant: Tenant) -> Scope | None:
    """The places found that the tenant covers; None if there are none.

    The store has been told the tenant twice when it looked them up; this is the third time, in Python.
    """
    depth = depth_of(asked, tenant)
    found = [(org, project, component, environment) for org, project, component, environment in rows]
    covered = tuple(row for row in found if _is_covered(tenant, row, depth))
    return Scope(covered, depth) if covered else None


def _is_covered(tenant: Tenant, row: PlaceRow, depth: Depth) -> bool:
    org, project, component, _ = row
    if depth.by_component:
        return tenant.covers(org, project, component)
    if depth.by_project:
        return tenant.is_unbound or any(grant.org == org and grant.project in ("", project) for grant in tenant.grants)
    return tenant.has_whole(org)
