"""One workflow on the dashboard: its ticks, what it is run with, and its editor."""

import re
from datetime import datetime, timedelta, timezone

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import TOLD, answered_late
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
EXACT = 9007199254740993  # JavaScript would make it end in 2
SCHEMA = {
    "type": "object",
    "required": ["email", "plan"],
    "additionalProperties": False,
    "properties": {
        "email": {"type": "string", "title": "Address", "pattern": "@"},
        "plan": {"enum": ["free", "team"], "default": "team"},
        "seats": {"type": "integer", "minimum": 1, "default": 5},
        "news": {"type": "boolean", "default": True},
        "tags": {"type": "array", "items": {"type": "string"}},
        "office": {"type": "object", "properties": {"city": {"$ref": "#/$defs/city"}}},
        "rest": {"oneOf": [{"type": "object"}, {"type": "null"}]},
    },
    "$defs": {"city": {"type": "string", "minLength": 2}},
}

# For as long as the test wants it is told that something was copied.
HELD = """
window.held = [];
const { setTimeout: later } = window;
window.setTimeout = (work, ms, ...rest) => (ms === 1600 ? held.push(work) : later(work, ms, ...rest));
"""


async def test_what_it_is_for_is_told_wherever_it_is_shown(page, stack, api, workflow_id):
    what = "Sends <b>orders</b> to those who pack them.\nAsk packing@example.org."
    await api.create(workflow_id, [LOG], description=what)
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    row = page.locator(f'[data-workflow="{workflow_id}"]')
    await expect(row.get_by_title(what)).to_be_visible()
    await row.get_by_role("link", name=workflow_id).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    await expect(page.locator("main").get_by_text(what).first).to_be_visible()


async def test_what_became_of_each_tick(page, stack, api, target, workflow_id):
    call = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?hold=first"}
    await api.create(workflow_id, [call], trigger={"type": "periodic", "interval": "1s"})

    async def skipped():
        _, answer = await api.call("GET", f"/workflows/{workflow_id}/occurrences")
        return len(answer["items"]) > 1 and [each for each in answer["items"] if each["disposition"] == "skipped"]

    (found, *_) = await until(skipped, "a tick is skipped")
    target.release.set()
    await api.finished(found["openExecutionId"])
    await api.call("POST", f"/workflows/{workflow_id}/pause")
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    rows = page.get_by_role("list", name="Occurrences").get_by_role("listitem")
    skip = rows.filter(has_text="Skipped")
    await expect(skip).to_contain_text(re.compile(r"\d+ ticks?, because …[0-9a-f]{8} was still open"))
    await expect(rows.filter(has_text="Fired").last).to_contain_text(re.compile(r"succeeded.*\d+ m?s late"))
    await skip.get_by_role("link").click()
    await expect(page.get_by_text("begun")).to_be_visible()
    await expect(page.get_by_text(found["openExecutionId"])).to_be_visible()


async def test_what_becomes_of_a_tick_is_told_while_it_happens(page, stack, api, target, workflow_id):
    call = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?hold=1"}
    due = datetime.now(timezone.utc) + timedelta(seconds=6)
    await api.create(workflow_id, [LOG, call], trigger={"type": "once", "at": due.isoformat()})
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    row = page.get_by_role("list", name="Occurrences").get_by_role("listitem")
    await expect(row).to_contain_text(re.compile(r"Fired.*(running|queued)"))
    target.release.set()
    await expect(row).to_contain_text(re.compile(r"succeeded.*\d+ m?s late"))


@pytest.mark.parametrize("when", ["while the ticks are read", "while nobody listens"])
async def test_the_end_of_a_tick_is_shown_though_it_comes(page, stack, api, target, workflow_id, when):
    call = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?hold=1"}
    due = datetime.now(timezone.utc) + timedelta(seconds=6)
    await api.create(workflow_id, [call], trigger={"type": "once", "at": due.isoformat()})

    async def runs():
        found = await api.executions(workflow_id)
        return found and found[0]["status"] == "running" and found[0]

    execution = await until(runs, "the tick is known to run")
    await page.add_init_script(TOLD)
    is_read, may_arrive = await answered_late(page, "**/occurrences?*", times=1)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await is_read.wait()
    row = page.get_by_role("list", name="Occurrences").get_by_role("listitem")
    if when == "while nobody listens":
        may_arrive.set()
        await expect(row).to_contain_text("running")
    target.release.set()
    ended = await api.finished(execution["executionId"])
    if when == "while nobody listens":
        await page.evaluate("tell('gap', null)")
    else:
        told = {"executionId": ended["executionId"], "workflowId": workflow_id, "attempt": 1, "status": "ok"}
        await page.evaluate("(told) => tell('action-result', told)", told)
        may_arrive.set()
    await expect(row).to_contain_text("succeeded")


