"""The system on the dashboard: health, dead letters, secrets, variables, the audit log, and what it says of what is away."""

import asyncio
import json
import re

import pytest
from playwright.async_api import expect

from events.topics import CONSUMED
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
# How many times it is to be read again.
COUNTED = """
window.due = new Set();
const { setTimeout: later, clearTimeout: never } = window;
window.setTimeout = (work, ms, ...rest) => {
  const id = later(() => { due.delete(id); work(); }, ms, ...rest);
  if (ms === 4000) due.add(id);
  return id;
};
window.clearTimeout = (id) => { due.delete(id); never(id); };
"""


async def test_the_system_is_well(page, stack):
    await page.goto(f"{stack.api_url}/#/system")
    await expect(page.get_by_text("Reachable")).to_have_count(2)
    await expect(page.get_by_text("Stable")).to_have_count(sum(len(topics) for topics in CONSUMED.values()))
    await expect(page.get_by_text("Alive").first).to_be_visible()


async def test_a_dead_letter_is_mended_and_sent_again(page, stack, api, producer, workflow_id):
    await api.create(workflow_id, [LOG])
    wrong = {"workflow": workflow_id}
    await producer.send_and_wait("workflow.execution", json.dumps(wrong).encode(), key=workflow_id.encode())

    async def kept():
        _, answer = await api.call("GET", "/dead-letters")
        return any(each["key"] == workflow_id for each in answer["items"])

    await until(kept, "the record is a dead letter")
    await page.goto(f"{stack.api_url}/#/system/dead-letters")
    letter = page.get_by_role("listitem").filter(has_text=workflow_id)
    await expect(letter).to_contain_text("workflow_id: is required")
    await letter.get_by_text("Value", exact=True).click()
    await expect(letter.locator("pre")).to_contain_text('"workflow"')
    await letter.get_by_role("button", name="Send again").click()
    dialog = page.get_by_role("dialog")
    value = dialog.get_by_role("textbox", name="Value")
    await value.fill("{ not json")
    await dialog.get_by_role("button", name="Send").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("This is not JSON")
    await value.fill(json.dumps({"workflow_id": workflow_id}))
    await dialog.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Sent again to workflow.execution")).to_be_visible()
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    row = page.locator("[data-execution]")
    await expect(row.get_by_text("Succeeded")).to_be_visible()
    await expect(row.get_by_text("By event")).to_be_visible()


async def test_the_audit_log_tells_who_changed_what(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await api.call("PUT", f"/workflows/{workflow_id}", {"trigger": {"type": "manual"}, "actions": [LOG], "retries": 7})
    await page.goto(f"{stack.api_url}/#/system/audit?path=/workflows/{workflow_id}")
    entry = page.get_by_role("listitem").filter(has_text="Changed a workflow")
    await expect(entry).to_contain_text("anonymous from 127.0.0.1")
    await entry.get_by_text("1 place changed").click()
    cells = entry.get_by_role("cell")
    await expect(cells).to_have_text(["retries", "3", "7"])
    await entry.get_by_role("link", name=workflow_id).click()
    await expect(page.get_by_text("7 retries")).to_be_visible()


async def test_a_secret_is_set_and_deleted_and_never_shown(page, stack, workflow_id):
    name = re.sub(r"\W", "_", workflow_id)[-60:].upper()
    await page.goto(f"{stack.api_url}/#/system/secrets")
    await page.get_by_role("button", name="New secret").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Name").fill(name)
    await dialog.get_by_role("textbox", name="Value").fill("hunter2-and-more")
    await dialog.get_by_role("button", name="Store").click()
    row = page.get_by_role("row").filter(has_text=name)
    await expect(row).to_contain_text("Stored here")
    await page.get_by_role("button", name="New secret").first.click()
    await dialog.get_by_role("button", name="Store").click()
    await expect(dialog.get_by_text("name is required")).to_be_visible()
    await dialog.get_by_role("textbox", name="Name").fill(name)
    await dialog.get_by_role("textbox", name="Value").fill("hunter3-and-more")
    await dialog.get_by_role("button", name="Store").click()
    await dialog.get_by_role("button", name="Keep it").click()
    await dialog.get_by_role("button", name="Cancel").click()
    assert "hunter2" not in await page.content()
    await row.get_by_role("button", name=f"Delete {name}").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)


async def test_a_variable_is_set_shown_and_given_another_value(page, stack, api, workflow_id):
    name = re.sub(r"\W", "_", workflow_id)[-60:].upper()
    await page.goto(f"{stack.api_url}/#/system/variables")
    await page.get_by_role("button", name="New variable").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("textbox", name="Name").fill(name)
    await dialog.get_by_role("textbox", name="Value").fill("https://staging.example.org")
    await dialog.get_by_role("button", name="Store").click()
    row = page.get_by_role("row").filter(has_text=name)
    await expect(row).to_contain_text("https://staging.example.org")
    await row.get_by_role("button", name=f"Give {name} a new value").click()
    value = dialog.get_by_role("textbox", name="Value")
    await expect(value).to_have_value("https://staging.example.org")
    await dialog.get_by_role("combobox", name="Kind").select_option("json")
    await dialog.get_by_role("button", name="Store").click()
    await expect(dialog.get_by_text("value is not JSON")).to_be_visible()
    await value.fill('{"rows": 9007199254740993}')
    await dialog.get_by_role("button", name="Store").click()
    await expect(row).to_contain_text('{"rows":9007199254740993}')
    _, stored = await api.call("GET", f"/vars/{name}")
    assert stored["value"] == {"rows": 9007199254740993}
    await row.get_by_role("button", name=f"Delete {name}").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(row).to_have_count(0)


