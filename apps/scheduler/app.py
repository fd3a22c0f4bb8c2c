"""The scheduler's composition root: ``faust -A apps.scheduler.app worker --web-port 8082``."""

import asyncio
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from faust.types import TP, EventT
from mode import Service, ServiceT
from prometheus_client import CollectorRegistry

from apps import health
from apps.scheduler import agents, timers, views
from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.backfills import Backfills
from apps.scheduler.census import Census
from apps.scheduler.clock import wall_clock
from apps.scheduler.endings import Endings
from apps.scheduler.line import Line
from apps.scheduler.metrics import Metrics
from apps.scheduler.orphans import Orphans
from apps.scheduler.passes import Passes
from apps.scheduler.publishing import KafkaPublisher
from apps.scheduler.retention import Retention
from apps.scheduler.retries import Retries
from apps.scheduler.settings import SchedulerSettings
from apps.scheduler.signals import Unheeded
from apps.scheduler.skew import Skew
from apps.scheduler.taken import KafkaRequestLog, Taken
from apps.scheduler.ticks import KIND as TICK
from apps.scheduler.ticks import Ticks
from apps.service import ServiceApp
from apps.settings import read
from apps.waking import Waker
from events.dead_letters import send_dead_letter
from events.topics import ACTION_RESULT, DEAD_LETTER, EXECUTION, GROUP_OF_SCHEDULERS, SCHEDULE


