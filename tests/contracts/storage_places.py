"""What every store owes for places, usage, freshness, and for being asked while it is empty."""

from typing import Final

from query_api.storage import Place
from query_api.tenant import EVERYTHING, NOTHING, Tenant
from tests.contracts.storage_contract import Opened, StorageCase
from tests.stored import DAY, NOON, Stored, place

ACME: Final = Tenant.of("acme")
NAMES: Final = {
    "organization.name": "Acme Corp",
    "project.name": "Shop",
    "component.name": "API",
    "environment.name": "Development",
}


class PlacesContract(StorageCase):
    async def test_places_have_ids_and_names(self, opened: Opened) -> None:
        """From logs and spans, once each, sorted; the id where there is no other name."""
        stored = Stored()
        for _ in range(3):
            stored.log("x", NOON, place("acme", "p", "c", "e", service__name="s") | NAMES)
        stored.span("x", ("ab" * 16, "cd" * 8), NOON, place("acme", "p", "b", "e", service__name="s"))
        stored.log("x", NOON, place("zeta", "", "", ""))
        await opened.write(stored)
        places = await opened.storage.places(EVERYTHING)
        seen = [place.last_seen_unix_nano for place in places]
        assert list(places) == [
            Place("acme", "p", "b", "e", "s", "acme", "p", "b", "e", seen[0]),
            Place("acme", "p", "c", "e", "s", "Acme Corp", "Shop", "API", "Development", seen[1]),
            Place("zeta", "", "", "", "", "zeta", "", "", "", seen[2]),
        ]
        assert list(await opened.storage.places(ACME)) == list(places[:2])
        assert await opened.storage.places(Tenant.of("acme/p/b")) == [places[0]]

    async def test_usage_counts_what_has_a_time_in_the_month(self, opened: Opened) -> None:
        """From the start on and before the end; code points and bytes are told apart; by place, sorted."""
        stored = Stored()
        for number, at in enumerate((NOON - 1, NOON, NOON + DAY - 1, NOON + DAY)):
            stored.log("\u00e9\U0001f600a" * (number + 1), at, place("acme"))
            stored.span("x", (f"{number + 1:032x}", "cd" * 8), at, place("acme", component="web"))
        stored.log("abc", NOON, place("acme", "pay"))
        await opened.write(stored)
        found = await opened.storage.usage(ACME, NOON, NOON + DAY)
        assert [
            (use.project, use.component, use.logs, use.log_characters, use.log_bytes, use.spans) for use in found
        ] == [
            ("pay", "api", 1, 3, 3, 0),
            ("shop", "api", 2, 15, 35, 0),
            ("shop", "web", 0, 0, 0, 2),
        ]
        assert await opened.storage.usage(ACME, NOON + 5 * DAY, NOON + 6 * DAY) == []

    async def test_nothing_is_known_of_an_empty_store(self, opened: Opened) -> None:
        """Empty answers, no errors."""
        for tenant in (EVERYTHING, ACME, NOTHING):
            assert await opened.storage.places(tenant) == []
            assert await opened.storage.usage(tenant, NOON, NOON + DAY) == []
            assert await opened.storage.freshness(tenant) == []
        assert await opened.storage.complete_until() == {}
        await opened.storage.ping()
