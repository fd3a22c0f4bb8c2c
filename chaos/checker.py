"""Judges from outside what happened: by the answers, the requests received, the documents and the topics."""

import base64
import itertools
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from chaos.breaking import breaks_always
from chaos.faults import Fault
from chaos.load import LOST_ATTEMPTS, Accepted, Handled, Published
from chaos.receiver import KINDS as RECEIVED
from chaos.receiver import Received
from domain.execution import AWAITING, FAILURES, Cause, Execution, Restart, Status
from domain.identifiers import arrival_execution_id
from domain.occurrence import Disposition, Unfired
from events.records import ActionResult, DeadLetter, Event

AFTERMATH = 30.0  # seconds after a fault in which its consequences show: stale heartbeats, sessions, rebalances
CLOCKS = 0.005  # seconds by which two instants of one process may be off
UNREAD = 180.0  # seconds for which what is in Kafka may wait to be read: places are rare, and runners are away
BROKEN_OFF = 3.0  # seconds until a run whose execution was cut short is broken off: two, and some for a slow machine
RESUMED = 1.0  # seconds after SIGCONT in which a runner may send what it was about to send when it was halted


@dataclass(frozen=True)
class Violation:
    """Something that must not happen."""

    rule: str
    execution_id: str
    what: str


@dataclass
class Evidence:
    """Everything that was seen."""

    accepted: Sequence[Accepted]
    requests: Sequence[Received]
    faults: Sequence[Fault]
    executions: Mapping[str, Execution]
    records: Mapping[str, Sequence[Event]]  # by execution, of both topics
    periodic: Mapping[str, float]  # workflow -> interval
    anchors: Mapping[str, datetime]
    unfired: Mapping[str, Sequence[Unfired]]  # workflow -> the ledger of its ticks that were not fired
    not_idle: Sequence[str]  # workflows that hold a lock
    told: Mapping[str, float] = field(default_factory=dict)  # execution -> when its signal was accepted
    handled: Mapping[str, Handled] = field(default_factory=dict)  # workflows that have handlers
    readers: Mapping[str, str] = field(default_factory=dict)  # workflow -> the topic that it is subscribed to
    side_by_side: Collection[str] = ()  # workflows whose executions may run at the same time
    published: Sequence[Published] = ()
    letters: Sequence[DeadLetter] = ()


@dataclass
class Judgement:
    """What came of it."""

    violations: list[Violation] = field(default_factory=list)
    repeats: int = 0  # requests received again because their attempt was interrupted
    late: int = 0  # requests that a runner sent when it came to again, after it was given up
    lost_with_the_log: int = 0  # published straight to a broker whose data were wiped before anybody had read them
    unread_in_the_log: int = 0  # records of our own topics that were wiped before they were read
    started_by_records: int = 0
    dead_letters: int = 0  # records that had to become one
    ticks: Counter[str] = field(default_factory=Counter)
    handlers: Counter[str] = field(default_factory=Counter)  # executions that ran theirs, by why
    statuses: Counter[str] = field(default_factory=Counter)
    recovery: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, rule: str, execution_id: str, what: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(rule, execution_id, what))


def judge(seen: Evidence) -> Judgement:
    """Hold everything against the rules."""
    judgement = Judgement()
    judgement.statuses = Counter(execution.status.value for execution in seen.executions.values())
    _every_admitted_one_ended(seen, judgement)
    _none_ran_in_parallel(seen, judgement)
    _requests_are_repeated_only_when_interrupted(seen, judgement)
    _every_tick_has_one_disposition(seen, judgement)
    _what_was_told_went_on(seen, judgement)
    _parents_waited_for_their_children(seen, judgement)
    _each_record_started_one_execution(seen, judgement)
    _what_is_done_was_asked_for(seen, judgement)
    _handlers_ran_as_they_are_written(seen, judgement)
    for workflow_id in seen.not_idle:
        judgement.add("no lock is left", "", f"workflow {workflow_id} is not idle")
    _measure_recovery(seen, judgement)
    return judgement


