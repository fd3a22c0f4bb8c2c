"""How runs end: by themselves, because somebody asked for it, or because something broke."""

import asyncio
import gc
import weakref
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import faust
import pytest

from apps.runner import runs
from apps.runner.run import Run
from apps.runner.runs import Runs
from domain.execution import ActionFinished, ActionOutcome, Admission, Cause, Restart, Status, admit, claim
from domain.flow import Plan
from store.interfaces import StoreUnavailable
from tests.fakes.stores import FakeExecutions

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
ASKED = Admission("e", "w", 1, Cause.MANUAL, NOON, 3, 1, 0, lock_key="w")
RUN = Run("e", "w", 1, epoch=2, attempt=1, retries_left=3, resume_index=0, cause="manual")
PLAN = Plan(1)


class World:
    def __init__(self):
        self.executions = FakeExecutions()
        self.executions.found["e"] = claim(admit(ASKED), 1, "r1", NOON)
        self.handed_back = []
        self.kafka = asyncio.Event()
        self.kafka.set()
        self.told = []
        self.under_way = None  # a result that Kafka has and the store has not
        self.runs = Runs(
            self.executions, runner="r1", limit=5, mark_delay=0.1, hand_back=self.hand_back, tell_ended=self.tell_ended,
            see_written=self.see_written, max_lost_attempts=3,
        )  # fmt: skip

    async def hand_back(self, execution):
        await self.kafka.wait()
        self.handed_back.append((execution.epoch, execution.lost))

    async def see_written(self, seqs):
        await asyncio.sleep(0)
        if self.under_way is not None and seqs.get("e") == self.under_way.seq:
            await self.executions.project([self.under_way])

    async def tell_ended(self, execution):
        self.told.append((execution.status, execution.reason))

    async def run(self, body, plan=PLAN, lost=0, **more):
        self.executions.found["e"] = replace(self.executions.found["e"], lost=lost)
        await self.runs.slot()
        self.runs.start_run(
            replace(RUN, lost=lost, **more), body, plan=plan, marked=True, show=lambda: None, acknowledge=lambda: None
        )
        live = self.runs.live["e"]
        await asyncio.sleep(0)
        return live


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("error", [RuntimeError("oops"), asyncio.CancelledError()], ids=["any", "even that"])
async def test_a_run_that_breaks_off_counts_as_lost(world, error):
    async def body():
        await asyncio.sleep(0)
        raise error

    live = await world.run(body)
    await asyncio.wait([live.task])
    assert world.handed_back == [(3, 1)]
    assert not world.runs.live


async def test_a_run_is_shown_though_its_event_is_acknowledged_and_gone_by_then(world):
    class Asked:
        pass

    asked, shown, end = Asked(), [], asyncio.Event()
    faust.streams._current_event.set(weakref.ref(asked))  # as a stream does
    await world.runs.slot()
    world.runs.start_run(
        RUN,
        end.wait,
        plan=PLAN,
        marked=False,
        show=lambda: shown.append(type(faust.current_event())),
        acknowledge=lambda: None,
    )
    faust.streams._current_event.set(None)
    del asked
    gc.collect()
    world.executions.found["e"] = replace(world.executions.found["e"], epoch=RUN.epoch)
    await world.runs.flush_marks()
    assert shown == [Asked]
    end.set()
    await world.runs.live["e"].task


async def test_a_mark_that_is_written_late_tells_when_the_run_began(world):
    world.executions.found["e"] = admit(ASKED)
    began = NOON + timedelta(seconds=1)
    end = asyncio.Event()
    await world.runs.slot()
    run = replace(RUN, epoch=1, started_at=began)
    world.runs.start_run(run, end.wait, plan=PLAN, marked=False, show=lambda: None, acknowledge=lambda: None)
    await world.runs.flush_marks()
    marked = world.executions.found["e"]
    assert (marked.status, marked.started_at) == (Status.RUNNING, began)
    end.set()
    await world.runs.live["e"].task


async def test_a_run_that_always_breaks_off_is_given_up(world):
    async def body():
        raise RuntimeError("oops")

    live = await world.run(body, lost=3)
    await asyncio.wait([live.task])
    assert world.handed_back == []
    assert world.told == [(Status.FAILED, "given up: it broke off 4 times in a row, at last by RuntimeError('oops')")]
    assert world.executions.found["e"].status is Status.FAILED
    assert not world.executions.ends_untold