async def test_a_workflow_is_run_with_fields_made_of_its_schema(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [{"type": "log", "message": "{{ input.email }} {{ input.tags }}"}], inputSchema=SCHEMA)
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await page.get_by_role("button", name=f"Run {workflow_id}").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("textbox", name="Address")).to_be_focused()
    await expect(dialog.get_by_role("combobox", name="plan")).to_have_value("1")
    await expect(dialog.get_by_role("spinbutton", name="seats")).to_have_value("5")
    await expect(dialog.get_by_role("checkbox", name="news")).to_be_checked()
    run = dialog.get_by_role("button", name="Run", exact=True)
    await run.click()
    address = dialog.get_by_role("textbox", name="Address")
    await expect(dialog.get_by_text("must be given", exact=True)).to_be_visible()
    await expect(address).to_be_focused()
    await address.fill("nobody")
    await dialog.get_by_role("textbox", name="city").fill("X")
    await run.click()
    await expect(dialog.get_by_text(re.compile('"nobody" does not match'))).to_be_visible()
    await expect(dialog.get_by_text(re.compile('"X" is shorter'))).to_be_visible()
    await address.fill("ada@example.org")
    await dialog.get_by_role("textbox", name="city").fill("Rome")
    await dialog.get_by_role("textbox", name="tags").fill("one\ntwo")
    await dialog.get_by_role("button", name="As JSON").click()
    written = dialog.get_by_role("textbox", name="Input as JSON")
    await expect(written).to_have_value(re.compile(r'"tags": \[\s+"one",\s+"two"\s+\]'))
    await written.fill((await written.input_value()).replace('"seats": 5', '"seats": 6'))
    await dialog.get_by_role("button", name="As fields").click()
    await expect(dialog.get_by_role("spinbutton", name="seats")).to_have_value("6")
    await run.click()
    await page.wait_for_url(re.compile(r"#/executions/[0-9a-f-]{36}"))
    execution = await api.finished(page.url.rsplit("/", 1)[1])
    assert execution["input"] == {
        "email": "ada@example.org",
        "plan": "team",
        "seats": 6,
        "news": True,
        "tags": ["one", "two"],
        "office": {"city": "Rome"},
    }
    await page.locator("summary", has_text="Input").click()
    await expect(page.get_by_role("region", name="Input")).to_contain_text("ada@example.org")


async def run_form(page, stack, workflow_id):
    """Open the form that a workflow is run with, and return it."""
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.get_by_role("button", name="Run", exact=False).first.click()
    return page.get_by_role("dialog")


async def test_what_is_run_again_because_no_answer_came_runs_once(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [LOG], inputSchema={"type": "object", "properties": {"n": {"type": "integer"}}})
    dialog = await run_form(page, stack, workflow_id)
    await dialog.get_by_role("spinbutton", name="n").fill("1")

    async def lose_the_answer(route):
        await route.fetch()
        await route.abort()

    await page.route("**/trigger", lose_the_answer, times=1)
    run = dialog.get_by_role("button", name="Run", exact=True)
    await run.click()
    await expect(dialog.get_by_text("cannot be reached")).to_be_visible()
    (first,) = await api.executions(workflow_id)
    await api.finished(first["executionId"])
    await run.click()
    await page.wait_for_url(re.compile(f"#/executions/{first['executionId']}"))
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    dialog = await run_form(page, stack, workflow_id)
    await dialog.get_by_role("spinbutton", name="n").fill("1")
    await dialog.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url(re.compile(f"#/executions/(?!{first['executionId']})"))
    assert len(await api.executions(workflow_id)) == 2


async def test_what_the_browser_cannot_read_is_told_at_its_field(page, stack, api, workflow_id):
    schema = {"type": "object", "properties": {"n": {"type": "number"}, "day": {"type": "string", "format": "date"}}}
    await api.create(workflow_id, [LOG], inputSchema=schema)
    dialog = await run_form(page, stack, workflow_id)
    await dialog.get_by_role("spinbutton", name="n").press_sequentially("5e")
    await dialog.get_by_label("day").press_sequentially("0131")
    await dialog.get_by_role("button", name="Run", exact=True).click()
    await expect(dialog.get_by_text("n is not a number")).to_be_visible()
    await expect(dialog.get_by_text("day is incomplete")).to_be_visible()
    assert await api.executions(workflow_id) == []