def _every_admitted_one_ended(seen: Evidence, judgement: Judgement) -> None:
    rule = "every admitted execution reaches a terminal state"
    wipes = [fault for fault in seen.faults if fault.kind == "wipe"]
    for promise in seen.accepted:
        if promise.execution_id in seen.executions:
            continue
        # Nobody but Kafka knew of a record that was published to it; its data were thrown away.
        if promise.how == "direct" and any(promise.at - AFTERMATH <= wipe.ended <= promise.at + UNREAD for wipe in wipes):
            judgement.lost_with_the_log += 1
        else:
            judgement.add(rule, promise.execution_id, f"{promise.how} of {promise.workflow_id}: it does not exist")
    for execution in seen.executions.values():
        if execution.status.is_open:
            judgement.add(rule, execution.execution_id, f"it is still {execution.status.value}")


def _none_ran_in_parallel(seen: Evidence, judgement: Judgement) -> None:
    of_workflow: dict[str, list[Received]] = defaultdict(list)
    for request in seen.requests:
        of_workflow[request.workflow_id].append(request)
    thaws = [fault.ended for fault in seen.faults if fault.kind == "freeze" and fault.target.startswith("runner")]
    for workflow_id, requests in of_workflow.items():
        if workflow_id in seen.side_by_side:
            continue
        requests.sort(key=lambda request: request.began)
        running: list[Received] = []
        for request in requests:
            running = [other for other in running if other.ended == 0 or other.ended > request.began + CLOCKS]
            for other in running:
                if other.execution_id == request.execution_id:
                    continue
                older = min(other, request, key=lambda each: each.execution_id)
                is_late = any(0 <= older.began - thaw <= RESUMED for thaw in thaws)
                if is_late or _is_being_broken_off(seen, older, max(other.began, request.began)):
                    judgement.late += 1
                else:
                    judgement.add(
                        "no two executions of a workflow run in parallel",
                        older.execution_id,
                        f"{older.key} (epoch {older.epoch}) and {max(other, request, key=lambda e: e.execution_id).key}",
                    )
            running.append(request)


def _is_being_broken_off(seen: Evidence, request: Received, at: float) -> bool:
    """Tell whether a request may go on, at an instant, though its execution was cut short."""
    execution = seen.executions.get(request.execution_id)
    cut = execution.cut_short if execution is not None else None
    return cut is not None and max(request.began, at) <= cut.at.timestamp() + BROKEN_OFF


def _requests_are_repeated_only_when_interrupted(seen: Evidence, judgement: Judgement) -> None:
    rule = "a request is repeated only where it was interrupted, or a retry asks for it"
    of_key: dict[str, list[Received]] = defaultdict(list)
    for request in seen.requests:
        of_key[request.key].append(request)
        execution = seen.executions.get(request.execution_id)
        if execution is None:
            judgement.add(rule, request.execution_id, f"{request.key}: sent for an execution that does not exist")
        elif execution.workflow_id != request.workflow_id:
            judgement.add(rule, request.execution_id, f"{request.key}: sent for {request.workflow_id}")
        elif execution.status is Status.SKIPPED:
            judgement.add(rule, request.execution_id, f"{request.key}: sent for a skipped execution")
    for key, requests in of_key.items():
        requests.sort(key=lambda request: request.began)
        for before, again in itertools.pairwise(requests):
            recorded = seen.records.get(before.execution_id, ())
            if before.epoch == again.epoch:
                judgement.add(rule, before.execution_id, f"{key}: twice under epoch {before.epoch}")
            elif _was_turned_away(seen, before, again):
                judgement.repeats += 1
            elif before.attempt == again.attempt:
                judgement.repeats += 1
                if not _disturbed(seen.faults, before.began, again.began):
                    judgement.add(
                        rule, before.execution_id, f"{key}: again after {again.began - before.began:.3f} s, without a fault"
                    )
            elif again.attempt > before.attempt and not _failed(recorded, before):
                judgement.add(rule, before.execution_id, f"{key}: attempt {before.attempt} is retried but did not fail")


