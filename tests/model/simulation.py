"""The real handlers on a simulated world: virtual time, a broker and a database in memory, processes that die anywhere.

Everything between two effects (a call of the store, a record published, an action begun or ended) is the services' own
code. Each effect is a place where a process may be interrupted: it waits a moment there, so that processes interleave; it
stands still there while it is frozen; and it dies there, before or after the effect, when its fuse has burnt down. A dead
process simply never goes on. Executions are kept by the real repository, on collections in memory
(:mod:`tests.model.database`).
"""

import asyncio
import selectors
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from faust.types import TP
from prometheus_client import CollectorRegistry
from pymongo.errors import AutoReconnect, BulkWriteError

from actions import trigger_workflow, wait_for_signal
from actions.delay import DelayAction
from actions.registry import WorkflowDefinition
from actions.running import Delayed, Failed, Resources, Succeeded
from actions.trigger_workflow import TriggerWorkflowAction
from actions.wait_for_signal import WaitForSignalAction
from apps.runner import announcing, attempts, children, foreign, intake, positions, runs, startable, strays
from apps.runner.agents import Results
from apps.runner.announcing import Announcer
from apps.runner.children import Children
from apps.runner.definitions import Definitions
from apps.runner.metrics import Metrics as RunnerMetrics
from apps.runner.projection import Followed, Projection
from apps.runner.signals import signalled_in
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
from apps.scheduler.taken import LogUnavailable, Reach, Taken
from apps.scheduler.ticks import Ticks
from apps.signals import NotHeeded, send
from apps.waking import Waker
from apps.workflows import admission, cancellation, definitions
from apps.workflows import backfills as asking
from apps.workflows.errors import AlreadyFinished, BackfillEnded, BackfillInProgress, InProgress, UnknownWorkflow
from domain.execution import TERMINAL, Execution, Restart
from domain.identifiers import execution_id as new_id
from domain.instants import instant
from domain.signal import Signal
from events.folding import ended_record, request_record
from events.records import ActionResult, Event, ExecutionRequest, HolderEnded, WakeUp
from events.topics import ACTION_RESULT, EXECUTION, PARTITIONS, partition_of
from events.wire import Decoder, encode
from store import execution_reads
from store.execution_documents import from_document
from store.executions import MongoExecutions
from store.interfaces import Heartbeat, StoreUnavailable, Workflow
from tests.fakes.stores import FakeBackfills, FakeExecutions, FakeOccurrences, FakeRunners, FakeSignals, FakeWorkflows
from tests.model.database import Collection, Document, View

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
SHARDS = frozenset(range(PARTITIONS))
SESSION = 10.0
STALE = 10.0
REPUBLISH = 8.0
MAX_LOST = 3  # runners in a row
LIMIT = 50  # runs at once
INTERVAL = timedelta(seconds=4)  # of the periodic workflow
STOPS_WITHIN = 3.0  # seconds: two looks, and the steps between
TOPICS = {EXECUTION.name: Decoder(*EXECUTION.records), ACTION_RESULT.name: Decoder(*ACTION_RESULT.records)}


class Broken(AssertionError):
    """A rule of the protocol does not hold."""


class _Jump(selectors.SelectSelector):
    """Waits for no time: it moves the loop's clock instead."""

    clock = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise RuntimeError("nothing will ever happen again")
            self.clock += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes at once."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)
        self.set_exception_handler(lambda loop, context: None)

    def time(self) -> float:
        return self._jump.clock

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Do it here and now: a thread would take time of the real clock."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future