async def test_json_that_has_no_fields_is_kept(page, stack, api, workflow_id):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "mail": {"type": ["string", "null"]}}}
    await api.create(workflow_id, [LOG], inputSchema=schema)
    dialog = await run_form(page, stack, workflow_id)
    await dialog.get_by_role("button", name="As JSON").click()
    written = dialog.get_by_role("textbox", name="Input as JSON")
    as_fields = dialog.get_by_role("button", name="As fields")
    await written.fill('{"n": 1')
    await as_fields.click()
    await expect(dialog.get_by_role("alert").filter(has_text="This is not JSON")).to_be_visible()
    await written.fill('{"n": 1, "mail": null}')
    await as_fields.click()
    await expect(dialog.get_by_text("What is written for mail cannot be shown in a field")).to_be_visible()
    await written.fill(f'{{"n": {EXACT}, "more": [{EXACT}, 1.0]}}')
    await as_fields.click()
    await expect(dialog.get_by_role("spinbutton", name="n")).to_have_value(str(EXACT))
    await dialog.get_by_role("button", name="Run", exact=True).click()
    await page.wait_for_url(re.compile(r"#/executions/[0-9a-f-]{36}"))
    execution = await api.finished(page.url.rsplit("/", 1)[1])
    assert repr(execution["input"]) == repr({"n": EXACT, "more": [EXACT, 1.0]})


async def test_whoever_types_is_not_disturbed_by_what_is_checked_meanwhile(page, stack, workflow_id):
    await page.goto(f"{stack.api_url}/#/new")
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await editor.click()
    await page.keyboard.press("Control+a")
    await page.keyboard.type(f"workflowId: {workflow_id}\ntrigger: {{type: periodic, interval: 5m}}\nactions:\n", delay=0)
    await expect(page.get_by_text("thing to mend")).to_be_visible()
    await expect(editor).to_be_focused()
    await page.keyboard.type("  - {type: log, message: hello}\n", delay=0)
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await expect(editor).to_be_focused()
    # When it would run is told before it is stored.
    await expect(page.get_by_role("heading", name="It would run")).to_be_visible()
    await expect(page.get_by_text(re.compile("^in (4 min|5 min)")).first).to_be_visible()
    # A wrong click loses nothing.
    await page.get_by_role("link", name="Executions").click()
    await expect(page.get_by_role("heading", level=1, name="Executions")).to_be_visible()
    await page.go_back()
    await expect(editor).to_have_value(re.compile(workflow_id))
    await page.get_by_role("button", name="throw it away").click()
    await expect(editor).to_have_value(re.compile("workflowId: hello"))


async def test_a_definition_is_shown_as_it_would_be_written(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], retries=2)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_role("region", name="Definition in YAML")).to_have_text(
        f"workflowId: {workflow_id}\ntrigger:\n  type: manual\nactions:\n  - actionId: log-1\n    type: log\n"
        "    message: hello\nretries: 2"
    )
    await expect(page.get_by_text("2 retries after at most 1 s, 2 s")).to_be_visible()


async def test_an_interval_of_days_is_told(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], trigger={"type": "periodic", "interval": "2d"})
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await expect(page.get_by_text("Every 2 d")).to_be_visible()


async def test_what_a_definition_says_of_time_is_told_to_the_second(page, stack, api, workflow_id):
    backoff = {"base": "36h", "cap": "60h", "jitter": "none"}
    await api.create(workflow_id, [LOG], trigger={"type": "periodic", "interval": "90061s"}, retries=2, backoff=backoff)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text("Every 1 d 1 h 1 min 1 s")).to_be_visible()
    await expect(page.get_by_text("2 retries after at most 1 d 12 h, 2 d 12 h")).to_be_visible()


async def test_a_comparison_stays_what_it_is_when_a_version_comes(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    replaced = {"trigger": {"type": "manual"}, "actions": [LOG]}
    await api.call("PUT", f"/workflows/{workflow_id}", {**replaced, "retries": 7})
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("heading", name="From version 1 to 2")).to_be_visible()
    await api.call("PUT", f"/workflows/{workflow_id}", {**replaced, "retries": 8})
    await expect(page.get_by_text("Version 3", exact=True)).to_be_visible()
    await expect(page.get_by_role("heading", name="From version 1 to 2")).to_be_visible()
    await expect(page.get_by_role("region", name="Difference")).to_contain_text("retries: 7")


async def test_a_page_that_is_read_again_does_not_ask_to_run_again(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], inputSchema=SCHEMA)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}?run=yes")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.reload()
    await expect(page.get_by_role("button", name="Run…")).to_be_visible()
    await expect(page.get_by_role("region", name="Definition in YAML")).to_be_visible()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert page.url.endswith(f"#/workflows/{workflow_id}")


