"""A tenant as a filter that the server puts on every table of a question, whatever the question's text says.

ClickHouse's `additional_table_filters` works like a row policy that comes with the query: subqueries and joins are
filtered as well. It is the second lock: every statement names the tenant's organisations itself. Values travel in hex,
so nothing in a name can end the literal it is in.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from query_api.tenant import Grant, Tenant

# What holds rows of places, and what holds rows of organisations, by the name of the organisation's column.
PLACE_TABLES: Final = ("otel_logs", "otel_traces", "places")
ORG_TABLES: Final = {"otel_traces_trace_id_ts": "OrgId", "ingest_ledger": "org"}


def table_filters(tenant: Tenant, database: str, sql: str) -> str:
    """The setting's value for a question of this text; empty where the tenant reads everything.

    Each table that the text so much as mentions is filtered; a tenant without grants reads no row of any.
    """
    if tenant.is_unbound:
        return ""
    mentioned = set(re.findall(r"\w+", sql))
    filters = {table: _places(tenant.grants) for table in PLACE_TABLES if table in mentioned}
    filters |= {table: _orgs(column, tenant.orgs) for table, column in ORG_TABLES.items() if table in mentioned}
    inner = ", ".join(f"'{database}.{table}': '{_quoted(text)}'" for table, text in filters.items())
    return f"{{{inner}}}"


def _places(grants: Iterable[Grant]) -> str:
    """True for the rows of these places, as an expression without any text of theirs in it."""
    whole, projects, components = (
        set[str](),
        defaultdict[str, set[str]](set),
        defaultdict[tuple[str, str], set[str]](set),
    )
    for grant in grants:
        if grant.component:
            components[grant.org, grant.project].add(grant.component)
        elif grant.project:
            projects[grant.org].add(grant.project)
        else:
            whole.add(grant.org)
    cases = [f"OrgId IN ({_hex(whole)})"] if whole else []
    cases += [f"OrgId = {_hex([org])} AND ProjectId IN ({_hex(each)})" for org, each in projects.items()]
    cases += [
        f"OrgId = {_hex([org])} AND ProjectId = {_hex([project])} AND ComponentId IN ({_hex(each)})"
        for (org, project), each in components.items()
    ]
    return " OR ".join(cases) or "0"


def _orgs(column: str, orgs: Iterable[str]) -> str:
    """The ledger's rows of no organisation say how far the store is; they count nobody's items."""
    values = [*orgs, *([""] if column == "org" else [])]
    return f"{column} IN ({_hex(values)})" if values else "0"


def _hex(values: Iterable[str]) -> str:
    return ", ".join(f"unhex('{value.encode('utf-8', 'surrogatepass').hex()}')" for value in sorted(values))


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
