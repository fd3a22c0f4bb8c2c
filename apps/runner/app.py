"""The runner's composition root: ``faust -A apps.runner.app worker``."""

import asyncio
import os
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog
from faust.types import TP, ServiceT, TopicT
from mode import Service
from prometheus_client import CollectorRegistry

from actions.http.connections import Connections
from actions.running import Resources, Send, Signalled
from apps import health
from apps.runner import agents, commands, views
from apps.runner.announcing import Announcer
from apps.runner.arrivals import Arrivals
from apps.runner.children import Children
from apps.runner.clock import now
from apps.runner.definitions import Definitions
from apps.runner.foreign import ForeignRequests
from apps.runner.heartbeat import Heartbeats
from apps.runner.intake import Intake
from apps.runner.isolation import Isolation
from apps.runner.metrics import Metrics, SubscriptionCollector
from apps.runner.patience import RETRY_DELAY
from apps.runner.positions import Positions
from apps.runner.projection import Followed, Projection
from apps.runner.runs import Runs
from apps.runner.settings import RunnerSettings
from apps.runner.signals import ForeignSignals, signalled_in
from apps.runner.startable import Starter
from apps.runner.strays import Strays
from apps.runner.subscriptions import Subscriptions
from apps.runner.tables import Tables
from apps.secret_values import secret_values
from apps.service import ServiceApp
from apps.settings import read
from apps.waking import Waker
from domain.execution import Execution
from events.folding import ended_record, request_record
from events.producer import Producer, acknowledged
from events.records import ActionResult, Event
from events.topics import ACTION_RESULT, DEAD_LETTER, EXECUTION, GROUP_OF_RUNNERS, SCHEDULE
from events.transport import Consumer
from vault.interfaces import SecretValues, VariableValues
from vault.variables import Variables

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Topics:
    """Where the runner publishes."""

    execution: TopicT
    action_result: TopicT
    schedule: TopicT
    dead_letter: TopicT


