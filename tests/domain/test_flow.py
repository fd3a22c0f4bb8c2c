from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.execution import (
    ActionFinished,
    ActionOutcome,
    Admission,
    Cause,
    Reissued,
    Restart,
    Status,
    admit,
    apply,
    claim,
)
from domain.flow import Plan, failure, following, status_after

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("word", "plan", "index", "failed", "expected"),
    [
        ("in order", Plan(3), 0, False, 1),
        ("the last", Plan(3), 2, False, 3),
        ("a failure ends a plain workflow", Plan(3), 0, True, 3),
        ("a failure leads to its handlers", Plan(3, 2, 1), 0, True, 3),
        ("success passes them by", Plan(3, 2, 1), 2, False, 5),
        ("from the handlers to the end", Plan(3, 2, 1), 4, False, 5),
        ("a handler that fails stops nothing", Plan(3, 2, 1), 3, True, 4),
        ("without handlers to the end", Plan(3, 0, 1), 1, True, 3),
    ],
)
def test_what_follows(word, plan, index, failed, expected):
    following_index = following(plan, index, failed=failed)
    assert (following_index, status_after(plan, following_index, failed=failed).is_open) == (expected, expected < plan.total)


@pytest.mark.parametrize(
    ("plan", "handler", "status"),
    [(Plan(3, 2, 1), 5, Status.RUNNING), (Plan(3, 0, 1), 3, Status.RUNNING), (Plan(3, 2, 0), 5, Status.CANCELLED)],
)
def test_what_is_cancelled_has_not_failed_beyond_that(plan, handler, status):
    cut = Restart.CANCELLED
    assert following(plan, 1, failed=True, cut=cut) == plan.first_handler(cut) == handler
    assert status_after(plan, handler, failed=True, cut=cut) is status
    assert status_after(plan, plan.total, failed=True, cut=cut) is Status.CANCELLED


class Machine:
    """Runs a plan as a runner does: outcomes are drawn, and whatever is drawn may be lost or interrupted in between."""

    def __init__(self, plan, retries):
        self.plan = plan
        self.execution = admit(
            Admission("e", "w", 1, Cause.MANUAL, T0, retries_left=retries, total_actions=plan.actions, shard=0, lock_key="w")
        )
        self.at = T0
        self.ran = []

    def run(self, draw):
        """Run until the execution ends or waits, or the runner dies."""
        self.execution = claim(self.execution, self.execution.epoch, "r", self.at)
        index, seq = self.execution.resume_index, 0
        while True:
            self.at += timedelta(seconds=1)
            what = draw()
            if what == "dies":
                self.execution = apply(self.execution, Reissued("e", "w", self.execution.epoch + 1, self.at, Restart.LOST))
                return
            seq += 1
            failed, continued = what in ("failed", "continued"), what == "continued"
            retried = what == "failed" and self.execution.retries_left > 0
            fatal = what == "failed" and not retried
            next_index = index if retried else following(self.plan, index, failed=fatal)
            before = failure(self.execution.results.values())
            status = Status.WAITING if retried else status_after(self.plan, next_index, failed=fatal or before is not None)
            if what == "delayed" and status is Status.RUNNING:
                status = Status.WAITING
            self.ran.append((index, what if not retried else "retried"))
            implied = index + (not failed or continued)
            outcome = ActionOutcome(
                f"a{index}", index, self.execution.attempt, "failed" if failed else "skipped" if what == "skipped" else "ok",
                self.at, self.at, next_index=None if next_index == implied else next_index, continued=continued,
            )  # fmt: skip
            left = self.execution.retries_left - retried
            self.execution = apply(
                self.execution,
                ActionFinished("e", "w", self.execution.epoch, seq, outcome, status, left, "r", wake_at=self.at),
            )
            if status is not Status.RUNNING:
                if status is Status.WAITING:
                    why = Restart.WOKEN if self.execution.is_delayed else Restart.RETRY
                    assert (why is Restart.RETRY) == retried
                    self.execution = apply(self.execution, Reissued("e", "w", self.execution.epoch + 1, self.at, why))
                return
            index = next_index


@given(
    st.builds(Plan, st.integers(1, 4), st.integers(0, 3), st.integers(0, 3)),
    st.integers(0, 2),
    st.lists(st.sampled_from(["ok", "ok", "skipped", "failed", "continued", "delayed", "dies"]), max_size=30),
)
def test_every_run_keeps_to_the_plan_however_it_is_interrupted(plan, retries, drawn):
    machine = Machine(plan, retries)
    queue = [*drawn]

    def draw():
        return queue.pop(0) if queue else "ok"

    while machine.execution.status.is_open:
        machine.run(draw)
    final = [(index, what) for index, what in machine.ran if what != "retried"]
    indexes = [index for index, _ in final]
    assert indexes == sorted(set(indexes)), "a finished step ran again, or out of order"
    fatal = [index for index, what in final if what == "failed"]
    in_actions = [index for index in fatal if index < plan.actions]
    handlers = list(range(plan.actions, plan.actions + plan.on_failure))
    assert [index for index in indexes if index in handlers] == (handlers if in_actions else [])
    assert set(range(plan.actions + plan.on_failure, plan.total)) <= set(indexes), "finally did not run"
    expected = list(range(in_actions[0] + 1)) if in_actions else list(range(plan.actions))
    assert [index for index in indexes if index < plan.actions] == expected
    assert machine.execution.status is (Status.FAILED if fatal else Status.OK)
    first = failure(machine.execution.results.values())
    assert (first.index if first else None) == (fatal[0] if fatal else None)
