"""What runs next over all workflows."""

import pytest
from playwright.async_api import expect

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
CRON = {"type": "cron", "expression": "0 0 1 1 *"}


async def test_what_runs_next_is_listed_soonest_first_and_follows_what_happens(page, stack, api, workflow_id):
    often, rarely, by_hand = (f"{workflow_id}-{name}" for name in ("often", "rarely", "by-hand"))
    await api.create(rarely, [LOG], trigger=CRON)
    await api.create(often, [LOG], trigger={"type": "periodic", "interval": "2s"})
    await api.create(by_hand, [LOG])
    await page.goto(f"{stack.api_url}/#/workflows")
    await page.get_by_role("link", name="Upcoming").click()
    rows = page.locator("[data-workflow]")
    first = page.locator(f"[data-workflow='{often}']")
    await expect(first).to_contain_text("Every 2 s")
    shown = await rows.evaluate_all("(rows) => rows.map((each) => each.dataset.workflow)")
    assert shown.index(often) < shown.index(rarely)
    assert by_hand not in shown
    due = await first.locator("time").first.get_attribute("datetime")
    await expect(first.locator(f"time[datetime='{due}']")).to_have_count(0)
    await expect(first).to_be_visible()
    assert (await api.call("POST", f"/workflows/{rarely}/pause"))[0] == 200
    await expect(page.locator(f"[data-workflow='{rarely}']")).to_have_count(0)
    await api.call("POST", f"/workflows/{often}/pause")
