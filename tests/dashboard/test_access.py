"""For everybody: on a phone, in the dark, by keyboard, by screen reader."""

from pathlib import Path

import axe_core_python
import pytest
import pytest_asyncio
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

AXE = next(Path(axe_core_python.__file__).parent.rglob("axe.min.js")).read_text(encoding="utf-8")
# What each look at a view asks axe for: everything in the light, and in the dark what has to do with colours.
RULES = {
    "light": "{resultTypes: ['violations']}",
    "dark": "{resultTypes: ['violations'], runOnly: ['color-contrast']}",
}
LOG = {"type": "log", "message": "hello " * 40}


@pytest_asyncio.fixture(loop_scope="session")
async def addresses(api, target, workflow_id):
    """One of each view, with something to see."""
    failing = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?fail=1"}
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}
    ticking = {"type": "periodic", "interval": "1h", "allowManual": True}
    await api.create(workflow_id, [LOG, failing], retries=0, trigger=ticking)
    await api.create(f"{workflow_id}-input", [LOG], inputSchema=schema)
    failed = await api.trigger(workflow_id)
    await api.finished(failed)
    _, again = await api.call("POST", f"/executions/{failed}/retry")
    await api.finished(again["executionId"])
    await api.call("PUT", "/secrets/ACCESSIBLE", {"value": "not for eyes"})
    await api.call("PUT", "/vars/ACCESSIBLE", {"value": "long " * 50})
    await api.call("POST", "/tokens", {"name": workflow_id, "scope": "viewer"})
    return [
        f"#/workflows?search={workflow_id}",
        f"#/workflows/{workflow_id}",
        f"#/workflows/{workflow_id}-input?run=yes",
        f"#/workflows/{workflow_id}/edit",
        "#/upcoming",
        "#/new",
        "#/executions",
        f"#/executions/{failed}",
        f"#/executions/{again['executionId']}",
        "#/system",
        "#/system/dead-letters",
        "#/system/secrets",
        "#/system/variables",
        "#/system/tokens",
        "#/system/audit",
        "#/nowhere",
        "login",
    ]


async def views(page, stack, addresses):
    """Show each view with everything unfolded that can be."""
    for address in addresses:
        await page.evaluate("document.querySelector('.view')?.setAttribute('data-seen', '')")
        await page.goto(f"{stack.api_url}/{address}")
        await page.wait_for_selector("[data-seen]", state="detached")
        await page.wait_for_selector("h1")
        await page.wait_for_selector("[aria-busy]", state="detached")
        if "run=yes" in address:
            await page.wait_for_selector("dialog[open]")
        await page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        yield address


async def test_axe_finds_no_serious_violation(page, stack, addresses):
    await page.emulate_media(reduced_motion="reduce")
    found = []
    async for address in views(page, stack, addresses):
        await page.evaluate(AXE)
        for theme, rules in RULES.items():
            await page.emulate_media(color_scheme=theme)
            answer = await page.evaluate(f"axe.run(document, {rules})")
            found += [
                (address, theme, each["id"], node["target"], node.get("failureSummary"))
                for each in answer["violations"]
                if each["impact"] in ("serious", "critical")
                for node in each["nodes"]
            ]
    assert found == []


async def test_it_fits_on_a_phone_and_at_twice_the_size(page, stack, addresses):
    async for address in views(page, stack, addresses):
        for width in (375, 640):  # 640 is a window of 1280 at 200 %
            await page.set_viewport_size({"width": width, "height": 720})
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, (address, width)


async def test_what_stands_below_a_name_on_a_phone_begins_where_the_name_does(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.set_viewport_size({"width": 390, "height": 720})
    await page.goto(f"{stack.api_url}/#/system/audit")
    head = page.locator(".entry-head").first
    await expect(head).to_be_visible()
    name, when = [await head.locator(each).first.bounding_box() for each in (".cell-name", "time")]
    assert (when["y"] > name["y"], when["x"]) == (True, name["x"])


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


async def test_what_has_the_focus_keeps_it_while_everything_around_it_changes(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    link = page.get_by_role("link", name=workflow_id)
    await link.focus()
    await api.finished(await api.trigger(workflow_id))
    await expect(page.get_by_role("img", name="Last 1: 1 succeeded")).to_be_visible()
    await expect(link).to_be_focused()
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    first = page.locator("[data-execution] a")
    await first.focus()
    await api.call("PUT", f"/workflows/{workflow_id}", {"trigger": {"type": "manual"}, "actions": [LOG], "retries": 1})
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()
    second = await api.trigger(workflow_id)
    # Whoever reads the list is not pushed off: what is new waits behind a button.
    await page.get_by_role("button", name="1 new").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator(f"[data-execution='{second}']")).to_be_visible()