async def test_a_run_that_always_breaks_off_is_handed_on_to_its_handlers(world):
    """Where it has come to them, it is they that break off."""
    plan, reason = Plan(1, on_failure=1), "given up: it broke off 4 times in a row, at last by RuntimeError('oops')"

    async def body():
        raise RuntimeError("oops")

    await asyncio.wait([(await world.run(body, plan, lost=3)).task])
    given_up = world.executions.found["e"]
    assert (world.handed_back, world.told) == ([(3, 0)], [])
    assert (given_up.cut_short.why, given_up.cut_short.index, given_up.cut_short.reason) == (Restart.GIVEN_UP, 0, reason)
    world.executions.found["e"] = claim(given_up, 3, "r1", NOON)
    await asyncio.wait([(await world.run(body, plan, epoch=4, lost=3)).task])
    assert (world.handed_back, world.told) == ([(3, 0)], [(Status.FAILED, reason)])


async def test_a_run_that_breaks_off_after_a_result_is_handed_back(world):
    async def body():
        world.executions.found["e"] = replace(world.executions.found["e"], lost=0)  # as a result leaves it
        raise RuntimeError("oops")

    await asyncio.wait([(await world.run(body, lost=3)).task])
    assert (world.handed_back, world.told) == ([(3, 1)], [])


@pytest.mark.parametrize("lost", [0, 3], ids=["to be handed back", "to be given up"])
async def test_a_run_that_breaks_off_goes_on_behind_what_kafka_has_of_it(world, lost):
    async def body():
        world.under_way = ActionFinished(
            "e", "w", RUN.epoch, 1, ActionOutcome("a", 0, 1, "ok", NOON, NOON), Status.RUNNING, 3
        )
        world.runs.published("e", RUN.epoch, 1)
        raise RuntimeError("oops")

    await asyncio.wait([(await world.run(body, Plan(2, on_failure=1), lost=lost)).task])
    assert (world.handed_back, world.executions.found["e"].resume_index) == ([(3, 1)], 1)


async def test_what_is_handed_back_goes_on_behind_what_kafka_has_of_it(world):
    live = await world.run(asyncio.Event().wait)
    world.under_way = ActionFinished("e", "w", RUN.epoch, 1, ActionOutcome("a", 0, 1, "ok", NOON, NOON), Status.RUNNING, 3)
    world.runs.published("e", RUN.epoch, 1)
    await world.runs.hand_back_all(await world.runs.drain(0))
    assert (world.handed_back, world.executions.found["e"].resume_index) == ([(3, 0)], 1)
    await asyncio.wait([live.task])


async def test_a_stop_waits_until_what_has_just_ended_is_written(world):
    async def body():
        outcome = ActionOutcome("a", 0, 1, "ok", NOON, NOON)
        world.under_way = ActionFinished("e", "w", RUN.epoch, 1, outcome, Status.OK, 3)
        world.runs.published("e", RUN.epoch, 1)

    await asyncio.wait([(await world.run(body)).task])
    await world.runs.hand_back_all(await world.runs.drain(0))
    assert (world.executions.found["e"].status, world.handed_back) == (Status.OK, [])


async def test_a_run_that_breaks_off_when_its_execution_has_gone_on_does_not_give_it_up(world):
    async def body():
        world.executions.found["e"] = replace(world.executions.found["e"], status=Status.PENDING, epoch=3)
        raise RuntimeError("oops")

    await asyncio.wait([(await world.run(body, lost=3)).task])
    assert (world.executions.found["e"].status, world.told) == (Status.PENDING, [])


async def test_a_run_that_somebody_stops_is_not_handed_back(world):
    live = await world.run(asyncio.Event().wait)
    world.runs.cancel("another")  # as most ends are: of what does not run here
    world.runs.cancel("e", below_epoch=2)
    await asyncio.sleep(0)
    assert not live.task.done(), "that end is not of this run"
    world.runs.cancel("e", below_epoch=3)
    await asyncio.wait([live.task])
    assert world.handed_back == []


