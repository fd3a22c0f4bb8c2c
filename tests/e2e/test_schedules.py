"""Periodic workflows keep their cadence."""

import asyncio
import itertools
import signal
from datetime import datetime, timedelta, timezone

import pytest

from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


def instant(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


async def test_a_periodic_workflow_fires_on_its_grid_without_drift_or_doubles(api, workflow_id):
    created = await api.create(
        workflow_id, [{"type": "log", "message": "tick"}],
        # On a machine that is busy for seconds a tick would be skipped, or missed.
        trigger={"type": "periodic", "interval": "1s", "misfire": {"policy": "all", "max": 1000}},
        overlap={"policy": "queue", "max": 100},
    )  # fmt: skip

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
        if ticks >= 1 and before is None:
            before = len(await api.executions(workflow_id))
        return ticks >= 3

    await until(two_ticks_of_the_other, "the other one ticks three times")
    assert len(await api.executions(workflow_id)) == before
    await api.call("DELETE", f"/workflows/{other}")


def dues(occurrences, disposition):
    """The due instants of each occurrence of one disposition, oldest first; of a range its first and last."""
    found = [each for each in occurrences if each["disposition"] == disposition]
    return sorted((instant(each["dueAt"]), instant(each.get("until", each["dueAt"]))) for each in found)


async def occurrences_of(api, workflow_id):
    status, answer = await api.call("GET", f"/workflows/{workflow_id}/occurrences?limit=500")
    assert status == 200, answer
    return answer["items"]


def assert_every_tick_is_told_once(occurrences):
    ranges = sorted(
        (instant(each["dueAt"]), instant(each.get("until", each["dueAt"])), each.get("ticks", 1)) for each in occurrences
    )
    for first, last, ticks in ranges:
        assert last - first == timedelta(seconds=ticks - 1)
    for (_, last, _), (first, _, _) in itertools.pairwise(ranges):
        assert first - last == timedelta(seconds=1), "each second has one disposition"


async def test_once_runs_at_its_instant_and_never_again(api, workflow_id):
    due = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=6)
    await api.create(workflow_id, [{"type": "log", "message": "x"}], trigger={"type": "once", "at": due.isoformat()})

    async def ran():
        return [e for e in await api.executions(workflow_id) if e["status"] == "ok"]

    (execution,) = await until(ran, "it has run")
    assert instant(execution["dueAt"]) == due <= instant(execution["startedAt"])
    status, workflow = await api.call("GET", f"/workflows/{workflow_id}")
    assert (status, workflow["nextRun"]) == (200, None)


async def test_a_cron_workflow_is_shown_in_its_zone(api, workflow_id):
    created = await api.create(
        workflow_id,
        [{"type": "log", "message": "x"}],
        trigger={"type": "cron", "expression": "* * * * *", "timezone": "Asia/Kathmandu"},
    )
    _, preview = await api.call("GET", f"/workflows/{workflow_id}/schedule?count=2")
    assert preview["items"][0]["dueAt"] == created["nextRun"]
    assert preview["items"][0]["localTime"].endswith("+05:45")
    await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_every_tick_has_one_disposition_through_overlap_and_pause(api, target, workflow_id):
    target.release.clear()
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}],
        trigger={"type": "periodic", "interval": "1s"},
    )

    async def skipped():
        return [each for each in await occurrences_of(api, workflow_id) if each.get("ticks", 0) and each["ticks"] >= 2]

    (row,) = await until(skipped, "two ticks are skipped")
    assert row["disposition"] == "skipped"
    (execution,) = await api.executions(workflow_id)
    assert row["openExecutionId"] == execution["executionId"]
    target.release.set()

    async def fired_again():
        return len(dues(await occurrences_of(api, workflow_id), "fired")) >= 3

    await until(fired_again, "it fires again")
    status, paused = await api.call("POST", f"/workflows/{workflow_id}/pause")
    assert (status, paused["nextRun"]) == (200, None)

    async def held():
        return dues(await occurrences_of(api, workflow_id), "held")

    await until(held, "a tick is held")
    status, _ = await api.call("POST", f"/workflows/{workflow_id}/resume")
    assert status == 200
    ((_, last_held),) = dues(await occurrences_of(api, workflow_id), "held")

    async def fired_after_the_pause():
        return [each for each, _ in dues(await occurrences_of(api, workflow_id), "fired") if each > last_held]

    await until(fired_after_the_pause, "it fires after the pause")
    assert_every_tick_is_told_once(await occurrences_of(api, workflow_id))
    await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_a_queued_trigger_runs_as_soon_as_the_open_one_has_ended(api, target, workflow_id):
    target.release.clear()
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}],
        overlap={"policy": "queue", "max": 2},
    )
    answers = [await api.call("POST", f"/workflows/{workflow_id}/trigger") for _ in range(4)]
    assert [status for status, _ in answers] == [202, 202, 202, 409]
    assert [answer["status"] for _, answer in answers[:3]] == ["workflow triggered", "workflow queued", "workflow queued"]
    target.release.set()

    async def all_done():
        executions = await api.executions(workflow_id)
        return executions if all(e["status"] == "ok" for e in executions) else None

    executions = sorted(await until(all_done, "all have run"), key=lambda e: e["createdAt"])
    assert len(executions) == 3
    for earlier, later in itertools.pairwise(executions):
        assert earlier["finishedAt"] <= later["startedAt"]