def _was_turned_away(seen: Evidence, before: Received, again: Received) -> bool:
    """Tell whether the execution was cut short when the first of two requests was under way or not recorded yet."""
    execution = seen.executions.get(before.execution_id)
    cut = execution.cut_short if execution is not None else None
    if cut is None or again.began < cut.at.timestamp() - CLOCKS:
        return False
    return abs(cut.at.timestamp() - before.began) <= BROKEN_OFF or _disturbed(seen.faults, before.began, cut.at.timestamp())


def _disturbed(faults: Sequence[Fault], since: float, until: float) -> bool:
    return any(fault.began <= until and fault.ended + AFTERMATH >= since for fault in faults)


def _failed(records: Sequence[Event], request: Received) -> bool:
    results = [record for record in records if isinstance(record, ActionResult)]
    action_id = request.key.partition(":")[2]
    mine = [r for r in results if r.action_id == action_id and r.attempt == request.attempt]
    # The topics may have been wiped: then nothing is known.
    return not mine or any(result.status == "failed" for result in mine)


def _every_tick_has_one_disposition(seen: Evidence, judgement: Judgement) -> None:
    rule = "every due tick has exactly one disposition, on its grid"
    for workflow_id, seconds in seen.periodic.items():
        interval = timedelta(seconds=seconds)
        anchor = seen.anchors[workflow_id]
        of_tick: dict[datetime, list[Execution]] = defaultdict(list)
        for execution in seen.executions.values():
            if execution.workflow_id == workflow_id and execution.due_at:
                of_tick[execution.due_at].append(execution)
        for due, executions in of_tick.items():
            if (due - anchor) % interval:
                judgement.add(rule, executions[0].execution_id, f"{workflow_id}: {due.isoformat()} is not on the grid")
            if len(executions) > 1:
                judgement.add(rule, executions[1].execution_id, f"{workflow_id}: {due.isoformat()} was fired twice")
            judgement.ticks["fired"] += 1
        ranges = seen.unfired.get(workflow_id, ())
        if not of_tick and not ranges:
            judgement.add(rule, "", f"{workflow_id} never ran")
            continue
        # Ticks after the last that was judged were still to be judged when the workflow was archived.
        last = max([*of_tick, *(ranged.last for ranged in ranges)])
        due = anchor + interval
        while due <= last:
            # What was made up for later is fired; the range that once told of it is kept as it was.
            is_backfilled = any(execution.cause is Cause.BACKFILL for execution in of_tick.get(due, ()))
            of_ledger = [ranged for ranged in ranges if ranged.first <= due <= ranged.last and not is_backfilled]
            found = len(of_ledger) + (due in of_tick)
            for ranged in of_ledger:
                judgement.ticks[ranged.disposition.value] += 1
                if ranged.disposition is Disposition.MISSED and not _disturbed(
                    seen.faults, due.timestamp(), due.timestamp() + AFTERMATH
                ):
                    judgement.add(rule, "", f"{workflow_id}: {due.isoformat()} was missed without a fault")
            if found != 1:
                told = ", ".join(ranged.disposition.value for ranged in of_ledger)
                fired = f"fired as {of_tick[due][0].execution_id}" if due in of_tick else "not fired"
                judgement.add(
                    rule, "", f"{workflow_id}: {due.isoformat()} has {found} dispositions: {fired}; {told or 'nothing'}"
                )
            due += interval


def _what_was_told_went_on(seen: Evidence, judgement: Judgement) -> None:
    for execution_id in seen.told:
        execution = seen.executions.get(execution_id)
        if execution is not None and any(
            (each.error or {}).get("class") == "no-signal" for each in execution.ordered_results
        ):
            judgement.add("what was signalled goes on", execution_id, "it has waited in vain")


def _parents_waited_for_their_children(seen: Evidence, judgement: Judgement) -> None:
    rule = "an action that waits for what it has triggered is done when that has ended, which was started once"
    children: dict[tuple[str, str], list[Execution]] = defaultdict(list)
    for execution in seen.executions.values():
        if execution.triggered_by is not None:
            children[execution.triggered_by.execution_id, execution.triggered_by.action_id].append(execution)
    for (parent_id, action_id), found in children.items():
        if len(found) > 1:
            judgement.add(rule, parent_id, f"{action_id} has started {len(found)}")
        parent = seen.executions.get(parent_id)
        for outcome in parent.ordered_results if parent is not None else ():
            finished_at = found[0].finished_at
            done = outcome.action_id == action_id and outcome.status == "ok"
            if done and (found[0].status is not Status.OK or finished_at is None or finished_at > outcome.finished_at):
                judgement.add(rule, parent_id, f"{action_id} is ok, and {found[0].execution_id} was {found[0].status.value}")


