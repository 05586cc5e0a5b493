"""Documents that Headrace has not written: what is read of them, that nobody reads another's, and beside ours."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from bridge.documents import Family
from bridge.model import Signal
from bridge.rfc3339 import format_time
from query_api.opensearch import OpenSearchLimits
from query_api.storage import LogQuery, LogRow, SpanQuery, StorageProvider, TraceQuery, TraceSpansQuery
from query_api.tenant import EVERYTHING, NOTHING, Tenant
from tests.opensearch_service import OpenSearchNode
from tests.opensearch_storage import OpenedOpenSearch, opened_opensearch
from tests.stored import DAY, NOON, SECOND, Stored, place

pytestmark = pytest.mark.external
ACME: Final = Tenant.of("acme")
Document = dict[str, Any]
A: Final = ("organization-name", "project-name", "component-name", "environment-name")
BC: Final = ("namespace", "project-uid", "component-uid", "environment-uid")
KINDS: Final = [
    pytest.param((Family.A, False), id="a_dynamic"),
    pytest.param((Family.A, True), id="a_template"),
    pytest.param((Family.BC, True), id="bc_template"),
]


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest, opensearch: OpenSearchNode) -> AsyncIterator[OpenedOpenSearch]:
    family, has_templates = request.param
    async with opened_opensearch(opensearch, family, has_templates=has_templates) as opened:
        yield opened


def labels(family: Family, org: str = "acme", component: str = "api", **more: str) -> Document:
    """Of a pod, as the family's Fluent Bit tells them."""
    values = (org, "shop", component, "dev")
    keys = A if family is Family.A else tuple(f"openchoreo_dev/{name}" for name in BC)
    return {**dict(zip(keys, values, strict=True)), **{key.replace("__", "-"): value for key, value in more.items()}}


def line(family: Family, text: str, at: int, **others: str) -> Document:
    """One log document of a Fluent Bit."""
    return {
        "@timestamp": format_time(at),
        "log": text,
        "stream": "stdout",
        "kubernetes": {
            "namespace_name": "dp-acme",
            "pod_name": "api-0",
            "container_name": "main",
            "labels": labels(family, **others),
        },
    }


async def write(opened: OpenedOpenSearch, documents: Sequence[Document]) -> None:
    await opened.others(opened.layout.index(Signal.LOGS, NOON), documents)


async def bodies(storage: StorageProvider, query: LogQuery, tenant: Tenant = ACME) -> list[str]:
    """Of a page, which its total and an export agree with."""
    page = await storage.logs(tenant, query)
    exported = [row.body async for block in storage.export_logs(tenant, query, 1000) for row in block]
    found = [row.body for row in page.rows]
    assert (page.total, page.is_capped, sorted(exported)) == (len(found), False, sorted(found))
    return found


LONG: Final = "x" * 300 + " needle in C:\\temp at the end"
LINES: Final = (
    *("INFO request served", "level=error db gone", "E1114 10:00:00 klog says", "no level at all", LONG),
    *("terror is no level", "100% of *it*", "Caf\u00e9 ol\u00e9 \u4e2d\u6587"),
)
ASKED: Final[Mapping[str, tuple[Mapping[str, Any], Sequence[int]]]] = {
    "all": ({}, range(8)),
    "names": ({"organization": "acme", "project": "shop", "components": ("api",), "environment": "dev"}, range(8)),
    "component of nobody": ({"components": ("web",)}, []),
    "error": ({"levels": ("ERROR",)}, [1, 2]),
    "info": ({"levels": ("INFO", "WARN")}, [0]),
    "fatal": ({"levels": ("FATAL",)}, []),
    "part of a word": ({"phrase": "QUEST SER"}, [0]),
    "behind 256 characters": ({"phrase": "needle in c:\\Temp"}, [4]),
    "stars": ({"phrase": "*it*"}, [6]),
    "star alone": ({"phrase": "ser*ed"}, []),
    "no word of ASCII": ({"phrase": "\u4e2d\u6587"}, [7]),
    "beyond ASCII": ({"phrase": "CAF\u00c9 O"}, [7]),
    "namespace": ({"namespace": "dp-acme", "phrase": "klog"}, [2]),
    "other namespace": ({"namespace": "dp"}, []),
    "version": ({"versions": ("v1",)}, range(8)),
    "other version": ({"versions": ("v2",), "version_ids": ("v1",)}, []),
    "build": ({"is_build": True, "build_id": "b1"}, range(8)),
    "label": ({"labels": (("team", "red"),), "phrase": "100%"}, [6]),
    "other label": ({"labels": (("team", "re"),)}, []),
    "times": ({"start_unix_nano": NOON + SECOND, "end_unix_nano": NOON + 2 * SECOND}, [1, 2]),
    "to the nanosecond": ({"start_unix_nano": NOON + 1, "end_unix_nano": NOON + 2 * SECOND - 1}, [1]),
}


