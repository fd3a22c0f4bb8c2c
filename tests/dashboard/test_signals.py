"""An execution that waits for a signal, on the dashboard: what it waits for, and how it is sent."""

import re

import pytest
from playwright.async_api import expect

from tests.dashboard.test_execution import call, log, step

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_is_waited_for_is_sent(refused_page, stack, api, workflow_id):
    page = refused_page
    schema = {"type": "object", "required": ["by"], "properties": {"by": {"type": "string", "pattern": "^[A-Z]"}}}
    approve = {"type": "wait-for-signal", "actionId": "approve", "signal": "approved", "payloadSchema": schema}
    told = log("told", "approved by {{ actions.approve.output.payload.by }}")
    await api.create(workflow_id, [log("begin", "x"), approve, told])
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    for _ in ("live", "read anew"):
        row = page.locator(f"[data-execution='{execution_id}']")
        await expect(row).to_contain_text(re.compile("Waits for signal approved, gives up (in 24 h|in 23 h|tomorrow)"))
        await page.reload()
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.locator(".banner strong")).to_have_text("Waits for signal approved")
    await expect(page.locator(".banner p")).to_have_text(re.compile("^approve gives up (in 24 h|in 23 h|tomorrow).*"))
    await expect(page.locator(".wait")).to_contain_text("Waits for signal approved")
    # It is neither done nor has it failed: it is still to come, as what follows is.
    await expect(page.locator(".step-todo .step-name")).to_have_text([re.compile("^approve"), re.compile("^told")])
    await page.get_by_role("button", name="Send signal…").click()
    dialog = page.get_by_role("dialog")
    by = dialog.get_by_role("textbox", name="by")
    await by.fill("ada")
    await dialog.get_by_role("button", name="Send").click()
    await expect(by).to_have_attribute("aria-invalid", "true")
    await expect(by.locator("..")).to_contain_text("does not match")
    await by.fill("Ada")
    await dialog.get_by_role("button", name="Send").click()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    for _ in ("live", "read anew"):
        await expect(page.get_by_text(re.compile("^3 actions in"))).to_be_visible()
        await expect(page.locator(".wait")).to_have_text(re.compile(r"^Waited .*s\s*for signal approved\s*$"))
        await expect(page.locator(".step .step-name")).to_have_count(3)
        await expect(step(page, "told")).to_contain_text("approved by Ada")
        await expect(page.get_by_role("img", name=re.compile("begin, .*; Waited .*; approve, attempt 1"))).to_be_visible()
        await expect(page.get_by_role("button", name="Send signal…")).to_have_count(0)
        await page.reload()


async def test_the_end_of_what_was_triggered_is_waited_for(page, stack, api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [call("held", target, workflow_id, "?hold=1")])
    each = {"type": "trigger-workflow", "actionId": "each", "workflowId": child, "waitForEnd": "1h"}
    await api.create(workflow_id, [each])
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.locator(".banner strong")).to_have_text("Waits for the end of 1 execution")
    await expect(page.locator(".wait .children a")).to_have_count(1)
    await expect(page.get_by_role("button", name="Cancel")).to_be_visible()
    await expect(page.get_by_role("button", name="Send signal…")).to_have_count(0)
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.locator(".wait")).to_contain_text("for the end of what each had triggered")
