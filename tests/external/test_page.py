"""The page's log view in a real browser, as a developer uses it who looks for what went wrong."""

import re
import time

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from query_api.errors import QueryTimeout, StoreUnavailable
from query_api.memory import MemoryStorage
from tests.page import API, LEVELS, Failing, open_page, serving_page, some_logs
from tests.stored import SECOND, Stored, place

pytestmark = pytest.mark.external

HERE = "#/logs?org=acme&project=shop&component=api"


def lines(page: Page) -> Locator:
    return page.locator(".line")


async def texts(page: Page) -> list[str]:
    return await page.locator(".line .body").all_text_contents()


async def test_search_and_levels_narrow_and_back_goes_back(browser: Browser) -> None:
    """What is asked for is in the address, so that it can be sent to somebody; the back button undoes a step."""
    stored, now = Stored(), time.time_ns()
    for number, level in enumerate(LEVELS):
        stored.log(
            f"order {number} is {level}", now - (60 + number) * SECOND, API, severity=level, number=LEVELS[level]
        )
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, HERE) as page:
        await expect(lines(page)).to_have_count(5)
        await expect(page.locator(".status")).to_contain_text(re.compile(r"5 of 5 lines\d+ mscomplete until \d+ s ago"))
        await page.get_by_role("button", name="ERROR", exact=True).click()
        await expect(lines(page)).to_have_count(2)  # ERROR finds FATAL as well, as the API has it
        await page.get_by_role("button", name="WARN", exact=True).click()
        await expect(lines(page)).to_have_count(3)
        assert "level=WARN%2CERROR" in page.url
        await page.get_by_role("searchbox").fill("ORDER 3")
        await expect(lines(page)).to_have_count(1)
        await expect(page.locator("mark")).to_have_text("order 3")
        await page.reload()
        await expect(page.get_by_role("searchbox")).to_have_value("ORDER 3")
        await expect(lines(page)).to_have_count(1)
        await page.go_back()
        await expect(lines(page)).to_have_count(2)
        await expect(page.get_by_role("button", name="WARN", exact=True)).to_have_attribute("aria-pressed", "false")


async def test_a_place_is_found_by_typing_without_a_mouse(browser: Browser) -> None:
    """Type-ahead over organisation, project and component by their names, and the environments of what is chosen."""
    stored = Stored()
    for component in ("billing", "cart", "payment"):
        resource = place("acme", "shop", component, "prod", component__name=f"The {component}")
        stored.log(f"from {component}", time.time_ns() - 60 * SECOND, resource)
    stored.log("from elsewhere", time.time_ns() - 60 * SECOND, place("globex", "web", "cart", "stage"))
    async with serving_page(stored.to_memory()) as url, open_page(browser, url) as page:
        await expect(lines(page)).to_have_count(3)  # of the first organisation
        where = page.get_by_role("combobox", name="Where")
        await where.fill("the cart")
        await expect(page.get_by_role("listbox").get_by_role("option")).to_have_text(["acme / shop / The cart"])
        await where.press("Enter")
        await expect(page.locator(".line .body")).to_have_text(["from cart"])
        assert "org=acme&project=shop&component=cart" in page.url
        await expect(page.locator("#environment option")).to_have_text(["Any", "prod"])
        await where.fill("cart")
        await where.press("ArrowDown")
        await where.press("Enter")
        await expect(page.locator(".line .body")).to_have_text(["from elsewhere"])


async def test_a_row_opens_to_all_that_is_known_of_it(browser: Browser) -> None:
    """By the keyboard: fields, labels, and the ways on to its traces and its neighbours."""
    resource = place("acme", "shop", "api", "prod", version="v7", k8s__pod__label__team="blue")
    stored, at = Stored(), time.time_ns() - 60 * SECOND
    stored.log("it broke", at, resource, severity="ERROR", number=17)
    stored.log("before it broke", at - SECOND, resource)
    stored.span("GET /", ("ab" * 16, "cd" * 8), at - SECOND, resource)
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, HERE) as page:
        await lines(page).first.focus()
        await page.keyboard.press("ArrowDown")
        await expect(lines(page).nth(1)).to_be_focused()
        await page.keyboard.press("Home")
        await page.keyboard.press("Enter")
        details = page.locator(".details")
        for text in ("it broke", "v7", "prod", "team", "blue"):
            await expect(details).to_contain_text(text)
        await expect(lines(page).first).to_have_attribute("aria-expanded", "true")
        await page.keyboard.press("Enter")
        await expect(details).to_have_count(0)
        await page.keyboard.press("Enter")
        await page.get_by_role("link", name="Traces of this component around this time").click()
        await expect(page.locator(".trace")).to_have_count(1)


async def test_load_more_shows_every_line_once(browser: Browser) -> None:
    """Page by page behind the cursor to the end, newest first."""
    async with (
        serving_page(some_logs(850, seconds_apart=0.5).to_memory()) as url,
        open_page(browser, url, HERE) as page,
    ):
        await expect(page.locator(".status")).to_contain_text("200 of 850 lines")
        for count in (700, 850):
            await page.get_by_role("button", name="Load more").click()
            await expect(lines(page)).to_have_count(count)
        await expect(page.get_by_role("button", name="Load more")).to_be_hidden()
        assert await texts(page) == [f"line {number}" for number in reversed(range(850))]


