"""The page against hostile data and strangers, on small screens, for everybody; and once with the real program."""

import hashlib
import time
import urllib.request
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from bridge.cli.shop import open_shop
from bridge.settings_auth import QueryAuth, Token
from query_api.memory import MemoryStorage
from tests.page import API, open_page, serving_page, some_logs
from tests.program import free_port, running
from tests.stored import SECOND, Stored, place
from tests.waiting import eventually_sync

pytestmark = [pytest.mark.external, pytest.mark.timeout(120)]

SECRET = "test-token-of-32-random-looking-bytes"
HOSTILE = (
    "<img src=x onerror=window.pwned=1>",
    "</script><script>window.pwned=1</script>",
    "<svg onload=window.pwned=1><iframe src=https://evil.example/></iframe>",
    "\x1b[31mred\x1b[0m and \x1b]0;title\x07 and \x00",
    "user \u202egnp.exe\u202c and שלום עולם",
    "javascript:window.pwned=1",
    "'\"`&amp;&#x3c;%3Cscript%3E",
)
# Text whose contrast with what is behind it is under 4.5 to 1 (WCAG 1.4.3).
FAINT = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => ((v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const [r, g, b, a] = rgba(getComputedStyle(each).backgroundColor);
      if (a === 255) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!isText || !element.checkVisibility() || element.closest(".hidden, noscript, option, svg")) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color).slice(0, 3)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.add(`${element.tagName}.${element.className} ${ratio.toFixed(2)}`);
  }
  return [...faint];
}"""
NAMELESS = """() => [...document.querySelectorAll("button, a, input, select, [tabindex]")].filter((each) =>
  each.checkVisibility() && each.tagName !== "MAIN" &&
  !(each.textContent.trim() || each.ariaLabel || each.labels?.length)).map((each) => each.outerHTML.slice(0, 100))"""
BEYOND = """(width) => [...document.querySelectorAll("body *")].filter((each) =>
  each.checkVisibility() && !each.closest(".hidden") && each.getBoundingClientRect().right > width + 1)
  .map((each) => each.outerHTML.slice(0, 100))"""


async def test_hostile_text_is_shown_as_text_wherever_it_stands(browser: Browser) -> None:
    """As a line, a label, a place, a span's name, service, attribute and message: no script runs."""
    stored, at = Stored(), time.time_ns() - 60 * SECOND
    for number, text in enumerate(HOSTILE):
        printable = text.replace("\x00", "")
        resource = place("acme", "shop", printable, "dev", service__name=printable, version=printable)
        stored.log(text, at - number * SECOND, resource, severity=printable)
        attributes = {printable: printable}
        ids = ("ab" * 16, f"{number + 1:016x}")
        stored.span(printable, ids, at, resource, status="Error", status_message=printable, attributes=attributes)
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, "#/logs?org=acme") as page:
        await expect(page.locator(".line .body")).to_have_count(len(HOSTILE))
        shown = await page.locator(".line .body").all_text_contents()
        assert [shown[0], shown[1], shown[2]] == [*HOSTILE[:3]]
        assert shown[3].startswith("red and \u241b]0;title\u2407 and")  # colours go, other control characters are seen
        assert shown[4] == "user [U+202E]gnp.exe[U+202C] and שלום עולם"
        for line in await page.locator(".line").all():
            await line.click()
        assert await page.locator(".details pre").first.text_content() == HOSTILE[0]
        await page.get_by_role("combobox", name="Where").click()
        await expect(page.get_by_role("listbox")).to_contain_text(HOSTILE[0])
        await page.goto(f"{url}/#/trace/{'ab' * 16}?org=acme")
        await expect(page.get_by_role("treeitem")).to_have_count(len(HOSTILE))
        for item in await page.get_by_role("treeitem").all():
            await item.click()
        assert await page.evaluate("window.pwned") is None
        assert await page.locator("main :is(img, script, iframe)").count() == 0


