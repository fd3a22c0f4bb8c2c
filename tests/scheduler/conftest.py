"""A scheduler on an in-memory store, with a clock that the test sets."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
import structlog
from prometheus_client import CollectorRegistry

from apps.scheduler.agenda import Agenda
from apps.scheduler.backfills import Backfills
from apps.scheduler.census import Census
from apps.scheduler.endings import Endings
from apps.scheduler.line import Line
from apps.scheduler.metrics import Metrics
from apps.scheduler.orphans import Orphans
from apps.scheduler.passes import Passes
from apps.scheduler.retries import Retries
from apps.scheduler.signals import Unheeded
from apps.scheduler.skew import Skew
from apps.scheduler.taken import Taken
from apps.scheduler.ticks import Ticks
from apps.waking import Waker
from store.interfaces import Heartbeat
from tests.fakes.stores import FakeOccurrences, FakeSignals
from tests.scheduler.memory import ALL_SHARDS, Clock, Executions, Faults, Published, Requests, Runners, Workflows, settled
from tests.scheduler.memory import Backfills as StoredBackfills


class World:
    """What schedulers share: the database, Kafka, and the time."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.executions = Executions(self.faults)
        self.workflows = Workflows(self.faults)
        self.runners = Runners(self.faults)
        self.occurrences = FakeOccurrences()
        self.backfills = StoredBackfills(self.faults)
        self.signals = FakeSignals()
        self.published = Published(self.faults)
        self.requests = Requests(self.faults)

    async def server_time(self) -> datetime:
        return self.clock.wall()

    @property
    def requested(self) -> list[str]:
        return [execution.execution_id for execution in self.published.requests]


class Scheduler:
    """One scheduler process, without Faust."""

    def __init__(
        self,
        world: World,
        shards: frozenset[int] = ALL_SHARDS,
        *,
        lead: float = 0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.world = world
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.agenda = Agenda(clock or world.clock.wall)
        self.agenda.assign(shards)
        shared = {
            "publisher": world.published,
            "agenda": self.agenda,
            "clock": clock or world.clock.wall,
            "metrics": self.metrics,
        }
        self.ticks = Ticks(
            executions=world.executions,
            workflows=world.workflows,
            occurrences=world.occurrences,
            lead=timedelta(seconds=lead),
            lookahead=timedelta(seconds=8.5),
            misfire_after=timedelta(seconds=5),
            **shared,
        )
        self.retries = Retries(executions=world.executions, lookahead=timedelta(seconds=8.5), page=100, **shared)
        self.signals = Unheeded(
            signals=world.signals,
            waker=Waker(executions=world.executions, signals=world.signals, hand_out=world.published.request),
            agenda=self.agenda,
            clock=clock or world.clock.wall,
            page=100,
        )
        self.line = Line(executions=world.executions, page=100, **shared)
        self.backfills = Backfills(
            backfills=world.backfills,
            executions=world.executions,
            workflows=world.workflows,
            line=self.line,
            lookahead=timedelta(seconds=8.5),
            retention=timedelta(days=30),
            page=100,
            **shared,
        )
        self.endings = Endings(
            executions=world.executions, workflows=world.workflows, lookahead=timedelta(seconds=8.5), page=100, **shared
        )
        self.taken = Taken(world.requests, clock=clock or world.clock.wall, republish_after=10)
        self.orphans = Orphans(
            endings=self.endings,
            executions=world.executions,
            runners=world.runners,
            withdraw_if_passed_over=self.ticks.withdraw_if_passed_over,
            taken=self.taken,
            monotonic=world.clock.monotonic,
            republish_after=10,
            stale_after=10,
            watch_interval=2,
            full_look_every=5,
            max_lost_attempts=3,
            page=100,
            **shared,
        )
        self.skew = Skew(
            server_time=world.server_time,
            clock=clock or world.clock.wall,
            monotonic=world.clock.monotonic,
            metrics=self.metrics,
        )
        self.passes = Passes(
            agenda=self.agenda,
            ticks=self.ticks,
            retries=self.retries,
            signals=self.signals,
            line=self.line,
            backfills=self.backfills,
            orphans=self.orphans,
            endings=self.endings,
            taken=self.taken,
            skew=self.skew,
            census=Census(
                world.executions,
                clock=clock or world.clock.wall,
                monotonic=world.clock.monotonic,
                registry=self.registry,
            ),
            monotonic=world.clock.monotonic,
            metrics=self.metrics,
        )

    def restarts(self, why: str) -> float | None:
        """Return how many executions were handed out anew, or given up, for this reason."""
        return self.registry.get_sample_value("scheduler_restarts_total", {"why": why})

    async def release(self) -> None:
        """Release what is due now, and what becomes due by it."""
        while self.agenda.release():
            await settled(self.agenda)

    async def look_round(self, beat: int) -> None:
        """Do once whatever the timers do, with a runner that lives."""
        await self.world.runners.beat(Heartbeat("runner", beat))
        await self.passes.watch_runners()
        await self.passes.watch_requests()
        await self.passes.look_ahead()
        await self.release()

    async def run(self, seconds: float, *, step: float = 0.5, every: float = 5.0) -> None:
        """Let time pass: a look at the requests every second, a pass every ``every`` seconds, a release at each step."""
        steps_per_pass, steps_per_look = round(every / step), max(1, round(1 / step))
        for number in range(round(seconds / step)):
            if number % steps_per_look == 0:
                await self.passes.watch_requests()
            if number % steps_per_pass == 0:
                await self.passes.look_ahead()
            await self.release()
            self.world.clock.sleep(step)
        await self.release()


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(autouse=True)
def nothing_breaks() -> Iterator[None]:
    """The agenda survives whatever its entries raise, and logs it; here that is a defect, unless the test asks for it."""
    with structlog.testing.capture_logs() as entries:
        yield
    broken = [entry for entry in entries if entry["event"] == "agenda entry failed"]
    assert not broken


@pytest.fixture
def scheduler(world: World) -> Scheduler:
    return Scheduler(world)


@pytest.fixture
def another(world: World) -> Scheduler:
    return Scheduler(world)
