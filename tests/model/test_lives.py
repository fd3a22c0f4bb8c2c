"""Single lives that once went wrong, on the simulated world."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from faust.types import TP

from domain.execution import CARRIED, ActionOutcome, Admission, Cause, Restart, Status
from events.folding import request_record
from events.records import ExecutionRequest
from events.topics import ACTION_RESULT, EXECUTION, partition_of
from events.wire import encode
from store.interfaces import StoreUnavailable
from tests.model.simulation import LIMIT, Api, Runner, Scheduler, World, on_virtual_time


class Lives:
    """A world with a runner and a scheduler, and how to make things happen in it."""

    def __init__(self) -> None:
        self.world = World(7)
        asyncio.set_event_loop(self.world.loop)
        self.patches = on_virtual_time(self.world)
        self.world.failing = self.world.slow = 0.0
        self.world.define("w")

    def do(self, work):
        return self.world.loop.run_until_complete(work)

    def start(self, kind):
        async def start():
            process = kind(self.world)
            (self.world.runners if kind is Runner else self.world.schedulers).append(process)
            await process.start()
            return process

        return self.do(start())

    def trigger(self, workflow_id="w"):
        async def trigger():
            await Api(self.world, self.world.name("api")).trigger(workflow_id)

        before = set(self.world.everything)
        self.do(trigger())
        (execution_id,) = set(self.world.everything) - before
        return execution_id


@pytest.fixture
def lives():
    lives = Lives()
    lives.runner, lives.scheduler = lives.start(Runner), lives.start(Scheduler)
    lives.world.run(2)
    yield lives
    try:
        lives.world.judge_rest()
    finally:
        lives.world.close()
    asyncio.set_event_loop(None)
    lives.patches.close()


@pytest.mark.parametrize("slow", [0.0, 1.0], ids=["when it is over", "while it runs"])
def test_a_request_that_was_sent_twice_is_run_once(lives, slow):
    """Its producer did not hear that the broker has it, and sent it again."""
    world = lives.world
    world.slow = slow
    execution_id = lives.trigger()
    request = request_record(world.execution(execution_id))
    world.append(EXECUTION.name, "w", request)
    world.run(0.3)
    world.append(EXECUTION.name, "w", request)
    world.run(20)
    assert world.execution(execution_id).status is Status.OK
    assert world.began == {(execution_id, 1): [(lives.runner.name, 0), (lives.runner.name, 1)]}


def test_a_signal_in_the_last_moment_is_heeded_or_refused(lives):
    """Around the end of its step's time, at each of the instants between which something is read or written."""
    world = lives.world
    world.define("waits", actions=[{"type": "wait-for-signal", "signal": "go", "within": "2s"}], retries=0)
    ended = set()
    for number in range(100):
        execution_id = lives.trigger("waits")
        while (found := world.execution(execution_id)).awaited is None:
            world.run(0.05)
        world.run((found.wake_at - world.now).total_seconds() + number / 100)
        api = Api(world, world.name("api"))
        lives.do(api.signal(execution_id, "go"))
        world.run(10)
        status = world.execution(execution_id).status
        assert (status is Status.OK) == (execution_id in world.signalled), f"sent {number / 100} s after its time was over"
        ended.add(status)
    assert ended == {Status.OK, Status.FAILED}, "too early or too late, all of them"


def test_a_later_request_is_taken_while_an_old_one_that_comes_again_is_looked_up(lives):
    """As after the death of a runner: the next one finds in the log what that one had, and what the scheduler made of it."""
    world = lives.world
    lives.runner.alive = False
    execution_id = lives.trigger()
    executions = world.executions_of(lives.scheduler)
    reissued = lives.do(executions.reissue(execution_id, 1, world.now, Restart.LOST))
    world.append(EXECUTION.name, "w", request_record(reissued))
    lives.start(Runner)
    world.run(60)
    execution = world.execution(execution_id)
    assert (execution.status, execution.epoch) == (Status.OK, 3), "claimed once, and not published anew"


