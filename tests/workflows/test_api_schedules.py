"""Schedules over HTTP: preview, pause and resume, occurrences, and how overlap shows."""

from dataclasses import replace
from datetime import timedelta

import pytest

from apps.workflows.answers.schedules import UpcomingPage
from domain.execution import Admission, Cause, Status, admit
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from store.interfaces import VersionConflict
from tests.workflows.clock import START

PERIODIC = {"type": "periodic", "interval": "10s"}
DAILY = {"type": "cron", "expression": "30 2 * * *", "timezone": "Europe/Berlin"}


def at(seconds):
    return START + timedelta(seconds=seconds)


def fire(store, seconds, **fields):
    """Have a tick fired and run."""
    execution = admit(
        Admission(
            execution_id=tick_execution_id("a", at(seconds)), workflow_id="a", version=1, cause=Cause.SCHEDULE,
            created_at=at(seconds), retries_left=0, total_actions=1, shard=0, due_at=at(seconds), lock_key="a",
        )
    )  # fmt: skip
    store.executions.documents[execution.execution_id] = replace(
        execution, lock_key=None, started_at=at(seconds + 0.012), **fields
    )
    return execution.execution_id


async def test_a_schedule_is_previewed_in_its_zone(api):
    answer = await api.send(
        "POST", "/schedules/preview", json={"trigger": DAILY, "count": 3, "after": "2026-03-27T12:00:00Z"}
    )
    assert answer.status == 200
    assert answer.body == {
        "timezone": "Europe/Berlin",
        "items": [
            {"dueAt": "2026-03-28T01:30:00.000Z", "localTime": "2026-03-28T02:30:00+01:00"},
            {"dueAt": "2026-03-29T01:00:00.000Z", "localTime": "2026-03-29T03:00:00+02:00"},
            {"dueAt": "2026-03-30T00:30:00.000Z", "localTime": "2026-03-30T02:30:00+02:00"},
        ],
    }


@pytest.mark.parametrize(("more", "ticks"), [({"maxRuns": 2}, 2), ({"endAt": "2026-01-31T12:00:30Z"}, 3), ({}, 5)])
async def test_a_preview_ends_where_the_schedule_does(api, more, ticks):
    answer = await api.send("POST", "/schedules/preview", json={"trigger": {**PERIODIC, **more}, "count": 5})
    assert len(answer.body["items"]) == ticks


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "trigger"),
        ({"trigger": {"type": "cron", "expression": "0 0 30 2 *"}}, "trigger.expression"),
        ({"trigger": {"type": "cron", "expression": "@daily", "timezone": "Mars/Base"}}, "trigger.timezone"),
        ({"trigger": {"type": "cron", "expression": ["@daily", "*/61 * * * *"]}}, "trigger.expression"),
        ({"trigger": {**DAILY, "misfire": {"policy": "skip", "max": 7}}}, "trigger.misfire.max"),
        ({"trigger": DAILY, "count": 0}, "count"),
        ({"trigger": DAILY, "after": "tomorrow"}, "after"),
    ],
)
async def test_a_bad_preview_names_the_field(api, body, field):
    assert (await api.send("POST", "/schedules/preview", json=body)).fields() == [field]


async def test_the_coming_ticks_of_a_workflow_end_with_its_runs(api, store):
    await api.create("a", trigger={**PERIODIC, "maxRuns": 3})
    store.workflows.documents["a"] = replace(store.workflows.documents["a"], runs=1)
    answer = await api.get("/workflows/a/schedule?count=5")
    assert [item["dueAt"][17:19] for item in answer.body["items"]] == ["10", "20"]
    assert answer.body["timezone"] == "UTC"
    assert (await api.get("/workflows/a/schedule?count=501")).fields() == ["count"]
    (await api.get("/workflows/b/schedule")).problem(404)


RARE = {"type": "cron", "expression": [f"{minute} 0 * 2 1#5" for minute in range(20)], "timezone": "America/New_York"}


