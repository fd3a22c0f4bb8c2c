"""The dashboard in a real browser, on the stack of the session."""

import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.dashboard.browser import CHROMIUM, chromium, complaints
from tests.e2e.conftest import api, producer, target, workflow_id  # noqa: F401 (fixtures)

expect.set_options(timeout=40_000)


@pytest.fixture(autouse=True, scope="session")
def _a_browser_is_there():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(_a_browser_is_there):
    async with chromium(viewport={"width": 1240, "height": 860}, color_scheme="light") as context:
        yield context


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser, stack):
    """A page that must not complain of anything."""
    page = await browser.new_page()
    found = complaints(page)
    page.set_default_timeout(30_000)
    yield page
    await page.close()
    assert found == []


@pytest_asyncio.fixture(loop_scope="session")
async def refused_page(browser, stack):
    """A page that may be refused something: the browser itself reports that on the console."""
    page = await browser.new_page()
    page.set_default_timeout(30_000)
    yield page
    await page.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guarded(stack):
    """The address of one more API of the same stack, which asks for tokens."""
    worker = await stack.add_worker("workflows", name="workflows-guarded", environment={"AUTH": "tokens"})
    yield worker.url
    await stack.remove_worker(worker.name)
