"""Judges from outside what happened: by the answers, the requests received, the documents and the topics."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median

from chaos.faults import Fault
from chaos.load import Accepted
from chaos.receiver import Received
from domain.execution import Cause, Execution, Status
from domain.occurrence import Disposition, Unfired
from events.records import ActionResult, Event

AFTERMATH = 30.0  # seconds after a fault in which its consequences show: stale heartbeats, sessions, rebalances
CLOCKS = 0.005  # seconds by which two instants of one process may be off
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


@dataclass
class Judgement:
    """What came of it."""

    violations: list[Violation] = field(default_factory=list)
    repeats: int = 0  # requests received again because their attempt was interrupted
    late: int = 0  # requests that a runner sent when it came to again, after it was given up
    lost_with_the_log: int = 0  # published straight to a broker whose data were wiped before anybody had read them
    ticks: Counter[str] = field(default_factory=Counter)
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
        if promise.how == "direct" and any(promise.at - AFTERMATH <= wipe.ended <= promise.at + 120 for wipe in wipes):
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
    for requests in of_workflow.values():
        requests.sort(key=lambda request: request.began)
        running: list[Received] = []
        for request in requests:
            running = [other for other in running if other.ended == 0 or other.ended > request.began + CLOCKS]
            for other in running:
                if other.execution_id == request.execution_id:
                    continue
                older = min(other, request, key=lambda each: each.execution_id)
                if any(0 <= older.began - thaw <= RESUMED for thaw in thaws):
                    judgement.late += 1
                else:
                    judgement.add(
                        "no two executions of a workflow run in parallel",
                        older.execution_id,
                        f"{older.key} (epoch {older.epoch}) and {max(other, request, key=lambda e: e.execution_id).key}",
                    )
            running.append(request)


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
            elif before.attempt == again.attempt:
                judgement.repeats += 1
                if not _disturbed(seen.faults, before.began, again.began):
                    judgement.add(
                        rule, before.execution_id, f"{key}: again after {again.began - before.began:.3f} s, without a fault"
                    )
            elif again.attempt > before.attempt and not _failed(recorded, before):
                judgement.add(rule, before.execution_id, f"{key}: attempt {before.attempt} is retried but did not fail")


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


def _measure_recovery(seen: Evidence, judgement: Judgement) -> None:
    """How long after a fault was over everything that was under way during it had ended."""
    for fault in seen.faults:
        latest = 0.0
        for execution in seen.executions.values():
            if execution.finished_at is None or execution.status is Status.SKIPPED:
                continue
            created, finished = execution.created_at.timestamp(), execution.finished_at.timestamp()
            if created <= fault.ended and finished >= fault.began:
                latest = max(latest, finished - fault.ended)
        judgement.recovery[fault.name].append(latest)


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Return the worst and the median."""
    return (max(values), median(values)) if values else (0.0, 0.0)