async def test_ticks_that_are_decades_apart_are_shown_as_far_as_instants_go(api):
    body = {"trigger": RARE, "count": 500}
    previewed = (await api.send("POST", "/schedules/preview", json=body)).body["items"]
    assert len(previewed) == 6 * 20
    assert sorted({item["localTime"][:10] for item in previewed}) == [
        f"{year}-02-29" for year in (2044, 2072, 2112, 2140, 2168, 2196)
    ]
    await api.create("a", trigger=RARE)
    assert (await api.get("/workflows/a/schedule?count=500")).body["items"] == previewed


@pytest.mark.parametrize(
    ("trigger", "field"),
    [
        ({"type": "once", "at": "2026-01-31T11:59:59Z"}, "trigger.at"),
        ({**PERIODIC, "endAt": "2026-01-31T12:00:05Z"}, "trigger.endAt"),
    ],
)
async def test_a_schedule_that_would_never_run_is_refused(api, trigger, field):
    body = {"workflowId": "a", "trigger": trigger, "actions": [{"type": "log", "message": "x"}]}
    assert (await api.send("POST", "/workflows", json=body)).fields() == [field]


async def test_a_pause_holds_ticks_and_the_grid_goes_on(api, clock, changes):
    await api.create("a", trigger=PERIODIC)
    clock.move(4)
    paused = (await api.send("POST", "/workflows/a/pause")).body
    assert (paused["trigger"]["status"], paused["nextRun"], paused["pausedAt"]) == (
        "paused",
        None,
        "2026-01-31T12:00:04.000Z",
    )
    assert len(changes.sent) == 2, "the scheduler is told of the workflow and of its pause"
    clock.move(30)
    again = await api.send("POST", "/workflows/a/pause")
    assert again.body["pausedAt"] == paused["pausedAt"]
    held = {"disposition": "held", "dueAt": "2026-01-31T12:00:10.000Z", "until": "2026-01-31T12:00:30.000Z", "ticks": 3,
            "openExecutionId": None}  # fmt: skip
    assert (await api.get("/workflows/a/occurrences")).body == {"items": [held], "nextCursor": None}
    assert (await api.get("/workflows/a/schedule")).body["items"] == []
    resumed = (await api.send("POST", "/workflows/a/resume")).body
    assert (resumed["trigger"]["status"], resumed["nextRun"]) == ("idle", "2026-01-31T12:00:40.000Z")
    assert "pausedAt" not in resumed
    assert (await api.get("/workflows/a/occurrences")).body["items"] == [held]
    assert (await api.send("POST", "/workflows/a/resume")).body["nextRun"] == "2026-01-31T12:00:40.000Z"


async def test_a_tick_that_was_on_its_way_when_the_pause_began_is_not_called_held(api, clock, store):
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    fired = fire(store, 10)
    clock.move(25)
    await api.send("POST", "/workflows/a/resume")
    items = (await api.get("/workflows/a/occurrences")).body["items"]
    assert [(item["disposition"], item.get("executionId")) for item in items] == [("held", None), ("fired", fired)]
    assert items[0]["dueAt"] == "2026-01-31T12:00:20.000Z"


async def test_a_schedule_that_is_changed_while_it_is_resumed_goes_on_as_the_new_one(api, clock, store):
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(15)
    resume = store.workflows.resume

    async def late(*asked):
        store.workflows.resume = resume
        await put(api, {"type": "periodic", "interval": "1h"})
        return await resume(*asked)

    store.workflows.resume = late
    resumed = (await api.send("POST", "/workflows/a/resume")).body
    assert (resumed["version"], resumed["nextRun"]) == (2, "2026-01-31T13:00:15.000Z")
    (held,) = (await api.get("/workflows/a/occurrences")).body["items"]
    assert (held["disposition"], held["dueAt"], held["ticks"]) == ("held", "2026-01-31T12:00:10.000Z", 1)


async def test_a_new_schedule_of_a_paused_workflow_stays_paused(api, clock):
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(15)
    body = {"trigger": {"type": "periodic", "interval": "1m"}, "actions": [{"type": "log", "message": "x"}]}
    changed = await api.send("PUT", "/workflows/a", json=body)
    assert (changed.body["trigger"]["status"], changed.body["nextRun"]) == ("paused", None)
    clock.move(61)
    items = (await api.get("/workflows/a/occurrences")).body["items"]
    assert [(item["dueAt"][14:19], item["ticks"]) for item in items] == [("01:15", 1), ("00:10", 1)]
    assert (await api.send("POST", "/workflows/a/resume")).body["nextRun"] == "2026-01-31T12:02:15.000Z"


