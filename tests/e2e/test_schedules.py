"""Periodic workflows keep their cadence."""

import itertools
from datetime import datetime, timedelta

import pytest

from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


async def test_a_periodic_workflow_fires_on_its_grid_without_drift_or_doubles(api, workflow_id):
    created = await api.create(
        workflow_id, [{"type": "log", "message": "tick"}], trigger={"type": "periodic", "interval": "1s"}
    )

    async def five():
        executions = [e for e in await api.executions(workflow_id) if e["status"] == "ok"]
        return executions if len(executions) >= 5 else None

    executions = await until(five, "five ticks have run")
    due = sorted(instant(execution["dueAt"]) for execution in executions)
    assert due[0] == instant(created["nextRun"])
    assert [later - earlier for earlier, later in itertools.pairwise(due)] == [timedelta(seconds=1)] * (len(due) - 1)
    late = [instant(e["startedAt"]) - instant(e["dueAt"]) for e in executions]
    assert all(timedelta(0) <= lateness for lateness in late), "no tick may start before it is due"
    status, _ = await api.call("DELETE", f"/workflows/{workflow_id}")
    assert status == 204


async def test_a_periodic_workflow_is_triggered_by_hand_only_where_it_allows_it(api, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "x"}], trigger={"type": "periodic", "interval": "1h"})
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger")
    assert status == 409
    assert "allowManual" in str(answer)
    status, _ = await api.call(
        "PUT",
        f"/workflows/{workflow_id}",
        {
            "trigger": {"type": "periodic", "interval": "1h", "allowManual": True},
            "actions": [{"type": "log", "message": "x"}],
        },
    )
    assert status == 200
    assert (await api.finished(await api.trigger(workflow_id)))["version"] == 2


async def test_an_archived_workflow_fires_no_more_and_keeps_its_history(api, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "x"}], trigger={"type": "periodic", "interval": "1s"})

    async def one():
        return [e for e in await api.executions(workflow_id) if e["status"] == "ok"]

    await until(one, "a tick has run")
    status, _ = await api.call("DELETE", f"/workflows/{workflow_id}")
    assert status == 204
    status, _ = await api.call("POST", f"/workflows/{workflow_id}/trigger")
    assert status == 404
    # What was being released at the moment of the deletion may still come; a second later nothing does.
    other = f"{workflow_id}-clock"
    await api.create(other, [{"type": "log", "message": "x"}], trigger={"type": "periodic", "interval": "1s"})
    before = None

    async def two_ticks_of_the_other():
        nonlocal before
        ticks = len([e for e in await api.executions(other) if e["status"] == "ok"])
        if ticks == 1 and before is None:
            before = len(await api.executions(workflow_id))
        return ticks >= 3

    await until(two_ticks_of_the_other, "the other one ticks three times")
    assert len(await api.executions(workflow_id)) == before
    await api.call("DELETE", f"/workflows/{other}")
