"""One execution on the dashboard: every kind of step, what was sent and answered, why it was tried again."""

import re
import signal

import pytest
from playwright.async_api import expect

from tests.dashboard.browser import TOLD, WAITED_1S, WAITED_5S, answered_late
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def log(name, message, **more):
    return {"type": "log", "actionId": name, "message": message, **more}


def call(name, target, key, query="", **more):
    return {"type": "http-request", "actionId": name, "method": "GET", "url": f"{target.url}/{key}{query}", **more}


def step(page, name):
    return page.locator(".step").filter(has=page.locator(".step-name", has_text=re.compile(f"^{name}"))).last


async def test_delays_skipped_steps_and_handlers_are_told_apart(page, stack, api, target, workflow_id):
    await api.create(
        workflow_id,
        [
            {"type": "delay", "actionId": "pause", "duration": "5s"},
            log("never", "no", **{"if": "false"}),
            call("optional", target, f"{workflow_id}-1", "?fail=9", continueOnError=True, retry={"attempts": 1}),
            call("needed", target, f"{workflow_id}-2", "?fail=9", retry={"attempts": 1}),
            log("unreached", "no"),
        ],
        onFailure=[log("alert", "told the pager")],
        **{"finally": [log("tidy", "tidied up")]},
    )
    # What is told within five seconds is looked for in a page that is there already.
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_text("It has not run yet")).to_be_visible()
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.get_by_text(re.compile("Goes on in [1-5] s")).first).to_be_visible()
    await expect(step(page, "unreached")).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Failed")).to_be_visible()
    await expect(page.get_by_text(WAITED_5S)).to_be_visible()
    await expect(page.get_by_text("as pause says")).to_be_visible()
    await expect(step(page, "never")).to_contain_text("Skipped")
    await expect(step(page, "optional")).to_contain_text("It went on all the same")
    await expect(step(page, "needed")).to_contain_text("answered 503")
    await expect(step(page, "unreached")).to_have_count(0)
    await expect(page.get_by_role("heading", name="On failure")).to_be_visible()
    await expect(step(page, "alert")).to_contain_text("told the pager")
    await expect(page.get_by_role("heading", name="Finally")).to_be_visible()
    await expect(step(page, "tidy")).to_contain_text("tidied up")
    await expect(page.get_by_text("Why it failed").locator("..")).to_contain_text("action needed failed")


async def test_what_was_sent_and_answered(page, stack, api, target, workflow_id):
    await api.create(
        workflow_id,
        [
            call("whole", target, workflow_id, headers={"X-Team": "billing"}, body="an order"),
            call("part", target, workflow_id, storeBody=5, body="half an order", storeRequestBody=4),
        ],
    )
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    whole, part = step(page, "whole"), step(page, "part")
    await whole.get_by_text("Request and response").click()
    await expect(whole.get_by_role("region", name="Request")).to_contain_text(f"GET {target.url}/{workflow_id}")
    await expect(whole.get_by_role("region", name="Request")).to_contain_text("X-Team")
    await expect(whole.get_by_role("region", name="Request")).to_contain_text("an order")
    answer = whole.get_by_role("region", name="Response")
    await expect(answer).to_contain_text("200")
    await expect(answer).to_contain_text("content-type")
    await expect(answer).to_contain_text(re.compile(r"In all\d+ ms"))
    await expect(answer).to_contain_text(f"hello {workflow_id}")
    await expect(answer.get_by_text("Truncated")).to_have_count(0)
    await part.get_by_text("Request and response").click()
    await expect(part.get_by_text(re.compile(r"Truncated: the first 5 B of \d+ B are kept"))).to_be_visible()
    await expect(part.get_by_text("Truncated: how the body of 13 B begins (storeRequestBody)")).to_be_visible()
    await expect(part.get_by_text("half", exact=True)).to_be_visible()


async def test_why_it_is_tried_again(page, stack, api, target, workflow_id):
    backoff = {"base": "1s", "factor": 2, "jitter": "none"}
    await api.create(workflow_id, [call("flaky", target, workflow_id, "?fail=2")], retries=4, backoff=backoff)
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.get_by_text("because flaky failed. Retry 1 of 4, after a wait of 1 s")).to_be_visible()
    await expect(page.get_by_text("because flaky failed. Retry 2 of 4, after a wait of 2 s")).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.get_by_text(re.compile("^1 action in .*, at attempt 3"))).to_be_visible()


async def test_what_interrupted_it(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [log("first", "hello"), call("held", target, workflow_id, "?hold=1")])
    execution_id = await api.trigger(workflow_id)

    async def held_up():
        return target.count(workflow_id) == 1 and len((await api.execution(execution_id))["executedActions"]) == 1

    await until(held_up, "the second action is under way and the first is recorded")
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    stack.children["runner"].kill(signal.SIGKILL)
    told = page.locator(".wait", has_text="Interrupted")
    await expect(told).to_contain_text(re.compile(r"Runner .* was lost. It went on [\d.]+ (ms|s) later"))
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.get_by_text(re.compile("^2 actions in .*, interrupted once"))).to_be_visible()
    await expect(told).to_have_count(1)
    await expect(page.locator("li", has=page.locator(".step-name", has_text="first")).locator(".wait")).to_have_count(1)
    await expect(page.get_by_role("img", name=re.compile("Timeline: .*Interrupted; it went on"))).to_be_visible()
    await stack.children["runner"].wait_ready()