async def test_cancel_running_lets_the_newest_run(api, target, workflow_id):
    target.release.clear()
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}],
        overlap="cancel-running",
    )
    first = await api.trigger(workflow_id)

    async def under_way():
        return target.count(workflow_id) == 1

    await until(under_way, "the first is under way")
    second = await api.trigger(workflow_id)
    assert (await api.finished(first))["status"] == "cancelled"
    target.release.set()
    assert (await api.finished(second))["status"] == "ok"


async def held_since(api, workflow_id, seconds, actions):
    """Have a paused workflow that was due every second since so many seconds ago; return when that began."""
    began = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(seconds=seconds)
    trigger = {"type": "periodic", "interval": "1s", "startAt": began.isoformat()}
    # A tick that was on its way when the pause began would be fired: the first one to come is a while away.
    await api.create(workflow_id, actions, trigger={**trigger, "interval": "1h"})
    status, _ = await api.call("POST", f"/workflows/{workflow_id}/pause")
    assert status == 200
    status, _ = await api.call("PUT", f"/workflows/{workflow_id}", {"trigger": trigger, "actions": actions})
    assert status == 200
    return began


async def backfill(api, workflow_id, began, ended, **more):
    body = {"from": began.isoformat(), "to": ended.isoformat(), "rate": "20/s", **more}
    return await api.call("POST", f"/workflows/{workflow_id}/backfill", body)


async def backfilled(api, workflow_id, backfill_id):
    async def ended():
        _, answer = await api.call("GET", f"/workflows/{workflow_id}/backfills/{backfill_id}")
        return answer if answer["status"] != "running" else None

    return await until(ended, "the backfill ends")


