"""Nobody is told anything of a place that is not theirs, whatever they put into a request to the query API.

Every route comes from the tables, every text of a request from its declaration (tests/query_fuzz.py). Organisations,
projects and components that may not be read are named alike, share trace and span ids, and every text that they have
stored holds a word of their own; an answer that holds one of these words is a leak.
"""

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.settings_dual import Dual
from bridge.settings_links import HyperDX
from bridge.telemetry import Metrics
from query_api.api import Route, Rules
from query_api.dual_role import open_dual_read
from query_api.memory import MemoryStorage
from query_api.routes import LOGS_ADAPTER, MAIN, TRACING_ADAPTER
from query_api.sides import Side
from query_api.storage import StorageProvider
from query_api.tenant import Action, Tenant
from tests.clickhouse_storage import opened_server
from tests.contracts.storage_contract import TEXT
from tests.dual import Kept
from tests.query_fuzz import SPAN, TRACE, Ask, asks, plain, with_payload
from tests.query_server import Answer, Served, known, serving
from tests.services import ClickHouseServer
from tests.stored import NOON, Stored, place

pytestmark = [pytest.mark.external, pytest.mark.timeout(240)]
PLACES: Final = [
    (org, project, component)
    for org in ("acme", "evil-id")
    for project in ("shop", "shop2")
    for component in ("api", "web")
]
# by token: its roles, and what it may read
CALLERS: Final = {
    "org": ("acme", Tenant.of("acme")),
    "project": ("acme/shop", Tenant.of("acme/shop")),
    "component": ("acme/shop/api", Tenant.of("acme/shop/api")),
}
LINKS: Final = HyperDX.model_validate({"base_url": "http://hyperdx:3000", "signing_key": "0123456789abcdef"})
BASES: Final = {id(MAIN): "main", id(LOGS_ADAPTER): "logs_adapter", id(TRACING_ADAPTER): "tracing_adapter"}
ROUTES: Final = [
    pytest.param(BASES[id(table)], route, id=f"{BASES[id(table)]}-{route.name}".replace(" ", "-"))
    for table in (MAIN, LOGS_ADAPTER, TRACING_ADAPTER)
    for route in table
]
ASKING: Final = [param for param in ROUTES if param.values[1].action is not None]  # type: ignore[union-attr]
PARALLEL: Final = 16
# a quarter in an ordinary run, which is a minute
IS_WHOLE: Final = os.environ.get("HEADRACE_FUZZ") == "whole"


def mark(*where: str) -> str:
    """The word of a place, which nobody sends."""
    return f"mark.{'.'.join(where)}.mark"


def the_data() -> Stored:
    stored = Stored()
    for where in PLACES:
        word = mark(*where)
        resource = place(
            *where,
            service__name="api",
            organization__name="Same",
            project__name="Same project",
            component__name="Same component",
            environment__name="Same environment",
            **{
                "version": word,
                "k8s.namespace.name": word,
                "k8s.pod.uid": word,
                "k8s.pod.name": word,
                "k8s.container.name": word,
                "k8s.pod.label.team": word,
                f"k8s.pod.label.{word}": "same",
                "build-name": word,
            },
        )
        stored.log(f"ERROR {word}", NOON, resource, trace_id=TRACE, span_id=SPAN, attributes={word: word})
        stored.span(word, (TRACE, SPAN), NOON, resource, status="Error", status_message=word, attributes={word: word})
    return stored


def forbidden(tenant: Tenant) -> list[str]:
    return [mark(*where) for where in PLACES if not tenant.covers(*where)]


def check(answer: Answer, tenant: Tenant, ask: Ask) -> None:
    """No word of others, no foreign organisation unless the request itself has named it, and no defect."""
    shown = f"{ask.method} {ask.sent[:400]} -> {answer.status} {answer.text[:400]}"
    assert answer.status < 500 or answer.status == 501, shown
    for word in forbidden(tenant):
        assert word.encode() not in answer.body, shown
        assert word not in str(answer.headers), shown
    if "evil-id" not in tenant.orgs and "evil" not in ask.sent.lower().replace("%2d", "-"):
        assert b"evil-id" not in answer.body, shown