class Process:
    """Something that may be frozen, or die at any of its effects."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.disturbed_at = 0.0  # when it last stood still
        self.fuse: int | None = None
        self.thawed = asyncio.Event()
        self.thawed.set()

    async def step(self) -> None:
        """Be between two effects."""
        await asyncio.sleep(self.world.random.uniform(0, 0.02))
        while not self.thawed.is_set():
            await self.thawed.wait()
        if self.fuse is not None and self.alive:
            self.fuse -= 1
            self.alive = self.fuse > 0
        if not self.alive:
            await asyncio.get_running_loop().create_future()

    async def effect(self, do: Callable[[], Any]) -> Any:
        """Bring about an effect of one instant."""
        await self.step()
        result = do()
        await self.step()
        return result

    @property
    def collections(self) -> dict[str, Collection]:
        """The database, for its driver."""
        return self.world.collections

    async def command(self, do: Callable[[], Any]) -> Any:
        """Have the database do something."""
        await self.step()
        if self.world.store == "down":
            raise AutoReconnect("no answer")
        if self.world.is_late():
            self.world.later(do)
            raise AutoReconnect("no answer in time")
        result = do()
        if self.world.store == "doubtful" and self.world.random.random() < 0.5:
            raise AutoReconnect("the answer was lost")
        await self.step()
        return result

    def refuses(self) -> bool:
        """Tell whether the database refuses a write."""
        return self.world.store == "full" and self.world.random.random() < 0.5

    def spawn(self, work: Awaitable[None]) -> None:
        """Have something done beside the others."""
        self.world.tasks.append(asyncio.ensure_future(work))


class Facade:
    """A repository as one process sees it."""

    def __init__(self, process: Process, target: Any) -> None:
        self._process = process
        self._target = target

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._process.step()
            world = self._process.world
            if world.store == "down":
                raise StoreUnavailable(f"{name}: no answer")
            if world.is_late():
                world.later(lambda: world.tasks.append(asyncio.ensure_future(method(*args, **kwargs))))
                raise StoreUnavailable(f"{name}: no answer in time")
            result = await method(*args, **kwargs)  # of a fake: it never waits
            if world.store == "doubtful" and world.random.random() < 0.5:
                raise StoreUnavailable(f"{name}: the answer was lost")
            await self._process.step()
            return result

        async def iterate(*args: Any) -> Any:
            await self._process.step()
            if self._process.world.store == "down":
                raise StoreUnavailable(f"{name}: no answer")
            for found in [each async for each in method(*args)]:
                yield found

        return iterate if name == "due" else call


@dataclass
class Record:
    """A record as a stream gives it to an agent."""

    value: Event
    message: Any
    runner: "Runner"
    generation: int

    def ack(self) -> None:
        if self.runner.generation == self.generation:
            tp = self.message.tp
            self.runner.acked[tp] = max(self.runner.acked.get(tp, 0), self.message.offset + 1)


class World:
    """What the processes share: the time, the broker, the database."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.loop = VirtualLoop()
        self.tasks: list[asyncio.Future[Any]] = []
        self.collections = {
            "open_executions": Collection(self._judge_open, unique=("lock_key",)),
            "executions": Collection(self._judge_finished),
            "untold_ends": Collection(lambda *_: None),
        }
        self._repetitions: set[str] = set()  # ids that are open anew although they had finished
        self.workflows = FakeWorkflows()
        self.runners_store = FakeRunners()
        self.occurrences = FakeOccurrences()
        self.backfills = FakeBackfills()
        self.signals = FakeSignals()
        self.signalled: set[str] = set()  # for what a signal is kept
        self.log: dict[TP, list[tuple[bytes, float]]] = defaultdict(list)
        self.wipes = 0  # how often the log lost something
        # Or down: no answers; doubtful: answers are lost at times; full: writes are refused at times; late: some writes are
        # done after a while only, when nobody waits for them any more.
        self.store = "up"
        self.broker = "up"  # down: takes nothing; doubtful: acknowledgements are lost at times
        self.committed: dict[TP, int] = {}
        self.kept: tuple[dict[TP, int], dict[TP, int]] | None = None  # a backup: ends of the log, committed offsets
        self.runners: list[Runner] = []
        self.schedulers: list[Scheduler] = []
        self.promised: set[str] = set()
        self.withdrawn: set[str] = set()
        self.cancelled: set[str] = set()
        self.ended_at_once: set[str] = set()
        self.began: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)  # (execution, epoch) -> runner, index
        self.unrepeatable: set[tuple[str, int, int]] = set()  # (execution, attempt, index) that must not be begun again
        self.running: dict[tuple[str, str], Runner] = {}  # (execution, runner)
        self.ended_at: dict[str, float] = {}
        self.disturbed_at = 0.0  # when the database was last away
        self.failing = 0.2
        self.slow = 0.3
        # The group coordinator.
        self.generation = 0
        self.members: dict[Runner, float] = {}  # when each was last heard of
        self.joined: set[Runner] = set()
        self.rebalancing = False
        self._names = 0

    @property
    def now(self) -> datetime:
        return instant(START + timedelta(seconds=self.loop.time()))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run_until_complete(asyncio.sleep(seconds))
        self._look_for_runs_that_are_over()
        for task in self.tasks:
            if task.done() and not task.cancelled() and isinstance(task.exception(), Broken):
                raise task.exception()  # type: ignore[misc]
        self.tasks = [task for task in self.tasks if not task.done()]

    def close(self) -> None:
        for process in [*self.runners, *self.schedulers]:
            process.alive = False
        # A task that is cancelled may make another one in its last moment, or go on in order to tell what broke off.
        while tasks := asyncio.all_tasks(self.loop):
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=1))
        self.loop.close()

    def define(self, workflow_id: str, *, paused: bool = False, **more: Any) -> None:
        log = {"type": "log", "message": "a"}
        definition = WorkflowDefinition.model_validate(
            {
                "workflowId": workflow_id,
                "trigger": {"type": "manual"},
                "actions": [log, log],
                "retries": 2,
                "backoff": {"base": "1s", "cap": "2s"},
                **more,
            }
        )
        self.workflows.heads[workflow_id] = Workflow(
            workflow_id=workflow_id,
            version=1,
            definition=definition.to_document(),
            total_actions=len(definition.actions),
            shard=partition_of(workflow_id),
            created_at=self.now,
            updated_at=self.now,
            anchor=self.now,
            next_run=self.now + INTERVAL if definition.trigger.type == "periodic" and not paused else None,
            paused_at=self.now if paused else None,
            held_from=self.now + INTERVAL if paused else None,
        )

    def executions_of(self, process: "Process") -> MongoExecutions:
        """Return the repository of one process."""
        live, finished = View(process, "open_executions"), View(process, "executions")
        return MongoExecutions(live, finished)  # type: ignore[arg-type]

    @property
    def listening(self) -> list["Scheduler"]:
        """The schedulers that hear what is announced."""
        return [each for each in self.schedulers if each.alive and each.thawed.is_set() and self.broker == "up"]

    def is_late(self) -> bool:
        """Tell whether the database does what it is asked for when nobody waits for that any more."""
        return self.store == "late" and self.random.random() < 0.3

    def later(self, do: Callable[[], Any]) -> None:
        """Have it done after a while."""

        def do_it() -> None:
            with suppress(BulkWriteError):
                do()

        self.loop.call_later(self.random.uniform(0.1, 5), do_it)

    def name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    # -- the database --------------------------------------------------------------------------------------------------

    def execution(self, execution_id: str) -> Execution | None:
        """Return an execution as anybody sees it: what is open shadows what has finished."""
        for name in ("open_executions", "executions"):
            document = self.collections[name].documents.get(execution_id)
            if document is not None:
                return from_document(document)
        return None

    @property
    def everything(self) -> dict[str, Execution]:
        """Every execution."""
        ids = {*self.collections["executions"].documents, *self.collections["open_executions"].documents}
        return {execution_id: found for execution_id in sorted(ids) if (found := self.execution(execution_id)) is not None}

    def _judge_open(self, execution_id: str, document: Document | None) -> None:
        finished = self.collections["executions"].documents.get(execution_id)
        before = self.collections["open_executions"].documents.get(execution_id)
        if document is None and execution_id in self._repetitions:
            self._repetitions.discard(execution_id)
        elif document is None and before is not None and finished is None and self._is_withdrawn(before):
            self.withdrawn.add(execution_id)
        elif document is None and before is not None and finished is not None and self._is_taken_back(before, finished):
            pass
        elif document is None:
            self._judge(execution_id, from_document(finished) if finished is not None else None)
        elif finished is not None and before is None:
            # A tick or a record that is repeated, or an insert that nobody waits for any more.
            self._repetitions.add(execution_id)
            if (document["epoch"], document["seq"]) != (1, 0):
                self._broken(f"{execution_id} has finished and is open again: {document}")
        else:
            self._judge(execution_id, from_document(document))

    def _is_withdrawn(self, document: Document) -> bool:
        """A tick whose insert came after its schedule had passed it over, and that nobody has run."""
        untouched = (document["epoch"], document["seq"], document["cause"]) == (1, 0, "schedule")
        return untouched and not any(each == document["_id"] for each, _ in self.began)

    def _is_taken_back(self, document: Document, finished: Document) -> bool:
        """Two runners had the same record in hand: the one that was to admit it sees that the other one has skipped it."""
        untouched = (document["epoch"], document["seq"], finished["epoch"]) == (1, 0, 0)
        return untouched and not any(each == document["_id"] for each, _ in self.began)

    def _judge_finished(self, execution_id: str, document: Document | None) -> None:
        finished = self.collections["executions"].documents.get(execution_id)
        if document is not None and execution_id in self._repetitions and finished is not None:
            if document["status"] != finished["status"]:
                self._broken(f"a terminal state was overwritten: {finished} by {document}")
        elif document is not None and execution_id not in self.collections["open_executions"].documents:
            self._judge(execution_id, from_document(document))

    def _judge(self, execution_id: str, new: Execution | None) -> None:
        """Hold what an execution becomes against the rules."""
        old = self.execution(execution_id)
        if old is None or execution_id in self._repetitions:
            return
        if new is None:
            self._broken(f"{old} is gone")
        elif old.status in TERMINAL and new != old:
            self._broken(f"a terminal state was overwritten: {old} by {new}")
        elif new.epoch < old.epoch or not set(old.results) <= set(new.results):
            self._broken(f"{old} went back to {new}")
        elif not set(old.intents) <= set(new.intents) and new.status not in TERMINAL:
            self._broken(f"an intent was forgotten: {old} became {new}")
        elif new.status in TERMINAL and old.status not in TERMINAL:
            self.ended_at[execution_id] = self.loop.time()

    # -- the broker ----------------------------------------------------------------------------------------------------

    def append(self, topic: str, workflow_id: str, record: Event) -> bool:
        """Append a record; tell whether its producer hears so."""
        if self.broker == "down":
            return False
        self.log[TP(topic, partition_of(workflow_id))].append((encode(record), self.now.timestamp()))
        return self.broker == "up" or self.random.random() < 0.5

    def wipe(self) -> None:
        """Lose everything that the broker had."""
        self.kept = {}, {}
        self.restore()

    def back_up(self) -> None:
        """Keep what the broker has now."""
        self.kept = {tp: len(records) for tp, records in self.log.items()}, dict(self.committed)

    def restore(self) -> None:
        """Have the broker as it was when it was backed up; consumers begin anew where what they had read is gone."""
        ends, committed = self.kept or ({}, {})
        self.wipes += 1
        for tp, records in self.log.items():
            del records[ends.get(tp, 0) :]
        self.committed = dict(committed)
        for runner in self.runners:
            for tp, offset in runner.next.items():
                if offset > len(self.log[tp]):
                    runner.next[tp] = runner.acked[tp] = 0

    # -- the group coordinator: one generation after the other, everybody or expired ------------------------------------

    def heard_of(self, runner: "Runner") -> None:
        """A member's heartbeat, its first one being a request to join."""
        now = self.loop.time()
        if runner not in self.members:
            self.rebalancing, self.joined = True, set()
        self.members[runner] = now
        for member, heard in list(self.members.items()):
            if now - heard > SESSION:
                del self.members[member]
                self.rebalancing, self.joined = True, set()

    def join(self, runner: "Runner") -> None:
        """A member has given up its partitions and waits for new ones."""
        self.joined.add(runner)
        if self.rebalancing and self.joined >= set(self.members):
            self.rebalancing = False
            self.generation += 1

    def share_of(self, runner: "Runner") -> list[TP]:
        members = sorted(self.members, key=lambda member: member.name)
        place = members.index(runner)
        # Which member gets which partition changes with every generation, so that all of them move.
        return [
            TP(topic, number)
            for topic in TOPICS
            for number in range(PARTITIONS)
            if (number + self.generation) % len(members) == place
        ]

    # -- actions -------------------------------------------------------------------------------------------------------

    async def act(self, action: Any, context: Any, *, apart: bool = False) -> Any:
        """Run an action; takes the place of ``run_action``."""
        runner: Runner = context.resources
        await runner.step()
        found = self.execution(context.execution_id)
        assert found is not None
        index = int(context.action_id[-1]) - 1
        began = self.began[context.execution_id, context.epoch]
        began.append((runner.name, index))
        if len({name for name, _ in began}) > 1 or [index for _, index in began] != sorted({index for _, index in began}):
            raise self._broken(f"{context.execution_id} was run twice under epoch {context.epoch}: {began}")
        finished = self.collections["executions"].documents.get(context.execution_id)
        if finished is not None and context.execution_id in self._repetitions and context.epoch > finished["epoch"]:
            raise self._broken(f"{context.execution_id} has finished and is run again under epoch {context.epoch}")
        if found.cut_short is not None and index < found.total_actions and context.epoch == found.epoch:
            raise self._broken(f"{context.execution_id}: {context.action_id} was run although it was cut short")
        succeeded = any(outcome.index == index and outcome.status == "ok" for outcome in found.results.values())
        if succeeded and found.status.is_open and found.epoch == context.epoch:
            raise self._broken(f"{context.execution_id}: {context.action_id} had succeeded and was run again")
        if getattr(action, "on_unknown", "") == "fail":
            begun = (context.execution_id, context.attempt, index)
            if begun in self.unrepeatable:
                raise self._broken(f"{context.execution_id}: {context.action_id} was in doubt and was run again")
            self.unrepeatable.add(begun)
        self.running[context.execution_id, runner.name] = runner
        try:
            return await self._act(action, context, runner, apart)
        finally:
            self.running.pop((context.execution_id, runner.name), None)

    async def _act(self, action: Any, context: Any, runner: "Runner", apart: bool) -> Any:
        if isinstance(action, DelayAction):
            return Delayed(self.now + timedelta(seconds=2), logs=("waits",))
        if isinstance(action, TriggerWorkflowAction):
            resources = Resources(http=None, trigger=runner.children.trigger, ends=runner.children.ends)  # type: ignore[arg-type]
            return await trigger_workflow.run(action, replace(context, resources=resources))
        if isinstance(action, WaitForSignalAction):
            signals = Facade(runner, self.signals)
            resources = Resources(http=None, signalled=signalled_in(signals))  # type: ignore[arg-type]
            return await wait_for_signal.run(action, replace(context, resources=resources))
        if getattr(action, "message", "") == "poison":
            if apart:
                return Failed("crashed", "exit status 1")
            runner.alive = False
        if getattr(action, "message", "") == "doom":  # there as well, or it breaks its run off
            runner.alive = self.random.random() < 0.7
            await runner.step()
            raise asyncio.CancelledError
        await asyncio.sleep(self.random.uniform(0.5, 4) if self.random.random() < self.slow else 0.01)
        await runner.step()
        return Failed("connect", "no") if self.random.random() < self.failing else Succeeded()

    def _look_for_runs_that_are_over(self) -> None:
        """A run whose execution has ended stops soon, wherever it is and whoever cannot be reached."""
        now = self.loop.time()
        if self.store != "up":
            self.disturbed_at = now
        for (execution_id, name), runner in self.running.items():
            since = max(self.ended_at.get(execution_id, now), self.disturbed_at, runner.disturbed_at)
            if runner.alive and runner.thawed.is_set() and now - since > STOPS_WITHIN:
                self._broken(f"{execution_id} ended {now - since:.1f} s ago, and {name} still runs it")

    def judge_rest(self) -> None:
        """Where nothing is left to do, a runner has acknowledged every record, and each of its places is free, once."""
        self.run(5)
        for runner in self.runners:
            if not runner.alive or runner.runs.live:
                continue
            # Behind the end is what came before the broker lost its data, and was acknowledged afterwards.
            held = {tp: offset for tp, offset in runner.acked.items() if offset < len(self.log[tp])}
            if held:
                raise Broken(f"{runner.name} has not acknowledged what comes after {held}")
            free = self.loop.run_until_complete(runner.take_every_place())
            if free != LIMIT:
                raise Broken(f"{free} of {LIMIT} places of {runner.name} are free, and nothing runs there")

    def _broken(self, what: str) -> Broken:
        broken = Broken(what)
        failed = self.loop.create_future()
        failed.set_exception(broken)  # a handler may catch what is raised here
        self.tasks.append(failed)
        return broken


