"""What every store that is read from owes. This part: nobody reads what is not theirs, whatever they ask.

Subclasses say how to open a storage. The other parts are storage_logs.py, storage_spans.py and storage_places.py.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import fields
from typing import Any, ClassVar, Final, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from query_api.errors import AnswerTooLarge, InvalidRequest
from query_api.storage import LogQuery, LogRow, Position, SpanQuery, StorageProvider, TraceQuery, TraceSpansQuery
from query_api.tenant import EVERYTHING, NOTHING, Grant, Tenant
from tests.stored import DAY, NOON, Stored, place


class Opened(Protocol):
    """A storage under test and the way into its store."""

    @property
    def storage(self) -> StorageProvider: ...

    async def write(self, stored: Stored) -> None:
        """Put into the store, as a part of its own."""
        ...

    async def merge(self) -> None:
        """Make the store put its parts together."""
        ...


class StorageCase(ABC):
    """Every part of the contract starts from an empty store."""

    # Opt-out: rows of one time come in an order that stays, but not in the one they were written in.
    tells_one_time_as_written: ClassVar[bool] = True

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[Opened]:
        """A storage on an empty store."""

    @pytest.fixture
    async def opened(self) -> AsyncIterator[Opened]:
        async with self.open() as opened:
            yield opened


START: Final = NOON - DAY
END: Final = NOON + DAY
TRACE: Final = "ab" * 16
SPAN: Final = "cd" * 8
fuzzed: Final = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)
PLACES: Final = [
    (org, project, component, environment)
    for org in ("acme", "evil", "acme2", "ac_me")
    for project in ("shop", "acme")
    for component in ("api", "web", "shop")
    for environment in ("dev", "prod")
]
TENANTS: Final = {
    "everything": EVERYTHING,
    "nothing": NOTHING,
    "org": Tenant.of("acme"),
    "two orgs": Tenant.of("acme", "ac_me"),
    "project": Tenant.of("acme/shop"),
    "component": Tenant.of("acme/shop/api"),
    "mixed": Tenant.of("acme/shop/api", "evil/acme", "ac_me"),
    "components of two orgs": Tenant.of("acme/shop/api", "evil/acme/web"),
    "unknown": Tenant.of("nobody", "acme/nothing", "evil/shop/nothing"),
    "like": Tenant.of("%", "acm_", ".*"),
    "quoted": Tenant.of("' OR 1=1 --", "\\' OR 1 --", "acme') OR ('1'='1", "\x00"),
}
HOSTILE: Final = (
    *(
        "'",
        '"',
        "\\",
        "\\'",
        "\\\\'",
        "`",
        "%",
        "_",
        ".*",
        "*",
        "\x00",
        "\n",
        "\t",
        "\\N",
        "\\0",
        "NULL",
        "{",
        "}",
        "$1",
    ),
    *("' OR 1=1 -- ", "\\' OR 1=1 -- ", "x\\') != toString(1) OR 1=1 -- ", "') OR ('1'='1", "1); DROP TABLE x; --"),
    *("{orgs:Array(String)}", "{x:String}", "%(orgs)s", "%s", "?", "/*", "*/", "--", ";", "--if org", "$database"),
    *(
        "acme",
        "evil",
        "shop",
        "api",
        "dev",
        "\u00e9",
        "\u0130",
        "\ufeff",
        "\U0001f600",
        "\u2028",
        "\ud800",
        "[",
        "]",
        "(",
        ",",
        "']",
    ),
    *("'" * 1000, "\\" * 1001, "ab\U0001f600" * 3000, "[('a','b')]"),
)
TEXT: Final = st.one_of(
    st.sampled_from(HOSTILE), st.text(max_size=30), st.lists(st.sampled_from(HOSTILE), max_size=4).map("".join)
)
TEXTS: Final = st.lists(TEXT, max_size=3).map(tuple)
PAIRS: Final = st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple)
INTS: Final = st.integers(-(2**70), 2**70)
COUNTS: Final = st.integers(0, 2**64 - 1)
POSITIONS: Final = st.builds(Position, st.integers(-(2**63), 2**63 - 1), COUNTS, COUNTS)
_STRATEGIES: Final[Mapping[str, st.SearchStrategy[Any]]] = {
    "str": TEXT,
    "bool": st.booleans(),
    "tuple[str, ...]": TEXTS,
    "tuple[tuple[str, str], ...]": PAIRS,
    "int": INTS,
    "int | None": st.none() | INTS,
    "Position | None": st.none() | POSITIONS,
}


def queries(kind: type) -> st.SearchStrategy[Any]:
    """Queries with anything in up to three of their fields, or in all of them, and the rest as it finds most."""
    strategies = {each.name: _STRATEGIES[_type(each.type)] for each in fields(kind) if each.name != "limit"}
    strategies["limit"] = st.integers(1, 1000)
    required = {each.name: WIDEST[each.name] for each in fields(kind) if each.name in WIDEST}
    some = st.lists(st.sampled_from(sorted(strategies)), max_size=3, unique=True).flatmap(
        lambda names: st.fixed_dictionaries({name: strategies[name] for name in names})
    )
    return (some | st.fixed_dictionaries(strategies)).map(lambda given: kind(**(required | given)))


WIDEST: Final[Mapping[str, Any]] = {
    "start_unix_nano": START,
    "end_unix_nano": END,
    "service": "api",
    "trace_id": TRACE,
}


def _type(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def crowd() -> Stored:
    """Everywhere the same: names, services, trace and span ids; `body` and span name say whose a row is."""
    stored = Stored()
    for org, project, component, environment in PLACES:
        resource = place(
            org,
            project,
            component,
            environment,
            service__name="api",
            organization__name="Same",
            project__name="Same project",
            component__name="Same component",
            environment__name="Same environment",
            **{"k8s.pod.label.team": "same", "k8s.namespace.name": "same", "version": "v1"},
        )
        whose = f"{org}/{project}/{component}/{environment} 100% it's {{x:String}} \\ error"
        stored.log(
            whose, NOON, resource, trace_id=TRACE, span_id=SPAN, attributes={"gateway_vhost": "h", "api_id": "i"}
        )
        stored.span(whose, (TRACE, SPAN), NOON, resource, status="Error")
    return stored


def covered(tenant: Tenant) -> list[str]:
    """The places of the crowd that may be read, as their rows say it."""
    return sorted("/".join(each) for each in PLACES if tenant.covers(*each[:3]))


def said(items: Any) -> list[str]:
    """What the rows say of themselves; it must be what their columns say."""
    found = []
    for item in items:
        text = (item.body if isinstance(item, LogRow) else item.name).partition(" ")[0]
        assert text == f"{item.org}/{item.project}/{item.component}/{item.environment}"
        found.append(text)
    return sorted(found)


async def everything_of(storage: StorageProvider, tenant: Tenant, limit: int = 1000) -> dict[str, list[str]]:
    """Whose rows every method finds when nothing narrows it."""
    logs = await storage.logs(tenant, LogQuery(limit=limit))
    exported = [row async for block in storage.export_logs(tenant, LogQuery(), limit) for row in block]
    spans = await storage.spans(tenant, SpanQuery(START, END, "api", limit))
    trace = await storage.trace(tenant, TraceSpansQuery(TRACE, limit=limit))
    found = await storage.span(tenant, TRACE, SPAN)
    places = await storage.places(tenant)
    usage = await storage.usage(tenant, START, END)
    return {
        "logs": said(logs.rows),
        "exported": said(exported),
        "spans": said(spans.spans),
        "trace": said(trace.spans),
        "span": said([found] if found else []),
        "places": sorted(f"{each.org}/{each.project}/{each.component}/{each.environment}" for each in places),
        "usage": sorted(f"{each.org}/{each.project}/{each.component}" for each in usage),
    }


def check(found: Mapping[str, list[str]], tenant: Tenant) -> None:
    """Exactly what is covered, by every method."""
    wanted = covered(tenant)
    for name in ("logs", "exported", "spans", "trace", "places"):
        assert found[name] == wanted, name
    assert found["usage"] == sorted({whose.rpartition("/")[0] for whose in wanted})
    assert len(found["span"]) == min(1, len(wanted))
    assert set(found["span"]) <= set(wanted)


per_tenant = pytest.mark.parametrize(
    "tenant", [pytest.param(tenant, id=name.replace(" ", "_")) for name, tenant in TENANTS.items()]
)


class IsolationContract(StorageCase):
    @pytest.fixture
    async def crowded(self, opened: Opened) -> StorageProvider:
        await opened.write(crowd())
        return opened.storage

    @per_tenant
    async def test_every_method_finds_what_the_grants_cover_and_nothing_else(
        self, crowded: StorageProvider, tenant: Tenant
    ) -> None:
        """Whatever the grants' depth, however alike the tenants' rows are; totals count no foreign row either."""
        check(await everything_of(crowded, tenant), tenant)
        assert (await crowded.logs(tenant, LogQuery(limit=1))).total == len(covered(tenant))
        assert (await crowded.spans(tenant, SpanQuery(START, END, "api", 1))).total == len(covered(tenant))

    @per_tenant
    async def test_a_trace_that_tenants_share_is_told_to_each_by_its_own_spans(
        self, crowded: StorageProvider, tenant: Tenant
    ) -> None:
        """Count, root and error flag come from spans that may be read."""
        page = await crowded.traces(tenant, TraceQuery(START, END))
        wanted = covered(tenant)
        assert [trace.span_count for trace in page.traces] == ([len(wanted)] if wanted else [])
        assert page.total == len(page.traces)
        assert {trace.root_span_name.partition(" ")[0] for trace in page.traces} <= set(wanted)

    @per_tenant
    async def test_names_and_ids_of_others_find_nothing_of_theirs(
        self, crowded: StorageProvider, tenant: Tenant
    ) -> None:
        """An organisation's name is shared by all here, and its id is known to all: neither opens anything."""
        for organization in ("acme", "evil", "Same", "SAME", "acm%", ""):
            is_asked = {"acme": ["acme"], "evil": ["evil"], "Same": None, "": None}.get(organization, [])
            wanted = [whose for whose in covered(tenant) if is_asked is None or whose.split("/")[0] in is_asked]
            logs = await crowded.logs(tenant, LogQuery(organization=organization))
            assert said(logs.rows) == wanted
            trace = await crowded.trace(tenant, TraceSpansQuery(TRACE, organization))
            assert said(trace.spans) == wanted
            traces = await crowded.traces(tenant, TraceQuery(START, END, organization))
            assert [each.span_count for each in traces.traces] == ([len(wanted)] if wanted else [])

    @per_tenant
    async def test_a_cursor_of_others_opens_nothing(self, crowded: StorageProvider, tenant: Tenant) -> None:
        """A position is only a place in an order; it may be anybody's."""
        everyone = (await crowded.logs(EVERYTHING, LogQuery())).rows
        for row in (everyone[0], everyone[-1]):
            for is_descending in (True, False):
                query = LogQuery(cursor=row.position, is_descending=is_descending)
                assert set(said((await crowded.logs(tenant, query)).rows)) <= set(covered(tenant))

    async def test_usage_and_freshness_count_no_foreign_item(self, crowded: StorageProvider) -> None:
        """The sums of a tenant are those of its rows alone."""
        tenant = Tenant.of("acme/shop/api")
        (usage,) = await crowded.usage(tenant, START, END)
        assert (usage.org, usage.logs, usage.spans) == ("acme", 2, 2)
        assert {each.org for each in await crowded.freshness(tenant)} <= {"acme"}
        assert {each.org for each in await crowded.query_use(tenant, START, END)} <= {"acme"}
        assert await crowded.freshness(NOTHING) == []
        assert await crowded.query_use(NOTHING, START, END) == []

    @fuzzed
    @given(tenant=st.sampled_from(list(TENANTS.values())), query=queries(LogQuery))
    async def test_any_log_query_finds_only_covered_rows(
        self, crowded: StorageProvider, tenant: Tenant, query: LogQuery
    ) -> None:
        """Quotes, backslashes, NUL, placeholders, patterns, long texts, in keys and values: no foreign row, no bug."""
        with suppress(InvalidRequest):  # a text that is no Unicode
            page = await crowded.logs(tenant, query)
            exported = [row async for block in crowded.export_logs(tenant, query, 100) for row in block]
            assert set(said(page.rows)) <= set(covered(tenant))
            assert set(said(exported)) <= set(covered(tenant))
            assert page.total <= len(covered(tenant))

    @fuzzed
    @given(
        tenant=st.sampled_from(list(TENANTS.values())),
        query=queries(SpanQuery) | queries(TraceQuery) | queries(TraceSpansQuery),
    )
    async def test_any_question_for_spans_finds_only_covered_ones(
        self, crowded: StorageProvider, tenant: Tenant, query: SpanQuery | TraceQuery | TraceSpansQuery
    ) -> None:
        """The same of spans of a service, traces, and spans of a trace."""
        with suppress(InvalidRequest):
            if isinstance(query, SpanQuery):
                found = said((await crowded.spans(tenant, query)).spans)
            elif isinstance(query, TraceSpansQuery):
                found = said((await crowded.trace(tenant, query)).spans)
            else:
                page = await crowded.traces(tenant, query)
                assert all(each.span_count <= len(covered(tenant)) for each in page.traces)
                found = [each.root_span_name.partition(" ")[0] for each in page.traces]
            assert set(found) <= set(covered(tenant))

    @fuzzed
    @given(tenant=st.sampled_from(list(TENANTS.values())), trace_id=TEXT, span_id=TEXT)
    async def test_any_span_id_finds_only_covered_spans(
        self, crowded: StorageProvider, tenant: Tenant, trace_id: str, span_id: str
    ) -> None:
        """The same of one span, by texts that are no ids as well."""
        with suppress(InvalidRequest):
            assert await crowded.span(tenant, trace_id, span_id) is None
        found = await crowded.span(tenant, TRACE, SPAN)
        assert set(said([found] if found else [])) <= set(covered(tenant))

    @fuzzed
    @given(org=TEXT.filter(bool), project=TEXT, component=TEXT)
    async def test_any_text_in_a_grant_opens_only_what_bears_it(
        self, crowded: StorageProvider, org: str, project: str, component: str
    ) -> None:
        """A role may come from a token's claims: its text is a value to the store and nothing else."""
        tenant = Tenant((Grant(org, project, component if project else ""),))
        with suppress(AnswerTooLarge, InvalidRequest):  # a role of many kilobytes
            check(await everything_of(crowded, tenant), tenant)

    async def test_hundreds_of_roles_are_one_tenant(self, crowded: StorageProvider) -> None:
        """A caller may have a role on each of many components, projects and organisations."""
        uid = "0123456789abcdef0123456789abcdef0123"
        grants = [Grant(f"{n}{uid}", uid, f"{n}{uid}") for n in range(100)] + [
            Grant("acme", uid, f"{n}{uid}") for n in range(150)
        ]
        grants += [Grant("acme", "shop", "api"), *(Grant("evil", f"{n}{uid}") for n in range(50)), Grant("ac_me")]
        tenant = Tenant(tuple(sorted(grants)))
        check(await everything_of(crowded, tenant), tenant)
