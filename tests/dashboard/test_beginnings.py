"""That a runner has begun is told by no event: the dashboard looks, and shows it while the first action still runs."""

import asyncio
import re
from datetime import datetime, timedelta, timezone

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
LOOK = re.compile(r"/v1/executions\?status=running")


def held(target, key):
    return {"type": "http-request", "method": "GET", "url": f"{target.url}/{key}?hold=1"}


async def test_one_look_tells_of_all_workflows_that_are_awaited_that_they_run(page, stack, api, target, workflow_id):
    quick, *slow = f"{workflow_id}-0", f"{workflow_id}-1", f"{workflow_id}-2"
    await api.create(quick, [LOG])
    for each in slow:
        await api.create(each, [held(target, each)])
    await page.goto(f"{stack.api_url}/#/workflows?search={workflow_id}")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await api.trigger(quick)
    # By then what is looked for when the page is opened has been looked for.
    await expect(page.locator(f"[data-workflow='{quick}']").get_by_text(re.compile("[3-9] s ago"))).to_be_visible()
    looks, may_look = [], asyncio.Event()

    async def hold(route):
        looks.append(route.request.url)
        await may_look.wait()
        await route.continue_()

    await page.route(LOOK, hold)
    started = [await api.trigger(each) for each in slow]
    rows = [page.locator(f"[data-workflow='{each}']") for each in slow]
    for row, execution_id in zip(rows, started, strict=True):
        await expect(row.get_by_text("Queued")).to_be_visible()

        async def runs(execution_id=execution_id):
            return (await api.execution(execution_id))["status"] == "running"

        await until(runs, "it runs")
    may_look.set()
    for row in rows:
        await expect(row.get_by_text("Running")).to_be_visible()
    assert len(looks) == 1
    target.release.set()
    for row in rows:
        await expect(row.get_by_text("Succeeded")).to_be_visible()


async def test_a_list_of_executions_tells_what_runs_and_for_how_long(page, stack, api, target, workflow_id):
    await api.create(workflow_id, [held(target, workflow_id)])
    await page.goto(f"{stack.api_url}/#/executions?workflow={workflow_id}")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    row = page.locator(f"[data-execution='{await api.trigger(workflow_id)}']")
    await expect(row.get_by_text("Running")).to_be_visible()
    await expect(row.locator(".cell-took")).to_have_text(re.compile(r"\d+ s"))


async def test_a_workflow_its_execution_and_its_tick_are_told_to_run(page, stack, api, target, workflow_id):
    due = datetime.now(timezone.utc) + timedelta(seconds=6)
    await api.create(workflow_id, [held(target, workflow_id)], trigger={"type": "once", "at": due.isoformat()})
    await page.goto(f"{stack.api_url}/#/workflows/{workflow_id}")
    await page.mouse.move(0, 0)
    await expect(page.locator("[data-execution]").get_by_text("Running")).to_be_visible()
    await expect(page.get_by_role("status").get_by_text("Running")).to_be_visible()
    tick = page.get_by_role("list", name="Occurrences").get_by_role("listitem")
    await expect(tick).to_contain_text(re.compile(r"running.*late"))