class Runner(Process):
    """A runner, without Faust."""

    def __init__(self, world: World) -> None:
        super().__init__(world, world.name("runner"))
        executions = world.executions_of(self)
        workflows = Facade(self, world.workflows)
        self.generation = -1
        self.acked: dict[TP, int] = {}
        self.next: dict[TP, int] = {}
        self.positions = positions.Positions(session_timeout=SESSION)
        tables = SimpleNamespace(busy={}, retries={})
        metrics = RunnerMetrics(CollectorRegistry())
        self.runs = runs.Runs(
            executions,
            runner=self.name,
            limit=LIMIT,
            mark_delay=0.1,
            hand_back=self._hand_back,
            tell_ended=self._tell_ended,
            see_written=lambda seqs: self.projection.see_written(seqs),
            max_lost_attempts=MAX_LOST,
        )
        self.strays = strays.Strays(executions, runs=self.runs, runner=self.name, hand_back=self._hand_back)
        waker = Waker(executions=executions, signals=Facade(self, world.signals), hand_out=self._hand_back)
        known = Definitions(workflows)
        self.starter = startable.Starter(
            executions=executions,
            workflows=workflows,
            definitions=known,
            hand_out=self._hand_back,
            tell_ended=self._tell_ended,
        )
        self.announcer = Announcer(
            schedule=SimpleNamespace(send=self._tell_schedulers),  # type: ignore[arg-type]
            waker=waker,
            places=self.starter.places,
            definitions=known,
            spawn=self.spawn,
        )
        self.followed = Followed()
        self.projection = Projection(
            executions,
            followed=self.followed,
            announce=self.announcer.result,
            recorded=self.runs.unrecorded.recorded,
            refuse=lambda ticket, reason: self.intake.refuse(ticket, reason),
            metrics=metrics,
            patience=0.1,
        )
        self.children = Children(self.starter)
        self.secrets = Resources(http=None).secrets  # type: ignore[arg-type]
        self.intake = intake.Intake(
            runner=self.name,
            executions=executions,
            definitions=known,
            runs=self.runs,
            positions=self.positions,
            followed=self.followed,
            tables=tables,
            foreign=foreign.ForeignRequests(self.starter),
            dead_letter="dead",  # type: ignore[arg-type]
            publish_result=self._publish_result,
            resources=lambda: self,
            abandon=self.children.cancel_awaited,
            isolation=Apart(self),
            republish_after=REPUBLISH,
            metrics=metrics,
        )
        self.results = Results(
            tables=tables,
            projection=self.projection,
            runs=self.runs,
            refuse=self.intake.refuse,
            positions=self.positions,
            announce_end=self.announcer.end,
            cancel_awaited=self.children.cancel_awaited,
        )
        self.beats = 0
        self.clogged = False  # takes no requests for now, but lives

    async def take_every_place(self) -> int:
        """Leave no place to run, and return how many were free."""
        free = 0
        while not self.runs.is_full:
            await self.runs.slot()
            free += 1
        return free

    async def _publish_result(self, workflow_id: str, result: ActionResult) -> None:
        await self.publish(ACTION_RESULT.name, workflow_id, result)
        self.runs.published(result.execution_id, result.epoch, result.seq)

    async def start(self) -> None:
        for service in (self.runs, self.projection, self.strays):
            await service.start()
        for work in (self._beat(), self._pulse(), self._be_member(), self._consume(EXECUTION.name, self.intake.take)):
            self.spawn(work)
        self.spawn(self._consume(ACTION_RESULT.name, self.results.take))

    async def publish(self, topic: str, workflow_id: str, record: Event) -> None:
        while True:
            if await self.effect(lambda: self.world.append(topic, workflow_id, record)):
                return
            await asyncio.sleep(0.5)

    async def _hand_back(self, execution: Execution) -> None:
        await self.publish(EXECUTION.name, execution.workflow_id, request_record(execution))

    async def _tell_ended(self, execution: Execution) -> None:
        await self.publish(ACTION_RESULT.name, execution.workflow_id, ended_record(execution))

    async def _tell_schedulers(self, *, key: str, value: Event) -> None:
        for scheduler in self.world.listening:
            if isinstance(value, HolderEnded):
                scheduler.line.announce(key, partition_of(key))
            elif isinstance(value, WakeUp):
                why = Restart.WOKEN if value.delay else Restart.RETRY
                scheduler.retries.announce(value.execution_id, key, partition_of(key), value.epoch, value.wake_at, why)

    async def stop(self) -> None:
        """Stop as SIGTERM asks for."""
        left = await self.runs.drain(0.5)
        await self.runs.hand_back_all(left)
        self._commit()
        await self.effect(lambda: self.world.runners_store.beats.pop(self.name, None))
        self.alive = False

    # -- what Faust does -----------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        while True:
            self.beats += 1
            await self.step()
            if self.world.store == "up":
                await self.world.runners_store.beat(Heartbeat(self.name, self.beats))
            await asyncio.sleep(2)

    async def _pulse(self) -> None:
        while True:
            await asyncio.sleep(1)
            await self.step()
            await self.positions.settle()
            self.positions.tick()

    async def _be_member(self) -> None:
        world = self.world
        while True:
            await self.step()
            world.heard_of(self)
            if world.rebalancing and self not in world.joined:
                await self._revoke()
                world.heard_of(self)
                world.join(self)
            elif not world.rebalancing and self.generation != world.generation and self in world.members:
                self._assign()
            await asyncio.sleep(0.5)

    async def _revoke(self) -> None:
        self._commit()
        revoked = set(self.next)
        self.next.clear()
        self.acked.clear()
        self.generation = -1
        self.positions.revoked(revoked)
        self.intake.acks.forget(revoked)
        self.results.acks.forget(revoked)
        self.projection.hurry()
        await self.runs.flush_marks()

    def _assign(self) -> None:
        world = self.world
        share = world.share_of(self)
        committed = {tp: world.committed.get(tp, 0) for tp in share}
        self.generation = world.generation
        self.positions.assigned({tp: len(world.log[tp]) for tp in share}, committed, world.now)
        # What lies beyond the end is out of range, and is read from the beginning.
        self.next = {tp: offset if offset <= len(world.log[tp]) else 0 for tp, offset in committed.items()}
        self.acked = dict(committed)

    def _commit(self) -> None:
        # The broker refuses commits of a generation that is over.
        if self.generation == self.world.generation and self in self.world.members:
            self.world.committed.update(self.acked)

    async def _consume(self, topic: str, take: Callable[[Any], Awaitable[None]]) -> None:
        since = 0.0
        while True:
            taken = False
            for tp in [tp for tp in self.next if tp.topic == topic]:
                offset = self.next.get(tp)
                if offset is None or offset >= len(self.world.log[tp]) or (self.clogged and topic == EXECUTION.name):
                    continue
                taken = True
                raw, at = self.world.log[tp][offset]
                self.next[tp] = offset + 1
                message = SimpleNamespace(
                    topic=topic,
                    partition=tp.partition,
                    offset=offset,
                    tp=tp,
                    timestamp=at,
                    timestamp_type=1,  # when it was appended
                    key=None,
                    value=raw,
                )
                record = Record(TOPICS[topic](raw), message, self, self.generation)
                await self.step()
                if self.generation == record.generation:
                    await take(record)
            if self.world.loop.time() - since > 3:
                since = self.world.loop.time()
                await self.step()
                self._commit()
            if not taken:
                await asyncio.sleep(0.05)


