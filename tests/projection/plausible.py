"""Plausible lives of executions: what the services would write and publish, with crashes, zombies and late results.

Every step is taken with the functions of the core, so that the document is what MongoDB would hold; records are published,
or lost, where the services publish them.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from random import Random

from domain.execution import (
    Admission,
    Cause,
    Ended,
    Execution,
    Parent,
    Reissued,
    Restart,
    Status,
    admit,
    apply,
    carry_over,
    claim,
)
from domain.identifiers import execution_id
from events.folding import ended_record, request_record, result_transition
from events.records import ActionResult, ExecutionEnded, ExecutionRequest
from events.topics import partition_of

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
RETRIES = 2


@dataclass
class Run:
    """An attempt in some runner's memory; it may have been superseded without knowing."""

    runner: str
    epoch: int
    attempt: int
    retries_left: int
    index: int
    recorded: int
    started_at: datetime
    seq: int = 0
    done: bool = False
    cut_short: Restart | None = None  # its actions were over when it began


@dataclass
class Life:
    """One execution from its admission on."""

    random: Random
    workflow_id: str
    actions: int = 2
    now: datetime = START
    origin: Execution | None = None  # it takes up where this one failed
    document: Execution = None  # type: ignore[assignment]
    requests: list[ExecutionRequest] = field(default_factory=list)  # the topic workflow.execution
    results: list[ActionResult | ExecutionEnded] = field(default_factory=list)  # the topic workflow.action-result
    unapplied: list[ActionResult] = field(default_factory=list)  # published, and not projected yet
    runs: list[Run] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.document = admit(
            Admission(
                execution_id=execution_id(self.now, self.random.randbytes(10)),
                workflow_id=self.workflow_id,
                version=1,
                cause=Cause.MANUAL if self.origin else Cause.WORKFLOW,
                created_at=self.now,
                retries_left=RETRIES,
                total_actions=self.actions,
                shard=partition_of(self.workflow_id),
                lock_key=self.workflow_id,
                deadline=self.now + timedelta(milliseconds=self.random.randint(1, 400)),
                origin_id=self.origin and self.origin.execution_id,
                takes_up=self.origin is not None,
                carried=carry_over(self.origin) if self.origin else {},
                triggered_by=None if self.origin else Parent("p", "v", "call"),
                reference="order-17",
            )
        )

    @property
    def records(self) -> list:
        return [*self.requests, *self.results]

    def tick(self) -> datetime:
        self.now += timedelta(milliseconds=self.random.randint(1, 40))
        return self.now

    def publish_request(self) -> None:
        self.requests.append(request_record(self.document))

    def start_certainly_new(self) -> None:
        """Start the first request without asking; the document hears of it later."""
        self.runs.append(Run("r1", 1, 1, RETRIES, 0, 0, self.tick()))

    def mark(self, run: Run) -> None:
        if self.document.epoch == run.epoch and self.document.status is Status.PENDING:
            started = min(filter(None, (self.document.started_at, self.tick())))
            self.document = replace(
                self.document, status=Status.RUNNING, owner=run.runner, started_at=started, requested_at=None
            )

    def claim(self, epoch: int) -> None:
        taken = claim(self.document, epoch, "r2", self.tick())
        if taken is not None:
            self.document = taken
            self.runs.append(
                Run(
                    "r2",
                    taken.epoch,
                    taken.attempt,
                    taken.retries_left,
                    taken.resume_index,
                    len(taken.results),
                    taken.started_at or self.now,
                    cut_short=taken.cut_short and taken.cut_short.why,
                )
            )

    def act(self, run: Run, *, ok: bool) -> None:
        """Run one action and publish its result."""
        began = run.started_at if run.epoch == 1 and run.seq == 0 else self.tick()
        finished = self.tick()
        run.seq += 1
        status, left, wake_at = Status.RUNNING, run.retries_left, None
        ok = ok and not run.cut_short
        if run.cut_short:  # there are no handlers that it could go on with
            status = Status.FAILED
        elif not ok:
            status = Status.WAITING if left else Status.FAILED
            left, wake_at = (left - 1, finished + timedelta(seconds=1)) if left else (left, None)
        elif run.index + 1 == self.actions:
            status = Status.OK
        result = ActionResult(
            workflow_id=self.workflow_id,
            execution_id=self.document.execution_id,
            epoch=run.epoch,
            seq=run.seq,
            version=1,
            runner=run.runner,
            attempt=run.attempt,
            action_id=f"a{run.index}",
            index=run.index,
            status="ok" if ok else "failed",
            execution_status=status.value,
            retries_left=left,
            total_actions=self.actions,
            started_at=began,
            finished_at=finished,
            logs=["a line"],
            wake_at=wake_at,
            reason=None if ok else f"a{run.index} failed",
            error={"class": run.cut_short.value, "message": "it was cut short"} if run.cut_short else None,
            next_index=self.actions if run.cut_short else None,
            recorded=run.recorded if run.epoch > 1 else None,
            execution_started_at=run.started_at if run.epoch > 1 else None,
        )
        run.index += 1
        run.done = status is not Status.RUNNING
        self.results.append(result)
        self.unapplied.append(result)

    def project(self) -> None:
        if self.unapplied:
            self.document = apply(self.document, result_transition(self.unapplied.pop(0)))

    def restart(self, why: Restart, *, published: bool) -> None:
        before = self.document
        self.document = apply(before, Reissued(before.execution_id, before.workflow_id, before.epoch + 1, self.tick(), why))
        if self.document is not before and published:
            self.publish_request()

    def end(self) -> None:
        before = self.document
        self.document = apply(before, Ended(before.execution_id, before.workflow_id, Status.CANCELLED, "asked", self.tick()))
        if self.document is not before:
            self.results.append(ended_record(self.document))

    def step(self) -> None:
        """Take any step that some service could take now."""
        random = self.random
        living = [run for run in self.runs if not run.done]
        steps = [self.project, lambda: self.restart(random.choice(list(Restart)), published=random.random() < 0.7)]
        if not self.requests and self.document.status is Status.PENDING:
            steps += [self.publish_request] * 2
        if self.requests:
            epoch = random.choice(self.requests).epoch
            steps += [lambda: self.claim(epoch)] * 3
            if not self.runs and self.requests[0].epoch == 1 and not self.requests[0].carried:
                steps += [self.start_certainly_new] * 4
        for run in living:
            steps += [lambda run=run: self.act(run, ok=random.random() < 0.7)] * 4
            if run.epoch == 1:
                steps.append(lambda run=run: self.mark(run))
        if random.random() < 0.1:
            steps.append(self.end)
        random.choice(steps)()


