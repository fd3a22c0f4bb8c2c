"""For everybody: on a phone, in the dark, by keyboard, by screen reader."""

from pathlib import Path

import axe_core_python
import pytest
import pytest_asyncio
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = next(Path(axe_core_python.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
LOG = {"type": "log", "message": "hello " * 40}


@pytest_asyncio.fixture(loop_scope="session")
async def addresses(api, target, workflow_id):
    """One of each view, with something to see."""
    failing = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?fail=1"}
    await api.create(workflow_id, [LOG, failing], retries=0)
    failed = await api.trigger(workflow_id)
    await api.finished(failed)
    _, again = await api.call("POST", f"/executions/{failed}/retry")
    await api.finished(again["executionId"])
    return [
        f"#/workflows?search={workflow_id}",
        f"#/workflows/{workflow_id}",
        f"#/workflows/{workflow_id}/edit",
        "#/new",
        "#/executions",
        f"#/executions/{failed}",
        f"#/executions/{again['executionId']}",
        "#/system",
    ]


async def views(page, stack, addresses):
    for address in addresses:
        await page.goto(f"{stack.api_url}/{address}")
        await page.wait_for_selector("h1")
        await page.wait_for_selector("[aria-busy]", state="detached")
        yield address


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_no_serious_violation(page, stack, addresses, theme):
    await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    found = []
    async for address in views(page, stack, addresses):
        await page.evaluate(AXE)
        answer = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            (address, each["id"], node["target"], node.get("failureSummary"))
            for each in answer["violations"]
            if each["impact"] in ("serious", "critical")
            for node in each["nodes"]
        ]
    assert found == []


async def test_it_fits_on_a_phone(page, stack, addresses):
    await page.set_viewport_size({"width": 375, "height": 720})
    async for address in views(page, stack, addresses):
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, address


async def test_light_and_dark_are_chosen_and_remembered(page, stack):
    paper = "getComputedStyle(document.body).backgroundColor"
    await page.emulate_media(color_scheme="light")
    await page.goto(f"{stack.api_url}/#/workflows")
    light = await page.evaluate(paper)
    await page.emulate_media(color_scheme="dark")
    dark = await page.evaluate(paper)
    assert dark != light
    await page.get_by_role("button", name="Use the light theme").click()
    assert await page.evaluate(paper) == light
    await page.reload()
    assert await page.evaluate(paper) == light
    await page.get_by_role("button", name="Use the dark theme").click()
    assert await page.evaluate(paper) == dark
    await page.evaluate("localStorage.clear()")


async def test_the_keyboard_is_enough(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    link = page.get_by_role("link", name=workflow_id)
    await expect(link).to_be_visible()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    await link.focus()
    await page.keyboard.press("Enter")
    heading = page.get_by_role("heading", level=1, name=workflow_id)
    await expect(heading).to_be_focused()
    await expect(page.get_by_role("button", name="Run now")).to_be_visible()
    await page.get_by_role("button", name="Archive").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
