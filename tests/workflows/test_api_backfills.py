"""Backfills over HTTP: the dry run, what is refused, how far one is, and what the ledger says of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apps.workflows.answers.backfills import BackfillPlan, BackfillShown
from apps.workflows.answers.problems import Problem
from apps.workflows.answers.schedules import OccurrencePage
from domain.backfill import MOST_TICKS
from domain.execution import Admission, Cause, Status, admit
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from events.records import BackfillAsked
from tests.workflows.client import Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

PERIODIC = {"type": "periodic", "interval": "10s"}
HOURLY = {"type": "cron", "expression": "0 * * * *", "timezone": "Asia/Kathmandu"}


def at(seconds: float) -> Any:
    return START + timedelta(seconds=seconds)


def text(seconds: float) -> str:
    return at(seconds).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def run(store: MemoryStore, seconds: float, cause: Cause = Cause.SCHEDULE, status: Status = Status.OK) -> str:
    """Have a tick of the workflow ``a`` that has its execution."""
    execution = admit(
        Admission(
            execution_id=tick_execution_id("a", at(seconds)), workflow_id="a", version=1, cause=cause,
            created_at=at(seconds), retries_left=0, total_actions=1, shard=0, due_at=at(seconds), lock_key="a",
        )
    )  # fmt: skip
    ended = {} if status.is_open else {"lock_key": None, "requested_at": None, "started_at": at(seconds + 1)}
    store.executions.documents[execution.execution_id] = replace(execution, status=status, **ended)
    return execution.execution_id


async def ask(api: Client, first: float, until: float | None, **more: Any) -> Any:
    body = {"from": text(first), **({} if until is None else {"to": text(until)}), **more}
    return await api.send("POST", "/workflows/a/backfill", json=body)


async def test_what_is_neither_true_nor_false_starts_nothing(api: Client, clock: Clock, store: MemoryStore) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    answer = await ask(api, 10, 161, dryRun="no")
    assert answer.problem(400)["errors"] == [{"field": "dryRun", "message": "must be true or false, not a string"}]
    assert store.backfills.kept == {}


async def test_nothing_is_started_unless_it_is_asked_for_and_the_count_comes_first(
    api: Client, clock: Clock, store: MemoryStore, changes: FakeTopic
) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    run(store, 20)
    run(store, 30)
    told = len(changes.sent)
    answer = await ask(api, 10, 161, rate="30/m")
    assert answer.status == 200
    BackfillPlan.model_validate(answer.body)
    assert {name: answer.body[name] for name in ("ticks", "alreadyRun", "toRun", "rate", "atOnce")} == {
        "ticks": 16,
        "alreadyRun": 2,
        "toRun": 14,
        "rate": "30/m",
        "atOnce": 1,
    }
    assert [each["dueAt"] for each in answer.body["firstTicks"]] == [text(second) for second in (10, 40, 50, 60, 70)]
    assert [each["dueAt"] for each in answer.body["lastTicks"]] == [text(second) for second in (120, 130, 140, 150, 160)]
    assert answer.body["shortestSeconds"] == 26
    assert store.backfills.kept == {}
    assert len(changes.sent) == told
    assert "backfillWorkflow" not in [entry.operation for entry in store.audit.entries]


async def test_the_ticks_are_shown_in_the_zone_of_the_schedule(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=HOURLY)
    clock.move(3600 * 5)
    answer = await ask(api, -3600, 3600)
    assert answer.body["timezone"] == "Asia/Kathmandu"
    assert [each["localTime"][10:] for each in answer.body["firstTicks"]] == ["T17:00:00+05:45", "T18:00:00+05:45"]
    assert answer.body["lastTicks"] == []


async def test_accepted_it_is_stored_told_and_shown(
    api: Client, clock: Clock, store: MemoryStore, changes: FakeTopic
) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    run(store, 20)
    answer = await ask(api, 10, 60, dryRun=False, rate="6/h")
    assert answer.status == 202
    BackfillShown.model_validate(answer.body)
    assert answer.body | {"backfillId": ""} == {
        "backfillId": "", "workflowId": "a", "status": "running", "from": text(10), "to": text(60), "rate": "6/h",
        "atOnce": 1, "beyondRetention": False, "ticks": 5, "alreadyRun": 0, "started": 0, "open": 0, "ok": 0, "failed": 0,
        "left": 5, "nextTick": text(10), "createdAt": text(200), "finishedAt": None, "reason": None,
    }  # fmt: skip
    assert changes.sent[-1] == ("a", BackfillAsked(workflow_id="a"))
    assert [entry.operation for entry in store.audit.entries if "backfill" in entry.path] == ["backfillWorkflow"]
    assert (await api.get(answer.headers["Location"])).body == answer.body
    page = (await api.get("/workflows/a/backfills")).body
    assert page == {"items": [answer.body], "nextCursor": None}


async def test_while_one_is_running_another_is_refused_and_names_it(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    first = (await ask(api, 10, 60, dryRun=False)).body["backfillId"]
    problem = (await ask(api, 60, 100, dryRun=False)).problem(409)
    assert (problem["type"], problem["backfillId"]) == ("urn:problem-type:backfill-in-progress", first)
    Problem.model_validate(problem)
    assert (await ask(api, 60, 100)).body["runningBackfillId"] == first


async def test_where_every_tick_has_run_there_is_nothing_to_start(api: Client, clock: Clock, store: MemoryStore) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    for second in (10, 20, 30):
        run(store, second, Cause.BACKFILL, Status.FAILED)
    answer = await ask(api, 10, 40, dryRun=False)
    assert (answer.status, answer.body["ticks"], answer.body["toRun"]) == (200, 3, 0)
    assert store.backfills.kept == {}


async def test_a_range_without_ticks_is_nothing_to_start_either(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    answer = await ask(api, -500, 5, dryRun=False)
    assert (answer.status, answer.body["ticks"], answer.body["shortestSeconds"]) == (200, 0, 0)


async def test_a_repeated_request_is_answered_as_the_first(api: Client, clock: Clock, store: MemoryStore) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    body = {"from": text(10), "dryRun": False}
    first, second = [
        await api.send("POST", "/workflows/a/backfill", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert (first.status, second.status) == (202, 202)
    assert first.body == second.body
    assert len(store.backfills.kept) == 1


@pytest.mark.parametrize(
    ("body", "field", "said"),
    [
        ({}, "from", "is required"),
        ({"from": "yesterday"}, "from", "must be an instant"),
        ({"from": 10}, "from", "must be an instant"),
        ({"from": text(500)}, "from", "must be in the past"),
        ({"from": text(10), "to": text(10)}, "to", "later than from"),
        ({"from": text(10), "to": text(201)}, "to", "must not be in the future"),
        ({"from": text(10), "rate": "fast"}, "rate", "such as 1/s"),
        ({"from": text(10), "rate": "21/s"}, "rate", "20/s or less"),
        ({"from": text(10), "atOnce": 0}, "atOnce", "1 or more"),
        ({"from": text(10), "atOnce": 2}, "atOnce", "must be 1: the overlap policy skip"),
        (
            {"from": text(10), "atOnce": 3},
            "atOnce",
            "at a time; overlap {policy: allow, max: 4} in the definition makes room",
        ),
        ({"from": text(10), "atOnce": 100}, "atOnce", "must be 1: the overlap policy skip"),
        ({"from": text(10), "dryRun": "perhaps"}, "dryRun", "true or false"),
        ({"from": text(10), "order": "newest"}, "order", "not known here"),
    ],
)
async def test_what_is_wrong_is_named(api: Client, clock: Clock, body: Any, field: str, said: str) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(200)
    answer = await api.send("POST", "/workflows/a/backfill", json=body)
    assert answer.fields() == [field]
    assert said in answer.body["errors"][0]["message"]


async def test_more_at_once_where_the_policy_allows_with_a_place_left_to_the_schedule(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=PERIODIC, overlap={"policy": "allow", "max": 3})
    clock.move(200)
    assert (await ask(api, 10, 60, atOnce=2)).status == 200
    answer = await ask(api, 10, 60, atOnce=3)
    assert answer.fields() == ["atOnce"]
    assert answer.body["errors"][0]["message"] == (
        "must be 2 or less: of the 3 places one is left to the schedule; "
        "overlap {policy: allow, max: 4} in the definition makes room for 3"
    )


async def test_too_many_ticks_are_refused_with_the_range_that_would_do(api: Client, clock: Clock) -> None:
    await api.create("a", trigger={"type": "periodic", "interval": "1s"})
    clock.move(86400)
    answer = await ask(api, 0, 86400)
    assert answer.fields() == ["to"]
    assert f"more than {MOST_TICKS}" in answer.body["errors"][0]["message"]
    assert "2026-01-31T14:46:41Z" in answer.body["errors"][0]["message"]
    assert (await ask(api, 0, MOST_TICKS + 1)).body["ticks"] == MOST_TICKS


async def test_ticks_of_which_nobody_knows_whether_they_ran_are_run_only_if_that_is_said(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=HOURLY)
    month = 31 * 86400
    clock.move(month)
    answer = await ask(api, -3600, 7200)
    assert answer.fields() == ["from"]
    assert "30 days" in answer.body["errors"][0]["message"]
    assert (await ask(api, -3600, 7200, beyondRetention=True)).body["ticks"] == 3
    assert (await ask(api, 86400 * 2, 86400 * 3)).body["ticks"] == 24


@pytest.mark.parametrize(
    "trigger", [{"type": "manual"}, {"type": "once", "at": "2026-02-01T00:00:00Z"}], ids=lambda each: each["type"]
)
async def test_what_has_no_recurring_schedule_has_nothing_to_make_up_for(api: Client, clock: Clock, trigger: Any) -> None:
    await api.create("a", trigger=trigger)
    clock.move(200)
    problem = (await ask(api, 10, 60)).problem(409)
    assert problem["type"] == "urn:problem-type:not-recurring"
    assert trigger["type"] in problem["detail"]


async def test_an_archived_workflow_is_unknown_and_a_paused_one_is_backfilled(api: Client, clock: Clock) -> None:
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(200)
    assert (await ask(api, 10, 60)).body["toRun"] == 5
    await api.send("DELETE", "/workflows/a")
    (await ask(api, 10, 60)).problem(404)
    (await api.get("/workflows/a/backfills")).problem(404)


async def test_cancelling(api: Client, clock: Clock, store: MemoryStore) -> None:
    await api.create("a", trigger=PERIODIC)
    await api.create("b", trigger=PERIODIC)
    clock.move(200)
    made = (await ask(api, 10, 60, dryRun=False)).body["backfillId"]
    started = store.backfills.kept[made].starting(at(10), at(201))
    store.backfills.kept[made] = started
    run(store, 10, Cause.BACKFILL)
    (await api.send("POST", f"/workflows/b/backfills/{made}/cancel")).problem(404)
    cancelled = await api.send("POST", f"/workflows/a/backfills/{made}/cancel", json={"reason": "wrong week"})
    assert cancelled.status == 200
    shown = {name: cancelled.body[name] for name in ("status", "reason", "started", "ok", "open", "left")}
    assert shown == {"status": "cancelled", "reason": "wrong week", "started": 1, "ok": 1, "open": 0, "left": 4}
    problem = (await api.send("POST", f"/workflows/a/backfills/{made}/cancel")).problem(409)
    assert problem["type"] == "urn:problem-type:backfill-ended"
    assert (await ask(api, 10, 60, dryRun=False)).status == 202


async def test_unknown_ones(api: Client) -> None:
    await api.create("a", trigger=PERIODIC)
    assert (await api.get("/workflows/a/backfills/nonsense")).fields() == ["backfillId"]
    nobody = "019c235f-ae18-7000-8000-000000000000"
    for answer in (
        await api.get(f"/workflows/a/backfills/{nobody}"),
        await api.send("POST", f"/workflows/a/backfills/{nobody}/cancel"),
    ):
        assert answer.problem(404)["type"] == "urn:problem-type:unknown-backfill"
    body = await api.send("POST", f"/workflows/a/backfills/{nobody}/cancel", json={"why": "x"})
    assert body.fields() == ["why"]


# -- the ledger --------------------------------------------------------------------------------------------------------


async def occurrences(api: Client, limit: int = 50) -> list[tuple[Any, ...]]:
    """Every occurrence, oldest first, over as many pages as it takes: disposition, cause or count, first and last tick."""
    items: list[Any] = []
    query = f"?limit={limit}"
    while query:
        page = (await api.get(f"/workflows/a/occurrences{query}")).body
        OccurrencePage.model_validate(page)
        items += page["items"]
        query = page["nextCursor"] and f"?limit={limit}&cursor={page['nextCursor']}"
    return [
        (each["disposition"], each.get("cause") or each.get("ticks"), each["dueAt"], each.get("until", each["dueAt"]))
        for each in reversed(items)
    ]


@pytest.mark.parametrize("limit", [1, 2, 50])
async def test_what_was_held_and_then_backfilled_is_fired_and_the_rest_is_still_held(
    api: Client, clock: Clock, store: MemoryStore, limit: int
) -> None:
    await api.create("a", trigger=PERIODIC)
    await api.send("POST", "/workflows/a/pause")
    clock.move(105)
    made = (await ask(api, 40, 70, dryRun=False)).body["backfillId"]
    expected = [("held", 10, text(10), text(100))]
    assert await occurrences(api, limit) == expected
    run(store, 40, Cause.BACKFILL)
    expected = [
        ("held", 3, text(10), text(30)),
        ("fired", "backfill", text(40), text(40)),
        ("held", 6, text(50), text(100)),
    ]
    assert await occurrences(api, limit) == expected, "also while the backfill itself has not been moved on"
    store.backfills.kept[made] = store.backfills.kept[made].starting(at(40), at(106))
    assert await occurrences(api, limit) == expected
    for second in (50, 60):
        run(store, second, Cause.BACKFILL)
        store.backfills.kept[made] = store.backfills.kept[made].starting(at(second), at(106))
    expected[1:] = [("fired", "backfill", text(second), text(second)) for second in (40, 50, 60)]
    expected.append(("held", 4, text(70), text(100)))
    assert await occurrences(api, limit) == expected
    await api.send("POST", "/workflows/a/resume")
    assert await occurrences(api, limit) == expected
    clock.move(10)
    store.workflows.documents["a"] = replace(store.workflows.documents["a"], unfired=None)
    await store.occurrences.record(Unfired("a", Disposition.HELD, at(10), at(100), 10))
    assert await occurrences(api, limit) == expected, "wherever the range is kept"


async def test_a_backfilled_tick_is_gone_with_its_execution_and_never_called_unfired_again(
    api: Client, clock: Clock, store: MemoryStore
) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(105)
    await store.occurrences.record(Unfired("a", Disposition.MISSED, at(10), at(50), 5))
    made = (await ask(api, 20, 40, dryRun=False)).body["backfillId"]
    for second in (20, 30):
        store.backfills.kept[made] = store.backfills.kept[made].starting(at(second), at(106))
    assert await occurrences(api) == [("missed", 1, text(10), text(10)), ("missed", 2, text(40), text(50))]


async def test_a_tick_that_a_suspended_scheduler_fired_after_another_one_had_missed_it_is_fired(
    api: Client, clock: Clock, store: MemoryStore
) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(105)
    await store.occurrences.record(Unfired("a", Disposition.MISSED, at(10), at(50), 5))
    run(store, 10)
    assert await occurrences(api, 1) == [("fired", "schedule", text(10), text(10)), ("missed", 4, text(20), text(50))]


async def test_a_cancelled_backfill_has_fired_what_it_came_to(api: Client, clock: Clock, store: MemoryStore) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(105)
    await store.occurrences.record(Unfired("a", Disposition.SKIPPED, at(10), at(50), 5, "x"))
    made = (await ask(api, 10, 60, dryRun=False)).body["backfillId"]
    run(store, 10, Cause.BACKFILL)
    store.backfills.kept[made] = store.backfills.kept[made].starting(at(10), at(106))
    await api.send("POST", f"/workflows/a/backfills/{made}/cancel")
    assert await occurrences(api) == [
        ("fired", "backfill", text(10), text(10)),
        ("skipped", 4, text(20), text(50)),
    ]


async def test_many_ranges_that_were_backfilled_do_not_hide_the_ones_before_them(
    api: Client, clock: Clock, store: MemoryStore
) -> None:
    await api.create("a", trigger=PERIODIC)
    clock.move(1000)
    for number in range(40):
        first = 10 + number * 20
        await store.occurrences.record(Unfired("a", Disposition.SKIPPED, at(first), at(first), 1, f"holder-{number}"))
    made = (await ask(api, 100, 1000, dryRun=False)).body["backfillId"]
    store.backfills.kept[made] = replace(store.backfills.kept[made], position=None)
    assert [each[2] for each in await occurrences(api, 2)] == [text(second) for second in (10, 30, 50, 70, 90)]
