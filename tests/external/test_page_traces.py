"""The page's trace view in a real browser: the waterfall as a tree, by mouse and by keyboard."""

import time

import pytest
from playwright.async_api import Browser, Page, expect

from tests.page import API, open_page, serving_page
from tests.stored import SECOND, Stored, place

pytestmark = pytest.mark.external

TRACE = "ab" * 16
MS = 1_000_000


def shop_trace(at: int) -> Stored:
    """A root with two children, one of which failed below; and a span whose parent is not there."""
    stored, cart = Stored(), place("acme", "shop", "cart", "prod", service__name="cart")
    stored.span("GET /", (TRACE, "01" * 8), at, API, duration=100 * MS)
    stored.span("read cart", (TRACE, "02" * 8), at + 10 * MS, cart, parent="01" * 8, duration=30 * MS)
    why = {"status": "Error", "status_message": "timed out", "attributes": {"db.system": "redis"}}
    stored.span("GET key", (TRACE, "03" * 8), at + 12 * MS, cart, parent="02" * 8, duration=20 * MS, **why)
    stored.span("render", (TRACE, "04" * 8), at + 50 * MS, API, parent="01" * 8, duration=40 * MS)
    stored.span("lost", (TRACE, "05" * 8), at + 60 * MS, API, parent="99" * 8, duration=10 * MS)
    return stored


async def names(page: Page) -> list[str]:
    return await page.locator(".span .label").all_text_contents()


async def test_a_trace_opens_from_the_list_as_a_waterfall(browser: Browser) -> None:
    """Spans below their parents, failed ones marked and told first, bars where they are in the trace's time."""
    stored = shop_trace(time.time_ns() - 60 * SECOND)
    stored.log("reading the cart", time.time_ns() - 60 * SECOND, place("acme", "shop", "cart", "prod"))
    async with (
        serving_page(stored.to_memory()) as url,
        open_page(browser, url, "#/traces?org=acme&project=shop&component=cart") as page,
    ):
        await expect(page.locator(".trace")).to_contain_text(["GET /"])
        await page.locator(".trace").click()
        await expect(page.get_by_role("treeitem")).to_have_count(6)
        assert await names(page) == [
            "GET /",
            "read cart",
            "GET key",
            "render",
            f"parent not here: {'99' * 8}",
            "lost",
        ]
        panel = page.get_by_role("complementary", name="Span")
        for text in ("GET key", "timed out", "db.system", "redis", "service.name"):
            await expect(panel).to_contain_text(text)  # the first failed span is told at once
        bars = await page.locator(".span .bar").evaluate_all("all => all.map(bar => [bar.style.left, bar.style.width])")
        assert bars[:2] == [["0%", "100%"], ["10%", "30%"]]
        await page.get_by_role("treeitem", name="render").click()
        assert f"span={'04' * 8}" in page.url
        await page.get_by_role("treeitem", name="read cart").click()
        await page.get_by_role("link", name="Logs of this component around this span").click()
        await expect(page.locator(".line .body")).to_have_text(["reading the cart"])
        await page.go_back()
        await expect(page.get_by_role("treeitem", selected=True)).to_contain_text("read cart")


async def test_the_tree_is_walked_by_keyboard(browser: Browser) -> None:
    """Arrows move, fold and unfold as in any tree; the details follow."""
    memory = shop_trace(time.time_ns() - 60 * SECOND).to_memory()
    async with (
        serving_page(memory) as url,
        open_page(browser, url, f"#/trace/{TRACE}?org=acme&span={'01' * 8}") as page,
    ):
        items, focused = page.get_by_role("treeitem"), page.locator(".span:focus .label")
        await items.first.focus()
        await page.keyboard.press("ArrowRight")
        await expect(focused).to_have_text("read cart")
        await page.keyboard.press("ArrowLeft")
        await expect(items).to_have_count(5)
        await expect(focused).to_have_text("read cart")
        await expect(items.nth(1)).to_have_attribute("aria-expanded", "false")
        await page.keyboard.press("ArrowDown")
        await expect(focused).to_have_text("render")
        await expect(page.get_by_role("complementary", name="Span")).to_contain_text("render")
        await page.keyboard.press("ArrowLeft")
        await expect(focused).to_have_text("GET /")
        await page.keyboard.press("Enter")
        await expect(items).to_have_count(3)
        await page.keyboard.press("End")
        await expect(focused).to_have_text("lost")


async def test_spans_in_a_circle_are_shown_all_the_same(browser: Browser) -> None:
    """Every span is exactly one row, whatever others sent as parents."""
    stored, at = Stored(), time.time_ns() - 60 * SECOND
    stored.span("hen", (TRACE, "01" * 8), at, API, parent="02" * 8)
    stored.span("egg", (TRACE, "02" * 8), at + MS, API, parent="01" * 8)
    stored.span("self", (TRACE, "03" * 8), at + 2 * MS, API, parent="03" * 8)
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, f"#/trace/{TRACE}?org=acme") as page:
        await expect(page.get_by_role("treeitem")).to_have_count(3)
        assert await names(page) == ["hen", "egg", "self"]


async def test_a_trace_of_thousands_of_spans_is_whole_and_quick(browser: Browser) -> None:
    """3,500 spans come in four pages, each once, and folding them takes less than a second."""
    stored, at = Stored(), time.time_ns() - 60 * SECOND
    stored.span("root", (TRACE, f"{1:016x}"), at, API, duration=4000 * MS)
    for number in range(2, 3501):
        # two start at once: the pages overlap there
        stored.span("child", (TRACE, f"{number:016x}"), at + number // 2 * MS, API, parent=f"{1:016x}")
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, f"#/trace/{TRACE}?org=acme") as page:
        await expect(page.get_by_role("treeitem")).to_have_count(3500, timeout=20_000)
        took_ms = await page.evaluate(
            """async () => {
                const started = performance.now();
                for (let times = 0; times < 2; times += 1) document.querySelector(".span .fold").click();
                await new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
                return performance.now() - started;
            }"""
        )
        await expect(page.get_by_role("treeitem")).to_have_count(3500)
    assert took_ms < 1000


async def test_errors_and_slowness_can_be_put_first(browser: Browser) -> None:
    """Only traces with errors, or the slowest on top; an unknown trace says what may be the matter."""
    stored, at = shop_trace(time.time_ns() - 60 * SECOND), time.time_ns() - 30 * SECOND
    stored.span("quick", ("cd" * 16, "01" * 8), at, API, duration=MS)
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, "#/traces?org=acme") as page:
        shown = page.locator(".trace .name")
        await expect(shown).to_have_text(["quick", "GET /error"])
        await page.get_by_role("button", name="Slowest first").click()
        await expect(shown).to_have_text(["GET /error", "quick"])
        await page.get_by_role("button", name="With errors").click()
        await expect(shown).to_have_text(["GET /error"])
        await page.goto(f"{url}/#/trace/{'ef' * 16}?org=acme")
        await expect(page.locator("main")).to_contain_text("This trace is not here.")