async def test_a_line_of_a_megabyte_neither_stops_nor_widens_the_page(browser: Browser) -> None:
    """It is cut in the list, opens at once, and is there whole on demand; a phrase deep inside is shown."""
    stored = Stored()
    stored.log("x" * 900_000 + "needle" + "y" * 100_000, time.time_ns() - 60 * SECOND, API)
    async with (
        serving_page(stored.to_memory()) as url,
        open_page(browser, url, "#/logs?org=acme&q=needle") as page,
    ):
        await expect(page.locator("mark")).to_have_text("needle")
        await page.locator(".line").click()
        await page.get_by_role("button", name="Show all 1,000 thousand characters").click()
        await expect(page.locator(".details pre")).to_contain_text("needle")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 1240


async def test_a_token_is_asked_for_kept_in_the_tab_and_never_put_in_the_address(browser: Browser) -> None:
    """Only once the API says 401; a wrong one is asked for again; forgetting it asks anew."""
    token = Token(name="dev", token_sha256=hashlib.sha256(SECRET.encode()).hexdigest(), roles=("acme",))
    auth = QueryAuth(tokens=(token,))
    allowed = ["the server responded with a status of 401"]
    async with (
        serving_page(some_logs(3).to_memory(), auth) as url,
        open_page(browser, url, "#/logs?org=acme", allowed=allowed) as page,
    ):
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("Reading here needs a token.")
        await expect(page.get_by_label("Bearer token")).to_be_focused()
        await page.keyboard.type("wrong")
        await page.keyboard.press("Enter")
        await expect(dialog).to_contain_text("The token was not taken: nobody has this bearer token.")
        await page.get_by_label("Bearer token").fill(SECRET)
        await page.get_by_role("button", name="Use token").click()
        await expect(page.locator(".line")).to_have_count(3)
        await expect(dialog).to_be_hidden()
        await page.reload()
        await expect(page.locator(".line")).to_have_count(3)
        assert SECRET not in page.url
        assert await page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
        await page.get_by_role("button", name="Forget token").click()
        await expect(dialog).to_contain_text("Reading here needs a token.")
        await page.get_by_role("button", name="Cancel").click()
        await expect(page.get_by_role("alert")).to_contain_text("Give a token that this server knows.")
        assert await page.evaluate("sessionStorage.length") == 0


async def test_health_is_shown_to_who_may_read_a_part_of_an_organisation(browser: Browser) -> None:
    """Without the whole organisation's number of items, which that caller is not told; the row is there."""
    token = Token(name="dev", token_sha256=hashlib.sha256(SECRET.encode()).hexdigest(), roles=("acme/shop/api",))
    memory = some_logs(3).to_memory()
    auth, allowed = QueryAuth(tokens=(token,)), ["the server responded with a status of 401"]
    async with serving_page(memory, auth) as url, open_page(browser, url, "#/health", allowed=allowed) as page:
        await page.get_by_label("Bearer token").fill(SECRET)
        await page.get_by_role("button", name="Use token").click()
        await expect(page.get_by_role("row", name="acme logs")).to_contain_text("\u2013")


async def test_a_role_that_opens_nothing_here_is_told_so(browser: Browser) -> None:
    """403 with what to do, not an empty page."""
    token = Token(name="dev", token_sha256=hashlib.sha256(SECRET.encode()).hexdigest(), roles=("costs:acme",))
    auth = QueryAuth(tokens=(token,))
    allowed = ["the server responded with a status of 40"]
    async with serving_page(MemoryStorage(), auth) as url, open_page(browser, url, allowed=allowed) as page:
        await page.get_by_label("Bearer token").fill(SECRET)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("403: no role of this caller allows logs")
        await expect(page.get_by_role("alert")).to_contain_text("ask for a role")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_and_controls_have_names(browser: Browser, scheme: str) -> None:
    """In both colour schemes, on every view, with rows open and chips pressed."""
    stored, at = some_logs(3), time.time_ns() - 60 * SECOND
    for number, (level, severity) in enumerate((("DEBUG", 5), ("WARN", 13), ("ERROR", 17), ("FATAL", 21))):
        stored.log(f"at {level}", at - number * SECOND, API, number=severity)
    stored.span("GET /", ("ab" * 16, "01" * 8), at, API, status="Error", status_message="broken")
    views = ("logs?org=acme", "logs?org=acme&level=DEBUG,INFO,WARN,ERROR,FATAL&q=at", "traces?org=acme&errors=1")
    async with serving_page(stored.to_memory()) as url, open_page(browser, url, color_scheme=scheme) as page:
        for view in (*views, f"trace/{'ab' * 16}?org=acme", "health"):
            await page.goto(f"{url}/#/{view}")
            await expect(page.locator("main[aria-busy=false]")).to_have_class(
                f"view-{view.split('?')[0].split('/')[0]}"
            )
            for line in await page.locator(".line").all():
                await line.click()
            assert await page.evaluate(FAINT) == [], view
            assert await page.evaluate(NAMELESS) == [], view


