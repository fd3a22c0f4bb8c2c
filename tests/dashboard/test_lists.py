"""Lists that grow while they are shown: nothing is left out between what was read, what came and what is older."""

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import TOLD, answered_late

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
SHOWN = "[...document.querySelectorAll('[data-execution]')].map((each) => each.dataset.execution)"


async def ran(api, workflow_id, count):
    """Run it so many times, one after another."""
    for _ in range(count):
        await api.finished(await api.trigger(workflow_id))


async def told_of_another(page, api, workflow_id):
    """Run it once more, and tell the page alone that this was asked for; return its id."""
    execution_id = await api.trigger(workflow_id)
    execution = await api.finished(execution_id)
    requested = {key: execution[key] for key in ("executionId", "workflowId", "createdAt", "attempt", "cause")}
    await page.evaluate("(data) => tell('execution-requested', data)", {**requested, "status": "pending"})
    return execution_id


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
        await api.finished(execution_id)  # the page is told of it a moment before the place is free
    await shows_all(page, api, workflow_id)


async def test_older_ones_are_shown_though_the_list_is_read_again_before_what_was_cut_off_is_there(
    page, stack, api, workflow_id
):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 9)
    await page.add_init_script(TOLD)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    rows = page.locator("[data-execution]")
    await expect(rows).to_have_count(8)
    execution_id = await told_of_another(page, api, workflow_id)
    await expect(page.locator(f"[data-execution='{execution_id}']")).to_be_visible()
    is_read, may_arrive = await answered_late(page, "**/v1/executions?limit=*", times=1)
    await page.get_by_role("button", name="Show older").click()
    await is_read.wait()
    await page.evaluate("tell('gap', null)")
    await expect(page.locator(f"[data-execution='{execution_id}']").get_by_text("Succeeded")).to_be_visible()
    may_arrive.set()
    await expect(rows).to_have_count(10)


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


async def test_what_was_paged_in_is_brought_up_to_date(page, stack, api, workflow_id):
    ids = [f"{workflow_id}-{number}" for number in range(100, 128)]
    for each in ids:
        await api.create(each, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    rows = page.locator("[data-workflow]")
    await expect(rows).to_have_count(25)
    await page.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(28)
    changed = {"trigger": {"type": "periodic", "interval": "9h"}, "actions": [LOG]}
    await api.call("PUT", f"/workflows/{ids[-1]}", changed)
    await expect(rows.last).to_contain_text("Every 9 h")
    await api.call("DELETE", f"/workflows/{ids[-2]}")
    await expect(page.locator(f"[data-workflow='{ids[-2]}']")).to_have_count(0)
    # One of the first page goes: what followed upon it stays.
    await api.call("DELETE", f"/workflows/{ids[0]}")
    await expect(page.locator(f"[data-workflow='{ids[0]}']")).to_have_count(0)
    shown = await page.evaluate("[...document.querySelectorAll('[data-workflow]')].map((each) => each.dataset.workflow)")
    assert shown == [*ids[1:-2], ids[-1]]


async def test_an_end_that_is_told_before_its_beginning_is_shown(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 1)
    await page.add_init_script(TOLD)
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    await expect(page.locator("[data-execution]")).to_have_count(1)
    execution_id = await api.trigger(workflow_id)
    execution = await api.finished(execution_id)
    told = {"executionId": execution_id, "workflowId": workflow_id, "createdAt": execution["createdAt"], "attempt": 1}
    await page.evaluate("(told) => tell('action-result', { ...told, status: 'ok' })", told)
    await page.evaluate("(told) => tell('execution-requested', { ...told, status: 'pending', cause: 'manual' })", told)
    await expect(page.locator(f"[data-execution='{execution_id}']").get_by_text("Succeeded")).to_be_visible()


async def test_what_is_new_is_shown_to_who_asked_for_it_though_the_list_is_read_again(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 1)
    await page.add_init_script(TOLD)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.locator("[data-execution] a").focus()
    execution_id = await told_of_another(page, api, workflow_id)
    is_read, may_arrive = await answered_late(page, "**/v1/executions?*", times=1)
    await page.get_by_role("button", name="1 new").focus()
    await page.keyboard.press("Enter")
    await is_read.wait()
    await page.evaluate("tell('gap', null)")
    await expect(page.locator(f"[data-execution='{execution_id}']")).to_be_visible()
    may_arrive.set()
    await expect(page.get_by_role("button", name="1 new")).to_have_count(0)


async def test_those_that_waited_come_with_the_next_one_when_nobody_reads_any_more(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 1)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.locator("[data-execution] a").focus()
    await ran(api, workflow_id, 1)
    await expect(page.get_by_role("button", name="1 new")).to_be_visible()
    await page.evaluate("document.activeElement.blur()")
    await ran(api, workflow_id, 1)
    await expect(page.locator("[data-execution]")).to_have_count(3)
    await expect(page.get_by_role("button", name="new")).to_have_count(0)
    await shows_all(page, api, workflow_id)


async def test_an_answer_is_shown_though_the_list_is_read_again_before_it_comes(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 1)
    await page.add_init_script(TOLD)
    is_read, first_may_arrive = await answered_late(page, "**/v1/executions?*", times=1)
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    await is_read.wait()
    is_read, second_may_arrive = await answered_late(page, "**/v1/executions?*", times=1)
    await page.evaluate("tell('gap', null)")
    await is_read.wait()
    first_may_arrive.set()
    await expect(page.locator("[data-execution]")).to_have_count(1)
    second_may_arrive.set()


async def test_what_is_new_is_shown_though_what_was_read_before_it_was_asked_for_comes_first(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await ran(api, workflow_id, 1)
    await page.add_init_script(TOLD)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.locator("[data-execution] a").focus()
    is_read, older_may_arrive = await answered_late(page, "**/v1/executions?limit=*", times=1)
    await page.evaluate("tell('gap', null)")
    await is_read.wait()
    execution_id = await told_of_another(page, api, workflow_id)
    is_read, newer_may_arrive = await answered_late(page, "**/v1/executions?limit=*", times=1)
    await page.get_by_role("button", name="1 new").focus()
    await page.keyboard.press("Enter")
    await is_read.wait()
    async with page.expect_response("**/v1/executions?limit=*"):
        older_may_arrive.set()
    newer_may_arrive.set()
    await expect(page.locator(f"[data-execution='{execution_id}']")).to_be_visible()
    await expect(page.get_by_role("button", name="1 new")).to_have_count(0)
