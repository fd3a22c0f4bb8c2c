"""What people do on the dashboard: create, run, watch, cancel, take up again, edit, go back."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import WAITED_5S, answered_late

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
# A listener of its own: the page has heard of the end as well when this one has, or is about to.
LISTEN = """(workflowId) => new Promise((listening) => {
  const source = new EventSource(`/v1/events/stream?workflowId=${workflowId}`);
  source.addEventListener("hello", listening);
  window.ended = new Promise((ended) => source.addEventListener("action-result", (event) => {
    if (JSON.parse(event.data).status !== "ok") return;
    source.close();
    ended();
  }));
})"""

# What the rows of a list of executions have been told to be, however shortly.
RECORD = """() => {
  window.told = new Set();
  const record = () => document.querySelectorAll("[data-execution] .badge").forEach((each) => told.add(each.textContent));
  new MutationObserver(record).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


def call(target, key, query=""):
    return {"type": "http-request", "actionId": "call", "method": "GET", "url": f"{target.url}/{key}{query}"}


async def execution_of(page):
    """Return the id of the execution that is shown."""
    await page.wait_for_url(re.compile(r"#/executions/[0-9a-f-]{36}"))
    return page.url.rsplit("/", 1)[1]


async def test_create_run_and_see_what_happened(page, stack, workflow_id):
    await page.goto(f"{stack.api_url}/")
    await page.get_by_role("link", name="New workflow").first.click()
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await editor.fill(
        f"workflowId: {workflow_id}\ntrigger: {{type: manual}}\nactions:\n  - {{type: log, message: from the browser}}\n"
    )
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Create").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(workflow_id)
    await expect(page.get_by_text("It has not run yet")).to_be_visible()
    await page.get_by_role("button", name="Run now").click()
    await execution_of(page)
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.get_by_text("from the browser")).to_be_visible()


async def test_a_retry_is_watched_while_it_happens(page, stack, api, target, workflow_id):
    await api.create(
        workflow_id, [LOG, call(target, workflow_id, "?fail=1")], backoff={"base": "5s", "cap": "5s", "jitter": "none"}
    )
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.get_by_role("button", name="Run now").click()
    await execution_of(page)
    await page.evaluate("window.notReloaded = true")
    await expect(page.get_by_text(re.compile("Next attempt in [1-5] s, 2 retries left"))).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Waiting")).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.get_by_text(WAITED_5S)).to_be_visible()
    await expect(page.get_by_role("heading", name="Attempt 2")).to_be_visible()
    assert await page.evaluate("window.notReloaded") is True


async def test_a_failed_execution_is_taken_up_where_it_failed(page, stack, api, target, workflow_id):
    first, second = f"{workflow_id}-1", f"{workflow_id}-2"
    await api.create(workflow_id, [{**call(target, first), "actionId": "first"}, call(target, second, "?fail=1")], retries=0)
    origin = await api.trigger(workflow_id)
    await api.finished(origin)
    await page.goto(f"{stack.api_url}/#/executions/{origin}")
    await expect(page.get_by_text("Why it failed")).to_be_visible()
    await page.get_by_role("button", name="Retry from the failed action").click()
    await page.wait_for_url(lambda url: "/executions/" in url and origin not in url)
    await expect(page.get_by_role("heading", name="Carried over")).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    assert (target.count(first), target.count(second)) == (1, 2)
    await api.finished(await execution_of(page))  # the page is told of it a moment before the place is free
    await page.get_by_role("button", name="Run again").click()
    await expect(page.get_by_role("heading", name="Carried over")).to_be_hidden()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    assert (target.count(first), target.count(second)) == (2, 3)