async def test_a_backfill_runs_what_was_held_and_a_second_one_adds_nothing(api, workflow_id):
    says = [{"type": "log", "message": "{{ trigger.cause }} for {{ trigger.dueAt }}"}]
    began = await held_since(api, workflow_id, 8, says)

    async def held():
        (row,) = await occurrences_of(api, workflow_id) or [{}]
        return row if row.get("ticks", 0) >= 3 else None

    row = await until(held, "three ticks are held")
    assert row["disposition"] == "held"
    ended = instant(row["dueAt"]) + timedelta(seconds=2)
    ticks = (ended - began) // timedelta(seconds=1)
    status, plan = await backfill(api, workflow_id, began, ended)
    assert (status, plan["ticks"], plan["toRun"]) == (200, ticks, ticks)
    assert await api.executions(workflow_id) == []
    status, accepted = await backfill(api, workflow_id, began + timedelta(seconds=4), ended, dryRun=False)
    assert status == 202
    done = await backfilled(api, workflow_id, accepted["backfillId"])
    assert (done["status"], done["started"], done["ok"], done["alreadyRun"]) == ("done", ticks - 4, ticks - 4, 0)
    # The whole range, of which a part has run.
    status, accepted = await backfill(api, workflow_id, began, ended, dryRun=False)
    done = await backfilled(api, workflow_id, accepted["backfillId"])
    assert (done["status"], done["started"], done["ok"], done["alreadyRun"]) == ("done", 4, 4, ticks - 4)
    executions = await api.executions(workflow_id)
    due = sorted(instant(each["dueAt"]) for each in executions)
    assert due == [began + timedelta(seconds=second) for second in range(ticks)]
    assert {each["cause"] for each in executions} == {"backfill"}
    shown = await api.execution(executions[0]["executionId"])
    assert shown["executedActions"][0]["logs"] == [f"backfill for {shown['dueAt']}"]

    status, again = await backfill(api, workflow_id, began, ended, dryRun=False)
    assert (status, again["toRun"], again["alreadyRun"]) == (200, 0, ticks)
    assert len(await api.executions(workflow_id)) == ticks
    occurrences = await occurrences_of(api, workflow_id)
    assert [(each["disposition"], each.get("cause")) for each in occurrences] == [("held", None)] + [
        ("fired", "backfill")
    ] * ticks
    assert_every_tick_is_told_once(occurrences)
    await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_a_live_tick_waits_for_the_execution_of_a_backfill_instead_of_being_skipped(api, target, workflow_id):
    target.release.clear()
    began = await held_since(
        api, workflow_id, 5, [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=first", "method": "GET"}]
    )
    status, accepted = await backfill(api, workflow_id, began, began + timedelta(seconds=1), dryRun=False)
    assert status == 202

    async def under_way():
        return target.count(workflow_id) == 1

    await until(under_way, "the tick that is made up for runs")
    await api.call("POST", f"/workflows/{workflow_id}/resume")

    async def queued():
        return [each for each in await api.executions(workflow_id) if each["status"] == "queued"]

    (waiting,) = await until(queued, "a live tick waits")
    await api.call("POST", f"/workflows/{workflow_id}/pause")
    target.release.set()
    assert (await api.finished(waiting["executionId"]))["cause"] == "schedule"
    assert (await backfilled(api, workflow_id, accepted["backfillId"]))["ok"] == 1
    await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_a_killed_scheduler_is_replaced_without_a_tick_lost_or_doubled(stack, api, workflow_id):
    relief = await stack.add_worker("scheduler")
    try:
        ids = [f"{workflow_id}-{number}" for number in range(6)]
        for each in ids:
            await api.create(
                each, [{"type": "log", "message": "x"}],
                trigger={"type": "periodic", "interval": "1s", "misfire": {"policy": "all", "max": 1000}},
                overlap={"policy": "queue", "max": 100},
            )  # fmt: skip

        async def all_fire():
            return all([await occurrences_of(api, each) for each in ids])

        await until(all_fire, "every workflow has fired")
        made_up = f"{workflow_id}-held"
        began = await held_since(api, made_up, 40, [{"type": "log", "message": "x"}])
        ended = began + timedelta(seconds=40)
        _, accepted = await backfill(api, made_up, began, ended, dryRun=False)

        async def under_way():
            return len(await api.executions(made_up)) >= 3

        await until(under_way, "the backfill is under way")
        stack.children["scheduler"].kill(signal.SIGKILL)
        killed = datetime.now(timezone.utc)

        async def all_fire_again():
            for each in ids:
                fired = dues(await occurrences_of(api, each), "fired")
                if not fired or fired[-1][0] < killed + timedelta(seconds=4):
                    return False
            return True

        await until(all_fire_again, "every workflow fires on")
        for each in ids:
            assert_every_tick_is_told_once(await occurrences_of(api, each))
        done = await backfilled(api, made_up, accepted["backfillId"])
        assert (done["status"], done["started"], done["ok"]) == ("done", 40, 40)
        assert len({each["dueAt"] for each in await api.executions(made_up)}) == 40
        await stack.children["scheduler"].wait_ready()
    finally:
        await asyncio.gather(*(api.call("DELETE", f"/workflows/{each}") for each in (*ids, f"{workflow_id}-held")))
        await stack.remove_worker(relief.name)
