"""Lists that grow while they are shown: nothing is left out between what was read, what came and what is older."""

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
SHOWN = "[...document.querySelectorAll('[data-execution]')].map((each) => each.dataset.execution)"


async def ran(api, workflow_id, count):
    """Run it so many times, one after another."""
    for _ in range(count):
        await api.finished(await api.trigger(workflow_id))


async def shows_all(page, api, workflow_id):
    """Page to the end of a workflow's executions: all of them are there, in their order."""
    older = page.get_by_role("button", name="Show older")
    rows = page.locator("[data-execution]")
    stored = [each["executionId"] for each in await api.executions(workflow_id)]
    while (count := await rows.count()) < len(stored):
        await older.click()
        await expect(rows).not_to_have_count(count)
    assert await page.evaluate(SHOWN) == stored
    await expect(older).to_have_count(0)


@pytest.mark.parametrize("before", [8, 10], ids=["one page", "more than a page"])
async def test_what_was_cut_off_when_something_came_is_among_the_older_ones(page, stack, api, workflow_id, before):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, before)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    rows = page.locator("[data-execution]")
    await expect(rows).to_have_count(8)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await page.mouse.move(0, 0)
    for _ in range(2):
        execution_id = await api.trigger(workflow_id)
        await expect(page.locator(f"[data-execution='{execution_id}']").get_by_text("Succeeded")).to_be_visible()
        await expect(rows).to_have_count(8)
    await shows_all(page, api, workflow_id)


async def test_what_came_while_nobody_told_is_not_left_out(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 10)
    await page.route("**/v1/events/stream?*", lambda route: route.abort())
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.get_by_role("button", name="Show older").click()
    await expect(page.locator("[data-execution]")).to_have_count(10)
    await page.mouse.move(0, 0)
    await page.evaluate("document.activeElement.blur()")
    await ran(api, workflow_id, 9)
    await page.unroute("**/v1/events/stream?*")
    newest = (await api.executions(workflow_id))[0]["executionId"]
    await expect(page.locator(f"[data-execution='{newest}']")).to_be_visible()
    await shows_all(page, api, workflow_id)