@pytest.mark.parametrize("name", list(ASKED))
async def test_a_plain_document_answers_what_its_labels_and_line_say(opened: OpenedOpenSearch, name: str) -> None:
    """Whatever of it is indexed: places, levels, phrases, labels, nanoseconds; page, total and export are exact."""
    more = {"version": "v1", "target": "BUILD", "build__name": "b1", "team": "red"}
    documents = [line(opened.layout.family, text, NOON + n * SECOND, **more) for n, text in enumerate(LINES)]
    await write(opened, documents)
    wanted, found = ASKED[name]
    query = LogQuery(is_descending=False, **wanted)
    assert await bodies(opened.storage, query) == [LINES[number] for number in found]


async def test_a_row_of_others_has_its_time_place_level_and_resource(opened: OpenedOpenSearch) -> None:
    """To the nanosecond; pod and labels in OpenTelemetry's names."""
    await write(opened, [line(opened.layout.family, "WARN x", NOON)])
    (row,) = (await opened.storage.logs(ACME, LogQuery())).rows
    assert row.position.time_unix_nano == NOON
    assert (row.level, row.org, row.project, row.component, row.environment) == ("WARN", "acme", "shop", "api", "dev")
    assert row.resource["k8s.pod.name"] == "api-0"


def hostile(family: Family) -> list[Document]:
    """Documents that belong to nobody but evil, whatever else they say."""
    mine = line(family, "evil", NOON, org="evil")
    forged = {"org": "acme", "project": "shop", "component": "api", "time_unix_nano": NOON, "sequence": 1}
    alike = [{**mine, "kubernetes": {**mine["kubernetes"], "labels": labels(family, org=org)}} for org in ALIKE]
    top = {**mine, "organization-name": "acme", "openchoreo_dev/namespace": "acme", "labels": labels(family)}
    return [mine, {**mine, "headrace": forged}, *alike, top]


ALIKE: Final = ("acme2", "ACME", "ac?e", "acm*", "acme ", "a", "acme/shop", "xacme", "acme\\")


async def test_documents_that_imitate_a_tenants_are_not_its(opened: OpenedOpenSearch) -> None:
    """Names alike, patterns, labels in another place, and an object `headrace` without a row of ours."""
    family = opened.layout.family
    is_dynamic = not opened.has_templates
    await write(opened, [document for document in hostile(family) if not (is_dynamic and "headrace" in document)])
    await write(opened, [line(family, "acme", NOON)])
    for query in (LogQuery(), LogQuery(organization="acme"), LogQuery(phrase="e", levels=()), LogQuery(project="shop")):
        assert await bodies(opened.storage, query) == ["acme"]
    assert await bodies(opened.storage, LogQuery(), NOTHING) == []
    assert {place.org for place in await opened.storage.places(ACME)} == {"acme"}
    if is_dynamic:  # an object `headrace` is counted by what it says: who writes to the indices is trusted that far
        (use,) = await opened.storage.usage(ACME, NOON - DAY, NOON + DAY)
        assert (use.org, use.logs) == ("acme", 1)


@asynccontextmanager
async def of_family(node: OpenSearchNode, family: Family, shards: int = 1) -> AsyncIterator[OpenedOpenSearch]:
    async with opened_opensearch(node, family, shards=shards) as opened:
        yield opened


async def test_the_better_label_decides_whose_a_document_is(opened: OpenedOpenSearch) -> None:
    """An id of one place and the name of another: the id counts, and a role on the name opens nothing."""
    if opened.layout.family is Family.A:
        pytest.skip("family A has one label a concept")
    document = line(opened.layout.family, "x", NOON)
    document["kubernetes"]["labels"] |= {"openchoreo_dev/project-uid": "p-1", "openchoreo_dev/project": "shop"}
    await write(opened, [document])
    assert (await opened.storage.logs(Tenant.of("acme/shop"), LogQuery())).total == 0
    assert await bodies(opened.storage, LogQuery(), Tenant.of("acme/p-1")) == ["x"]
    assert await bodies(opened.storage, LogQuery(project="shop")) == ["x"]


async def pages(storage: StorageProvider, query: LogQuery) -> list[LogRow]:
    found: list[LogRow] = []
    while rows := (await storage.logs(EVERYTHING, query)).rows:
        found += rows
        query = replace(query, cursor=rows[-1].position)
    return found


