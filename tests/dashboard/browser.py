"""A headless Chromium with an empty profile of its own, and what a page complains of."""

import re
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import BrowserContext, Page, async_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# A wait that is over: how long it took depends on the machine, by a millisecond that the step before took or by more.
WAITED = re.compile(r"Waited \d+(\.\d)? m?s")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


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