def test_what_was_taken_over_from_another_execution_is_not_run_again(lives):
    """Its request does not tell what that was: it stands in the document alone."""
    world = lives.world
    done = ActionOutcome("a1", 0, CARRIED, "ok", world.now, world.now)
    asked = Admission(
        "01900000-0000-7000-8000-000000000001", "w", 1, Cause.MANUAL, world.now, retries_left=2, total_actions=2,
        shard=partition_of("w"), lock_key="w", carried={done.key: done}, is_unique=True,
    )  # fmt: skip
    lives.do(world.executions_of(lives.scheduler).admit(asked))
    world.append(EXECUTION.name, "w", request_record(world.execution(asked.execution_id)))
    world.run(5)
    assert world.execution(asked.execution_id).status is Status.OK
    assert [index for begun in world.began.values() for _, index in begun] == [1]


@pytest.mark.parametrize("forgotten", ["the offsets", "the offsets, by a living runner", "its last hour"])
def test_what_has_finished_is_not_run_again_when_the_broker_forgets(lives, forgotten):
    """Every record comes again: those that asked for executions, the requests that were made of them, the results."""
    world = lives.world
    for number in range(20):
        world.define(f"w{number}")
        Api(world, "producer").publish_straight(f"w{number}", None)
    world.run(3)
    world.back_up()
    before = world.everything
    began = {key: list(begins) for key, begins in world.began.items()}
    assert {execution.status for execution in before.values()} == {Status.OK}
    assert len(before) == 20
    world.committed.clear()
    if forgotten == "its last hour":
        world.restore()
    if forgotten == "the offsets, by a living runner":
        for tp in lives.runner.next:
            lives.runner.next[tp] = lives.runner.acked[tp] = 0
    else:
        lives.runner.alive = False
        lives.start(Runner)
    world.run(60)
    assert world.began == began
    assert world.everything == before


def test_what_waits_in_a_backlog_runs_once_and_is_not_published_again(lives):
    """However long it waits; and what is cancelled meanwhile does not run at all."""
    world = lives.world
    for number in range(20):
        world.define(f"w{number}")
    lives.runner.clogged = True
    ids = [lives.trigger(f"w{number}") for number in range(20)]
    world.run(120)
    lives.do(Api(world, world.name("api")).cancel(ids[0]))
    lives.runner.clogged = False
    world.run(60)
    assert world.execution(ids[0]).status is Status.CANCELLED
    assert {world.execution(each).status for each in ids[1:]} == {Status.OK}
    assert set(world.began) == {(execution_id, 1) for execution_id in ids[1:]}


def test_a_request_that_kafka_got_late_does_not_start_what_was_published_anew(lives):
    """Its producer kept it for a while: it is above everything that the runner has seen, but not promptly published."""
    world = lives.world
    world.slow = 1.0
    world.broker = "down"
    execution_id = lives.trigger()
    late = request_record(world.execution(execution_id))
    world.broker = "up"
    while (found := world.execution(execution_id)).epoch == 1 and found.status is Status.PENDING:
        world.run(0.01)
    world.append(EXECUTION.name, "w", late)
    world.run(60)
    assert world.execution(execution_id).status is Status.OK
    assert {epoch for _, epoch in world.began} == {world.execution(execution_id).epoch}


def test_a_claim_whose_answer_was_lost_runs_at_once(lives):
    """It is written: as nobody else can have made it, the runner that asks again has it."""
    world, executions = lives.world, lives.runner.intake.executions
    world.broker = "down"
    execution_id = lives.trigger()
    world.run(6)  # too late for a request to be certainly new, and too early for it to be published anew
    world.broker = "up"
    claim, asked = executions.claim, []

    async def claim_without_an_answer(*args):
        asked.append(await claim(*args))
        if len(asked) == 1:
            raise StoreUnavailable("the answer was lost")
        return asked[-1]

    executions.claim = claim_without_an_answer
    world.append(EXECUTION.name, "w", request_record(world.execution(execution_id)))
    world.run(3)
    assert [each is None for each in asked] == [False, True]
    assert world.execution(execution_id).status is Status.OK
    assert set(world.began) == {(execution_id, 2)}