class Apart:
    """Processes of their own, for actions that may kill."""

    after = 2  # lost runners make a suspect

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    @asynccontextmanager
    async def process(self) -> AsyncIterator["Apart"]:
        yield self

    async def run(self, action: Any, context: Any) -> Any:
        return await self.runner.world.act(action, context, apart=True)


class Scheduler(Process):
    """A scheduler, without Faust; it looks after every shard."""

    def __init__(self, world: World) -> None:
        super().__init__(world, world.name("scheduler"))
        executions = world.executions_of(self)
        workflows = Facade(self, world.workflows)
        clock = lambda: world.now  # noqa: E731
        metrics = Metrics(CollectorRegistry())
        self.agenda = Agenda(clock)
        self.agenda.assign(SHARDS)
        shared: dict[str, Any] = {"publisher": self, "agenda": self.agenda, "clock": clock, "metrics": metrics}
        lookahead = timedelta(seconds=8.5)
        ticks = Ticks(
            executions=executions,
            workflows=workflows,
            occurrences=Facade(self, world.occurrences),
            lead=timedelta(seconds=0.5),
            lookahead=lookahead,
            misfire_after=timedelta(seconds=5),
            **shared,
        )
        self.retries = Retries(executions=executions, lookahead=lookahead, page=100, **shared)
        signals = Facade(self, world.signals)
        waker = Waker(executions=executions, signals=signals, hand_out=self.request)
        self.line = Line(executions=executions, page=100, **shared)
        endings = Endings(executions=executions, workflows=workflows, lookahead=lookahead, page=100, **shared)
        taken = Taken(self, clock=clock, republish_after=REPUBLISH)
        orphans = Orphans(
            executions=executions,
            runners=Facade(self, world.runners_store),
            withdraw_if_passed_over=ticks.withdraw_if_passed_over,
            taken=taken,
            monotonic=world.loop.time,
            republish_after=REPUBLISH,
            stale_after=STALE,
            watch_interval=2,
            full_look_every=5,
            max_lost_attempts=MAX_LOST,
            endings=endings,
            page=100,
            **shared,
        )
        self.passes = Passes(
            agenda=self.agenda,
            ticks=ticks,
            retries=self.retries,
            signals=Unheeded(signals=signals, waker=waker, agenda=self.agenda, clock=clock, page=100),
            line=self.line,
            backfills=Backfills(
                backfills=Facade(self, world.backfills),
                executions=executions,
                workflows=workflows,
                line=self.line,
                lookahead=lookahead,
                retention=timedelta(days=30),
                page=100,
                **shared,
            ),
            orphans=orphans,
            endings=endings,
            taken=taken,
            skew=Skew(server_time=self._server_time, clock=clock, monotonic=world.loop.time, metrics=metrics),
            census=Census(FakeExecutions(), clock=clock, monotonic=world.loop.time, registry=CollectorRegistry()),
            monotonic=world.loop.time,
            metrics=metrics,
        )

    async def _server_time(self) -> datetime:
        return self.world.now

    async def reaches(self) -> dict[int, Reach]:
        """Take the place of Kafka as the scheduler asks it."""
        await self.step()
        if self.world.broker == "down":
            raise LogUnavailable("no answer")
        tps = [TP(EXECUTION.name, number) for number in range(PARTITIONS)]
        found = {tp.partition: Reach(len(self.world.log[tp]), self.world.committed.get(tp, 0)) for tp in tps}
        await self.step()
        return found

    async def start(self) -> None:
        self.agenda.start()
        self.spawn(self._every(5, self.passes.look_ahead))
        self.spawn(self._every(2, self.passes.watch_runners))
        self.spawn(self._every(1, self._watch_requests))

    async def _watch_requests(self) -> None:
        await self.passes.watch_requests()
        await self.passes.watch_deadlines()

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await self.step()
            await work()
            await asyncio.sleep(seconds)

    async def request(self, execution: Execution) -> bool:
        record = request_record(execution)
        return bool(await self.effect(lambda: self.world.append(EXECUTION.name, execution.workflow_id, record)))

    async def ended(self, execution: Execution) -> bool:
        record = ended_record(execution)
        return bool(await self.effect(lambda: self.world.append(ACTION_RESULT.name, execution.workflow_id, record)))