async def test_a_workflow_that_is_deleted_while_paused_is_created_again_and_what_was_held_is_known(api, clock):
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(25)
    assert (await api.send("DELETE", "/workflows/a")).status == 204
    clock.move(60)
    created = await api.create("a", trigger=PERIODIC)
    assert (created["trigger"]["status"], created["nextRun"]) == ("idle", "2026-01-31T12:01:35.000Z")
    (held,) = (await api.get("/workflows/a/occurrences")).body["items"]
    assert (held["disposition"], held["dueAt"][14:19], held["until"][14:19], held["ticks"]) == ("held", "00:10", "00:20", 2)


@pytest.mark.parametrize("what", ["DELETE", "PUT"])
async def test_ticks_that_were_not_fired_yet_when_the_schedule_ended_are_known_as_missed(api, clock, store, what):
    await api.create("a", trigger=PERIODIC)
    fire(store, 10)
    advance(store, unfired=Unfired("a", Disposition.SKIPPED, at(20), at(20)), next_run=at(30))
    clock.move(45)
    if what == "DELETE":
        await api.send("DELETE", "/workflows/a")
        await api.create("a")
    else:
        await put(api, {"type": "periodic", "interval": "1h"})
    items = (await api.get("/workflows/a/occurrences")).body["items"]
    assert [(item["disposition"], item["dueAt"][14:19], item.get("ticks")) for item in items] == [
        ("missed", "00:30", 2),
        ("skipped", "00:20", 1),
        ("fired", "00:10", None),
    ]


async def test_a_change_that_comes_too_late_tells_no_tick_as_missed(api, clock, store, monkeypatch):
    """The schedule goes on, and fires what is due."""

    async def too_late(workflow):
        raise VersionConflict(workflow.workflow_id, workflow.version)

    await api.create("a", trigger=PERIODIC)
    clock.move(15)
    monkeypatch.setattr(store.workflows, "replace", too_late)
    actions = [{"type": "log", "message": "x"}]
    changed = {"workflowId": "a", "trigger": {"type": "periodic", "interval": "1h"}, "actions": actions}
    (await api.send("PUT", "/workflows/a", json=changed)).problem(409)
    assert (await api.get("/workflows/a/occurrences")).body["items"] == []


async def test_a_schedule_that_moves_on_while_it_is_deleted_loses_no_tick(api, clock, store):
    await api.create("a", trigger=PERIODIC)
    clock.move(15)
    archive = store.workflows.archive

    async def late(workflow, now):
        store.workflows.archive = archive
        advance(store, unfired=Unfired("a", Disposition.SKIPPED, at(10), at(10)), next_run=at(20))
        return await archive(workflow, now)

    store.workflows.archive = late
    assert (await api.send("DELETE", "/workflows/a")).status == 204
    (known,) = store.occurrences.ranges.values()
    assert (known.first, known.last) == (at(10), at(10))


async def put(api, trigger):
    return await api.send("PUT", "/workflows/a", json={"trigger": trigger, "actions": [{"type": "log", "message": "x"}]})


def advance(store, **fields):
    """Have the schedule come to where it is."""
    store.workflows.documents["a"] = replace(store.workflows.documents["a"], **fields)


async def test_other_bounds_of_a_schedule_move_neither_its_grid_nor_its_count(api, clock, store):
    await api.create("a", trigger={**PERIODIC, "maxRuns": 3})
    advance(store, next_run=at(30), runs=2, unfired=Unfired("a", Disposition.SKIPPED, at(20), at(20)))
    clock.move(25.5)
    changed = await put(api, {**PERIODIC, "maxRuns": 4, "endAt": "2026-01-31T12:10:00Z"})
    assert changed.body["nextRun"] == "2026-01-31T12:00:30.000Z"
    items = (await api.get("/workflows/a/schedule")).body["items"]
    assert [item["dueAt"][14:19] for item in items] == ["00:30", "00:40"]
    assert store.workflows.documents["a"].unfired is not None