@asynccontextmanager
async def opened(clickhouse: ClickHouseServer) -> AsyncIterator[Served]:
    roles = {name: [role] for name, (role, _) in CALLERS.items()}
    roles |= {f"only {action}": [f"{action}:acme"] for action in Action}
    roles |= {f"{action} of others": [f"{action}:evil-id"] for action in Action} | {"nobody": []}
    tokens = {name.replace(" ", "-"): role for name, role in roles.items()}
    data = the_data()
    async with opened_server(clickhouse.http_port) as store:
        await store.write(data)
        callers = known(tokens)
        memory = MemoryStorage()
        data.to_memory(memory)
        sides: dict[Side, StorageProvider] = {Side.CLICKHOUSE: store.storage, Side.OPENSEARCH: memory}
        async with (
            open_dual_read(sides, Side.CLICKHOUSE, Dual(sample_rate=0.2), Kept(), Metrics()) as both,
            serving(both.storage, rules=Rules(hyperdx=LINKS), callers=callers, dual_report=both.report) as served,
        ):
            yield served


@pytest.fixture
async def served(clickhouse: ClickHouseServer) -> AsyncIterator[Served]:
    async with opened(clickhouse) as served:
        yield served


async def send(served: Served, base: str, ask: Ask, token: str) -> Answer:
    headers = {**ask.headers, "Authorization": f"Bearer {token}"} if token else dict(ask.headers)
    return await served.ask(ask.method, ask.path, ask.body, base=getattr(served, base), **headers)


async def send_all(served: Served, base: str, found: Iterable[tuple[Ask, str]]) -> None:
    """All of them, a few at a time, each answer checked."""
    places = asyncio.Semaphore(PARALLEL)

    async def one(ask: Ask, token: str) -> None:
        async with places:
            check(await send(served, base, ask, token), CALLERS[token][1], ask)

    async with asyncio.TaskGroup() as group:
        for ask, token in found:
            group.create_task(one(ask, token))


@pytest.mark.parametrize(("base", "route"), ROUTES)
async def test_no_text_of_a_request_opens_what_is_not_the_callers(served: Served, base: str, route: Route) -> None:
    """Every payload in every text, keys and headers too, by callers of an organisation, a project and a component."""
    for token, (_, tenant) in CALLERS.items():
        answer = await send(served, base, plain(route), token)
        check(answer, tenant, plain(route))
        is_closed = (route.name == "hyperdx link" and token != "org") or "events" in route.name
        if route.answer is not None or route.answer_type == "text/csv":
            assert answer.status == (403 if is_closed else 200), answer.text
    found = list(asks(route))
    if not IS_WHOLE:  # another part of it with each seed of a run
        found = random.sample(found, max(1, len(found) // 4))
    await send_all(served, base, zip(found, itertools.cycle(CALLERS), strict=False))
    assert len(served.observed) > len(CALLERS)


@pytest.mark.parametrize(("base", "route"), ASKING)
async def test_a_role_opens_its_action_and_nothing_else(served: Served, base: str, route: Route) -> None:
    """No token, a wrong one, no role, roles of every other action: refused; of the right action elsewhere: empty."""
    assert route.action is not None
    ask = plain(route)
    for token, status in (("", 401), ("wrong", 401), ("nobody", 403)):
        assert (await send(served, base, ask, token)).status == status
    for action in Action:
        answer = await send(served, base, ask, f"only-{action}")
        assert (answer.status == 403) == (action is not route.action), (action, answer.text)
        check(answer, Tenant.of("acme"), ask)
        check(await send(served, base, ask, f"{action}-of-others"), Tenant.of("evil-id"), ask)


async def test_the_fuzz_would_see_a_leak(served: Served) -> None:
    """Each caller is told its own words by every route of rows: so the words of others would be seen as well."""
    seen = {}
    for param in ROUTES:
        base, route = param.values
        assert isinstance(route, Route)
        for token, (_, tenant) in CALLERS.items():
            answer = await send(served, str(base), plain(route), token)
            own = [mark(*where) for where in PLACES if tenant.covers(*where)]
            seen[route.name, token] = any(word.encode() in answer.body for word in own)
    told = {name for (name, token), is_seen in seen.items() if is_seen and token == "component"}
    assert told == {
        *("component logs", "project logs", "organization logs", "log export", "component spans", "public logs"),
        *("traces", "trace spans", "span details", "adapter logs", "gateway logs"),
        *("adapter traces", "adapter trace spans", "adapter span details"),
    }


ANY_ROUTE: Final = st.sampled_from([param.values for param in ROUTES])


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.differing_executors],
)
@given(which=ANY_ROUTE, payload=TEXT | st.text(alphabet=st.characters(), max_size=40), seed=st.integers(0, 1 << 30))
async def test_no_generated_text_opens_anything(
    served: Served, which: tuple[str, Route], payload: str, seed: int
) -> None:
    """The same with texts that nobody thought of."""
    base, route = which
    found = list(with_payload(route, payload))
    some = random.Random(seed).sample(found, min(6, len(found)))
    await send_all(served, base, ((ask, list(CALLERS)[seed % len(CALLERS)]) for ask in some))