async def test_ticks_that_were_made_up_for_are_not_told_as_late(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], trigger={"type": "cron", "expression": "0 * * * *"})
    until_now = datetime.now(timezone.utc)
    asked = {"from": (until_now - timedelta(hours=3)).isoformat(), "to": until_now.isoformat(), "dryRun": False}
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/backfill", asked)
    assert status < 300, answer

    async def ran():
        found = await api.executions(workflow_id)
        return found and all(each["status"] == "ok" for each in found) and found

    (*_, found) = await until(ran, "a tick is made up for")
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    tick = page.get_by_role("list", name="Occurrences").get_by_role("listitem").last
    await expect(tick).to_contain_text("Backfilled")
    await expect(tick).not_to_contain_text("late")
    await page.goto(f"{stack.api_url}/#/executions/{found['executionId']}")
    await expect(page.get_by_text("made up for")).to_be_visible()
    await expect(page.get_by_text("begun")).to_have_count(0)
    await page.goto(f"{stack.api_url}/#/system/audit?path=/workflows/{workflow_id}/backfill")
    await expect(page.get_by_role("listitem").get_by_text("Backfilled a workflow")).to_be_visible()


async def test_the_address_of_a_webhook_can_be_read_where_nothing_can_be_copied(page, stack, api, workflow_id):
    await api.call("PUT", "/secrets/hook", {"value": "a secret of a sender"})
    await api.create(workflow_id, [LOG], webhook={"type": "token", "tokenSecret": "hook", "header": "X-Token"})
    # As on a page that came over plain HTTP from another machine.
    await page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    await page.set_viewport_size({"width": 360, "height": 640})
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text(f"{stack.api_url}/v1/workflows/{workflow_id}/webhook", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Copy address")).to_have_count(0)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_a_webhook_is_shown_with_its_address(page, stack, api, workflow_id):
    await api.call("PUT", "/secrets/hook", {"value": "a secret of a sender"})
    await api.create(workflow_id, [LOG], webhook={"type": "token", "tokenSecret": "hook", "header": "X-Token"})
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text("also by webhook")).to_be_visible()
    await page.get_by_role("button", name="Copy address").click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == f"{stack.api_url}/v1/workflows/{workflow_id}/webhook"


async def test_the_topic_whose_records_start_a_workflow_is_shown(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], kafka={"topic": "orders-of-nobody"})
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text("also by each record of topic orders-of-nobody")).to_be_visible()
    await page.goto("about:blank")  # on a slow machine it still reads what is gone after this
    await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_what_was_read_before_an_end_and_comes_after_it_is_not_shown(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [{"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?hold=1"}])
    await page.add_init_script(TOLD)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    status = page.locator(".head").get_by_role("status")
    await expect(status).to_have_text("Idle")
    execution_id = await api.trigger(workflow_id)

    async def runs():
        return await api.status_of(workflow_id) == "busy"

    await until(runs, "it is known to run")
    await page.evaluate("tell('gap', null)")
    await expect(status).to_have_text("Running")
    is_read, may_arrive = await answered_late(page, f"**/v1/workflows/{workflow_id}", times=1)
    await page.evaluate("tell('gap', null)")
    await is_read.wait()
    target.release.set()
    await api.finished(execution_id)
    await page.evaluate("tell('gap', null)")
    await expect(status).to_have_text("Idle")
    async with page.expect_response(f"**/v1/workflows/{workflow_id}") as answered:
        may_arrive.set()
    await (await answered.value).finished()
    await page.evaluate("fetch('/session').then((answer) => answer.text())")  # by then the page has it, too
    await expect(status).to_have_text("Idle")


async def test_that_it_was_copied_is_told_though_the_page_is_drawn_anew_meanwhile(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG], trigger={"type": "periodic", "interval": "1h"})
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.add_init_script(TOLD)
    await page.add_init_script(HELD)
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    copy = page.get_by_role("button", name="Copy", exact=True)
    await copy.click()
    copied = page.get_by_role("button", name="Copied")
    await expect(copied).to_be_visible()
    assert (await api.call("POST", f"/workflows/{workflow_id}/pause"))[0] == 200
    await page.evaluate("tell('gap', null)")
    await expect(page.get_by_role("status").get_by_text("Paused")).to_be_visible()
    await expect(copied).to_be_visible()
    await page.evaluate("held.forEach((work) => work())")
    await expect(copy).to_be_visible()