def _each_record_started_one_execution(seen: Evidence, judgement: Judgement) -> None:
    rule = "each record of a subscribed topic starts one execution, or is a dead letter"
    started: dict[tuple[str, int], list[Execution]] = defaultdict(list)
    for execution in seen.executions.values():
        if execution.workflow_id in seen.readers:
            started[execution.workflow_id, (execution.input or {})["value"]["number"]].append(execution)
            if execution.status is Status.SKIPPED:
                judgement.add(rule, execution.execution_id, "its record did not wait for a place")
    for (workflow_id, number), found in started.items():
        if len(found) > 1:
            others = ", ".join(each.execution_id for each in found[1:])
            judgement.add(rule, found[0].execution_id, f"record {number} has started {others} of {workflow_id} as well")
    letters = {(letter.topic, letter.value, letter.reason.partition(":")[0]) for letter in seen.letters}
    wipes = [fault.ended for fault in seen.faults if fault.kind == "wipe"]
    for workflow_id, topic in seen.readers.items():
        for record in seen.published:
            if record.topic != topic:
                continue
            at = record.at.timestamp()
            execution_id = arrival_execution_id(workflow_id, topic, record.partition, record.offset, record.at)
            found = started[workflow_id, record.number]
            is_dead = (topic, base64.b64encode(record.value).decode(), f"workflow {workflow_id}") in letters
            wrong = ""
            if record.is_bad:
                judgement.dead_letters += is_dead
                if found:
                    wrong = "is bad, and was started"
                elif not is_dead and not any(at <= wiped for wiped in wipes):  # the dead letter with it
                    wrong = "is bad, and no dead letter"
            elif is_dead:
                wrong = "is a dead letter"
            elif found:
                judgement.started_by_records += 1
                if found[0].execution_id != execution_id:
                    wrong = f"was started as {found[0].execution_id}"
            elif any(at <= wiped <= at + UNREAD for wiped in wipes):
                judgement.unread_in_the_log += 1
            else:
                wrong = "was not started"
            if wrong:
                where = f"{record.number} ({topic}, partition {record.partition}, offset {record.offset}, {record.at})"
                judgement.add(rule, execution_id, f"{workflow_id}: record {where} {wrong}")
    _records_started_in_order(seen, judgement)


def _records_started_in_order(seen: Evidence, judgement: Judgement) -> None:
    wipes = [fault for fault in seen.faults if fault.kind == "wipe"]
    of_partition: dict[tuple[Any, ...], list[Execution]] = defaultdict(list)
    for execution in seen.executions.values():
        if execution.workflow_id not in seen.readers or execution.workflow_id in seen.side_by_side:
            continue
        at, given = execution.created_at.timestamp(), execution.input or {}
        if execution.started_at is None or any(wipe.began - 1 <= at <= wipe.ended + 1 for wipe in wipes):
            continue  # of which of the two logs it is, is not known
        log = sum(wipe.ended < at for wipe in wipes)
        of_partition[execution.workflow_id, given["partition"], log].append(execution)
    for executions in of_partition.values():
        executions.sort(key=lambda execution: (execution.input or {})["offset"])
        for before, after in itertools.pairwise(executions):
            if before.started_at and after.started_at and after.started_at < before.started_at:
                judgement.add(
                    "the records of a partition are started in their order",
                    after.execution_id,
                    f"of {after.workflow_id} was started before {before.execution_id}, whose record comes first",
                )


def _what_is_done_was_asked_for(seen: Evidence, judgement: Judgement) -> None:
    answered = {request.key for request in seen.requests if request.status == 200}
    for execution in seen.executions.values():
        for outcome in execution.ordered_results:
            key = f"{execution.execution_id}:{outcome.action_id}"
            if outcome.status == "ok" and outcome.action_id.partition("-")[0] in RECEIVED and key not in answered:
                judgement.add("what is recorded as done was received", execution.execution_id, outcome.action_id)


