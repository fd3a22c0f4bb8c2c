"""Passes raise nothing: an exception that escapes a Faust timer ends the worker."""

import pytest

from apps.scheduler.views import summary
from tests.scheduler.conftest import Scheduler


@pytest.mark.parametrize("part", ["due", "waking", "runners", "owned"])
async def test_a_database_outage_fails_one_part_and_is_counted(world, scheduler, part):
    world.faults.unavailable = {part}
    await scheduler.passes.watch_runners()
    await scheduler.passes.look_ahead()
    assert scheduler.metrics.failed_passes._value.get() == 1


async def test_a_defect_fails_one_part_and_leaves_the_others(world, scheduler):
    world.faults.crash_before = "due"
    await scheduler.passes.look_ahead()
    assert scheduler.metrics.failed_passes._value.get() == 1


async def test_without_shards_the_database_is_left_alone(world):
    idle = Scheduler(world, frozenset())
    world.faults.unavailable = {"due", "waking", "runners", "owned"}
    await idle.passes.watch_runners()
    await idle.passes.look_ahead()
    assert idle.metrics.failed_passes._value.get() == 0


async def test_the_page_shows_what_is_armed_and_how_late_releases_were(world, scheduler):
    world.workflows.put("w")
    assert summary(scheduler.agenda, scheduler.metrics)["nextDue"] is None
    world.clock.sleep(5)
    await scheduler.passes.look_ahead()
    shown = summary(scheduler.agenda, scheduler.metrics)
    assert (shown["armed"], shown["nextDue"], shown["lateness"]) == (1, "2026-01-31T12:00:10+00:00", {})
