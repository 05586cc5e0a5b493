"""Each of the locks between tenants holds where it is meant to hold alone: the filter on tables, statements, Python."""

import re
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api import clickhouse
from query_api.asking import Question
from query_api.clickhouse import ClickHouseStorage
from query_api.errors import QueryError
from query_api.guard import ORG_TABLES, PLACE_TABLES, table_filters
from query_api.scoping import Asked, Scope, Values, depth_of
from query_api.statements import names, statement
from query_api.storage import SpanQuery, TraceQuery, TraceSpansQuery
from query_api.tenant import Tenant
from tests.clickhouse_storage import LIMITS, OpenedStorage, opened_server
from tests.contracts.storage_contract import END, PLACES, START, TENANTS, TRACE, check, crowd, everything_of
from tests.services import ClickHouseServer

pytestmark = pytest.mark.external
ORGS: Final = sorted({each[0] for each in PLACES})
LOOKUPS: Final = ("places_of", "places", "usage_logs", "usage_spans", "received", "query_use")
TENANT_TABLES: Final = {*PLACE_TABLES, *ORG_TABLES}
# every line of a statement that may be left out
EVERY_LINE: Final = {
    *("by_project", "by_component", "by_environment", "org", "service", "trace_id", "span_id", "start", "end"),
    *("attributes", "down"),
}


class Unlocked(ClickHouseStorage):
    """With statements told every organisation, or without the filter on tables, or both."""

    def __init__(self, opened: OpenedStorage, *, has_statements: bool, has_guard: bool) -> None:
        super().__init__(opened.asker, opened.database, LIMITS)
        self._has_statements, self._has_guard = has_statements, has_guard

    def _question(self, tenant: Tenant, name: str, given: Collection[str], values: Values) -> Question:
        if not self._has_statements and name in LOOKUPS:
            values = {**values, "orgs": ORGS, "is_unbound": True}
        question = super()._question(tenant, name, given, values)
        return question if self._has_guard else replace(question, table_filters="")


@pytest.fixture
async def opened(clickhouse: ClickHouseServer) -> AsyncIterator[OpenedStorage]:
    async with opened_server(clickhouse.http_port) as opened:
        await opened.write(crowd())
        yield opened


def keep_all(rows: Any, asked: Asked, tenant: Tenant) -> Scope | None:
    """`scope_of` without its check."""
    return Scope(tuple(tuple(row) for row in rows), depth_of(asked, tenant)) if rows else None


async def test_the_filter_on_tables_holds_alone(opened: OpenedStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Statements that ask for every organisation's rows and no check in Python: still only what is covered."""
    monkeypatch.setattr(clickhouse, "scope_of", keep_all)
    storage = Unlocked(opened, has_statements=False, has_guard=True)
    for tenant in TENANTS.values():
        check(await everything_of(storage, tenant), tenant)


async def test_python_holds_alone(opened: OpenedStorage) -> None:
    """No filter on tables and statements that ask for everything: still only what is covered."""
    storage = Unlocked(opened, has_statements=False, has_guard=False)
    for tenant in TENANTS.values():
        check(await everything_of(storage, tenant), tenant)


async def test_statements_hold_organisations_apart_alone(
    opened: OpenedStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither filter nor Python: a statement's own line lets no other organisation through."""
    monkeypatch.setattr(clickhouse, "scope_of", keep_all)
    storage = Unlocked(opened, has_statements=True, has_guard=False)
    for tenant in TENANTS.values():
        if not tenant.is_unbound:
            found = await everything_of(storage, tenant)
            assert {whose.split("/")[0] for rows in found.values() for whose in rows} <= set(tenant.orgs)


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("_")])
async def test_any_statement_without_its_tenant_reads_only_covered_rows(opened: OpenedStorage, name: str) -> None:
    """Each table a statement reads is filtered, in subqueries too: with no WHERE at all it reads nothing of others."""
    sql = statement(name, opened.database, EVERY_LINE)
    read = re.findall(rf"FROM {opened.database}\.(\w+)", sql)
    assert set(read) <= TENANT_TABLES
    tenant = TENANTS["mixed"]
    for table in read:
        columns = "OrgId, ProjectId, ComponentId" if table in PLACE_TABLES else f"{ORG_TABLES[table]}, '', ''"
        plain = f"SELECT DISTINCT {columns} FROM (SELECT * FROM {opened.database}.{table}) AS t"
        question = Question(plain, {}, table_filters(tenant, opened.database, sql), "", 10, 10**9, 1 << 30, 0)
        for org, project, component in await opened.asker.rows(question):
            is_org_only = table in ORG_TABLES
            assert org in tenant.orgs if is_org_only else tenant.covers(org, project, component)


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("_")])
def test_every_statement_on_a_tenants_table_names_the_tenant(name: str) -> None:
    """Each FROM of such a table has a line for the organisations that no question leaves out."""
    sql = statement(name, "db", set())
    tables = re.findall(r"(?:FROM|JOIN)\s+(\S+)", sql)
    ours = [table for table in tables if table.startswith("db.")]
    assert all(table.startswith(("db.", "system.", "(")) for table in tables)
    assert {table.removeprefix("db.") for table in ours} <= TENANT_TABLES
    if name == "freshness":  # of no organisation: how far the store is
        assert "org = ''" in sql
        return
    named = len(re.findall(r"\b(?:OrgId|org) IN \{\w*orgs:Array\(String\)\}", sql))
    assert named >= len(ours)


async def test_a_shared_trace_is_counted_by_organisation_whatever_lock_is_open(opened: OpenedStorage) -> None:
    """Without the filter on tables a summary has no span of an organisation outside the scope."""
    storage = Unlocked(opened, has_statements=False, has_guard=False)
    (trace,) = (await storage.traces(Tenant.of("acme"), TraceQuery(START, END))).traces
    assert trace.span_count == len([each for each in PLACES if each[0] == "acme"])
    assert (await storage.trace(Tenant.of("acme/shop/api"), TraceSpansQuery(TRACE))).total == 2
    assert (await storage.spans(Tenant.of("acme/shop/api"), SpanQuery(START, END, "api"))).total == 2


@pytest.mark.parametrize("text", ["INSERT INTO {}.otel_logs (Body) VALUES ('x')", "DROP TABLE {}.otel_logs"])
async def test_questions_change_nothing(opened: OpenedStorage, text: str) -> None:
    """Whatever text is sent as a question, it may only read."""
    question = Question(text.format(opened.database), {}, "", "", 10, 10**9, 1 << 30, 0)
    before = opened.connection.rows(f"SELECT count() FROM {opened.database}.otel_logs")
    with pytest.raises(QueryError) as caught:
        await opened.asker.rows(question)
    assert "(READONLY)" in str(caught.value.__cause__), caught.value.__cause__
    assert opened.connection.rows(f"SELECT count() FROM {opened.database}.otel_logs") == before