def test_a_claim_is_not_taken_for_one_s_own_by_whoever_gets_the_request_again(lives):
    """It came twice, and when it comes again its run is over; but no result of it is written yet."""
    world, executions = lives.world, lives.runner.intake.executions
    world.broker = "down"
    execution_id = lives.trigger()
    world.run(6)  # as above
    world.broker = "up"
    claim, project, asked, written = executions.claim, executions.project, [], asyncio.Event()

    async def claim_in_doubt(*args):
        asked.append(args)
        if len(asked) == 2:
            raise StoreUnavailable("the answer was lost")
        return await claim(*args)

    async def project_late(results, **more):
        await written.wait()
        return await project(results, **more)

    executions.claim, executions.project = claim_in_doubt, project_late
    request = request_record(world.execution(execution_id))
    for _ in range(2):
        world.append(EXECUTION.name, "w", request)
        world.run(2)
    assert len(asked) == 3
    written.set()
    world.run(3)
    assert world.execution(execution_id).status is Status.OK
    assert world.began == {(execution_id, 2): [(lives.runner.name, 0), (lives.runner.name, 1)]}


def test_a_record_by_anybody_is_an_execution_with_all_that_it_was_given(lives):
    world = lives.world
    world.define("timed", timeout="1m")
    world.slow = 1.0
    asked_at = world.now
    world.append(EXECUTION.name, "timed", ExecutionRequest(workflow_id="timed", input={"a": 1}))
    world.run(0.5)
    (execution,) = world.everything.values()
    assert (execution.cause, execution.version, execution.input) == (Cause.EVENT, 1, {"a": 1})
    assert execution.created_at == asked_at
    assert asked_at < execution.deadline - timedelta(minutes=1) < world.now


def test_a_record_that_one_runner_skips_while_another_admits_it_is_taken_back(lives):
    """Both had it in hand: it is one or the other, and nobody runs what was skipped."""
    world = lives.world
    answers = set()
    for number in range(40):
        asked = Admission(
            f"01900000-0000-7000-8000-{number:012d}", "w", 1, Cause.EVENT, world.now, retries_left=2, total_actions=2,
            shard=partition_of("w"), lock_key=f"w#{number}",
        )  # fmt: skip
        skipped = replace(asked, lock_key=None, reason="skipped: execution e was still open")
        first, second = (world.executions_of(Api(world, world.name("runner"))) for _ in range(2))

        async def both(first=first, second=second, asked=asked, skipped=skipped):
            return await asyncio.gather(first.admit(asked), second.admit(skipped))

        answer = tuple(type(each).__name__ for each in lives.do(both()))
        answers.add(answer)
        assert "Admitted" in answer
        found = world.execution(asked.execution_id)
        assert found.status is (Status.SKIPPED if answer[0] == "AlreadyAdmitted" else Status.PENDING)
        world.run(0.1)
    assert ("AlreadyAdmitted", "Admitted") in answers
    world.run(60)


HANDLED = {
    "onFailure": [{"type": "log", "actionId": "handler3", "message": "a"}],
    "finally": [{"type": "log", "actionId": "handler4", "message": "a"}],
}


def test_what_times_out_runs_its_handlers_and_ends_what_it_waited_for(lives):
    world = lives.world
    world.define("child", actions=[{"type": "wait-for-signal", "signal": "go", "within": "1h"}])
    waits = {"type": "trigger-workflow", "workflowId": "child", "waitForEnd": "1h"}
    world.define("parent", actions=[{"type": "log", "message": "a"}, waits], timeout="4s", **HANDLED)
    execution_id = lives.trigger("parent")
    world.run(8)
    found = world.everything
    (child,) = (each for each in found.values() if each.triggered_by is not None)
    assert (child.status, child.reason) == (
        Status.CANCELLED,
        f"execution {execution_id}, which waited for it, has timed out",
    )
    execution = found[execution_id]
    assert [(each.index, each.status) for each in execution.ordered_results] == [
        (0, "ok"), (1, "waiting"), (1, "failed"), (2, "ok"), (3, "ok")
    ]  # fmt: skip
    assert (execution.status, execution.cut_short.index) == (Status.FAILED, 1)
    assert execution.reason == "action trigger-workflow-2 failed: timed out after 4s"