class AgendaService(Service):
    """Starts the agenda after everything it needs, and stops it first."""

    def __init__(self, agenda: Agenda, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.agenda = agenda

    async def on_start(self) -> None:
        self.agenda.start()

    async def on_stop(self) -> None:
        await self.agenda.stop()


class SchedulerApp(ServiceApp):
    """The Faust app of the scheduler."""

    settings: SchedulerSettings

    def __init__(self, settings: SchedulerSettings) -> None:
        super().__init__(GROUP_OF_SCHEDULERS, settings, web_port=8082)
        registry = CollectorRegistry()
        self.scheduler_metrics = Metrics(registry)
        self.agenda = Agenda(wall_clock, limit=settings.scheduler_max_in_flight, on_release=self._released)
        self.scheduler_metrics.armed.set_function(lambda: len(self.agenda))
        self.scheduler_metrics.in_flight.set_function(lambda: self.agenda.in_flight)
        self._dead_letters = DEAD_LETTER.bind(self)
        publisher = KafkaPublisher(
            execution=EXECUTION.bind(self),
            action_result=ACTION_RESULT.bind(self),
            timeout=settings.scheduler_publish_timeout,
        )
        self._request_log = KafkaRequestLog(self.kafka, beacon=self.beacon)
        ticks = Ticks(
            executions=self.store.executions,
            workflows=self.store.workflows,
            occurrences=self.store.occurrences,
            publisher=publisher,
            agenda=self.agenda,
            clock=wall_clock,
            lookahead=settings.lookahead,
            lead=timedelta(seconds=settings.scheduler_lead),
            misfire_after=timedelta(seconds=settings.scheduler_misfire_after),
            metrics=self.scheduler_metrics,
        )
        retries = Retries(
            executions=self.store.executions,
            publisher=publisher,
            agenda=self.agenda,
            clock=wall_clock,
            lookahead=settings.lookahead,
            page=settings.scheduler_page,
            metrics=self.scheduler_metrics,
        )
        signals = Unheeded(
            signals=self.store.signals,
            waker=Waker(executions=self.store.executions, signals=self.store.signals, hand_out=publisher.request),
            agenda=self.agenda,
            clock=wall_clock,
            page=settings.scheduler_page,
        )
        line = Line(
            executions=self.store.executions,
            publisher=publisher,
            agenda=self.agenda,
            clock=wall_clock,
            page=settings.scheduler_page,
            metrics=self.scheduler_metrics,
        )
        backfills = Backfills(
            backfills=self.store.backfills,
            executions=self.store.executions,
            workflows=self.store.workflows,
            publisher=publisher,
            line=line,
            agenda=self.agenda,
            clock=wall_clock,
            lookahead=settings.lookahead,
            retention=settings.retention,
            page=settings.scheduler_page,
            metrics=self.scheduler_metrics,
        )
        endings = Endings(
            executions=self.store.executions,
            workflows=self.store.workflows,
            publisher=publisher,
            agenda=self.agenda,
            clock=wall_clock,
            lookahead=settings.lookahead,
            page=settings.scheduler_page,
            metrics=self.scheduler_metrics,
        )
        taken = Taken(self._request_log, clock=wall_clock, republish_after=settings.republish_after)
        orphans = Orphans(
            executions=self.store.executions,
            runners=self.store.runners,
            publisher=publisher,
            taken=taken,
            withdraw_if_passed_over=ticks.withdraw_if_passed_over,
            endings=endings,
            agenda=self.agenda,
            clock=wall_clock,
            monotonic=time.monotonic,
            republish_after=settings.republish_after,
            stale_after=settings.runner_stale_after,
            watch_interval=settings.scheduler_watch_interval,
            full_look_every=settings.scheduler_interval,
            max_lost_attempts=settings.max_lost_attempts,
            page=settings.scheduler_page,
            metrics=self.scheduler_metrics,
        )
        self.passes = Passes(
            agenda=self.agenda,
            ticks=ticks,
            retries=retries,
            signals=signals,
            line=line,
            backfills=backfills,
            orphans=orphans,
            endings=endings,
            taken=taken,
            skew=Skew(
                server_time=self.store.time, clock=wall_clock, monotonic=time.monotonic, metrics=self.scheduler_metrics
            ),
            census=Census(self.store.executions, clock=wall_clock, monotonic=time.monotonic, registry=registry),
            monotonic=time.monotonic,
            metrics=self.scheduler_metrics,
        )
        self.announcements = agents.Announcements(
            ticks=ticks,
            retries=retries,
            line=line,
            backfills=backfills,
            dead_letter=self._send_dead_letter,
            metrics=self.scheduler_metrics,
        )
        agents.install(self, self.announcements)
        retention = Retention(
            self.store.retentions(
                executions=settings.retention,
                ledger=timedelta(days=settings.ledger_retention_days),
                audit=timedelta(days=settings.audit_retention_days),
            ),
            agenda=self.agenda,
            server_time=self.store.time,
            clock=wall_clock,
            monotonic=time.monotonic,
            sleep=asyncio.sleep,
            metrics=self.scheduler_metrics,
        )
        timers.install(self, self.passes, retention, settings)
        views.install(self, self.agenda, self.scheduler_metrics)
        health.install(self, registry)
        self.on_partitions_assigned.connect(self._take_shards)  # type: ignore[arg-type]

    def on_init_dependencies(self) -> Iterable[ServiceT]:
        # Services stop in reverse order: the agenda, last here, finishes what is in flight while the producer still works.
        return [*super().on_init_dependencies(), self._request_log, AgendaService(self.agenda, beacon=self.beacon)]

    async def _take_shards(self, app: Any, assigned: set[TP], **_: Any) -> None:
        # Until then it keeps those that it had, though they are revoked: a rebalance waits for a scheduler that died until
        # its session ends, and nobody else would look after them. Two that look after the same do nothing twice.
        self.agenda.assign(_shards(assigned))
        # Not awaited: the rebalance under way would wait for a pass that waits for the rebalance.
        self.add_future(timers.pass_when_calm(self, self.passes))

    async def _send_dead_letter(self, event: EventT[Any], reason: str) -> None:
        await asyncio.wait_for(
            send_dead_letter(self._dead_letters, event.message, reason), self.settings.scheduler_publish_timeout
        )

    def _released(self, entry: Entry, lateness: timedelta) -> None:
        # A tick is taken up before its instant; how late it is, is told by what follows.
        if entry.key[0] != TICK:
            self.scheduler_metrics.released(str(entry.key[0]), lateness)


def _shards(partitions: set[TP]) -> frozenset[int]:
    return frozenset(tp.partition for tp in partitions if tp.topic == SCHEDULE.name)


def create_app(settings: SchedulerSettings) -> SchedulerApp:
    """Return the scheduler."""
    return SchedulerApp(settings)


app = create_app(read(SchedulerSettings))


def main() -> None:
    """Run the ``faust`` command line on this app."""
    app.main()
