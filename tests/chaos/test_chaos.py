"""A bounded run of ``make chaos``, and its parts."""

import base64
import itertools
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest
from rich.console import Console

from apps.projection.verify import Report
from chaos import driver, report
from chaos.checker import Evidence, judge
from chaos.faults import SORTS, Fault, schedule
from chaos.load import Accepted, Handled, Published
from chaos.receiver import Received
from domain.execution import (
    ActionOutcome,
    Admission,
    Cause,
    Execution,
    Parent,
    Restart,
    Restarted,
    Status,
    admit,
)
from domain.flow import Plan
from domain.identifiers import arrival_execution_id, execution_id, tick_execution_id
from domain.occurrence import Disposition, Unfired
from events.records import DeadLetter

SEED = 20
SECONDS = 25.0  # and up to a minute until everything is quiet

BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


async def test_under_a_seeded_minute_of_faults_nothing_is_lost_doubled_or_left_behind():
    outcome = await driver.run(seed=SEED, seconds=SECONDS, kinds=["kill", "freeze", "restart", "double"], say=print)
    report.show(outcome.seen, outcome.judgement, outcome.report, seed=SEED, seconds=SECONDS, quiet_after=outcome.quiet_after)
    assert outcome.judgement.violations == []
    assert outcome.seen.faults
    assert outcome.judgement.statuses["ok"] > 20
    assert outcome.judgement.handlers["given-up"] and outcome.judgement.handlers["timed-out"]
    assert outcome.judgement.started_by_records and outcome.judgement.dead_letters
    assert outcome.report.clean == len(outcome.seen.executions)


def test_a_seed_gives_the_same_faults_and_another_one_others():
    assert [str(fault) for fault in schedule(1, 300)] == [str(fault) for fault in schedule(1, 300)]
    assert [str(fault) for fault in schedule(1, 300)] != [str(fault) for fault in schedule(2, 300)]
    assert {fault.kind for fault in schedule(1, 300, ["kill", "wipe"])} == {"kill", "wipe"}
    assert {fault.name for fault in schedule(1, 5000)} == {f"{s.kind} {target}" for s in SORTS for target in s.targets}


# -- the checker: it must find what it is there for ----------------------------------------------------------------------


def at(seconds):
    return BEGAN + timedelta(seconds=seconds)


def ended(workflow_id="w", *, seconds=0, due=None, status=Status.OK):
    admitted = admit(
        Admission(
            execution_id=tick_execution_id(workflow_id, due) if due else execution_id(at(seconds), bytes(9) + b"\1"),
            workflow_id=workflow_id, version=1, cause=Cause.SCHEDULE if due else Cause.MANUAL, created_at=at(seconds),
            retries_left=0, total_actions=1, shard=0, due_at=due, lock_key=workflow_id,
        )
    )  # fmt: skip
    return replace(admitted, status=status, lock_key=None, finished_at=at(seconds + 1))


def request(execution: Execution, begin, end, *, epoch=1, attempt=1):
    return Received(
        execution.workflow_id, f"{execution.execution_id}:quick-1", epoch, attempt,
        at(begin).timestamp(), at(end).timestamp(), 200,
    )  # fmt: skip


def fault(kind, target, begin, end):
    return Fault(begin, kind, target, began=at(begin).timestamp(), ended=at(end).timestamp())


def evidence(executions=(), requests=(), faults=(), **more):
    return Evidence(
        **{
            "accepted": [Accepted(e.execution_id, e.workflow_id, e.created_at.timestamp(), "manual") for e in executions],
            "requests": requests,
            "faults": faults,
            "executions": {e.execution_id: e for e in executions},
            "records": {},
            "periodic": {},
            "anchors": {},
            "unfired": {},
            "not_idle": [],
            **more,
        }
    )


ONE, TWO = ended(), ended(seconds=2)
CHILD = replace(ended("child"), execution_id="child", triggered_by=Parent(ONE.execution_id, "w", "call"), finished_at=at(0))


def with_outcome(execution, status, error=None):
    outcome = ActionOutcome("call", 0, 1, status, at(0), at(1), error=error)
    return replace(execution, results={outcome.key: outcome})


# -- records of topics of our own

RECORD = Published(7, "t", 1, 40, at(1), b'{"number": 7}')
LATER = replace(RECORD, number=8, offset=41, at=at(2), value=b'{"number": 8}')
BAD = replace(RECORD, number=9, value=b'{"number": 9, "twice": 1, "twice": 2}', is_bad=True)