async def test_live_shows_what_arrives_each_line_once(browser: Browser) -> None:
    """Also equal lines, lines that arrive late, and while older pages wait behind the cursor."""
    memory = some_logs(300, seconds_apart=0.1).to_memory()
    async with serving_page(memory) as url, open_page(browser, url, HERE) as page:
        await page.get_by_role("button", name="Live tail").click()
        await expect(page.locator(".status")).to_contain_text("200 of 300 lines")
        late, now = Stored(), time.time_ns()
        late.log("late", now - 15 * SECOND, API)
        for _ in range(2):
            late.log("the same twice", now, API)
        late.to_memory(memory)
        await expect(page.locator(".body", has_text="the same twice")).to_have_count(2)
        await expect(page.locator(".body", has_text="late")).to_have_count(1)
        await expect(page.locator(".status")).to_contain_text("203 of 303 lines")
        some = Stored()
        some.log("another", time.time_ns(), API)
        some.to_memory(memory)
        await expect(page.locator(".status")).to_contain_text("204 of 304 lines")
        await page.get_by_role("button", name="Load more").click()
        await expect(lines(page)).to_have_count(304)
        found = await texts(page)
    assert found[:3] == ["another", "the same twice", "the same twice"]
    assert sorted(found[3:]) == sorted([*(f"line {number}" for number in range(300)), "late"])


@pytest.mark.parametrize(
    ("error", "told", "advice"),
    [
        (StoreUnavailable("the store is away", "refused"), "503: the store is away", "try again in a few seconds"),
        (QueryTimeout("too slow"), "504: too slow", "Choose a shorter time"),
    ],
)
async def test_errors_say_what_to_do(browser: Browser, error: Exception, told: str, advice: str) -> None:
    """With the request id for whoever looks into the server's log; trying again helps once the cause is gone."""
    storage = Failing(error=error)
    some_logs(3).to_memory(storage)
    async with (
        serving_page(storage) as url,
        open_page(browser, url, HERE, allowed=["the server responded with a status of 50"]) as page,
    ):
        alert = page.get_by_role("alert")
        await expect(alert).to_contain_text(told)
        await expect(alert).to_contain_text(advice)
        await expect(alert).to_contain_text(re.compile(r"request id [0-9a-f]{16}"))
        storage.error = None
        await page.get_by_role("button", name="Try again").click()
        await expect(lines(page)).to_have_count(3)
        await expect(alert).to_have_count(0)


async def test_being_offline_is_told_as_that(browser: Browser) -> None:
    """Nobody answering is no server error; what is shown stays."""
    async with (
        serving_page(some_logs(3).to_memory()) as url,
        open_page(browser, url, HERE, allowed=["ERR_INTERNET_DISCONNECTED"]) as page,
    ):
        await expect(lines(page)).to_have_count(3)
        await page.context.set_offline(True)
        await page.get_by_text("24 h").click()
        await expect(page.get_by_role("alert")).to_contain_text("Is the server up, and this machine online?")
        await page.context.set_offline(False)
        await page.get_by_role("button", name="Try again").click()
        await expect(lines(page)).to_have_count(3)


async def test_nothing_found_says_what_to_do(browser: Browser) -> None:
    """An empty server, an empty search, and a time without lines have different ways on."""
    async with serving_page(MemoryStorage()) as url, open_page(browser, url) as page:
        await expect(page.locator("main")).to_contain_text("headrace demo")
    async with serving_page(some_logs(3).to_memory()) as url, open_page(browser, url, f"{HERE}&q=nowhere") as page:
        await expect(page.locator("main")).to_contain_text("Take away the text, or choose a longer time.")


async def test_the_histogram_zooms_into_a_custom_time(browser: Browser) -> None:
    """A click on a column is a custom range that holds just its lines."""
    async with serving_page(some_logs(30, seconds_apart=60).to_memory()) as url, open_page(browser, url, HERE) as page:
        await expect(lines(page)).to_have_count(30)
        await page.locator(".histogram .target").first.click()
        await expect(page.get_by_role("radio", name="Custom")).to_be_checked()
        await expect(page.locator(".line .body").last).to_have_text("line 0")
        assert await lines(page).count() < 30


async def test_health_tells_freshness_by_organisation_and_signal(browser: Browser) -> None:
    """One row for each, with how far behind it is."""
    memory = some_logs(3).to_memory()
    memory.until = {"logs": time.time_ns() - 300 * SECOND}
    async with serving_page(memory) as url, open_page(browser, url, "#/health") as page:
        await expect(page.locator("main")).to_contain_text("Healthy")
        await expect(page.get_by_role("row", name="acme logs")).to_contain_text("complete until 5 min ago")


async def test_thousands_of_lines_stay_smooth(browser: Browser) -> None:
    """5,200 lines in the page: scrolling to the end and opening a line there takes less than a second."""
    async with (
        serving_page(some_logs(5200, seconds_apart=0.1).to_memory()) as url,
        open_page(browser, url, HERE) as page,
    ):
        for count in range(700, 5201, 500):
            await page.locator(".more").click()
            await expect(lines(page)).to_have_count(count)
        took_ms = await page.evaluate(
            """async () => {
                const started = performance.now(), last = [...document.querySelectorAll(".line")].at(-1);
                last.scrollIntoView();
                last.click();
                await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
                return performance.now() - started;
            }"""
        )
        await expect(page.locator(".details")).to_contain_text("line 0")
    assert took_ms < 1000
