"""What is looked for is found: what fails and why, one execution by its id, what ran at a time."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
FAIL = {"type": "fail", "message": "the ledger is closed"}


async def test_what_fails_and_why_is_seen_from_the_first_page_on(page, stack, api, workflow_id):
    await api.create(workflow_id, [FAIL], retries=0)
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}-not")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await expect(page.get_by_text(re.compile(r"^\d+\+? failed in the last 24 hours"))).to_be_visible()
    await page.get_by_role("link", name="See them").click()
    row = page.locator(f"[data-execution='{execution_id}']")
    await expect(row).to_contain_text("the ledger is closed")
    await row.get_by_role("link").click()
    await page.get_by_role("heading", level=1).get_by_role("link", name=workflow_id).click()
    await expect(row).to_contain_text("the ledger is closed")


async def test_the_workflows_that_fail_most_are_named(page, stack):
    failed = [{"workflowId": name} for name in ["one", *["most"] * 4, *["more"] * 3, *["some"] * 2]]
    await page.route(
        "**/v1/executions?status=failed&*", lambda route: route.fulfill(json={"items": failed, "nextCursor": "x"})
    )
    await page.goto(f"{stack.api_url}/#/workflows")
    told = page.get_by_text("10+ failed in the last 24 hours").locator("../..")
    await expect(told).to_have_text(re.compile(r"most 4. *more 3. *some 2. *and 1 workflow more *See them"))


async def test_an_execution_is_found_by_its_id(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions")
    await page.get_by_role("combobox", name="Workflow, reference or execution id").fill(f" {execution_id.upper()}")
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    await expect(page.get_by_text(execution_id)).to_be_visible()


async def test_what_ran_at_a_time(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [LOG])
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    row = page.locator(f"[data-execution='{execution_id}']")
    await expect(row).to_be_visible()
    asked = datetime.fromisoformat((await api.execution(execution_id))["createdAt"].replace("Z", "+00:00"))
    # The browser's zone is that of the machine, and so is this one.
    minute = asked.astimezone().replace(second=0, microsecond=0, tzinfo=None)
    await page.get_by_label("Time", exact=True).select_option("Between…")
    await page.get_by_label("Until").fill(minute.isoformat(timespec="minutes"))
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await page.get_by_label("Until").fill((minute + timedelta(minutes=1)).isoformat(timespec="minutes"))
    await expect(row).to_be_visible()
    await page.get_by_label("From").fill(minute.isoformat(timespec="minutes"))
    await page.wait_for_url(re.compile("span=between&from=.*&to="))
    await page.reload()
    await expect(row).to_be_visible()
    await expect(page.get_by_label("From")).to_have_value(minute.isoformat(timespec="minutes"))
    await page.get_by_label("From").fill((minute + timedelta(minutes=2)).isoformat(timespec="minutes"))
    await expect(page.get_by_text("must be later than from")).to_be_visible()


async def test_when_it_ran_is_told_by_the_clock_and_another_year_by_its_number(page, stack, api, workflow_id):
    year = datetime.now(timezone.utc).year + 2
    once = {"type": "once", "at": f"{year}-06-30T12:00:00Z", "allowManual": True}
    await api.create(workflow_id, [LOG], trigger=once)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.locator(".ticks")).to_contain_text(str(year))
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.locator(".attempt-head")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))
    await expect(page.locator(".facts")).to_contain_text(re.compile(r"Asked for.*ago.*\d\d:\d\d:\d\d"))
    # Of one that succeeded nobody asks how many retries it did not need.
    await expect(page.locator(".facts")).not_to_contain_text("left")


async def test_an_execution_is_found_by_a_number_of_the_users_own(page, stack, api, workflow_id):
    """An order's, a customer's; where a workflow is named like that, what is meant is asked rather than guessed."""
    order = f"Order {workflow_id} / 17"
    await api.create(workflow_id, [LOG], overlap={"policy": "allow", "max": 9})
    ids = []
    for body in ({"reference": order}, {"reference": workflow_id}, {"reference": "x" * 128}):
        status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", body)
        assert status == 202, answer
        ids.append(answer["executionId"])
        await api.finished(ids[-1])
    rows = page.locator("[data-execution]")

    async def shown(*executions):
        await expect(rows).to_have_count(len(executions))
        for execution_id in executions:
            await expect(page.locator(f"[data-execution='{execution_id}']")).to_be_visible()

    await page.goto(f"{stack.api_url}/#/executions")
    field = page.get_by_role("combobox", name="Workflow, reference or execution id")
    await field.fill(f" {order} ")
    await field.press("Enter")
    await shown(ids[0])
    await expect(rows).to_contain_text(order)
    await page.reload()
    await shown(ids[0])
    await expect(field).to_have_value(order)
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"reference": order})
    await shown(answer["executionId"], ids[0])
    await rows.first.get_by_role("link").click()
    await page.locator(".facts").get_by_role("link", name=order).click()
    await shown(answer["executionId"], ids[0])
    # It is the id of a workflow as well as a reference.
    await field.fill(workflow_id)
    await field.press("Enter")
    await shown(answer["executionId"], *ids)
    overlong = "cells => cells.filter(each => each.scrollWidth > each.clientWidth).map(each => each.textContent)"
    assert await page.locator(".execution-row .cell-name").evaluate_all(overlong) == []
    await page.get_by_role("button", name=f"Those of reference {workflow_id}").click()
    await shown(ids[1])
    await field.fill(f"{workflow_id}-nobody")
    await field.press("Enter")
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()
    await expect(field).to_have_value("")
