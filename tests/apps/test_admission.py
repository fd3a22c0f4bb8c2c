"""Admission where others move at the same time: what no order of finished steps shows."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from apps.admission import Opened, admit_under, release_next
from domain.execution import Admission, Cause, Execution, Status, admit
from domain.overlap import Overlap
from store.interfaces import AlreadyAdmitted, Locked
from tests.fakes.stores import FakeExecutions

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ASKED = Admission("e", "w", 1, Cause.SCHEDULE, T0, retries_left=0, total_actions=1, shard=0)


class World:
    """A workflow, and what others do to it once something is asked for the n-th time."""

    def __init__(self) -> None:
        self.executions = FakeExecutions()
        self.told: list[str] = []

    def put(self, execution_id: str, lock_key: str | None, **fields) -> None:
        made = admit(replace(ASKED, execution_id=execution_id, lock_key=lock_key or "w"))
        self.executions.found[execution_id] = replace(made, lock_key=lock_key, **fields)

    def end(self, execution_id: str) -> None:
        ended = {"status": Status.OK, "lock_key": None, "finished_at": T0}
        self.executions.found[execution_id] = replace(self.executions.found[execution_id], **ended)

    def before(self, call: str, do) -> None:
        """Have something happen just before a call of the store, once."""
        proper = getattr(self.executions, call)

        async def late(*args, **more):
            setattr(self.executions, call, proper)
            do()
            return await proper(*args, **more)

        setattr(self.executions, call, late)

    def after(self, call: str, do) -> None:
        """Have something happen right after a call of the store, once."""
        proper = getattr(self.executions, call)

        async def early(*args, **more):
            setattr(self.executions, call, proper)
            answer = await proper(*args, **more)
            do()
            return answer

        setattr(self.executions, call, early)

    async def ask(self, policy: str, most: int | None = None):
        async def tell_ended(execution: Execution) -> None:
            self.told.append(execution.execution_id)

        overlap = Overlap(policy=policy, max=most)
        now = T0 + timedelta(seconds=1)
        return await admit_under(overlap, ASKED, executions=self.executions, tell_ended=tell_ended, now=now)


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize("policy", ["skip", "queue", "cancel-running", "allow"])
async def test_where_nothing_is_open_it_is_run_at_once(world, policy):
    answer = await world.ask(policy)
    expected = admit(replace(ASKED, lock_key="w"))
    assert answer == Opened(expected, expected)


@pytest.mark.parametrize("policy", ["skip", "queue", "cancel-running", "allow"])
async def test_what_has_ended_long_ago_makes_no_room_for_its_repetition(world, policy):
    world.put("e", None, status=Status.OK)
    world.put("holder", "w")
    assert await world.ask(policy, 1) == AlreadyAdmitted("e")
    assert world.executions.found["holder"].status is Status.PENDING
    assert world.told == []


@pytest.mark.parametrize("policy", ["skip", "queue", "cancel-running", "allow"])
async def test_a_repetition_whose_insert_meets_the_lock_before_its_own_id_is_told_as_one(world, policy):
    """A database names one of the indexes that an insert hurts, not all of them."""
    world.put("e", None, status=Status.OK)
    world.put("holder", "w", status=Status.RUNNING)

    async def lock_first(admission):
        return Locked("holder", Status.RUNNING)

    world.executions.admit = lock_first
    assert await world.ask(policy, 1) == AlreadyAdmitted("e")
    assert world.executions.found["holder"].status is Status.RUNNING
    assert world.told == []


@pytest.mark.parametrize(
    ("most", "queued"), [(1, True), (2, False)], ids=["the only one", "where the schedule has one of its own"]
)
async def test_it_is_queued_behind_a_backfill_that_has_the_only_place(world, most, queued):
    for place in ["w", "w#1"][:most]:
        world.put(place, place, cause=Cause.BACKFILL)
    answer = await world.ask("allow", most)
    if queued:
        assert isinstance(answer, Opened)
        assert (answer.execution.status, answer.publish) == (Status.QUEUED, None)
    else:
        assert isinstance(answer, Locked)
        assert "e" not in world.executions.found


async def test_one_that_ends_while_others_line_up_behind_it_lets_the_first_of_them_go(world):
    world.put("holder", "w")
    world.put("a", "w#wait-0", status=Status.QUEUED)
    world.before("holder", lambda: world.end("holder"))
    answer = await world.ask("queue", 2)
    assert isinstance(answer, Opened)
    assert (answer.execution.execution_id, answer.execution.status) == ("e", Status.QUEUED)
    assert answer.publish is not None
    assert (answer.publish.execution_id, answer.publish.status) == ("a", Status.PENDING)


async def test_one_that_ends_while_it_lines_up_alone_lets_it_go(world):
    world.put("holder", "w")
    world.before("get", lambda: world.end("holder"))
    answer = await world.ask("queue", 1)
    assert isinstance(answer, Opened)
    assert answer.execution == answer.publish == world.executions.found["e"]
    assert (answer.execution.status, answer.execution.lock_key) == (Status.PENDING, "w")


async def test_a_full_line_tells_who_holds_the_place(world):
    world.put("holder", "w", status=Status.RUNNING)
    world.put("first", "w#wait-0", status=Status.QUEUED)
    assert await world.ask("queue", 1) == Locked("holder", Status.RUNNING)


async def test_what_ends_by_itself_is_not_told_as_cancelled(world):
    world.put("holder", "w")
    world.before("end", lambda: world.end("holder"))
    answer = await world.ask("cancel-running")
    assert isinstance(answer, Opened)
    assert world.executions.found["holder"].status is Status.OK
    assert world.told == []


async def test_any_place_that_is_free_is_taken(world):
    for place in ("w", "w#2"):
        world.put(place, place)
    answer = await world.ask("allow", 3)
    assert isinstance(answer, Opened)
    assert answer.execution.lock_key == "w#1"


async def test_where_one_place_is_taken_meanwhile_the_next_is_asked_for(world):
    world.put("holder", "w")
    world.after("holders", lambda: world.put("faster", "w#1"))
    answer = await world.ask("allow", 3)
    assert isinstance(answer, Opened)
    assert answer.execution.lock_key == "w#2"


async def test_a_full_line_in_front_of_which_the_place_has_just_become_free_takes_no_more(world):
    world.put("first", "w#wait-0", status=Status.QUEUED)
    assert await world.ask("queue", 1) == Locked("", Status.QUEUED)
    assert "e" not in world.executions.found


async def test_where_the_first_of_a_line_is_cancelled_meanwhile_the_next_is_released(world):
    for number, name in enumerate(["a", "b"]):
        world.put(name, f"w#wait-{number}", status=Status.QUEUED)
    world.after("line", lambda: world.end("a"))
    released = await release_next("w", executions=world.executions, now=T0)
    assert released is not None
    assert (released.execution_id, released.lock_key) == ("b", "w")
    assert await release_next("w", executions=world.executions, now=T0) is None


async def test_one_that_is_released_and_over_meanwhile_lets_nobody_pass_the_next(world):
    for number, name in enumerate(["a", "b", "c"]):
        world.put(name, f"w#wait-{number}", status=Status.QUEUED)
    world.after("line", lambda: world.put("a", "w", status=Status.RUNNING, epoch=2))
    proper = world.executions.reissue

    async def reissue(execution_id, *rest):
        released = await proper(execution_id, *rest)
        if execution_id == "b":
            world.end("a")  # which has kept b from its place
        return released

    world.executions.reissue = reissue
    await release_next("w", executions=world.executions, now=T0)
    assert world.executions.found["c"].status is Status.QUEUED


async def test_where_all_of_a_line_are_cancelled_meanwhile_nobody_is_released(world):
    world.put("a", "w#wait-0", status=Status.QUEUED)
    world.after("line", lambda: world.end("a"))
    assert await release_next("w", executions=world.executions, now=T0) is None