@pytest.mark.parametrize(
    "change",
    [{"status": Status.CANCELLED, "epoch": 3}, {"status": Status.OK}, {"epoch": 3}],
    ids=["cancelled", "by a result", "gone on elsewhere"],
)
async def test_a_run_of_an_execution_that_has_ended_is_stopped(world, change):
    live = await world.run(asyncio.Event().wait)
    await world.runs.give_up_stale([live])
    assert not live.is_over
    world.executions.found["e"] = replace(world.executions.found["e"], **change)
    await world.runs.give_up_stale([live])
    await asyncio.wait([live.task])
    assert world.handed_back == []


async def test_stopping_does_not_wait_for_a_kafka_that_is_away(world, monkeypatch):
    monkeypatch.setattr(runs, "HAND_BACK_TIMEOUT", 0.01)
    await world.run(asyncio.Event().wait)
    world.kafka.clear()
    left = await world.runs.drain(0)
    assert [live.task.done() for live in left] == [True]
    await world.runs.hand_back_all(left)
    found = world.executions.found["e"]
    assert (found.status, found.epoch, found.lost) == (Status.PENDING, 3, 0)
    assert world.handed_back == []


class Requests:
    """Starts certainly new runs, and notes which of their requests are acknowledged."""

    def __init__(self, world):
        self.world, self.acknowledged = world, []
        self.one_is = asyncio.Event()  # acknowledged

    def acknowledge(self, execution_id):
        self.acknowledged.append(execution_id)
        self.one_is.set()

    async def start(self, execution_id="e", body=None, show=lambda: None, lost=0, **more):
        admitted = admit(replace(ASKED, execution_id=execution_id, lock_key=execution_id))
        self.world.executions.found[execution_id] = replace(admitted, lost=lost)
        await self.world.runs.slot()
        run = replace(RUN, execution_id=execution_id, epoch=1, lost=lost, **more)
        self.world.runs.start_run(
            run, body or asyncio.Event().wait, plan=PLAN, marked=False, show=show,
            acknowledge=lambda: self.acknowledge(execution_id),
        )  # fmt: skip
        live = self.world.runs.live[execution_id]
        await asyncio.sleep(0)
        return live

    async def finish(self, execution_id="e"):
        async def body():
            pass

        await asyncio.wait([(await self.start(execution_id, body)).task])


@pytest.fixture
def requests(world):
    return Requests(world)


async def test_a_request_is_acknowledged_when_its_run_is_marked(world, requests, monkeypatch):
    async def away(marks):
        raise StoreUnavailable("away")

    await requests.start()
    with monkeypatch.context() as patch:
        patch.setattr(world.executions, "mark_started", away)
        await world.runs.flush_marks()
    assert requests.acknowledged == []
    await world.runs.flush_marks()
    assert requests.acknowledged == ["e"]


async def test_marks_that_fail_when_partitions_move_are_written_when_the_database_is_back(world, requests, monkeypatch):
    monkeypatch.setattr(runs, "RETRY_DELAY", 0.01)
    marked, mark_started = asyncio.Event(), world.executions.mark_started

    async def away(marks):
        monkeypatch.setattr(world.executions, "mark_started", back)
        await asyncio.sleep(0.05)  # until it is waited for something to mark
        raise StoreUnavailable("away")

    async def back(marks):
        marked.set()
        return await mark_started(marks)

    monkeypatch.setattr(world.executions, "mark_started", away)
    world.runs.mark_delay = 0.02
    async with world.runs:
        await requests.start()
        await world.runs.flush_marks()
        await marked.wait()


async def test_a_request_whose_run_is_over_is_acknowledged_when_its_result_is_written(world, requests):
    await requests.finish()
    assert requests.acknowledged == []
    world.runs.unrecorded.recorded("e")
    world.runs.unrecorded.recorded("e")
    assert requests.acknowledged == ["e"]


async def test_a_request_whose_run_is_stopped_is_acknowledged(world, requests):
    live = await requests.start()
    world.runs.cancel("e")
    await asyncio.wait([live.task])
    assert requests.acknowledged == ["e"]


async def test_a_request_whose_run_breaks_off_is_acknowledged_when_it_is_handed_back(world, requests):
    async def body():
        raise RuntimeError("oops")

    await asyncio.wait([(await requests.start(body=body)).task])
    assert world.handed_back == [(2, 1)]
    assert requests.acknowledged == ["e"]