async def test_cancel(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [call(target, workflow_id, "?hold=1")])
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.locator(".head").get_by_text("Running")).to_be_visible()
    await page.get_by_role("button", name="Cancel").press("Enter")
    await page.get_by_role("button", name="Cancel the execution").press("Enter")
    await expect(page.locator(".head").get_by_text("Cancelled")).to_be_visible()
    await expect(page.locator(".wait", has_text="Cut off")).to_contain_text(
        re.compile("had been under way for .* It may have")
    )
    # The button is gone: whoever uses the keyboard goes on from beside it.
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    # Nothing of it has failed.
    await expect(page.get_by_role("button", name="Retry from where it stopped")).to_be_visible()
    assert (await api.execution(execution_id))["status"] == "cancelled"


async def test_what_is_cancelled_runs_its_finally_or_ends_now(page, stack, api, target, workflow_id):
    held = call(target, workflow_id, "?hold=1")
    alert = {"type": "log", "actionId": "alert", "message": "a"}
    await api.create(workflow_id, [held], onFailure=[alert], **{"finally": [{**held, "actionId": "tidy"}]})
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.locator(".head").get_by_text("Running")).to_be_visible()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_contain_text("nothing more is started, but for the steps of finally")
    await page.get_by_role("button", name="Cancel the execution").click()
    await expect(page.locator(".banner")).to_contain_text("tidy is running")
    await expect(page.locator(".banner")).to_contain_text("It is cancelled: the steps of finally run")
    await expect(page.locator(".wait", has_text="Cancelled")).to_contain_text("had been under way for")
    await expect(page.get_by_text("alert")).to_have_count(0)
    await page.get_by_role("button", name="End now").click()
    await page.get_by_role("dialog").get_by_role("button", name="End it now").click()
    await expect(page.locator(".head").get_by_text("Cancelled", exact=True)).to_be_visible()
    assert (await api.execution(execution_id))["reason"] == "cancelled by hand"
    target.release.set()


async def test_back_closes_a_question_and_leads_to_the_page_before(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await page.get_by_role("link", name=workflow_id).click()
    await page.get_by_role("button", name="Archive").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.go_back()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("heading", level=1, name="Workflows")).to_be_focused()