async def test_a_schedule_that_came_to_its_end_goes_on_when_its_bounds_are_widened(api, clock, store):
    await api.create("a", trigger={**PERIODIC, "maxRuns": 2})
    advance(store, next_run=None, runs=2)
    clock.move(47)
    assert (await put(api, {**PERIODIC, "maxRuns": 3})).body["nextRun"] == "2026-01-31T12:00:50.000Z"
    assert len((await api.get("/workflows/a/schedule")).body["items"]) == 1
    assert store.workflows.documents["a"].runs == 2


async def test_bounds_that_leave_nothing_to_come_are_refused(api, clock, store):
    await api.create("a", trigger={**PERIODIC, "maxRuns": 9})
    advance(store, next_run=at(30), runs=2)
    clock.move(25)
    assert (await put(api, {**PERIODIC, "maxRuns": 2})).fields() == ["trigger.maxRuns"]
    assert (await put(api, {**PERIODIC, "maxRuns": 9, "endAt": "2026-01-31T12:00:29Z"})).fields() == ["trigger.endAt"]


async def test_a_paused_schedule_stays_paused_with_other_bounds(api, clock):
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(25)
    changed = await put(api, {**PERIODIC, "endAt": "2026-01-31T12:00:40Z"})
    assert (changed.body["trigger"]["status"], changed.body["nextRun"]) == ("paused", None)
    clock.move(60)
    (held,) = (await api.get("/workflows/a/occurrences")).body["items"]
    assert (held["dueAt"], held["until"], held["ticks"]) == (
        "2026-01-31T12:00:10.000Z",
        "2026-01-31T12:00:40.000Z",
        4,
    )


async def test_what_has_no_ticks_cannot_be_paused(api):
    await api.create("a")
    problem = (await api.send("POST", "/workflows/a/pause")).problem(409)
    assert problem["type"] == "urn:problem-type:no-ticks"
    (await api.send("POST", "/workflows/b/pause")).problem(404)


async def test_occurrences_tell_of_every_tick_newest_first_page_by_page(api, store):
    await api.create("a", trigger={**PERIODIC, "allowManual": True})
    await api.trigger("a")
    ids = {number: fire(store, number) for number in (10, 20, 60)}
    await store.occurrences.record(Unfired("a", Disposition.MISSED, at(30), at(50), 3))
    store.workflows.documents["a"] = replace(
        store.workflows.documents["a"], unfired=Unfired("a", Disposition.SKIPPED, at(70), at(80), 2, ids[60])
    )
    items, query = [], "?limit=2"
    while True:
        page = (await api.get(f"/workflows/a/occurrences{query}")).body
        items += page["items"]
        if page["nextCursor"] is None:
            break
        query = f"?limit=2&cursor={page['nextCursor']}"
    assert [(item["disposition"], item.get("ticks", 1)) for item in items] == [
        ("skipped", 2),
        ("fired", 1),
        ("missed", 3),
        ("fired", 1),
        ("fired", 1),
    ]
    assert items[0]["openExecutionId"] == items[1]["executionId"] == ids[60]
    assert items[1]["latenessMs"] == 12


async def test_a_tick_whose_execution_waits_for_a_retry_says_until_when(api, store):
    await api.create("a", trigger=PERIODIC)
    fire(store, 10, status=Status.WAITING, wake_at=at(40))
    (item,) = (await api.get("/workflows/a/occurrences")).body["items"]
    assert (item["status"], item["nextAttemptAt"]) == ("pending", "2026-01-31T12:00:40.000Z")


async def test_a_trigger_by_hand_is_queued_where_the_workflow_queues(api, store):
    await api.create("a", overlap="queue")
    first = await api.send("POST", "/workflows/a/trigger")
    second = await api.send("POST", "/workflows/a/trigger")
    assert (first.status, first.body["status"]) == (202, "workflow triggered")
    assert (second.status, second.body["status"]) == (202, "workflow queued")
    assert (await api.get(f"/executions/{second.body['executionId']}")).body["status"] == "queued"
    assert (await api.get("/executions?status=queued")).body["items"][0]["executionId"] == second.body["executionId"]
    third = (await api.send("POST", "/workflows/a/trigger")).problem(409)
    assert third["executionId"] == first.body["executionId"]
    assert third["detail"].startswith("The queue of workflow a is full (1 of 1); ")
    assert third["detail"].endswith("raise overlap.max.")


