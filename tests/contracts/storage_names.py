"""What every store owes for names: which records of which places an organisation's, component's, ... name finds."""

from typing import Final

from query_api.storage import LogQuery
from query_api.tenant import EVERYTHING, Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.contracts.storage_logs import API, bodies
from tests.stored import MINUTE, NOON, Stored, place

ACME: Final = Tenant.of("acme")


class NamesContract(StorageCase):
    async def test_names_that_several_places_bear_find_all_of_them(self, opened: Opened) -> None:
        """Two organisations and two projects with equal names: each row of each, and of one of them if it is named."""
        stored = Stored()
        for org in ("o-1", "o-2"):
            for project in ("p-1", "p-2"):
                names = {
                    "organization.name": "Same",
                    "project.name": "same",
                    "component.name": "api",
                    "environment.name": "dev",
                }
                resource = place(org, f"{org}.{project}", f"{org}.{project}.c", f"{org}.e") | names
                stored.log(f"{org}.{project}", NOON, resource)
        await opened.write(stored)
        both = Tenant.of("o-1", "o-2")
        everywhere = ["o-1.p-1", "o-1.p-2", "o-2.p-1", "o-2.p-2"]
        for query, found in (
            (LogQuery(organization="Same"), everywhere),
            (LogQuery(project="same", environment="dev"), everywhere),
            (LogQuery(components=("api",)), everywhere),
            (LogQuery(organization="o-1", components=("api",)), everywhere[:2]),
            (LogQuery(project="o-2.p-1", components=("api",), environment="dev"), ["o-2.p-1"]),
            (LogQuery(environment="o-1.e"), everywhere[:2]),
        ):
            assert sorted(bodies((await opened.storage.logs(both, query)).rows)) == found

    async def test_an_environments_id_is_one_of_its_organisation(self, opened: Opened) -> None:
        """What is called dev in one organisation is not asked for in another, where that id is called prod."""
        stored = Stored()
        for org, environment, name in (
            ("o-1", "e-1", "dev"),
            ("o-1", "e-2", "prod"),
            ("o-2", "e-2", "dev"),
            ("o-2", "e-1", "prod"),
        ):
            stored.log(f"{org} {name}", NOON, place(org, "p", "c", environment, environment__name=name))
        await opened.write(stored)
        page = await opened.storage.logs(EVERYTHING, LogQuery(environment="dev"))
        assert sorted(bodies(page.rows)) == ["o-1 dev", "o-2 dev"]

    async def test_a_renamed_place_is_found_under_both_names(self, opened: Opened) -> None:
        """Names are what senders said; either finds all rows of the id, and places tell the newer."""
        for number, name in enumerate(("old", "new")):
            stored = Stored(received_at=NOON + number * MINUTE)
            stored.log(name, NOON, place("acme", "p", "c", "e", component__name=name))
            await opened.write(stored)
        for name in ("old", "new", "c"):
            page = await opened.storage.logs(ACME, LogQuery(components=(name,)))
            assert sorted(bodies(page.rows)) == ["new", "old"]
        (found,) = await opened.storage.places(ACME)
        assert (found.component, found.component_name) == ("c", "new")

    async def test_names_are_found_whatever_else_came_with_them(self, opened: Opened) -> None:
        """In one insert some rows of a place have its name, some another and some none."""
        stored = Stored()
        for name in ("", "one", "", "two", ""):
            resource = place("acme", "p", "c", "e")
            stored.log(name or "none", NOON, resource | ({"component.name": name} if name else {}))
        await opened.write(stored)
        for name in ("one", "two", "c"):
            assert (await opened.storage.logs(ACME, LogQuery(components=(name,)))).total == 5

    async def test_rows_without_project_component_or_environment_are_there(self, opened: Opened) -> None:
        """They belong to their organisation alone."""
        stored = Stored()
        stored.log("bare", NOON, place("acme", "", "", ""))
        stored.log("api", NOON, API)
        await opened.write(stored)
        assert sorted(bodies((await opened.storage.logs(ACME, LogQuery())).rows)) == ["api", "bare"]
        assert (await opened.storage.logs(Tenant.of("acme/p-1"), LogQuery())).total == 1
