"""What every store owes for log records: filters, bounds, order, pages, totals."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest

from query_api.storage import LogPage, LogQuery, LogRow, Position, StorageProvider
from query_api.tenant import EVERYTHING, Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.stored import DAY, MINUTE, NOON, SECOND, Stored, place

ACME: Final = Tenant.of("acme")
API: Final = place("acme", "p-1", "c-1", "e-1", project__name="shop", component__name="api", environment__name="dev")
WEB: Final = place("acme", "p-1", "c-2", "e-1", project__name="shop", component__name="web", environment__name="dev")
BILL: Final = place("acme", "p-2", "c-3", "e-2", project__name="pay", component__name="api", environment__name="prod")
GATEWAY_LINE: Final = '{"gwHost":"gw.acme.dev","apiUuid":"uuid-2","path":"/x"}'


def varied() -> Stored:
    """One record for each thing that can be asked for; its body starts with what it is."""
    stored = Stored()
    at = iter(range(NOON, NOON + 100 * SECOND, SECOND))
    stored.log("plain", next(at), API)
    stored.log("error ERROR: Database connection failed", next(at), API, severity="ERROR", number=17)
    stored.log("web", next(at), WEB, severity="INFO")
    stored.log("bill", next(at), BILL, severity="debug")
    stored.log("namespace", next(at), API | {"k8s.namespace.name": "dp-acme-shop-dev"})
    stored.log("namespace-attribute", next(at), API, attributes={"namespace": "dp-acme-shop-dev"})
    stored.log("version", next(at), API | {"version": "v1.2.3"})
    stored.log("version-label", next(at), API | {"k8s.pod.label.version": "v1.2.3"})
    stored.log("version-service", next(at), API | {"service.version": "v1.2.3"})
    stored.log("version-id", next(at), API | {"k8s.pod.labels.version_id": "ver-456"})
    stored.log("version-dotted", next(at), API | {"version.id": "ver-456"})
    stored.log("build", next(at), API | {"target": "build", "build-name": "b1", "uuid": "u1"})
    stored.log(
        "build-label",
        next(at),
        API | {f"kubernetes.labels.{k}": v for k, v in (("target", "BUILD"), ("build-name", "b1"), ("uuid", "u1"))},
    )
    stored.log(
        "build-attribute", next(at), API | {"build.id": "b1", "build.uuid": "u1"}, attributes={"log_type": "Build"}
    )
    stored.log("build-other", next(at), API | {"target": "build", "build-name": "b2", "uuid": "u2"})
    stored.log("runtime", next(at), API | {"target": "runtime", "build-name": "b1", "uuid": "u1"})
    stored.log("label-bare", next(at), API | {"team": "red"})
    stored.log("label-a", next(at), API | {"k8s.pod.label.team": "red", "k8s.pod.label.tier": "x"})
    stored.log("label-b", next(at), API | {"k8s.pod.labels.team": "red"})
    stored.log("label-c", next(at), API | {"kubernetes.labels.team": "red"})
    stored.log("label-other", next(at), API | {"k8s.pod.label.team": "redder", "other.team": "red"})
    stored.log("label-empty", next(at), API | {"k8s.pod.label.mark": ""})
    stored.log(
        "gateway", next(at), API, attributes={"gateway_vhost": "gw.acme.dev", "api_id": "uuid-1", "api_version": "v1"}
    )
    stored.log("gateway-unversioned", next(at), API, attributes={"gateway_vhost": "other", "api_id": "uuid-1"})
    stored.log(GATEWAY_LINE, next(at), API)
    return stored


# what is asked for, and the first words of the records that answer it
FILTERS: Final[Mapping[str, tuple[Mapping[str, Any], Sequence[str]]]] = {
    "organization": ({"organization": "acme", "components": ("web",)}, ["web"]),
    "organization of nobody": ({"organization": "acm"}, []),
    "project by name": ({"project": "pay"}, ["bill"]),
    "project by id": ({"project": "p-2"}, ["bill"]),
    "component by id": ({"components": ("c-2",)}, ["web"]),
    "components": ({"components": ("c-2", "c-3", "nothing")}, ["web", "bill"]),
    "component by a name of two projects": ({"components": ("api",), "levels": ("DEBUG",)}, ["bill"]),
    "component and project": ({"components": ("api",), "project": "pay"}, ["bill"]),
    "environment by name": ({"environment": "prod"}, ["bill"]),
    "environment by id": ({"environment": "e-2"}, ["bill"]),
    "component not there": ({"components": ("web",), "environment": "prod"}, []),
    "level": ({"levels": ("ERROR",)}, ["error"]),
    "levels": ({"levels": ("INFO", "DEBUG", "FATAL")}, ["web", "bill"]),
    "phrase": ({"phrase": "database CONN"}, ["error"]),
    "namespace": ({"namespace": "dp-acme-shop-dev"}, ["namespace", "namespace-attribute"]),
    "namespace in part": ({"namespace": "dp-acme"}, []),
    "version": ({"versions": ("v1.2.3",)}, ["version", "version-label", "version-service"]),
    "version id": ({"version_ids": ("ver-456", "x")}, ["version-id", "version-dotted"]),
    "either": (
        {"versions": ("v1.2.3", "v0"), "version_ids": ("ver-456",)},
        ["version", "version-label", "version-service", "version-id", "version-dotted"],
    ),
    "build": (
        {"is_build": True, "build_id": "b1", "build_uuid": "u1", "start_unix_nano": None, "end_unix_nano": None},
        ["build", "build-label", "build-attribute"],
    ),
    "every build": ({"is_build": True}, ["build", "build-label", "build-attribute", "build-other"]),
    "build id": ({"build_id": "b1"}, ["build", "build-label", "build-attribute", "runtime"]),
    "build uuid": ({"build_uuid": "u2"}, ["build-other"]),
    "label": ({"labels": (("team", "red"),)}, ["label-bare", "label-a", "label-b", "label-c"]),
    "labels": ({"labels": (("team", "red"), ("tier", "x"))}, ["label-a"]),
    "label with a prefix": ({"labels": (("k8s.pod.label.tier", "x"),)}, ["label-a"]),
    "empty label": ({"labels": (("mark", ""),)}, ["label-empty"]),
    "unknown label": ({"labels": (("nothing", ""),)}, []),
    "vhost": ({"vhosts": ("gw.acme.dev",)}, ["gateway", GATEWAY_LINE]),
    "vhosts": ({"vhosts": ("other", "x")}, ["gateway-unversioned"]),
    "api": ({"apis": (("uuid-1", ""),)}, ["gateway", "gateway-unversioned"]),
    "api of a version": ({"apis": (("uuid-1", "v1"),)}, ["gateway"]),
    "api in the line": ({"apis": (("uuid-2", ""), ("x", "y"))}, [GATEWAY_LINE]),
    "vhost and api": ({"vhosts": ("gw.acme.dev",), "apis": (("uuid-1", ""),)}, ["gateway"]),
}


def bodies(rows: Sequence[LogRow]) -> list[str]:
    return [row.body for row in rows]


def firsts(page: LogPage) -> list[str]:
    return [row.body if row.body.startswith("{") else row.body.partition(" ")[0] for row in page.rows]


def asked(**others: Any) -> LogQuery:
    """Oldest first, over a day."""
    given: dict[str, Any] = {"start_unix_nano": NOON - DAY, "end_unix_nano": NOON + DAY, "is_descending": False}
    return LogQuery(**(given | others))


async def all_pages(storage: StorageProvider, query: LogQuery) -> list[LogRow]:
    """Every row, by the cursor of each page's last one."""
    found: list[LogRow] = []
    while rows := (await storage.logs(EVERYTHING, query)).rows:
        found += rows
        query = replace(query, cursor=rows[-1].position)
    return found