async def test_allow_runs_several_and_shows_the_busiest(api, store, clock):
    await api.create("a", overlap={"policy": "allow", "max": 2})
    ids = [await api.trigger("a"), await api.trigger("a")]
    store.executions.start(ids[1], clock())
    assert (await api.get("/workflows/a")).body["trigger"]["status"] == "busy"
    assert (await api.get("/workflows")).body["items"][0]["trigger"]["status"] == "busy"
    third = (await api.send("POST", "/workflows/a/trigger")).problem(409)
    assert third["detail"].startswith("All places of workflow a are taken (2 of 2); ")
    assert third["detail"].endswith("raise overlap.max.")


async def test_cancel_running_makes_room_for_a_trigger_by_hand(api):
    await api.create("a", overlap="cancel-running")
    first, second = await api.trigger("a"), await api.trigger("a")
    assert (await api.get(f"/executions/{first}")).body["status"] == "cancelled"
    assert (await api.get(f"/executions/{second}")).body["status"] == "pending"


async def test_a_wrong_policy_names_the_field(api):
    body = {"workflowId": "a", "trigger": PERIODIC, "overlap": "sometimes", "actions": [{"type": "log", "message": "x"}]}
    assert (await api.send("POST", "/workflows", json=body)).fields() == ["overlap.policy"]
    body["overlap"] = {"policy": "queue", "max": 1000}
    assert (await api.send("POST", "/workflows", json=body)).fields() == ["overlap.max"]


class TestUpcoming:
    """What runs next over all workflows."""

    async def test_it_is_listed_in_order_of_time_whatever_the_workflow(self, api):
        await api.create("slow", trigger={"type": "periodic", "interval": "1h", "misfire": {"policy": "skip"}})
        await api.create("by-hand")
        await api.create("nightly", trigger=DAILY)
        await api.create("held", trigger=PERIODIC)
        await api.send("POST", "/workflows/held/pause")
        await api.create("fast", trigger=PERIODIC)
        page = (await api.get("/schedules/upcoming")).body
        UpcomingPage.model_validate(page)
        first, second, third = page["items"]
        assert first == {
            "workflowId": "fast",
            "version": 1,
            "dueAt": "2026-01-31T12:00:10.000Z",
            "localTime": "2026-01-31T12:00:10+00:00",
            "timezone": "UTC",
            "trigger": (await api.get("/workflows/fast")).body["trigger"],
        }
        assert (second["workflowId"], second["trigger"]["misfire"]) == ("slow", "skip")
        assert (third["workflowId"], third["localTime"], third["timezone"]) == (
            "nightly",
            "2026-02-01T02:30:00+01:00",
            "Europe/Berlin",
        )
        until = (await api.get("/schedules/upcoming?to=2026-01-31T13:00:00Z")).body
        assert [each["workflowId"] for each in until["items"]] == ["fast"]

    async def test_it_tells_of_what_the_next_run_may_meet(self, api):
        await api.create("a", trigger={**PERIODIC, "allowManual": True})
        await api.trigger("a")
        (shown,) = (await api.get("/schedules/upcoming")).body["items"]
        assert shown["trigger"]["status"] == "pending"

    async def test_it_is_paged_also_where_many_run_at_the_same_instant(self, api):
        for number in range(5):
            await api.create(f"w{number}", trigger=PERIODIC)
        found, query = [], "?limit=2"
        while query:
            page = (await api.get(f"/schedules/upcoming{query}")).body
            found += [each["workflowId"] for each in page["items"]]
            query = page["nextCursor"] and f"?limit=2&cursor={page['nextCursor']}"
        assert found == [f"w{number}" for number in range(5)]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("to=tonight", "to"),
            ("limit=501", "limit"),
            ("cursor=MQ", "cursor"),
            ("cursor=OTk5OTk5OTk5OTk5OTk5IGE", "cursor"),  # of the year 33658
            ("within=12h", "within"),
        ],
    )
    async def test_a_bad_parameter_is_named(self, api, query, field):
        assert (await api.get(f"/schedules/upcoming?{query}")).fields() == [field]