@pytest.mark.parametrize("how", ["in a request", "in a second attempt", "in a delay"])
async def test_what_its_timeout_ended_and_what_ran_then(page, stack, api, target, workflow_id, how):
    late = {
        "in a request": call("late", target, workflow_id, "?hold=1"),
        "in a second attempt": call("late", target, workflow_id, "?fail=1&hold=1"),
        "in a delay": {"type": "delay", "actionId": "late", "duration": "1h"},
    }[how]
    await api.create(
        workflow_id,
        [log("first", "hello"), late, log("unreached", "no")],
        onFailure=[call("alert", target, f"{workflow_id}-alert", "?hold=1")],
        timeout="8s",
        backoff={"base": "1s", "jitter": "none"},
        **{"finally": [log("tidy", "tidied up")]},
    )
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(step(page, "alert")).to_contain_text("is running")
    await expect(step(page, "unreached")).to_have_count(0)
    await expect(step(page, "late")).to_contain_text("timed out after 8s")
    await page.reload()
    await expect(step(page, "alert")).to_contain_text("is running")
    await expect(step(page, "unreached")).to_have_count(0)
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Failed")).to_be_visible()
    await expect(step(page, "tidy")).to_contain_text("tidied up")
    await expect(step(page, "late")).to_contain_text("timed out after 8s")
    await expect(page.get_by_text("Why it failed").locator("..")).to_contain_text("action late failed: timed out after 8s")
    told = page.locator(".wait", has_text="Timed out")
    under_way = "The actions were ended" if how == "in a delay" else "The step had been under way for"
    await expect(told).to_contain_text(under_way)
    await expect(told).to_have_count(1)


async def test_a_step_with_attempts_of_its_own_leaves_the_retries_of_the_execution_alone(
    page, stack, api, target, workflow_id
):
    flaky = {**call("flaky", target, workflow_id, "?fail=9"), "retry": {"attempts": 2, "initial": "1h", "cap": "1h"}}
    await api.create(workflow_id, [flaky], retries=0)
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    banner = page.locator(".banner strong")
    await expect(banner).to_have_text(re.compile("^Next attempt in [^,]*$"))


async def test_a_wait_is_told_while_nothing_has_ended_since(page, stack, api, target, workflow_id):
    backoff = {"base": "1s", "jitter": "none"}
    await api.create(workflow_id, [call("flaky", target, workflow_id, "?fail=1&hold=1")], backoff=backoff)
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    for _ in ("live", "read anew"):
        await expect(page.get_by_role("heading", name="Attempt 2")).to_be_visible()
        await expect(page.get_by_text(WAITED_1S)).to_be_visible()
        await expect(page.get_by_text("because flaky failed. Retry 1 of 3")).to_be_visible()
        await expect(step(page, "flaky")).to_contain_text("is running")
        bar = page.get_by_role("img", name=re.compile(rf"flaky, attempt 1: .*; {WAITED_1S.pattern}; Running"))
        await expect(bar).to_be_visible()
        await page.reload()
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    await expect(page.get_by_text(WAITED_1S)).to_have_count(1)


async def test_a_delay_is_told_while_nothing_has_ended_since(page, stack, api, target, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "delay", "actionId": "pause", "duration": "1s"}, call("held", target, workflow_id, "?hold=1")],
    )
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(step(page, "held")).to_contain_text("is running")
    await expect(page.get_by_text("as pause says")).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile(f"{WAITED_1S.pattern}; Running"))).to_be_visible()
    await expect(page.get_by_role("heading", name="Attempt")).to_have_count(1)
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()


async def test_nothing_moves_while_it_goes_on(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [log("begin", "x"), call("held", target, workflow_id, "?hold=1")])
    execution_id = await api.trigger(workflow_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(step(page, "held")).to_contain_text("is running")
    places = "[...document.querySelectorAll('.head, .banner, .facts, #timeline')].map((each) => each.offsetTop)"
    before = await page.evaluate(places)
    await page.get_by_role("button", name="Cancel").focus()
    target.release.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    assert await page.evaluate(places) == before


async def test_a_long_log_has_a_height_of_its_own_and_the_page_stays_quick(page, stack, api, workflow_id):
    lines = "\n".join(f"{number}" for number in range(2000))
    await api.create(workflow_id, [log("many", lines)])
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    shown = page.get_by_role("region", name="Log of many")
    await expect(page.get_by_text("2,000 lines")).to_be_visible()
    assert (await shown.bounding_box())["height"] <= 301
    await shown.focus()
    await page.keyboard.press("End")

    async def is_at_the_end():
        return await shown.evaluate("(log) => log.scrollTop + log.clientHeight >= log.scrollHeight - 2")

    await until(is_at_the_end, "the log is scrolled by the keyboard")


async def test_what_was_skipped_is_not_counted_as_run(page, stack, api, workflow_id):
    await api.create(workflow_id, [log("one", "x"), log("never", "no", **{"if": "false"})])
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.get_by_text(re.compile("^1 action in"))).to_be_visible()