async def test_a_request_whose_run_is_left_when_the_runner_stops_is_delivered_again(world, requests):
    await requests.start()
    await world.runs.hand_back_all(await world.runs.drain(0))
    assert requests.acknowledged == []


async def test_what_another_runner_has_recorded_is_acknowledged_in_the_end(world, requests):
    for execution_id in ("recorded", "slow"):
        await requests.finish(execution_id)
    await requests.start("running")
    world.executions.found["recorded"] = replace(world.executions.found["recorded"], status=Status.OK)
    now = asyncio.get_running_loop().time()
    await world.runs.look_for_records(now + runs.RECORDED_WITHIN - 1)
    assert requests.acknowledged == [], "it is too early to ask"
    await world.runs.look_for_records(now + runs.RECORDED_WITHIN + 1)
    assert requests.acknowledged == ["recorded"]
    await world.runs.look_for_records(now + runs.GIVEN_UP_AFTER + 1)
    assert requests.acknowledged == ["recorded", "slow"]


@pytest.fixture
def hasty(monkeypatch):
    """What is done again and again is done at once."""
    for name in ("LOOK_INTERVAL", "RETRY_DELAY", "RECORDED_WITHIN"):
        monkeypatch.setattr(runs, name, 0.001)


def away(executions, name, monkeypatch):
    """Let the next call find no database."""
    there = getattr(executions, name)

    async def call(*args):
        monkeypatch.setattr(executions, name, there)
        raise StoreUnavailable("away")

    monkeypatch.setattr(executions, name, call)


async def test_what_has_ended_is_looked_for_also_after_the_database_was_away(world, hasty, monkeypatch):
    away(world.executions, "states", monkeypatch)
    async with world.runs:
        live = await world.run(asyncio.Event().wait)
        world.executions.found["e"] = replace(world.executions.found["e"], status=Status.CANCELLED, epoch=3)
        await asyncio.wait([live.task])
    assert world.handed_back == []


async def test_what_others_have_recorded_is_looked_for_also_after_the_database_was_away(world, requests, hasty, monkeypatch):
    away(world.executions, "states", monkeypatch)
    async with world.runs:
        await requests.finish()
        world.executions.found["e"] = replace(world.executions.found["e"], status=Status.OK)
        await requests.one_is.wait()


async def test_a_run_is_marked_after_a_while(world, requests):
    world.runs.mark_delay = 0.001
    async with world.runs:
        for _ in range(10):
            await asyncio.sleep(0)  # there is nothing to mark, and that is waited for
        await requests.start()
        await requests.one_is.wait()
        assert world.executions.found["e"].status is Status.RUNNING


async def test_a_run_is_not_marked_before_it_has_taken_a_while(world, requests):
    world.runs.mark_delay = 3600
    async with world.runs:
        await requests.start()
        for _ in range(10):
            await asyncio.sleep(0)
        assert world.executions.found["e"].status is Status.PENDING


async def test_what_is_over_before_its_mark_is_neither_marked_nor_shown(world, requests):
    shown = []

    async def body():
        pass

    await asyncio.wait([(await requests.start("over", body, lambda: shown.append("over"))).task])
    end, mark_started = asyncio.Event(), world.executions.mark_started
    live = await requests.start("e", end.wait, lambda: shown.append("e"))

    async def meanwhile(marks):
        end.set()
        await asyncio.wait([live.task])
        return await mark_started(marks)

    world.executions.mark_started = meanwhile
    await world.runs.flush_marks()
    assert world.executions.found["over"].status is Status.PENDING
    assert world.executions.found["e"].status is Status.RUNNING
    assert shown == []


async def test_a_run_whose_execution_was_started_elsewhere_is_stopped(world, requests):
    """Its request came twice, or the start was taken for lost: only one of the two may go on."""
    live = await requests.start()
    world.executions.found["e"] = claim(admit(ASKED), 1, "r2", NOON)
    await world.runs.flush_marks()
    await asyncio.wait([live.task])
    assert (live.is_over, world.handed_back, requests.acknowledged) == (True, [], ["e"])