class LogsContract(StorageCase):
    @pytest.mark.parametrize("name", list(FILTERS))
    async def test_each_filter_finds_exactly_its_records(self, opened: Opened, name: str) -> None:
        """Names and ids, every spelling of a field, lists as one of; and a total that says the same."""
        await opened.write(varied())
        wanted, found = FILTERS[name]
        page = await opened.storage.logs(ACME, asked(**wanted))
        assert firsts(page) == list(found)
        assert (page.total, page.is_capped) == (len(found), False)
        exported = [row async for block in opened.storage.export_logs(ACME, asked(**wanted), 100) for row in block]
        assert exported == list(page.rows)

    async def test_filters_together_must_all_hold(self, opened: Opened) -> None:
        """Any two filters find the records that both find."""
        await opened.write(varied())
        storage = opened.storage
        rows = {name: firsts(await storage.logs(ACME, asked(**wanted))) for name, (wanted, _) in FILTERS.items()}
        names = list(FILTERS)
        for first, second in zip(names, [*names[7:], *names[:7]], strict=True):
            one, other = FILTERS[first][0], FILTERS[second][0]
            if one.keys().isdisjoint(other):
                page = await storage.logs(ACME, asked(**one, **other))
                assert firsts(page) == [body for body in rows[first] if body in rows[second]], (first, second)

    async def test_a_record_comes_back_as_it_was_stored(self, opened: Opened) -> None:
        """Time to the nanosecond, ids, both maps, and texts of any kind."""
        stored = Stored()
        body = 'tab\t nul\x00 quote\' "x" back\\slash \u00e9\U0001f600 \u2028 line\nend\r\n'
        stored.log(
            body,
            NOON,
            API | {"k\u00e9y'": "v\x00"},
            severity="warning",
            trace_id="ab" * 16,
            span_id="cd" * 8,
            attributes={"a": body, "": "empty key"},
        )
        await opened.write(stored)
        (row,) = (await opened.storage.logs(ACME, asked())).rows
        assert row == LogRow(
            row.position,
            body,
            "WARN",
            "acme",
            "p-1",
            "c-1",
            "e-1",
            "ab" * 16,
            "cd" * 8,
            API | {"k\u00e9y'": "v\x00"},
            {"a": body, "": "empty key"},
        )
        assert row.position.time_unix_nano == NOON

    @pytest.mark.parametrize(
        ("start", "end", "found"),
        [
            (0, 0, [0]),
            (0, 2, [0, 1, 2]),
            (1, 1, [1]),
            (1, None, [1, 2]),
            (None, 1, [0, 1]),
            (None, None, [0, 1, 2]),
            (3, None, []),
            (None, -1, []),
            (2, 0, []),
        ],
    )
    async def test_bounds_are_inclusive_to_the_nanosecond(
        self, opened: Opened, start: int | None, end: int | None, found: list[int]
    ) -> None:
        """Records a nanosecond apart; either bound may be left out."""
        stored = Stored()
        for number in range(3):
            stored.log(str(number), NOON + number, API)
        await opened.write(stored)
        query = asked(
            start_unix_nano=None if start is None else NOON + start, end_unix_nano=None if end is None else NOON + end
        )
        page = await opened.storage.logs(ACME, query)
        assert bodies(page.rows) == [str(number) for number in found]
        assert page.total == len(found)

    @pytest.mark.parametrize("far", [-(2**80), -1, 0, 2**32 * 10**9, 253_402_300_799 * 10**9, 2**80])
    async def test_times_beyond_any_record_are_bounds_like_others(self, opened: Opened, far: int) -> None:
        """The year 9999, and what no calendar has."""
        stored = Stored()
        stored.log("here", NOON, API)
        await opened.write(stored)
        for components in ((), ("c-1",)):
            after = await opened.storage.logs(ACME, LogQuery(start_unix_nano=far, components=components))
            before = await opened.storage.logs(ACME, LogQuery(end_unix_nano=far, components=components))
            assert (after.total, before.total) == ((1, 0) if far < NOON else (0, 1))

    async def test_a_page_is_the_first_of_the_order_and_the_total_counts_all(self, opened: Opened) -> None:
        """Newest or oldest first, over days and parts that were written in any order."""
        times = [NOON + number * 7 * MINUTE * (-1) ** number for number in range(300)]
        for start in (200, 0, 100):
            stored = Stored()
            for at in times[start : start + 100]:
                stored.log(str(at), at, API if at % 2 else BILL)
            await opened.write(stored)
        for components in ((), ("c-1",)):
            for is_descending in (False, True):
                query = LogQuery(components=components, limit=7, is_descending=is_descending)
                page = await opened.storage.logs(ACME, query)
                wanted = sorted((at for at in times if not components or at % 2), reverse=is_descending)
                assert [row.position.time_unix_nano for row in page.rows] == wanted[:7]
                assert (page.total, page.is_capped) == (len(wanted), False)

    @pytest.mark.parametrize("is_descending", [True, False])
    @pytest.mark.parametrize("components", [(), ("c-1",)])
    async def test_pages_hold_each_row_once_while_the_store_merges_and_grows(
        self, opened: Opened, is_descending: bool, components: tuple[str, ...]
    ) -> None:
        """Rows of one time in several parts; between pages parts merge and rows arrive: what was there comes once."""
        for part in range(4):
            stored = Stored()
            for number in range(25):
                stored.log(f"{part}/{number}", NOON + number % 2 * SECOND, API)
            await opened.write(stored)
        wanted = sorted(f"{part}/{number}" for part in range(4) for number in range(25))
        query = LogQuery(components=components, limit=9, is_descending=is_descending)
        found: list[LogRow] = []
        for page in range(100):
            rows = (await opened.storage.logs(ACME, query)).rows
            if not rows:
                break
            found += rows
            query = replace(query, cursor=rows[-1].position)
            if page in (1, 4):
                await opened.merge()
            if page == 2:
                late = Stored()
                late.log("late", NOON + SECOND, API)
                late.log("late", NOON, API)
                await opened.write(late)
        assert sorted(body for body in bodies(found) if body != "late") == wanted
        assert len({row.position for row in found}) == len(found)
        positions = [row.position for row in found]
        assert positions == sorted(positions, reverse=is_descending)
        assert len([body for body in bodies(found) if body == "late"]) <= 2

    async def test_a_page_ends_where_the_next_begins_by_time_alone(self, opened: Opened) -> None:
        """A client that pages by the last row's time reaches rows of that same time: bounds are inclusive (V12)."""
        stored = Stored()
        stored.log("a", NOON, API)
        stored.log("b", NOON, API)
        await opened.write(stored)
        (first,) = (await opened.storage.logs(ACME, LogQuery(limit=1))).rows
        again = await opened.storage.logs(ACME, LogQuery(end_unix_nano=first.position.time_unix_nano))
        assert sorted(bodies(again.rows)) == ["a", "b"]
        rest = await opened.storage.logs(ACME, LogQuery(cursor=first.position))
        assert sorted([first.body, *bodies(rest.rows)]) == ["a", "b"]
        assert rest.total == 2

    async def test_cursor_and_bounds_hold_both(self, opened: Opened) -> None:
        """A cursor goes on within the times asked for and never beyond them."""
        stored = Stored()
        for number in range(10):
            stored.log(str(number), NOON + number, API)
        await opened.write(stored)
        rows = (await opened.storage.logs(ACME, asked())).rows
        query = asked(start_unix_nano=NOON + 2, end_unix_nano=NOON + 7)
        for position, found in (
            (rows[0].position, range(2, 8)),
            (rows[4].position, range(5, 8)),
            (rows[9].position, []),
        ):
            page = await opened.storage.logs(ACME, replace(query, cursor=position))
            assert bodies(page.rows) == [str(number) for number in found]
            assert page.total == 6
        page = await opened.storage.logs(ACME, replace(query, cursor=rows[4].position, is_descending=True))
        assert bodies(page.rows) == ["3", "2"]
        nowhere = replace(rows[4].position, offset=2**64 - 1)
        assert bodies((await opened.storage.logs(ACME, replace(query, cursor=nowhere))).rows) == ["5", "6", "7"]

    async def test_an_export_is_every_row_oldest_first_up_to_its_limit(self, opened: Opened) -> None:
        """Whatever page the query asks for."""
        stored = Stored()
        for number in range(50):
            stored.log(str(number), NOON - number, API)
        await opened.write(stored)
        query = LogQuery(limit=3, is_descending=True, cursor=Position(NOON, 0, 0))
        for most in (1000, 20):
            blocks = [block async for block in opened.storage.export_logs(ACME, query, most)]
            rows = [row.body for block in blocks for row in block]
            assert rows == [str(number) for number in reversed(range(50))][:most]

    async def test_questions_side_by_side_are_answered_each_with_its_own(self, opened: Opened) -> None:
        """Nothing of one question reaches another."""
        await opened.write(varied())
        names = list(FILTERS) * 2
        pages = await asyncio.gather(*(opened.storage.logs(ACME, asked(**FILTERS[name][0])) for name in names))
        assert [firsts(page) for page in pages] == [list(FILTERS[name][1]) for name in names]

    async def test_an_empty_store_answers_emptily(self, opened: Opened) -> None:
        """Nothing there is no error."""
        for tenant in (ACME, EVERYTHING):
            page = await opened.storage.logs(tenant, LogQuery())
            assert (list(page.rows), page.total, page.is_capped) == ([], 0, False)
            assert [block async for block in opened.storage.export_logs(tenant, LogQuery(), 10)] == []
