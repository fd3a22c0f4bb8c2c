"""The skew of two clocks is measured and shown."""

from datetime import timedelta

import pytest

from apps.scheduler.views import summary
from tests.scheduler.conftest import Scheduler


@pytest.mark.parametrize("ahead", [0.0, 2.5, -2.5])
async def test_the_skew_is_what_the_clocks_differ_by(world, ahead):
    scheduler = Scheduler(world, clock=lambda: world.clock.wall() + timedelta(seconds=ahead))
    await scheduler.passes.look_ahead()
    assert summary(scheduler.agenda, scheduler.metrics)["clockSkewMs"] == ahead * 1000


async def test_half_of_the_round_trip_is_taken_off(world, scheduler):
    async def slow():
        world.clock.sleep(0.2)
        answer = world.clock.wall()
        world.clock.sleep(0.2)
        return answer

    scheduler.skew._server_time = slow
    assert await scheduler.skew.look() == timedelta(0)
