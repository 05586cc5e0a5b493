"""docs/page-logs.png and docs/page-trace.png: the page over an hour of the demo shop's telemetry, made by
`python -m docs.screenshots`.

Everything is real: `headrace run` with its embedded ClickHouse, the demo's SDK, a browser. It takes about ten seconds.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from playwright.async_api import Browser, Page

from bridge.cli.shop import open_shop
from tests.browser import open_browser
from tests.program import free_port, running
from tests.waiting import eventually_sync

DOCS: Final = Path(__file__).parent
ORDERS: Final = 157
EVERY_NANOSECONDS: Final = 20_000_000_000
SIZE: Final = {"width": 1240, "height": 800}


def main() -> int:
    """Write both pictures. Raises what the program or the browser raises."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        settings = {"query__listen": f"127.0.0.1:{port}", "deliver__max_age_seconds": "0.1"}
        with running(Path(directory), **settings) as program:
            logs = sell(f"http://127.0.0.1:{program.grpc_port}", f"http://127.0.0.1:{program.http_port}")
            eventually_sync(lambda: stored_logs(port) == logs, 60)
            asyncio.run(take(f"http://127.0.0.1:{port}"))
    return 0


def sell(grpc_url: str, http_url: str) -> int:
    """Orders over the last hour, thinner and thicker as days are. The number of log lines."""
    now = time.time_ns()
    with open_shop(grpc_url, http_url) as shop:
        for number in range(ORDERS):
            wave = 8 * EVERY_NANOSECONDS if number % 40 < 3 else 0
            shop.take_order(number, now - (ORDERS - number) * EVERY_NANOSECONDS - 2_000_000_000 + wave)
        if not shop.flush():
            sys.exit("the demo's telemetry was not taken")
        return shop.logs


def stored_logs(port: int) -> int:
    """0 as well while the store is being made, or does not know yet how fresh it is."""
    url, asked = f"http://127.0.0.1:{port}/api/logs/org/acme", b'{"limit": 1}'
    request = Request(url, asked, {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 - same
            return int(json.load(answer)["totalCount"]) if "X-Complete-Until" in answer.headers else 0
    except OSError:
        return 0


async def take(url: str) -> None:
    """The search with one line open, and the waterfall of a trace that failed."""
    async with open_browser() as browser:
        page = await new_page(browser)
        await page.goto(f"{url}/#/logs?org=acme&project=shop")
        await page.locator(".line", has_text="card declined").first.click()
        await page.screenshot(path=DOCS / "page-logs.png")
        await page.goto(f"{url}/#/traces?org=acme&errors=1")
        await page.locator(".trace").first.click()
        await page.locator(".span").nth(2).click()
        await page.screenshot(path=DOCS / "page-trace.png")


async def new_page(browser: Browser) -> Page:
    return await browser.new_page(viewport={"width": SIZE["width"], "height": SIZE["height"]}, timezone_id="UTC")


if __name__ == "__main__":
    sys.exit(main())