@pytest.mark.parametrize("away", ["the broker", "the database", "every runner"])
def test_handlers_are_late_and_not_lost_where_the_deadline_falls_into_an_outage(lives, away):
    world = lives.world
    wait = {"type": "wait-for-signal", "signal": "go", "within": "1h"}
    world.define("limited", actions=[wait, {"type": "log", "message": "a"}], timeout="4s", **HANDLED)
    execution_id = lives.trigger("limited")
    world.run(1)
    if away == "the broker":
        world.broker = "down"
    elif away == "the database":
        world.store = "down"
    else:
        lives.runner.alive = False
    world.run(60)
    world.broker = world.store = "up"
    if away == "every runner":
        lives.start(Runner)
    world.run(60)
    execution = world.execution(execution_id)
    assert [(each.index, each.status) for each in execution.ordered_results] == [
        (0, "waiting"), (0, "failed"), (2, "ok"), (3, "ok")
    ]  # fmt: skip
    assert (execution.status, execution.reason) == (Status.FAILED, "action wait-for-signal-1 failed: timed out after 4s")


@pytest.mark.parametrize("told", [True, False], ids=["and told", "and told by whoever gets the record again"])
def test_a_record_by_anybody_is_skipped_while_the_workflow_is_busy(lives, told):
    world = lives.world
    world.slow = 1.0
    holder = lives.trigger()
    world.run(0.3)

    async def die(execution):
        lives.runner.alive = False
        await lives.runner.step()

    if not told:
        lives.runner.intake.foreign.tell_ended = die
    Api(world, "producer").publish_straight("w", None)
    world.run(1)
    if not told:
        lives.start(Runner)
    world.run(60)
    (skipped,) = (each for each in world.everything.values() if each.execution_id != holder)
    assert (skipped.status, skipped.cause) == (Status.SKIPPED, Cause.EVENT)
    assert skipped.reason == f"skipped: execution {holder} was still open"
    ends = [json.loads(raw) for raw, _ in world.log[TP(ACTION_RESULT.name, partition_of("w"))] if b"execution-ended" in raw]
    assert [(each["execution_id"], each["ended"], each["reason"]) for each in ends] == [
        (skipped.execution_id, "skipped", skipped.reason)
    ]


class Letters:
    """Takes the place of the topic of dead letters."""

    def __init__(self) -> None:
        self.reasons = []

    async def send(self, *, key, value):
        self.reasons.append(value.reason)
        acknowledged = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged


@pytest.fixture
def letters(lives):
    letters = Letters()
    lives.runner.intake.dead_letter = letters
    return letters


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"requested_at": "2026-01-31T12:00:00"}, "requested_at"),
        ({"version": "the second"}, "version"),
    ],
    ids=["a time without an offset", "a version that is no number"],
)
def test_requests_that_cannot_be_taken_leave_room_for_others(lives, letters, wrong, told):
    world = lives.world
    world.execution(lives.trigger())
    world.run(1)
    raw = json.loads(encode(request_record(next(iter(world.everything.values())))))
    for number in range(LIMIT + 1):
        times = {"requested_at": world.now.isoformat()}
        record = {**raw, "execution_id": f"01900000-0000-7000-8000-{number:012d}", **times, **wrong}
        world.log[TP(EXECUTION.name, partition_of("w"))].append((json.dumps(record).encode(), world.now.timestamp()))
    world.run(20)
    assert len(letters.reasons) == LIMIT + 1
    assert all(told in reason for reason in letters.reasons)
    execution_id = lives.trigger()
    world.run(5)
    assert world.execution(execution_id).status is Status.OK


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ('{"workflow_id": "w", "epoch": 5, "execution_id": "%s"}', "epoch: is set by the services"),
        ('{"workflow_id": "w", "epoch": 7}', "epoch: is set by the services"),
        ('{"workflow_id": "w", "epoch": -1}', "epoch: is set by the services"),
        (
            '{"workflow_id": "w", "epoch": 1, "requested_at": "2026-01-31T12:00:05Z"}',
            "epoch: is set by the services",
        ),
        ('{"workflow_id": "no such"}', "workflow_id: 'no such' is not a workflow id"),
        ('{"workflow_id": "absent"}', "workflow absent does not exist; create it first"),
        ('{"workflow_id": "archived"}', "workflow archived is archived; store it again first"),
        ('{"workflow_id": "scheduled"}', "workflow scheduled runs on schedule"),
        ('{"workflow_id": "w", "execution_id": "E"}', "execution_id: 'E' is not a lower-case UUID"),
        ('{"workflow_id": "w", "input": {"a": [NaN]}}', "input.a[0]: is not a number"),
        ('{"workflow_id": "w", "input": {"a": 99999999999999999999}}', "input.a: does not fit into 64 bits"),
        ('{"workflow_id": "other", "execution_id": "%s"}', "is that of an execution of workflow w"),
        ('{"workflow_id": "w", "inputs": {"a": 1}}', "inputs: is not known here; remove it or check its spelling"),
        ('{"workflow_id": "other", "workflow_id": "w"}', "workflow_id: is given twice in one object; keep one of them"),
        ('{"workflow_id": "w", "input": {"a": [{"b": 1, "b": 2}]}}', "b: is given twice in one object"),
    ],
    ids=[
        "an epoch", "an epoch without an id", "a negative epoch", "an epoch and a time", "no workflow id",
        "no workflow", "a workflow that is no more", "a workflow that runs on schedule alone", "no execution id",
        "no number", "a large number", "the id of another one",
        "a misspelt field", "a field twice", "a key of the input twice",
    ],
)  # fmt: skip
def test_a_record_that_starts_nothing_is_a_dead_letter_that_tells_why(lives, letters, record, told):
    world = lives.world
    for workflow_id in ("other", "archived"):
        world.define(workflow_id)
    lives.do(world.workflows.archive(world.workflows.heads["archived"], world.now))
    world.define("scheduled", trigger={"type": "periodic", "interval": "1h"}, paused=True)
    execution_id = lives.trigger()
    world.run(3)
    before = world.everything
    raw = (record % execution_id if "%s" in record else record).encode()
    world.log[TP(EXECUTION.name, partition_of("w"))].append((raw, world.now.timestamp()))
    world.run(3)
    assert len(letters.reasons) == 1
    assert told in letters.reasons[0]
    assert world.everything == before