class Http(Service):
    """The pooled HTTP connections that all actions share."""

    def __init__(
        self,
        settings: RunnerSettings,
        *,
        secrets: SecretValues,
        variables: VariableValues,
        send: Send,
        children: Children,
        signalled: Signalled,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.connections = Connections(settings.http())
        self._resources = Resources(
            http=self.connections,
            secrets=secrets,
            variables=variables,
            send=send,
            trigger=children.trigger,
            ends=children.ends,
            signalled=signalled,
            publish_own_topics=settings.publish_own_topics,
        )

    async def on_stop(self) -> None:
        await self.connections.close()

    def resources(self) -> Resources:
        """Return what running actions share."""
        return self._resources


class Pulse(Service):
    """Notices when this process was suspended."""

    def __init__(self, positions: Positions, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = positions

    async def on_start(self) -> None:
        self.positions.tick()  # a process that waited for its database was not suspended

    @Service.task
    async def _tick(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)
            await self.positions.settle()
            self.positions.tick()


class RunnerApp(ServiceApp):
    """The Faust app of the runner."""

    settings: RunnerSettings

    def __init__(self, settings: RunnerSettings) -> None:
        super().__init__(GROUP_OF_RUNNERS, settings, web_port=8083)
        registry = CollectorRegistry()
        self.metrics = Metrics(registry)
        self.metrics.running.set_function(lambda: len(self.runs.live))
        self.runner_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self.tables_of_runner = Tables(self)
        self.event_topics = Topics(
            execution=EXECUTION.bind(self),
            action_result=ACTION_RESULT.bind(self),
            schedule=SCHEDULE.bind(self),
            dead_letter=DEAD_LETTER.bind(self),
        )
        self.secrets = secret_values(settings, self.store.secrets.all)
        self.definitions = Definitions(self.store.workflows)
        self.starter = Starter(
            executions=self.store.executions,
            workflows=self.store.workflows,
            definitions=self.definitions,
            hand_out=self._hand_out,
            tell_ended=self._tell_ended,
        )
        waker = Waker(executions=self.store.executions, signals=self.store.signals, hand_out=self._hand_out)
        self.announcer = Announcer(
            schedule=self.event_topics.schedule,
            waker=waker,
            places=self.starter.places,
            definitions=self.definitions,
            spawn=self.add_future,
        )
        children = Children(self.starter)
        self.http = Http(
            settings,
            secrets=self.secrets,
            variables=Variables(self.store.variables.values),
            send=self._send,
            children=children,
            signalled=signalled_in(self.store.signals),
            beacon=self.beacon,
        )
        self.positions = Positions(session_timeout=settings.kafka_session_timeout)
        self.pulse = Pulse(self.positions, beacon=self.beacon)
        self.runs = Runs(
            self.store.executions,
            runner=self.runner_id,
            limit=settings.runner_max_in_flight,
            mark_delay=settings.runner_write_delay,
            hand_back=self._hand_out,
            tell_ended=self._tell_ended,
            see_written=lambda seqs: self.projection.see_written(seqs),
            max_lost_attempts=settings.max_lost_attempts,
            beacon=self.beacon,
        )
        self.strays = Strays(
            self.store.executions,
            runs=self.runs,
            runner=self.runner_id,
            hand_back=self._hand_out,
            beacon=self.beacon,
        )
        self.followed = Followed()
        self.projection = Projection(
            self.store.executions,
            followed=self.followed,
            announce=self.announcer.result,
            recorded=self.runs.unrecorded.recorded,
            refuse=lambda ticket, reason: self.intake.refuse(ticket, reason),
            metrics=self.metrics,
            patience=settings.runner_write_delay,
            beacon=self.beacon,
        )
        self.heartbeats = Heartbeats(
            self.store.runners,
            runner=self.runner_id,
            interval=settings.runner_heartbeat_interval,
            beacon=self.beacon,
        )
        self.intake = Intake(
            runner=self.runner_id,
            executions=self.store.executions,
            definitions=self.definitions,
            runs=self.runs,
            positions=self.positions,
            followed=self.followed,
            tables=self.tables_of_runner,
            foreign=ForeignRequests(self.starter),
            dead_letter=self.event_topics.dead_letter,
            publish_result=self._publish_result,
            resources=self.http.resources,
            abandon=children.cancel_awaited,
            isolation=Isolation(after=settings.runner_isolate_after, limit=settings.runner_max_isolated),
            republish_after=settings.republish_after,
            metrics=self.metrics,
        )
        self.arrivals = Arrivals(self.starter, turn_away=self.intake.turn_away)
        self.subscriptions = Subscriptions(
            self.store.workflows,
            arrivals=self.arrivals,
            broker=self.kafka,
            session_timeout=settings.kafka_session_timeout,
            beacon=self.beacon,
        )
        registry.register(SubscriptionCollector(lambda: self.subscriptions.readers))
        self.foreign_signals = ForeignSignals(
            executions=self.store.executions,
            definitions=self.definitions,
            signals=self.store.signals,
            waker=waker,
            refuse=self.intake.refuse,
        )
        self.results = agents.Results(
            tables=self.tables_of_runner,
            projection=self.projection,
            runs=self.runs,
            positions=self.positions,
            refuse=self.intake.refuse,
            announce_end=self.announcer.end,
            cancel_awaited=children.cancel_awaited,
        )
        agents.install(self, self.intake, self.foreign_signals, self.results)
        views.install(self)
        commands.install(self)
        health.install(self, registry)
        self.on_partitions_assigned.connect(self._note_positions)  # type: ignore[arg-type]
        self.on_partitions_revoked.connect(self._leave_partitions)  # type: ignore[arg-type]

    @property
    def stop_grace(self) -> float:
        return self.settings.runner_grace_period

    def is_full(self) -> bool:
        return self.runs.is_full

    def dependencies(self) -> Iterable[ServiceT]:
        return [self.http, self.pulse, self.runs, self.strays, self.projection, self.heartbeats, self.subscriptions]

    async def publish(self, topic: TopicT, workflow_id: str, *events: Event) -> None:
        """Publish ``events`` in their order, trying again until the broker has acknowledged them."""
        while True:
            try:
                sent = [await topic.send(key=workflow_id, value=event) for event in events]
                await acknowledged(*sent, timeout=self.settings.runner_publish_timeout)
                return
            except Exception as error:
                log.warning("not published; trying again", topic=topic.get_topic_name(), error=repr(error))
                await asyncio.sleep(RETRY_DELAY)

    async def _publish_result(self, workflow_id: str, result: ActionResult) -> None:
        await self.publish(self.event_topics.action_result, workflow_id, result)
        live = self.runs.published(result.execution_id, result.epoch, result.seq)
        self.metrics.finished_action(result, result.kind or "unknown", live.run.cause if live else "unknown")

    async def _send(
        self, topic: str, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]
    ) -> tuple[int, int]:
        sent = await cast(Producer, self.producer).send_to_any(topic, key, value, headers)
        (metadata,) = await acknowledged(sent)
        return metadata.partition, metadata.offset

    async def _hand_out(self, *executions: Execution) -> None:
        """Publish the requests of executions of one workflow."""
        await self.publish(self.event_topics.execution, executions[0].workflow_id, *map(request_record, executions))

    async def _tell_ended(self, execution: Execution) -> None:
        await self.publish(self.event_topics.action_result, execution.workflow_id, ended_record(execution))

    async def _note_positions(self, app: Any, assigned: set[TP], **_: Any) -> None:
        ours = frozenset(tp for tp in assigned if tp.topic in (EXECUTION.name, ACTION_RESULT.name))
        if not ours:
            return
        ends = await self.consumer.highwaters(*ours)
        committed = await cast(Consumer, self.consumer).committed_offsets(ours)
        self.positions.assigned(ends, committed, now())

    async def _leave_partitions(self, app: Any, revoked: set[TP], **_: Any) -> None:
        self.positions.revoked(revoked)
        self.intake.acks.forget(revoked)
        self.foreign_signals.acks.forget(revoked)
        self.results.acks.forget(revoked)
        self.projection.hurry()
        await self.runs.flush_marks()

    async def on_stop(self) -> None:
        await self.subscriptions.stop()  # others take over what it has read
        # Before the consumer and the producer stop: what finishes in the grace period still publishes its results.
        left = await self.runs.drain(self.settings.runner_grace_period)
        await self.runs.hand_back_all(left)
        await super().on_stop()


def create_app(settings: RunnerSettings) -> RunnerApp:
    """Return the runner."""
    return RunnerApp(settings)


app = create_app(read(RunnerSettings))


def main() -> None:
    """Run the ``faust`` command line on this app."""
    app.main()