def started_by(record, *, seconds=2.0, status=Status.OK):
    found = replace(
        ended("r", seconds=seconds, status=status),
        execution_id=arrival_execution_id("r", record.topic, record.partition, record.offset, record.at),
        created_at=record.at,
        started_at=at(seconds),
    )
    return replace(found, input={"partition": record.partition, "offset": record.offset, "value": {"number": record.number}})


def letter(record, workflow_id="r"):
    value = base64.b64encode(record.value).decode()
    reason = f"workflow {workflow_id}: value: twice is given twice"
    return DeadLetter(
        topic=record.topic, partition=record.partition, offset=record.offset, reason=reason, at=at(3), value=value
    )


def reading(executions=(), published=(RECORD,), **more):
    return evidence(executions, readers={"r": "t"}, published=published, **more)


# -- handlers

PLAN = Plan(2, on_failure=1, finally_=1)
GIVEN_UP, TIMED_OUT = (
    (Restarted(at(3), Restart.LOST, 1, 1), Restarted(at(4), Restart.GIVEN_UP, 1, 1)),
    (Restarted(at(5), Restart.TIMED_OUT, 1, 1),),
)
NAMES = ("quick-1", "held-2", "quick-3", "quick-4")


def course(*steps, status=Status.FAILED, restarts=(), reason=None):
    """Return an execution that has run these steps one second after the other: a position, or one with how it ended."""
    outcomes = {}
    for second, step in enumerate(steps):
        index, how = step if isinstance(step, tuple) else (step, "ok")
        cut = how in ("given-up", "timed-out")
        began = at(0) if cut else at(second)
        outcome = ActionOutcome(
            NAMES[index], index, 1, "failed" if cut else how, began, at(second + 1),
            error={"class": how} if cut else None, next_index=2 if cut or how == "failed" else None,
        )  # fmt: skip
        outcomes[outcome.key] = outcome
    return replace(ended("h", status=status), results=outcomes, restarts=restarts, reason=reason, finished_at=at(len(steps)))


def handling(execution, *, timeout=None, requests=None, **more):
    if requests is None:
        requests = [step(execution, each.index) for each in execution.ordered_results if each.status == "ok"]
    return evidence([execution], requests, handled={"h": Handled(PLAN, timeout)}, **more)


def step(execution, index, *, epoch=1, begin=None, end=None):
    begin = index if begin is None else begin
    sent = request(execution, begin, begin + 0.5 if end is None else end, epoch=epoch)
    return replace(sent, key=f"{execution.execution_id}:{NAMES[index]}")


ALL_DONE, FAILED = course(0, 1, 3, status=Status.OK), course(0, (1, "failed"), 2, 3)
CUT_LATE = course(0, (1, "timed-out"), 2, 3, restarts=TIMED_OUT)  # at 5 s
ALL_OF_CUT_LATE = [
    step(CUT_LATE, 0),
    step(CUT_LATE, 1, end=4),
    step(CUT_LATE, 3, begin=4),
    step(CUT_LATE, 2, epoch=3, begin=6),
]
MISSED = replace(ALL_DONE, restarts=(Restarted(at(4), Restart.LOST, 1, 1),))


def missed(handler_began, **more):
    """Return what a runner that was missed at 4 s has sent, and what the next one has."""
    sent = [step(MISSED, 0), step(MISSED, 1, end=3), step(MISSED, 3, begin=handler_began)]
    again = [step(MISSED, 1, epoch=3, begin=6), step(MISSED, 3, epoch=3, begin=8)]
    return handling(MISSED, requests=[*sent, *again], **more)


LOST_HANDLERS = course(0, (1, "failed"), 2, restarts=(Restarted(at(3), Restart.LOST, 1, 3),), reason="given up: ...")