async def test_edit_compare_and_roll_back(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.get_by_role("link", name="Edit").click()
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(editor).to_have_value(re.compile("message: hello"))
    text = await editor.input_value()
    await editor.fill(text.replace("message: hello", "massage: hello"))
    await expect(page.get_by_role("button", name=re.compile("actions.0..massage"))).to_be_visible()
    await expect(page.get_by_role("button", name="Store as a new version")).to_be_disabled()
    await editor.fill(text.replace("message: hello", "message: changed"))
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await page.get_by_role("button", name="JSON").click()
    await expect(editor).to_have_value(re.compile('"message": "changed"'))
    await page.get_by_role("button", name="Store as a new version").click()
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Compare").click()
    await expect(page.get_by_role("region", name="Difference")).to_contain_text("message: changed")
    await page.get_by_role("button", name="Roll back").click()
    await page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    await expect(page.get_by_text("Version 3", exact=True)).to_be_visible()
    _, stored = await api.call("GET", f"/workflows/{workflow_id}")
    assert (stored["version"], stored["actions"][0]["message"]) == (3, "hello")


async def test_two_people_who_edit_lose_nothing(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}/edit")
    editor = page.get_by_role("textbox", name="Definition", exact=True)
    await expect(editor).to_have_value(re.compile("message: hello"))
    await editor.fill((await editor.input_value()).replace("hello", "mine"))
    await expect(page.get_by_text("Valid", exact=True)).to_be_visible()
    await editor.press("Control+s")
    await expect(page.get_by_text("Version 2", exact=True)).to_be_visible()


async def test_what_happens_while_a_list_is_read_is_in_it(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    is_read, may_arrive = await answered_late(page, "**/v1/executions?*")
    await page.get_by_label("Time", exact=True).select_option("Last day")
    await is_read.wait()
    await page.evaluate(LISTEN, workflow_id)
    execution_id = await api.trigger(workflow_id)
    await page.evaluate("window.ended")
    may_arrive.set()
    await expect(page.locator(f"[data-execution='{execution_id}']").get_by_text("Succeeded")).to_be_visible()


async def test_lists_show_what_happens_by_themselves(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    row = page.locator(f"[data-workflow='{workflow_id}']")
    await expect(row.get_by_text("Never ran")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await row.get_by_role("button", name="Run").click()
    await expect(row.get_by_text("Succeeded")).to_be_visible()
    await expect(row.get_by_role("img", name="Last 1: 1 succeeded")).to_be_visible()
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    await page.mouse.move(0, 0)  # under the pointer nothing is moved: new ones would wait behind a button
    await expect(page.locator("[data-execution]")).to_have_count(1)
    (first,) = await api.executions(workflow_id)
    await api.finished(first["executionId"])  # the page is told of it a moment before the place is free
    second = await api.trigger(workflow_id)
    await expect(page.locator(f"[data-execution='{second}']").get_by_text("Succeeded")).to_be_visible()
    await page.get_by_role("button", name="Failed").click()
    await expect(page.get_by_text("Nothing matches")).to_be_visible()


async def test_what_is_filtered_for_is_all_that_is_shown(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [call(target, workflow_id, "?hold=1")])
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}&status=running")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    rows = page.locator("[data-execution]")
    await page.evaluate(RECORD)
    await api.trigger(workflow_id)
    await expect(rows.get_by_text("Running")).to_be_visible()
    await page.mouse.move(0, 0)
    target.release.set()
    await expect(rows).to_have_count(0)
    assert await page.evaluate("[...told]") == ["Running"]
    await page.get_by_role("button", name="Queued or waiting").click()
    await page.wait_for_url(re.compile(r"status=running%2Cqueued%2Cpending$"))


async def older_is_slow(page, path):
    """Let the first page of a list lead to an older one, which is answered (with the same items) when it may be."""
    is_asked, may_arrive = asyncio.Event(), asyncio.Event()

    async def answer(route):
        is_older = "cursor=" in route.request.url
        if is_older:
            is_asked.set()
            await may_arrive.wait()
        url = re.sub("&cursor=[^&]*", "", route.request.url)
        response = await route.fetch(url=url)
        await route.fulfill(response=response, json={**await response.json(), "nextCursor": None if is_older else "older"})

    await page.route(re.compile(path), answer)
    return is_asked, may_arrive


@pytest.mark.parametrize("kind", ["executions", "workflows"])
async def test_what_was_asked_for_before_is_not_mixed_into_what_is_filtered_for(page, stack, api, workflow_id, kind):
    await api.create(workflow_id, [LOG])
    await api.finished(await api.trigger(workflow_id))
    is_asked, may_arrive = await older_is_slow(page, rf"/v1/{kind}\?")
    await page.goto(f"{stack.api_url}/#/{kind}?{'workflow' if kind == 'executions' else 'search'}={workflow_id}")
    await page.get_by_role("button", name=re.compile("Show (older|more)")).click()
    await is_asked.wait()
    if kind == "executions":
        await page.get_by_role("button", name="Failed").click()
    else:
        await page.get_by_role("searchbox").fill(f"{workflow_id}-not")
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    async with page.expect_response(re.compile("limit=")):
        may_arrive.set()
    await expect(page.get_by_text("Nothing matches")).to_be_visible()
    await expect(page.locator(".toast")).to_have_count(0)


async def test_what_happens_while_the_workflows_are_read_is_not_lost(page, stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    is_read, may_arrive = await answered_late(page, "**/v1/workflows?*")
    await page.get_by_role("searchbox").fill(workflow_id)
    await is_read.wait()
    await page.evaluate(LISTEN, workflow_id)
    await api.trigger(workflow_id)
    await page.evaluate("window.ended")
    may_arrive.set()
    await expect(page.locator(f"[data-workflow='{workflow_id}']").get_by_text("Succeeded")).to_be_visible()