async def test_of_an_archived_workflow_nothing_is_offered(refused_page, stack, api, workflow_id):
    page = refused_page
    await api.create(workflow_id, [log("one", "x")])
    execution_id = await api.trigger(workflow_id)
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(page.get_by_role("button", name="Run again")).to_be_visible()
    await api.call("DELETE", f"/workflows/{workflow_id}")
    await page.reload()
    await expect(page.get_by_text("Its workflow is archived")).to_be_visible()
    await expect(page.get_by_role("button", name="Run again")).to_have_count(0)
    await expect(page.get_by_role("heading", level=1).get_by_role("link")).to_have_count(0)


async def test_numbers_are_shown_as_they_are_stored(page, stack, api, workflow_id):
    values = {"whole": 9007199254740993, "part": 1.0}
    await api.create(workflow_id, [{"type": "set", "actionId": "keep", "values": values}])
    _, started = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"input": values})
    execution_id = started["executionId"]
    await api.finished(execution_id)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await page.locator("summary", has_text="Input").click()
    await step(page, "keep").get_by_text("Output").click()
    for shown in (page.get_by_role("region", name="Input"), step(page, "keep")):
        await expect(shown).to_contain_text("9007199254740993")
        await expect(shown).to_contain_text(re.compile(r'"part": 1\.0'))
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await expect(page.get_by_role("region", name="Definition in YAML")).to_contain_text("whole: 9007199254740993")


async def test_what_was_triggered_and_by_what(page, stack, api, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [log("hello", "hello")], overlap={"policy": "queue", "max": 50})
    each = {"type": "trigger-workflow", "actionId": "each", "workflowId": child, "forEach": "{{ range(25) | list }}"}
    await api.create(workflow_id, [each])
    execution_id = await api.trigger(workflow_id)
    ids = (await api.finished(execution_id))["executedActions"][0]["output"]["executionIds"]
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await expect(step(page, "each").locator(".children a")).to_have_count(21)
    await expect(step(page, "each").get_by_role("link", name="and 5 others")).to_have_attribute(
        "href", f"#/executions?workflow={child}"
    )
    await step(page, "each").get_by_role("link", name=ids[0][-8:]).click()
    await page.wait_for_url(lambda url: url.endswith(ids[0]))
    by = page.locator("dt", has_text="Triggered by").locator("..")
    await expect(by).to_contain_text(f"each of {workflow_id}")
    await expect(page.locator("dt", has_text="Cause").locator("..")).to_contain_text("By workflow")
    await by.get_by_role("link").click()
    await page.wait_for_url(lambda url: url.endswith(execution_id))
    await expect(page.get_by_role("heading", name=workflow_id)).to_be_visible()


async def held_and_read_late(page, stack, api, target, workflow_id):
    """Show an execution while it runs, and let it end before the answer arrives; return it, and what lets that arrive."""
    await api.create(workflow_id, [call("held", target, workflow_id, "?hold=1")])
    execution_id = await api.trigger(workflow_id)

    async def runs():
        return (await api.execution(execution_id))["status"] == "running"

    await until(runs, "it is known to run")
    await page.add_init_script(TOLD)
    is_read, may_arrive = await answered_late(page, f"**/v1/executions/{execution_id}", times=1)
    await page.goto(f"{stack.api_url}/#/executions/{execution_id}")
    await is_read.wait()
    target.release.set()
    return await api.finished(execution_id), may_arrive


async def test_what_is_told_while_it_is_first_read_is_not_lost(page, stack, api, target, workflow_id):
    ended, may_arrive = await held_and_read_late(page, stack, api, target, workflow_id)
    told = {"executionId": ended["executionId"], "workflowId": workflow_id, "attempt": 1}
    (outcome,) = ended["executedActions"]
    await page.evaluate("(told) => tell('action-result', told)", {**told, "status": "ok", "action": outcome})
    may_arrive.set()
    await expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()


async def test_what_was_read_before_the_end_and_comes_after_it_is_not_shown(page, stack, api, target, workflow_id):
    ended, may_arrive = await held_and_read_late(page, stack, api, target, workflow_id)
    await page.evaluate("tell('hello', null)")
    status = page.locator(".head").get_by_role("status")
    await expect(status).to_have_text("Succeeded")
    async with page.expect_response(f"**/v1/executions/{ended['executionId']}") as answered:
        may_arrive.set()
    await (await answered.value).finished()
    await page.evaluate("fetch('/session').then((answer) => answer.text())")  # by then the page has it, too
    await expect(status).to_have_text("Succeeded")
