"""A tenant as a filter that the server puts on every table of a question, whatever the question's text says.

ClickHouse's `additional_table_filters` works like a row policy that comes with the query: subqueries and joins are
filtered as well. It is the second lock: every statement names the tenant's organisations itself. Values travel in hex,
so nothing in a name can end the literal it is in.
"""

from collections.abc import Iterable
from typing import Final

from query_api.tenant import Grant, Tenant

# What holds rows of places, and what holds rows of organisations, by the name of the organisation's column.
PLACE_TABLES: Final = ("otel_logs", "otel_traces", "places")
ORG_TABLES: Final = {"otel_traces_trace_id_ts": "OrgId", "ingest_ledger": "org"}


def table_filters(tenant: Tenant, database: str) -> str:
    """The setting's value; empty where the tenant reads everything. A tenant without grants reads no row."""
    if tenant.is_unbound:
        return ""
    filters = {table: _places(tenant.grants) for table in PLACE_TABLES}
    filters |= {table: _orgs(column, tenant.orgs) for table, column in ORG_TABLES.items()}
    inner = ", ".join(f"'{database}.{table}': '{_quoted(text)}'" for table, text in filters.items())
    return f"{{{inner}}}"


def _places(grants: Iterable[Grant]) -> str:
    """True for the rows of these places, as an expression without any text of theirs in it."""
    whole = [f"({_hex(grant.org)})" for grant in grants if not grant.project]
    projects = [f"({_hex(grant.org, grant.project)})" for grant in grants if grant.project and not grant.component]
    components = [f"({_hex(grant.org, grant.project, grant.component)})" for grant in grants if grant.component]
    cases = [
        f"{columns} IN ({', '.join(values)})"
        for columns, values in (
            ("OrgId", whole),
            ("(OrgId, ProjectId)", projects),
            ("(OrgId, ProjectId, ComponentId)", components),
        )
        if values
    ]
    return " OR ".join(cases) or "0"


def _orgs(column: str, orgs: Iterable[str]) -> str:
    """The ledger's rows of no organisation say how far the store is; they count nobody's items."""
    values = [_hex(org) for org in orgs] + (["''"] if column == "org" else [])
    return f"{column} IN ({', '.join(values)})" if values else "0"


def _hex(*values: str) -> str:
    return ", ".join(f"unhex('{value.encode('utf-8', 'surrogatepass').hex()}')" for value in values)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
