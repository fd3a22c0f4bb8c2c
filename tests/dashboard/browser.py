"""A headless Chromium with an empty profile of its own, and what a page complains of."""

import asyncio
import math
import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import BrowserContext, Page, Route, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Waits of 1 and of 5 seconds that are over. They begin when the step before has ended, so a few milliseconds may be missing;
# how many more there are depends on the machine.
WAITED_1S = re.compile(r"Waited (9\d\d ms|[1-9]\d?(\.\d)? s)")
WAITED_5S = re.compile(r"Waited (4\.9|[5-9](\.\d)?|[1-9]\d) s")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

# Events that the test tells the page of, in the place of those of the service.
TOLD = """
window.EventSource = class extends EventTarget {
  constructor() {
    super();
    window.tell = (name, data) => this.dispatchEvent(new MessageEvent(name, { data: JSON.stringify(data) }));
  }
  close() {}
};
"""


@asynccontextmanager
async def chromium(**options: Any) -> AsyncIterator[BrowserContext]:
    """Start a browser; ``options`` are those of a browser context (viewport, color_scheme, …)."""
    with tempfile.TemporaryDirectory(prefix="dashboard-browser-", ignore_cleanup_errors=True) as profile:
        async with async_playwright() as playwright:
            context = await playwright.chromium.launch_persistent_context(
                profile, executable_path=CHROMIUM, headless=True, args=FLAGS, **options
            )
            try:
                yield context
            finally:
                await context.close()


def complaints(page: Page) -> list[str]:
    """Return the list to which everything is added that the page's console calls a warning or an error."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


async def answered_late(page: Page, address: str, times: float = math.inf) -> tuple[asyncio.Event, asyncio.Event]:
    """Let what is read from now on, so many ``times``, arrive late; return what tells of its reading and releases it."""
    is_read, may_arrive = asyncio.Event(), asyncio.Event()
    left = times

    async def hold(route: Route) -> None:
        nonlocal left
        if left <= 0:
            await route.fallback()
            return
        left -= 1
        answer = await route.fetch()
        is_read.set()
        await may_arrive.wait()
        await route.fulfill(response=answer)

    # Where a route ends by itself after some times, and is the last one, Playwright lets go of what others still hold.
    await page.route(address, hold)
    return is_read, may_arrive