@pytest.mark.parametrize("is_descending", [True, False])
@pytest.mark.parametrize("shards", [1, 5])
async def test_pages_hold_each_row_of_one_millisecond_once(
    opensearch: OpenSearchNode, is_descending: bool, shards: int
) -> None:
    """Ours and others' with nanoseconds between them, in several shards whose numbers are alike."""
    async with of_family(opensearch, Family.A, shards) as opened:
        stored = Stored()
        for number in range(60):
            stored.log(f"ours {number}", NOON + number * 97, place("acme"))
        await opened.write(stored)
        for at in (NOON, NOON + 50, NOON + SECOND):
            await write(opened, [line(Family.A, f"theirs {at} {number}", at) for number in range(60)])
        found = await pages(opened.storage, LogQuery(limit=7, is_descending=is_descending))
        assert len(found) == len({row.body for row in found}) == 240
        milliseconds = [row.position.time_unix_nano // 1_000_000 for row in found]
        assert milliseconds == sorted(milliseconds, reverse=is_descending)
        again = await opened.storage.logs(EVERYTHING, LogQuery(limit=1000, is_descending=is_descending))
        assert [row.body for row in again.rows] == [row.body for row in found]


async def test_what_cannot_be_counted_exactly_is_capped(opensearch: OpenSearchNode) -> None:
    """A level of others' lines is counted row by row, and said to be at least so many where there are too many."""
    async with of_family(opensearch, Family.A) as opened:
        for _ in range(6):
            await write(opened, [line(Family.A, "ERROR here", NOON + n) for n in range(2_000)])
        page = await opened.storage.logs(ACME, LogQuery(levels=("ERROR",), limit=10))
        assert (len(page.rows), page.total, page.is_capped) == (10, 10_000, True)
        assert await opened.storage.logs(ACME, LogQuery(limit=1)) == replace(
            await opened.storage.logs(ACME, LogQuery(limit=1)), total=12_000, is_capped=False
        )
        capped = await opened.limited(OpenSearchLimits(total_cap=500)).logs(ACME, LogQuery(limit=1))
        assert (capped.total, capped.is_capped) == (500, True)


def data_prepper(number: int, **others: Any) -> Document:
    """A span of family A."""
    start = NOON + number
    return {
        "traceId": "ab" * 16,
        "spanId": f"{number + 1:016x}",
        "parentSpanId": f"{1:016x}" if number else "",
        "name": f"span {number}",
        "kind": "SPAN_KIND_SERVER",
        "serviceName": "api",
        "startTime": format_time(start),
        "endTime": format_time(start + 500),
        "durationInNanos": 500,
        "status": {"code": 2 if number == 2 else 0},
        "resource": {"attributes": {"organization@id": "acme", "project@id": "shop", "component@id": "api"}},
        "span": {"attributes": {"http@method": "GET"}},
        **others,
    }


def exported(number: int, **others: Any) -> Document:
    """A span of family BC."""
    kept = {key: value for key, value in data_prepper(number).items() if key in ("traceId", "spanId", "parentSpanId")}
    resource = {"openchoreo.dev/namespace": "acme", "openchoreo.dev/project-uid": "shop", "service.name": "api"}
    return {
        **kept,
        "name": f"span {number}",
        "kind": "Server",
        "@timestamp": format_time(NOON + number),
        "startTime": format_time(NOON + number),
        "endTime": format_time(NOON + number + 500),
        "status": {"code": "Error" if number == 2 else "Unset"},
        "resource": {**resource, "openchoreo.dev/component-uid": "api"},
        "attributes": {"http.method": "GET"},
        **others,
    }


@pytest.mark.parametrize("family", list(Family))
async def test_spans_of_others_are_spans_and_traces(opensearch: OpenSearchNode, family: Family) -> None:
    """Data Prepper's and those of the collector's exporter: kind, status, duration, attributes, sums, tenants."""
    make = data_prepper if family is Family.A else exported
    evil: Document = {"resource": {"attributes": {"organization@id": "evil"}}}
    if family is Family.BC:
        evil = {"resource": {"openchoreo.dev/namespace": "evil", "service.name": "api"}}
    async with of_family(opensearch, family) as opened:
        index = opened.layout.index(Signal.TRACES, NOON)
        await opened.others(index, [*(make(number) for number in range(3)), make(7, **evil)])
        page = await opened.storage.trace(ACME, TraceSpansQuery("ab" * 16))
        assert [span.name for span in page.spans] == ["span 0", "span 1", "span 2"]
        first, last = page.spans[0], page.spans[2]
        assert (first.kind, first.service, first.start_unix_nano, first.duration_nano) == ("Server", "api", NOON, 500)
        assert (first.status, last.status, first.attributes) == ("Unset", "Error", {"http.method": "GET"})
        (trace,) = (await opened.storage.traces(ACME, TraceQuery(NOON, NOON + 10, component="api"))).traces
        assert (trace.span_count, trace.root_span_name, trace.has_errors) == (3, "span 0", True)
        assert (trace.start_unix_nano, trace.end_unix_nano) == (NOON, NOON + 502)
        assert (await opened.storage.spans(ACME, SpanQuery(NOON, NOON + 10, "api"))).total == 3
        assert await opened.storage.span(ACME, "ab" * 16, f"{8:016x}") is None
        (found,) = await opened.storage.places(ACME)
        assert (found.org, found.project, found.component, found.service) == ("acme", "shop", "api", "api")