def eventful(random: Random, workflow_id: str, steps: int, origin: Execution | None = None) -> Life:
    """Return a life in which anything may have happened, everything published being projected in the end."""
    life = Life(random, workflow_id, origin=origin)
    for _ in range(steps):
        life.step()
    while life.unapplied:
        life.project()
    return life


def settled(random: Random, workflow_id: str, steps: int, origin: Execution | None = None) -> Life:
    """Return such a life that came to its end: whatever was lost has been handed out again, and run."""
    life = eventful(random, workflow_id, steps, origin)
    while life.document.status.is_open:
        why = {Status.WAITING: Restart.RETRY, Status.PENDING: Restart.UNCLAIMED, Status.RUNNING: Restart.LOST}
        life.restart(why[life.document.status], published=True)
        life.claim(life.document.epoch)
        while not life.runs[-1].done:
            life.act(life.runs[-1], ok=random.random() < 0.7)
            life.project()
    return life


def smooth(random: Random, workflow_id: str, now: datetime, actions: int = 2) -> Life:
    """Return a life as most are: requested once, run once, at times with one retry."""
    life = Life(random, workflow_id, actions, now)
    life.publish_request()
    life.start_certainly_new()
    while not life.runs[-1].done:
        life.act(life.runs[-1], ok=random.random() < 0.97)
        life.project()
        if life.document.status is Status.WAITING:
            life.restart(Restart.RETRY, published=True)
            life.claim(life.document.epoch)
    return life
