"""What MongoDB says a runner runs, and it does not."""

import asyncio
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from apps.runner import strays
from apps.runner.strays import LOOKS, Strays
from domain.execution import Admission, Cause, Status, admit, claim
from domain.identifiers import execution_id
from store.interfaces import StoreUnavailable
from tests.fakes.stores import FakeExecutions

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
ASKED = Admission(
    execution_id=execution_id(NOON, bytes(10)), workflow_id="w", version=1, cause=Cause.MANUAL, created_at=NOON,
    retries_left=0, total_actions=1, shard=0, lock_key="w",
)  # fmt: skip


class World:
    def __init__(self):
        self.executions = FakeExecutions()
        self.running = claim(admit(ASKED), 1, "r1", NOON)
        self.executions.found[ASKED.execution_id] = self.running
        self.handed_back = []
        self.runs = SimpleNamespace(live={}, draining=False)
        self.strays = Strays(self.executions, runs=self.runs, runner="r1", hand_back=self.hand_back)

    async def hand_back(self, execution):
        self.handed_back.append(execution)


@pytest.fixture
def world():
    return World()


async def test_a_claim_whose_answer_was_lost_is_handed_back_after_a_while(world):
    for _ in range(LOOKS - 1):
        await world.strays.look()
    assert world.handed_back == []
    await world.strays.look()
    (execution,) = world.handed_back
    assert (execution.status, execution.epoch, execution.attempt, execution.lost) == (Status.PENDING, 3, 1, 0)
    await world.strays.look()
    assert len(world.handed_back) == 1


async def test_what_runs_here_or_elsewhere_is_left_alone(world):
    world.runs.live[ASKED.execution_id] = "a run"
    other = replace(world.running, execution_id="other", owner="r2")
    world.executions.found["other"] = other
    for _ in range(LOOKS + 1):
        await world.strays.look()
    assert world.handed_back == []
    assert world.executions.found["other"] == other


async def test_what_moves_has_somebody_who_looks_after_it(world):
    for seq in range(LOOKS + 1):
        world.executions.found[ASKED.execution_id] = replace(world.running, seq=seq)
        await world.strays.look()
    assert world.handed_back == []


async def test_results_that_could_not_be_written_while_the_database_was_away_get_their_time(world, monkeypatch):
    """Handed back at once when it returns, what has succeeded would run again."""
    monkeypatch.setattr(strays, "INTERVAL", 0)
    owned, looks, handed_back = world.executions.owned, [], asyncio.Event()

    async def look(shards):
        looks.append(shards)
        if len(looks) == LOOKS:
            raise StoreUnavailable("away")
        return await owned(shards)

    async def hand_back(execution):
        handed_back.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.executions, "owned", look)
    async with Strays(world.executions, runs=world.runs, runner="r1", hand_back=hand_back):
        await handed_back.wait()
        assert len(looks) == LOOKS + LOOKS


async def test_a_runner_that_stops_hands_back_what_it_runs_and_no_strays(world):
    world.runs.draining = True
    for _ in range(LOOKS + 1):
        await world.strays.look()
    assert world.handed_back == []
