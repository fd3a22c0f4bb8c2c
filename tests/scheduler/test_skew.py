"""The skew of two clocks is measured and shown."""

from datetime import timedelta

import pytest

from apps.scheduler.views import summary
from tests.scheduler.conftest import Scheduler


@pytest.mark.parametrize("ahead", [0.0, 2.5, -2.5])
async def test_the_skew_is_what_the_clocks_differ_by(world, ahead):
    scheduler = Scheduler(world, clock=lambda: world.clock.wall() + timedelta(seconds=ahead))
    await scheduler.passes.compare_clocks()
    assert summary(scheduler.agenda, scheduler.metrics)["clockSkewMs"] == ahead * 1000


@pytest.mark.parametrize(
    ("ahead", "trip", "told"),
    [(0.9, 0, False), (-0.9, 0, False), (1.1, 0, True), (-1.1, 0, True), (2.5, 4, False), (4.5, 4, True)],
)
async def test_clocks_that_are_further_apart_than_can_be_put_down_to_the_round_trip_are_told(world, logs, ahead, trip, told):
    scheduler = Scheduler(world, clock=lambda: world.clock.wall() + timedelta(seconds=ahead))

    async def slow():
        world.clock.sleep(trip / 2)
        answer = world.clock.wall()
        world.clock.sleep(trip / 2)
        return answer

    scheduler.skew._server_time = slow
    await scheduler.skew.look()
    assert [entry["ahead_seconds"] for entry in logs if "are apart" in entry["event"]] == [ahead] * told


async def test_half_of_the_round_trip_is_taken_off(world, scheduler):
    async def slow():
        world.clock.sleep(0.2)
        answer = world.clock.wall()
        world.clock.sleep(0.2)
        return answer

    scheduler.skew._server_time = slow
    assert await scheduler.skew.look() == timedelta(0)
