"""The timers: when a pass is made."""

import asyncio

import faust

from apps.scheduler.passes import Passes
from apps.scheduler.retention import Retention
from apps.scheduler.settings import SchedulerSettings

_PATIENCE = 0.05
_LATER_LOOKS = (1.0, 1.0, 1.0)  # seconds between them
_RETENTION_INTERVAL = 60.0
_CLOCKS_INTERVAL = 30.0
_REQUESTS_INTERVAL = 1.0  # what a dead scheduler has not published is late by as much; no timeout is shorter


def is_calm(app: faust.App) -> bool:
    """Tell whether the assignment of partitions stands."""
    return not (app.rebalancing or app.in_recovery)


async def pass_when_calm(app: faust.App, passes: Passes) -> None:
    """Make a pass as soon as the rebalance under way is over: a timer's first tick comes one interval later."""
    while not is_calm(app):  # noqa: ASYNC110 - Faust offers nothing to wait for
        await asyncio.sleep(_PATIENCE)
    await passes.watch_runners()
    await passes.watch_requests()
    await passes.look_ahead()
    await passes.compare_clocks()
    # What a dead scheduler admitted in its last moment is not old enough yet to be told from what is just being started.
    for seconds in _LATER_LOOKS:
        await asyncio.sleep(seconds)
        await passes.look_ahead()


def install(app: faust.App, passes: Passes, retention: Retention, settings: SchedulerSettings) -> None:
    """Make the timers of ``app``."""

    async def watch_requests() -> None:
        """Looks how far the requests are taken, and what is over its time."""
        await passes.watch_requests()
        await passes.watch_deadlines()

    async def sweep() -> None:
        """Removes what is over its retention."""
        if is_calm(app):
            await retention.sweep()

    app.timer(settings.scheduler_interval, name="look_ahead")(passes.look_ahead)
    app.timer(settings.scheduler_watch_interval, name="watch_runners")(passes.watch_runners)
    app.timer(_CLOCKS_INTERVAL, name="compare_clocks")(passes.compare_clocks)
    app.timer(_REQUESTS_INTERVAL, name="watch_requests")(watch_requests)
    app.timer(_RETENTION_INTERVAL, name="sweep")(sweep)