async def test_a_lost_connection_is_told_calmly_and_comes_back(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [LOG])
    lost = re.compile("/v1/events/stream")
    await page.route(lost, lambda route: route.abort())
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await expect(page.get_by_text("Reconnecting")).to_be_visible()
    await expect(page.get_by_text("The service does not answer.")).to_be_visible()
    row = page.locator(f"[data-workflow='{workflow_id}']")
    await expect(row.get_by_text("Never ran")).to_be_visible()
    await api.finished(await api.trigger(workflow_id))
    await page.unroute(lost)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("The service does not answer.")).to_be_hidden()
    await expect(row.get_by_text("Succeeded")).to_be_visible()


async def test_a_question_is_gone_with_its_page(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows")
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.get_by_role("button", name="Archive").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("heading", level=1, name="Workflows")).to_be_visible()
    assert await api.status_of(workflow_id) == "idle"


async def test_the_link_to_the_content_leads_to_no_empty_page(page, stack):
    await page.goto(f"{stack.api_url}/#/executions")
    skip = page.get_by_role("link", name="Skip to content")
    await skip.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.reload()
    await expect(page.get_by_role("heading", level=1, name="Executions")).to_be_visible()
    await page.goto(f"{stack.api_url}/?again#main")
    await expect(page.get_by_role("heading", level=1, name="Workflows")).to_be_visible()


async def test_errors_say_what_to_do_next(refused_page, stack):
    await refused_page.goto(f"{stack.api_url}/#/workflows/nobody-knows-me")
    await expect(refused_page.get_by_role("alert")).to_contain_text("There is no workflow nobody-knows-me")
    await expect(refused_page.get_by_role("link", name="See all workflows")).to_be_visible()


async def test_addresses_that_lead_nowhere_lead_back(refused_page, stack):
    await refused_page.goto(f"{stack.api_url}/#/nowhere/at/all")
    await expect(refused_page.get_by_text("No view has this address")).to_be_visible()
    await refused_page.goto(f"{stack.api_url}/#/workflows/%E0%A4%A")
    await expect(refused_page.get_by_text("URIError")).to_be_hidden()
    await expect(refused_page.get_by_text("No view has this address")).to_be_visible()
    answer = await refused_page.goto(f"{stack.api_url}/nowhere")
    assert answer.status == 404
    await refused_page.get_by_role("link", name="See the workflows").click()
    await expect(refused_page.get_by_role("heading", level=1, name="Workflows")).to_be_visible()


@pytest.mark.parametrize(
    ("view", "path"),
    [
        ("system/secrets", "/v1/secrets"),
        ("system/variables", "/v1/vars"),
        ("system/tokens", "/v1/tokens"),
        ("system/dead-letters", "/v1/dead-letters"),
        ("system/audit", "/v1/audit"),
        ("new", "/v1/workflows/validate"),
    ],
)
async def test_what_could_not_be_reached_is_tried_again(refused_page, stack, view, path):
    page = refused_page
    away = re.compile(path)
    await page.route(away, lambda route: route.abort())
    await page.goto(f"{stack.api_url}/#/{view}")
    trouble = page.get_by_role("alert").filter(has_text="This page tries again by itself")
    await expect(trouble).to_be_visible()
    async with page.expect_request_finished(lambda request: path in request.url):
        await page.unroute(away)
    await expect(trouble).to_have_count(0)


async def test_however_often_one_tries_again_it_is_read_no_oftener_afterwards(refused_page, stack):
    page, path = refused_page, re.compile("/v1/system$")
    await page.add_init_script(COUNTED)
    await page.route(path, lambda route: route.abort())
    await page.goto(f"{stack.api_url}/#/system")
    again = page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    asked, answered, may_arrive = [], [], asyncio.Event()

    async def hold(route):
        asked.append(route)
        await may_arrive.wait()
        await route.continue_()

    await page.unroute(path)
    await page.route(path, hold)
    page.on("requestfinished", lambda request: answered.append(request) if path.search(request.url) else None)
    await again.click()
    await again.click()

    async def twice(seen=asked):
        return len(seen) >= 2

    await until(twice, "it is asked twice")
    may_arrive.set()
    await until(lambda: twice(answered), "it is answered twice")
    await expect(page.get_by_text("Reachable")).to_have_count(2)
    assert await page.evaluate("due.size") <= 1
