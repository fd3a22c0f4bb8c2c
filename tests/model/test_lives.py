"""Single lives that once went wrong, on the simulated world."""

import asyncio

import pytest

from domain.execution import Status
from events.folding import request_record
from events.topics import EXECUTION
from tests.model.simulation import Api, Runner, Scheduler, World, on_virtual_time


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
    lives.world.close()
    asyncio.set_event_loop(None)
    lives.patches.close()


@pytest.mark.parametrize("slow", [0.0, 1.0], ids=["when it is over", "while it runs"])
def test_a_request_that_was_sent_twice_is_run_once(lives, slow):
    """Its producer did not hear that the broker has it, and sent it again."""
    world = lives.world
    world.slow = slow
    execution_id = lives.trigger()
    world.append(EXECUTION.name, "w", request_record(world.execution(execution_id)))
    world.run(0.3)
    world.append(EXECUTION.name, "w", request_record(world.execution(execution_id)))
    world.run(20)
    assert world.execution(execution_id).status is Status.OK
    assert world.began == {(execution_id, 1): [(lives.runner.name, 0), (lives.runner.name, 1)]}