TICKS = {second: ended(seconds=second, due=at(second)) for second in (2, 4, 6, 8)}
PERIODIC = {"periodic": {"w": 2.0}, "anchors": {"w": BEGAN}}


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("nothing out of order", evidence([ONE, TWO], [request(ONE, 0, 1), request(TWO, 2, 3)])),
        (
            "repeated by a fault",
            evidence([ONE], [request(ONE, 0, 1), request(ONE, 12, 13, epoch=3)], [fault("kill", "runner", 0.5, 3)]),
        ),
        ("a signal that was heeded", evidence([with_outcome(ONE, "ok")], told={ONE.execution_id: 0.0})),
        ("a child that was waited for", evidence([with_outcome(ONE, "ok"), CHILD])),
        ("a child that failed", evidence([with_outcome(ONE, "failed"), replace(CHILD, status=Status.FAILED)])),
        ("every tick fired", evidence(TICKS.values(), **PERIODIC)),
        (
            "a tick missed while the scheduler was away",
            evidence(
                [TICKS[2], TICKS[8]],
                [],
                [fault("freeze", "scheduler", 3, 8)],
                **PERIODIC,
                unfired={"w": [Unfired("w", Disposition.MISSED, at(4), at(6), 2)]},
            ),
        ),
        (
            "a tick skipped, and made up for later",
            evidence(
                [TICKS[2], replace(TICKS[4], cause=Cause.BACKFILL), TICKS[8]],
                **PERIODIC,
                unfired={"w": [Unfired("w", Disposition.SKIPPED, at(4), at(6), 2)]},
            ),
        ),
        ("a record that started one", reading([started_by(RECORD)])),
        ("a record that is a dead letter", reading(published=[BAD], letters=[letter(BAD), letter(BAD)])),
        ("a record that was wiped", reading(faults=[fault("wipe", "kafka", 0, 3)])),
        ("a dead letter that was wiped", reading(published=[BAD], faults=[fault("wipe", "kafka", 500, 503)])),
        ("records in their order", reading([started_by(RECORD), started_by(LATER, seconds=3)], [RECORD, LATER])),
        (
            "records of two logs",
            reading(
                [started_by(replace(RECORD, at=at(50)), seconds=51), started_by(LATER, seconds=52)],
                [replace(RECORD, at=at(50)), LATER],
                faults=[fault("wipe", "kafka", 10, 12)],
            ),
        ),
        (
            "side by side",
            reading([started_by(RECORD, seconds=3), started_by(LATER)], [RECORD, LATER], side_by_side={"r"}),
        ),
        ("all done", handling(ALL_DONE)),
        ("failed", handling(FAILED)),
        ("given up", handling(course(0, (1, "given-up"), 2, 3, restarts=GIVEN_UP))),
        ("timed out", handling(course(0, (1, "timed-out"), 2, 3, restarts=TIMED_OUT), timeout=5)),
        (
            "a handler that had been run when the time was found to be over",
            handling(CUT_LATE, timeout=5, requests=[*ALL_OF_CUT_LATE, step(CUT_LATE, 3, epoch=3, begin=6)]),
        ),
        (
            "a request that is being broken off",
            evidence(
                [replace(CUT_LATE, results={}), replace(ended("h", seconds=6), execution_id="later")],
                [step(CUT_LATE, 1, begin=2, end=6.5), Received("h", "later:quick-1", 1, 1, at(6).timestamp())],
            ),
        ),
        ("a handler that a runner sent when it came to again", missed(5, faults=[fault("freeze", "runner", 2, 5)])),
        ("a handler that was lost with its run", missed(3.5, faults=[fault("kill", "runner", 3.75, 6)])),
        ("a result that was wiped", handling(course(0, 3, status=Status.OK), faults=[fault("wipe", "kafka", 0, 1)])),
        ("handlers that lost their runners", handling(LOST_HANDLERS, faults=[fault("kill", "runner", 2, 3)])),
        (
            "handlers that were late",
            handling(
                replace(course(0, (1, "failed"), 2, reason="finally timed out after 5s"), finished_at=at(8)),
                timeout=5,
                faults=[fault("freeze", "runner", 2, 8)],
            ),
        ),
        (
            "a record lost with the wiped broker",
            evidence(accepted=[Accepted("x", "w", at(1).timestamp(), "direct")], faults=[fault("wipe", "kafka", 0, 3)]),
        ),
    ],
)
def test_what_is_allowed(word, seen):
    assert judge(seen).violations == []


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ("terminal", evidence([replace(ONE, status=Status.RUNNING)])),
        ("terminal", evidence(accepted=[Accepted("x", "w", 0, "manual")])),
        ("parallel", evidence([ONE, TWO], [request(ONE, 0, 3), request(TWO, 2, 4)])),
        (
            "parallel",
            evidence(
                [replace(CUT_LATE, results={}), replace(ended("h", seconds=9), execution_id="later")],
                [step(CUT_LATE, 1, begin=2, end=9.5), Received("h", "later:quick-1", 1, 1, at(9).timestamp())],
            ),
        ),
        ("repeated", evidence([ONE], [request(ONE, 0, 1), request(ONE, 12, 13, epoch=3)])),
        (
            "repeated",
            evidence([ONE], [request(ONE, 0, 1), request(ONE, 2, 3)], [fault("kill", "runner", 0.5, 3)]),
        ),
        ("repeated", evidence([], [request(ONE, 0, 1)])),
        ("tick", evidence([each for second, each in TICKS.items() if second != 4], **PERIODIC)),
        (
            "tick",
            evidence(TICKS.values(), **PERIODIC, unfired={"w": [Unfired("w", Disposition.SKIPPED, at(4), at(4))]}),
        ),
        ("tick", evidence([*TICKS.values(), replace(TICKS[4], execution_id="other")], **PERIODIC)),
        ("tick", evidence([*TICKS.values(), ended(seconds=5, due=at(5))], **PERIODIC)),
        ("lock", evidence(not_idle=["w"])),
        ("signalled", evidence([with_outcome(ONE, "failed", {"class": "no-signal"})], told={ONE.execution_id: 0.0})),
        ("triggered", evidence([with_outcome(ONE, "ok"), CHILD, replace(CHILD, execution_id="other")])),
        ("triggered", evidence([with_outcome(ONE, "ok"), replace(CHILD, status=Status.FAILED)])),
        ("triggered", evidence([with_outcome(ONE, "ok"), replace(CHILD, finished_at=at(9))])),
        ("record", reading()),
        ("record", reading(faults=[fault("kill", "runner", 0, 3)])),
        ("record", reading(faults=[fault("wipe", "kafka", -5, 0)])),
        ("record", reading([started_by(RECORD), replace(started_by(RECORD), execution_id="other")])),
        ("record", reading([replace(started_by(RECORD), execution_id="other")])),
        ("record", reading([started_by(RECORD, status=Status.SKIPPED)])),
        ("record", reading([started_by(RECORD)], letters=[letter(RECORD)])),
        ("record", reading(letters=[letter(RECORD)])),
        ("record", reading(published=[BAD])),
        ("record", reading(published=[BAD], letters=[letter(BAD, "other")])),
        ("record", reading([started_by(BAD)], [BAD], letters=[letter(BAD)])),
        ("order", reading([started_by(RECORD, seconds=3), started_by(LATER)], [RECORD, LATER])),
        ("received", handling(ALL_DONE, requests=[step(ALL_DONE, 0), step(ALL_DONE, 1)])),
        ("onFailure", handling(course(0, 1, status=Status.OK))),
        ("onFailure", handling(course(0, 1, 2, 3, status=Status.OK))),
        ("onFailure", handling(course(0, 1, 3))),
        ("onFailure", handling(course(0, (1, "failed"), 3))),
        ("onFailure", handling(course(0, (1, "failed"), 3, 2))),
        ("onFailure", handling(course(0, (1, "failed"), 2, 3, status=Status.OK))),
        ("onFailure", handling(course(0, reason="timed out after 5s"), timeout=0.5)),
        ("onFailure", handling(course(0, (1, "given-up"), 2, 3, restarts=GIVEN_UP[1:]))),
        ("onFailure", handling(course(0, (1, "timed-out"), 2, 3, restarts=TIMED_OUT), timeout=6)),
        ("onFailure", handling(course(0, (1, "timed-out"), 3, restarts=TIMED_OUT), timeout=5)),
        ("onFailure", handling(LOST_HANDLERS)),
        ("onFailure", missed(3.5, faults=[fault("kill", "runner", 5, 5.5)])),
        ("onFailure", handling(course(0, 3, status=Status.OK), faults=[fault("wipe", "kafka", -5, -1)])),
        (
            "repeated",
            handling(
                CUT_LATE,
                timeout=5,
                requests=[
                    step(CUT_LATE, 3, begin=0),
                    *ALL_OF_CUT_LATE[:2],
                    step(CUT_LATE, 2, epoch=3),
                    step(CUT_LATE, 3, epoch=3, begin=6),
                ],
            ),
        ),
        ("onFailure", handling(replace(LOST_HANDLERS, restarts=()), faults=[fault("kill", "runner", 2, 3)])),
        ("onFailure", handling(ALL_DONE, requests=[*map(partial(step, ALL_DONE), range(4))])),
        ("onFailure", handling(FAILED, requests=[*map(partial(step, FAILED), (0, 2, 3)), step(FAILED, 1, epoch=2)])),
    ],
)
def test_what_is_found(rule, seen):
    found = judge(seen).violations
    assert found
    assert all(rule in violation.rule for violation in found)


def test_a_violation_is_traced(capsys):
    seen = evidence([ONE], [request(ONE, 0, 1), request(ONE, 2, 3)], [fault("kill", "runner", 0.5, 3)])
    judgement = judge(seen)
    report.show(seen, judgement, Report(), seed=1, seconds=10, quiet_after=1)
    printed = capsys.readouterr().out
    assert "twice under epoch 1" in printed
    assert printed.count("request ") >= 2
    assert "FAULT kill runner" in printed
    report.trace(Console(), next(itertools.islice(judgement.violations, 1)), seen)