def _handlers_ran_as_they_are_written(seen: Evidence, judgement: Judgement) -> None:
    rule = "what failed, timed out or was given up runs its onFailure, and everything its finally, in order and nothing else"
    of_execution: dict[str, list[Received]] = defaultdict(list)
    for request in seen.requests:
        of_execution[request.execution_id].append(request)
    for execution in seen.executions.values():
        handled = seen.handled.get(execution.workflow_id)
        if handled is None or execution.status is Status.SKIPPED or execution.status.is_open:
            continue
        course = Course(execution, handled, of_execution[execution.execution_id], seen.faults)
        judgement.handlers[course.word] += 1
        for wrong in course.wrong():
            judgement.add(rule, execution.execution_id, f"{execution.workflow_id}: {wrong}")


@dataclass
class Course:
    """What an execution with handlers has run, and what it had to run."""

    execution: Execution
    handled: Handled
    requests: Sequence[Received]
    faults: Sequence[Fault]

    def __post_init__(self) -> None:
        plan, cut = self.handled.plan, self.execution.cut_short
        # The last outcome of each step: what was before was retried.
        self.ran = {each.index: each for each in self.execution.ordered_results if each.status != AWAITING}
        failed = [index for index, each in self.ran.items() if index < plan.actions and each.status in FAILURES]
        self.failed_at = min(failed, default=None) if cut is None else cut.index
        on_failure = range(plan.actions, plan.actions + plan.on_failure)
        self.due = [
            *range(plan.actions if self.failed_at is None else self.failed_at + 1),
            *(() if self.failed_at is None else on_failure),
            *range(on_failure.stop, plan.total),
        ]
        self.missing = [index for index in self.due if index not in self.ran]

    @property
    def word(self) -> str:
        """What the report calls it."""
        if self.missing:
            return "handlers ended"
        cut = self.execution.cut_short
        if cut is not None:
            return cut.why.value
        return "all done" if self.failed_at is None else "failed"

    def wrong(self) -> Iterator[str]:
        """Tell everything that is not as the definition says."""
        if self._lacks_a_result():
            return
        if extra := sorted(self.ran.keys() - self.due):
            yield f"step {extra[0]} was not to be run"
        if self.missing and not self._may_miss():
            yield f"step {self.missing[0]} was not run: {self.execution.reason}"
        succeeds = self.failed_at is None and not any(each.status in FAILURES for each in self.ran.values())
        if (self.execution.status is Status.OK) != (succeeds and not self.missing):
            yield f"it is {self.execution.status.value}"
        steps = [self.ran[index] for index in self.due if index in self.ran]
        for before, after in itertools.pairwise(steps):
            if not after.is_cut_short and after.started_at < before.finished_at:
                yield f"{after.action_id} began before {before.action_id} was over"
        for each in steps:
            if (
                each.action_id.startswith("break-off")
                and breaks_always(self.execution.execution_id)
                and not each.is_cut_short
            ):
                yield f"{each.action_id} always breaks off, and is {each.status}"
        yield from self._wrong_with_requests()
        yield from self._wrong_with_cut()

    def _wrong_with_requests(self) -> Iterator[str]:
        handlers: list[Received] = []
        for request in self.requests:
            index = int(request.key.rpartition("-")[2]) - 1
            if index < self.handled.plan.actions:
                continue
            if index not in self.due:
                yield f"{request.key} was not to be sent"
            if not self._was_superseded(request) and not self._went_unrecorded(request):
                handlers.append(request)
        first = min((handler.epoch for handler in handlers), default=None)
        for request in self.requests:
            is_action = int(request.key.rpartition("-")[2]) <= self.handled.plan.actions
            if is_action and first is not None and request.epoch > first:
                yield f"{request.key} was sent under epoch {request.epoch}, after a handler under {first}"

    def _was_superseded(self, request: Received) -> bool:
        """Tell whether a request was sent by a runner that had been missed: one that came to again, say."""
        began = min(other.began for other in self.requests if other.epoch == request.epoch)
        return any(began < each.at.timestamp() <= request.began + CLOCKS for each in self.execution.restarts)

    def _went_unrecorded(self, request: Received) -> bool:
        """Tell whether the run that sent a request was lost to a fault, with all that it had done since an action."""
        return any(
            each.why is Restart.LOST
            and each.index < self.handled.plan.actions
            and each.at.timestamp() >= request.began
            and _disturbed(self.faults, request.began, each.at.timestamp())
            for each in self.execution.restarts
        )

    def _wrong_with_cut(self) -> Iterator[str]:
        cut, timeout = self.execution.cut_short, self.handled.timeout
        last = max((each.finished_at for index, each in self.ran.items() if index < self.handled.plan.actions), default=None)
        if cut is not None and cut.why is Restart.GIVEN_UP and self._lost_at(cut.index, until=cut.at) < LOST_ATTEMPTS:
            yield "it was given up too early"
        since = self.execution.created_at
        is_late = timeout is not None and cut is not None and (cut.at - since).total_seconds() >= timeout
        if cut is not None and cut.why is Restart.TIMED_OUT and not is_late:
            yield f"it was timed out at {cut.at}"
        if cut is None and timeout is not None and last is not None:
            over = self.execution.created_at.timestamp() + timeout
            if last.timestamp() > over + AFTERMATH and not _disturbed(self.faults, over, last.timestamp()):
                yield f"its actions went on until {last}"

    def _lacks_a_result(self) -> bool:
        """Tell whether the result of an action went with a wiped broker before it was written; those after it are there."""
        until = self.handled.plan.actions if self.failed_at is None else self.failed_at
        created, finished = self.execution.created_at, self.execution.finished_at
        return any(index not in self.ran for index in range(min(until, max(self.ran, default=0)))) and any(
            fault.kind == "wipe" and fault.began <= (finished or created).timestamp() and fault.ended >= created.timestamp()
            for fault in self.faults
        )

    def _may_miss(self) -> bool:
        """Tell whether handlers were ended as they may be: late, or having lost their runners to a fault."""
        execution, timeout = self.execution, self.handled.timeout
        actions = [index for index in self.due if index < self.handled.plan.actions]
        cut = execution.cut_short
        if execution.status is not Status.FAILED or execution.finished_at is None:
            return False
        if any(index in self.missing for index in actions if cut is None or index != cut.index):
            return False
        begun = self.ran[actions[-1]].finished_at if actions[-1] in self.ran else None
        since = begun or (cut.at if cut is not None else execution.created_at)
        is_disturbed = _disturbed(self.faults, since.timestamp(), execution.finished_at.timestamp())
        is_lost = is_disturbed and self._lost_at(self.missing[0], since=since) >= LOST_ATTEMPTS
        if is_lost and "given up" in (execution.reason or ""):
            return True
        late = begun is not None and timeout is not None and (execution.finished_at - begun).total_seconds() >= timeout
        return late and "timed out" in (execution.reason or "")

    def _lost_at(self, index: int, *, since: datetime | None = None, until: datetime | None = None) -> int:
        return sum(
            each.why is Restart.LOST
            and each.index == index
            and (since is None or each.at >= since)
            and (until is None or each.at <= until)
            for each in self.execution.restarts
        )


def _measure_recovery(seen: Evidence, judgement: Judgement) -> None:
    """How long after a fault was over everything that was under way during it had ended."""
    # What is held, waits until its time is over, or is a record behind others, takes long by itself.
    slow = {*seen.handled, *seen.readers}
    for fault in seen.faults:
        latest = 0.0
        for execution in seen.executions.values():
            is_slow = execution.workflow_id in slow
            if execution.finished_at is None or execution.status is Status.SKIPPED or is_slow:
                continue
            created, finished = execution.created_at.timestamp(), execution.finished_at.timestamp()
            if created <= fault.ended and finished >= fault.began:
                latest = max(latest, finished - fault.ended)
        judgement.recovery[fault.name].append(latest)


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Return the worst and the median."""
    return (max(values), median(values)) if values else (0.0, 0.0)