async def test_the_page_works_on_a_screen_of_360_pixels(browser: Browser) -> None:
    """Nothing is wider than the screen, on any view, and what is pressed can be reached."""
    stored, wide = some_logs(3), place("acme", "shop", "api", "dev", service__name="api", version="v" * 300)
    stored.log("w" * 500, time.time_ns() - 60 * SECOND, wide)
    stored.span("GET /a/rather/long/name/of/a/route", ("ab" * 16, "01" * 8), time.time_ns() - 60 * SECOND, API)
    small = {"width": 360, "height": 640}
    async with (
        serving_page(stored.to_memory()) as url,
        open_page(browser, url, viewport=small, has_touch=True) as page,
    ):
        for view in ("logs?org=acme&range=custom", "traces?org=acme", f"trace/{'ab' * 16}?org=acme", "health"):
            await page.goto(f"{url}/#/{view}")
            await expect(page.locator("main[aria-busy=false]")).to_have_class(
                f"view-{view.split('?')[0].split('/')[0]}"
            )
            for line in await page.locator(".line").all():
                await line.tap()
            assert await page.evaluate("document.documentElement.scrollWidth") == 360, view
            assert await page.evaluate(BEYOND, 360) == [], view
        await page.get_by_role("link", name="Logs").tap()
        await page.get_by_role("button", name="ERROR", exact=True).tap()
        await expect(page.locator("main")).to_contain_text("Take away the levels")


def has_places(url: str) -> bool:
    """False as well while the store is being made."""
    try:
        with urllib.request.urlopen(f"{url}/api/places", timeout=10) as answer:
            return b"payment" in answer.read()
    except OSError:
        return False


async def test_the_demo_is_read_on_the_page_of_the_real_program(browser: Browser, tmp_path: Path) -> None:
    """`headrace run` on its embedded ClickHouse, the demo's shop over OTLP: search, live, waterfall, freshness."""
    port = free_port()
    url, settings = (
        f"http://127.0.0.1:{port}",
        {"query__listen": f"127.0.0.1:{port}", "deliver__max_age_seconds": "0.1"},
    )
    with running(tmp_path, **settings) as program:
        urls = f"http://127.0.0.1:{program.grpc_port}", f"http://127.0.0.1:{program.http_port}"
        with open_shop(*urls) as shop:
            for number in range(9):
                shop.take_order(number, time.time_ns() - 10 * SECOND)
            assert shop.flush()
            eventually_sync(lambda: has_places(url), 30)
            async with open_page(browser, url, "#/logs?org=acme&project=shop&level=ERROR&live=1") as page:
                await expect(page.locator(".line .body")).to_have_text(["order 8: card declined"])
                shop.take_order(17, time.time_ns() - SECOND)
                assert shop.flush()
                await expect(page.locator(".line .body").first).to_have_text("order 17: card declined", timeout=20_000)
                await expect(page.locator(".line")).to_have_count(2)
                await page.locator(".line").first.click()
                await page.get_by_role("link", name="Traces of this component around this time").click()
                await page.locator(".failed .trace").first.click()
                await expect(page.locator(".span .label")).to_have_text(["POST /checkout", "GetCart", "Charge"])
                await page.get_by_role("link", name="Health").click()
                await expect(page.locator("main")).to_contain_text("Healthy")
