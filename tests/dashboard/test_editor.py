"""The editor on the dashboard: what is typed is stored as it stands there, once, and never lost."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import answered_late

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
EXACT = 9007199254740993  # JavaScript would make it end in 2


async def edited(page, stack, workflow_id):
    """Return the text area in which the workflow is edited."""
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}/edit")
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(editor).to_have_value(re.compile("message: hello"))
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    return editor


async def held(page, address, method):
    """Let the next requests wait at the door; return what tells of the first one, and what lets them in."""
    is_there, may_go = asyncio.Event(), asyncio.Event()

    async def hold(route):
        if route.request.method == method:
            is_there.set()
            await may_go.wait()
        await route.continue_()

    await page.route(address, hold)
    return is_there, may_go


async def test_who_presses_twice_creates_what_stands_there(page, stack, api, workflow_id):
    await page.goto(f"{stack.api_url}/#/new")
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await editor.fill(f"workflowId: {workflow_id}\ntrigger: {{type: manual}}\nactions:\n  - {{type: log, message: mine}}\n")
    await page.get_by_role("button", name="Create").dblclick()
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    _, stored = await api.call("GET", f"/workflows/{workflow_id}")
    assert (stored["version"], stored["actions"][0]["message"]) == (1, "mine")


async def test_who_stores_twice_by_key_stores_what_stands_there_once(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    editor = await edited(page, stack, workflow_id)
    await editor.fill((await editor.input_value()).replace("hello", "mine"))
    is_there, may_go = await held(page, "**/v1/workflows/*", "PUT")  # or the page has gone on before the second time
    await editor.press("Control+s")
    await editor.press("Control+s")
    await is_there.wait()
    may_go.set()
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()
    _, stored = await api.call("GET", f"/workflows/{workflow_id}")
    assert (stored["version"], stored["actions"][0]["message"]) == (2, "mine")


@pytest.mark.parametrize(
    ("method", "address", "press"),
    [("PUT", "**/v1/workflows/*", "Store as a new version"), ("POST", "**/v1/workflows/validate", "JSON")],
    ids=["while it is stored", "while the notation is changed"],
)
async def test_the_text_is_locked(page, stack, api, workflow_id, method, address, press):
    await api.create(workflow_id, [LOG])
    editor = await edited(page, stack, workflow_id)
    await editor.fill((await editor.input_value()).replace("hello", "mine"))
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    is_there, may_go = await held(page, address, method)
    await page.get_by_role("button", name=press).click()
    await is_there.wait()
    await expect(editor).to_have_attribute("aria-busy", "true")
    await expect(editor).not_to_be_editable()
    may_go.set()
    await expect(page.get_by_text("Version 2", exact=True) if method == "PUT" else editor).to_be_visible()
    if method == "POST":
        await expect(editor).to_have_value(re.compile('"message": "mine"'))
        await expect(editor).to_be_editable()


async def test_numbers_are_stored_as_they_were_written(page, stack, api, workflow_id):
    call = {"type": "http-request", "url": "http://127.0.0.1:9/", "method": "POST", "json": {"id": EXACT, "share": 1.0}}
    await api.create(workflow_id, [LOG, call])
    editor = await edited(page, stack, workflow_id)
    await expect(editor).to_have_value(re.compile(rf"id: {EXACT}\s+share: 1\.0"))
    await editor.fill((await editor.input_value()).replace("hello", "mine"))
    await page.get_by_role("button", name="JSON").click()
    await expect(editor).to_have_value(re.compile(rf'"id": {EXACT},\s+"share": 1\.0'))
    await page.get_by_role("button", name="Store as a new version").click()
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()
    _, stored = await api.call("GET", f"/workflows/{workflow_id}")
    assert repr(stored["actions"][1]["json"]) == repr(call["json"])


async def test_tab_can_be_undone(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    editor = await edited(page, stack, workflow_id)
    before = await editor.input_value()
    await editor.press("Control+End")
    await page.keyboard.type("#")
    await editor.press("Tab")
    await expect(editor).to_have_value(f"{before}#  ")
    await editor.press("Control+z")
    await editor.press("Control+z")
    await expect(editor).to_have_value(before)


async def test_what_was_typed_is_kept_where_somebody_else_was_faster(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [LOG])
    editor = await edited(page, stack, workflow_id)
    mine = (await editor.input_value()).replace("hello", "mine")
    await editor.fill(mine)
    await api.call(
        "PUT", f"/workflows/{workflow_id}", {"trigger": {"type": "manual"}, "actions": [{**LOG, "message": "theirs"}]}
    )
    await page.get_by_role("button", name="Store as a new version").click()
    await expect(page.get_by_text("Somebody stored version 2 meanwhile")).to_be_visible()
    await page.get_by_role("button", name="Read version 2").click()
    await expect(editor).to_have_value(re.compile("message: theirs"))
    await page.get_by_role("button", name="Put it back").click()
    await expect(editor).to_have_value(mine)
    await page.get_by_role("button", name="Store as a new version").click()
    await expect(page.get_by_text("Version 3", exact=True)).to_be_visible()
    _, stored = await api.call("GET", f"/workflows/{workflow_id}")
    assert stored["actions"][0]["message"] == "mine"


async def test_what_is_stored_once_the_service_answers_is_not_lost_to_what_is_tried_again(
    refused_page, stack, api, workflow_id
):
    page, check = refused_page, "**/v1/workflows/validate"
    await api.create(workflow_id, [LOG])
    editor = await edited(page, stack, workflow_id)
    await page.route(check, lambda route: route.abort())
    await editor.fill((await editor.input_value()).replace("hello", "mine"))
    await expect(page.get_by_role("alert").filter(has_text="This page tries again by itself")).to_be_visible()
    await page.unroute(check)
    is_read, may_arrive = await answered_late(page, check, times=1)
    await page.get_by_role("button", name="Store as a new version").click()
    await is_read.wait()
    await page.evaluate("document.querySelector('[data-again]')?.click()")  # as the page does by itself every four seconds
    may_arrive.set()
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()


async def test_what_would_fail_for_want_of_another_workflow_is_told_and_can_be_stored(page, stack, api, workflow_id):
    child = f"{workflow_id}-child"
    said = f"actions[0].workflowId workflow {child} does not exist; create it before this is to start it"
    await page.goto(f"{stack.api_url}/#/new")
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await editor.fill(
        f"workflowId: {workflow_id}\ntrigger: {{type: manual}}\nactions:\n"
        f"  - type: trigger-workflow\n    workflowId: {child}\n"
    )
    await expect(page.get_by_role("button", name=f"Line 5: {said}")).to_be_visible()
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    warned = page.get_by_text("It would fail if it ran now")
    await expect(warned).to_be_visible()
    await expect(page.get_by_role("listitem").filter(has_text=said)).to_be_visible()
    await api.create(child, [LOG])
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    await expect(page.get_by_text("Definition", exact=True).first).to_be_visible()
    await expect(warned).to_have_count(0)