class Api(Process):
    """One call of the API."""

    def _publisher(self, topic: str) -> Any:
        async def publish(workflow_id: str, record: Event) -> bool:
            return bool(await self.effect(lambda: self.world.append(topic, workflow_id, record)))

        return publish

    async def trigger(self, workflow_id: str) -> None:
        world = self.world
        try:
            execution = await admission.trigger(
                await definitions.current_workflow(workflow_id, Facade(self, world.workflows)),
                executions=world.executions_of(self),
                publish=self._publisher(EXECUTION.name),
                publish_end=self._publisher(ACTION_RESULT.name),
                asked_at=world.now,
                entropy=world.random.randbytes(10),
                is_unique=True,
                now=world.now,
            )
        except (InProgress, StoreUnavailable):
            return
        world.promised.add(execution.execution_id)

    async def cancel(self, execution_id: str, *, at_once: bool = False) -> None:
        world = self.world
        if at_once:
            world.ended_at_once.add(execution_id)  # perhaps: it may break off
        try:
            await cancellation.cancel(
                execution_id,
                "not wanted",
                at_once=at_once,
                executions=world.executions_of(self),
                workflows=Facade(self, world.workflows),
                publish=self._publisher(EXECUTION.name),
                publish_end=self._publisher(ACTION_RESULT.name),
                now=world.now,
            )
        except (AlreadyFinished, StoreUnavailable):
            return
        world.cancelled.add(execution_id)

    async def signal(self, execution_id: str, name: str) -> None:
        world = self.world
        signals = Facade(self, world.signals)
        publish = self._publisher(EXECUTION.name)
        executions, put = world.executions_of(self), signals.put

        async def put_and_promise(signal: Signal, attempt: int) -> Signal | None:
            kept: Signal | None = await put(signal, attempt)
            if kept is not None:  # from here on it is promised, whatever becomes of the caller
                world.signalled.add(execution_id)
            return kept

        signals.put = put_and_promise
        waker = Waker(
            executions=executions,
            signals=signals,
            hand_out=lambda woken: publish(woken.workflow_id, request_record(woken)),
        )
        try:
            found = await executions.get(execution_id)
            assert found is not None
            definition = WorkflowDefinition.from_document(dict(world.workflows.heads[found.workflow_id].definition))
            signal = Signal(execution_id, name, {}, world.now, self.name, found.shard)
            await send(signal, found, definition, signals=signals, waker=waker)
        except (NotHeeded, StoreUnavailable):
            return

    async def backfill(self, workflow_id: str, seconds: float) -> None:
        world = self.world
        executions, backfills = world.executions_of(self), Facade(self, world.backfills)

        async def announce(workflow_id: str, record: Event) -> bool:
            return False  # the pass finds it

        try:
            workflow = await definitions.current_workflow(workflow_id, Facade(self, world.workflows))
            planned = await asking.plan(
                workflow,
                asking.Asked.model_validate({"from": world.now - timedelta(seconds=seconds), "rate": "10/s"}),
                executions=executions,
                now=world.now,
                retention=timedelta(days=30),
            )
            if planned.to_run:
                backfill_id = new_id(world.now, world.random.randbytes(10))
                await asking.accept(planned, backfill_id, backfills=backfills, announce=announce, now=world.now)
        except (UnknownWorkflow, BackfillInProgress, StoreUnavailable):
            return

    async def cancel_backfill(self, workflow_id: str) -> None:
        executions, backfills = self.world.executions_of(self), Facade(self, self.world.backfills)
        try:
            running = await backfills.running(workflow_id)
            if running is not None:
                await asking.cancel(
                    workflow_id,
                    running.backfill_id,
                    "asked",
                    backfills=backfills,
                    executions=executions,
                    now=self.world.now,
                )
        except (BackfillEnded, StoreUnavailable):
            return

    def publish_straight(self, workflow_id: str, execution_id: str | None) -> None:
        self.world.append(EXECUTION.name, workflow_id, ExecutionRequest(workflow_id=workflow_id, execution_id=execution_id))


def _fail(*_: Any, **__: Any) -> None:
    raise  # what is being handled


def on_virtual_time(world: World) -> Any:
    """Return patches that put the services' clocks on the world's."""
    clock = lambda: world.now  # noqa: E731

    class Datetime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return world.now

    patches = ExitStack()
    # The repository asks for less or more, depending on how long ago something was.
    for module in (execution_reads, trigger_workflow, wait_for_signal):
        patches.enter_context(patch.object(module, "datetime", Datetime))
    for module in (announcing, attempts, children, foreign, intake, runs, startable, strays):
        patches.enter_context(patch.object(module, "now", clock))
    patches.enter_context(patch.object(attempts, "run_action", world.act))
    # What a runner only logs there is a defect here.
    patches.enter_context(patch.object(announcing, "log", SimpleNamespace(exception=_fail, warning=_fail)))
    patches.enter_context(patch.object(positions, "time", SimpleNamespace(monotonic=world.loop.time)))
    return patches