def test_a_request_by_a_later_version_of_the_services_is_taken(lives, letters):
    tp = TP(EXECUTION.name, partition_of("w"))
    execution_id = lives.trigger()
    raw, at = lives.world.log[tp][-1]
    lives.world.log[tp][-1] = (json.dumps({**json.loads(raw), "of_the_future": 1}).encode(), at)
    lives.world.run(5)
    assert lives.world.execution(execution_id).status is Status.OK
    assert letters.reasons == []


def test_a_result_that_no_clock_can_show_holds_up_nobody(lives, letters):
    world = lives.world
    tp = TP(ACTION_RESULT.name, partition_of("w"))
    lives.trigger()
    world.run(3)
    raw, at = world.log[tp][0]
    world.log[tp].append((json.dumps({**json.loads(raw), "started_at": "0001-01-01T00:00:00+14:00"}).encode(), at))
    execution_id = lives.trigger()
    world.run(10)
    assert world.execution(execution_id).status is Status.OK
    assert len(letters.reasons) == 1
    assert world.committed[tp] == len(world.log[tp])


def test_a_request_of_a_version_that_nobody_has_does_not_end_what_runs_under_another(lives, letters):
    world = lives.world
    world.slow = 1.0
    execution_id = lives.trigger()
    world.run(0.3)
    asked = request_record(world.execution(execution_id))
    asked.version, asked.epoch, asked.requested_at = 9, 1, world.now - timedelta(minutes=1)
    world.append(EXECUTION.name, "w", asked)
    world.run(10)
    assert len(letters.reasons) == 1
    assert world.execution(execution_id).status is Status.OK


def test_an_execution_whose_definition_cannot_be_read_ends_and_holds_up_nobody(lives, letters):
    """Its kind of action is one of a plug-in that this runner does not have."""
    world = lives.world
    world.define("plugged")
    head = world.workflows.heads["plugged"]
    actions = [{"type": "of-a-plug-in", "id": "a"}]
    world.workflows.heads["plugged"] = replace(head, definition={**head.definition, "actions": actions})
    execution_id = lives.trigger("plugged")
    Api(world, "producer").publish_straight("plugged", None)
    world.run(20)
    ended = world.execution(execution_id)
    assert ended.status is Status.FAILED
    assert "of-a-plug-in" in ended.reason
    assert "ACTION_PLUGINS" in ended.reason
    assert len(letters.reasons) == 2
    tp = TP(EXECUTION.name, partition_of("plugged"))
    assert world.committed[tp] == len(world.log[tp])