async def test_a_run_that_has_taken_the_place_of_another_goes_on_when_that_one_ends_or_was_not_marked(world, requests):
    """The claim of a later request stops the run of an earlier one, which takes its time."""
    earlier = await requests.start()
    mark_started, later = world.executions.mark_started, []

    async def meanwhile(marks):
        world.executions.found["e"] = claim(admit(ASKED), 1, "r1", NOON)
        world.runs.cancel("e", below_epoch=2)
        later.append(await world.run(asyncio.Event().wait))
        return await mark_started(marks)

    world.executions.mark_started = meanwhile
    await world.runs.flush_marks()
    await asyncio.wait([earlier.task])
    assert world.runs.live == {"e": later[0]}
    assert not later[0].is_over
    assert requests.acknowledged == ["e"]


async def test_what_is_marked_is_acknowledged_and_shown_at_once_with_what_was_asked_before(world, requests):
    told = []
    await requests.start()
    await world.runs.slot()
    world.runs.start_run(
        RUN, asyncio.Event().wait, plan=PLAN, marked=True,
        show=lambda: told.append("show"), acknowledge=lambda: told.append("ack"),
    )  # fmt: skip
    assert sorted(told) == ["ack", "show"]
    assert requests.acknowledged == ["e"]


async def test_only_results_of_the_very_run_are_noted(world):
    live = await world.run(asyncio.Event().wait)
    assert world.runs.published("e", 1, 7) is None
    assert world.runs.published("another", 2, 7) is None
    assert live.published == 0
    assert world.runs.published("e", 2, 1) is live
    assert live.published == 1


async def test_every_place_is_given_back_once(world):
    for _ in range(5):
        assert not world.runs.is_full
        await world.runs.slot()
    assert world.runs.is_full
    for _ in range(5):
        world.runs.release()
    await asyncio.wait([(await world.run(asyncio.Event().wait)).task], timeout=0)
    for _ in range(4):
        await world.runs.slot()
    assert world.runs.is_full
    world.runs.cancel("e")
    await world.runs.slot()
    assert world.runs.is_full


async def test_an_intent_is_written_when_the_database_is_back(world, hasty, monkeypatch):
    away(world.executions, "intend", monkeypatch)
    world.executions.found["e"] = admit(ASKED)
    began = NOON + timedelta(seconds=1)
    assert await world.runs.intend(replace(RUN, epoch=1, started_at=began), "1_0")
    execution = world.executions.found["e"]
    assert (execution.intents, execution.owner, execution.started_at) == (("1_0",), "r1", began)
    assert not await world.runs.intend(replace(RUN, epoch=4), "1_0")


async def test_what_finishes_within_the_grace_period_is_not_handed_back(world):
    end = asyncio.Event()
    live = await world.run(end.wait)
    stopping = asyncio.ensure_future(world.runs.drain(3600))
    await asyncio.sleep(0)
    end.set()
    assert await stopping == []
    assert not live.is_over


async def test_what_breaks_off_within_the_grace_period_is_handed_back(world):
    end = asyncio.Event()

    async def body():
        await end.wait()
        raise RuntimeError("oops")

    await world.run(body)
    stopping = asyncio.ensure_future(world.runs.drain(3600))
    await asyncio.sleep(0)
    end.set()
    assert await stopping == []
    assert world.handed_back == [(3, 1)]


async def test_what_cannot_be_stopped_does_not_hold_up_the_process(world):
    end = asyncio.Event()

    async def body():
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()

    live = await world.run(body)
    assert await world.runs.drain(0) == [live]
    end.set()
    await asyncio.wait([live.task])


async def test_what_cannot_be_given_up_gives_back_its_place_and_its_request(world, requests, monkeypatch):
    away(world.executions, "end", monkeypatch)

    async def body():
        raise RuntimeError("oops")

    live = await requests.start(body=body, lost=3)
    await asyncio.wait([live.task])
    assert live.task.exception() is None
    assert (world.told, requests.acknowledged) == ([], ["e"])
    assert not world.runs.live


async def test_what_was_ended_before_it_could_be_given_up_is_told_by_whoever_ended_it(world, logs):
    async def body():
        world.executions.found["e"] = replace(world.executions.found["e"], status=Status.CANCELLED, epoch=3)
        raise RuntimeError("oops")

    await asyncio.wait([(await world.run(body, lost=3)).task])
    assert world.told == []
    assert "execution not given up" not in [entry["event"] for entry in logs]
