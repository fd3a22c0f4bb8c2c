"""What a failed attempt says of the execution, with its publisher replaced by a list."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from actions import registry
from actions.registry import WorkflowDefinition
from actions.running import Failed, Resources, Succeeded
from apps.runner.attempts import run_attempt
from apps.runner.clock import now
from apps.runner.intake import run_of
from apps.runner.isolation import Isolation
from apps.runner.run import Run
from domain.execution import Admission, Cause, Failures, Reissued, Restart, Status, admit, apply, claim

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def outcomes(monkeypatch):
    """Let log actions end as their message is told here."""
    told = {}

    async def run(action, context):
        return told.get(action.message, Succeeded())

    monkeypatch.setitem(registry.KINDS, registry.LogAction, run)
    return told


async def attempt(definition, *, retries_left, failures=None, number=1):
    published = []

    async def publish(workflow_id, result):
        published.append(result)

    async def intend(run, key):
        return True

    run = Run(
        execution_id="e", workflow_id="w", version=1, epoch=1, attempt=number, retries_left=retries_left,
        resume_index=0, cause="manual", failures=failures or {},
    )  # fmt: skip
    await run_attempt(
        run, definition, runner="r", resources=Resources(http=None), publish=publish, intend=intend,
        abandon=None, isolation=Isolation(after=9, limit=1),
    )  # fmt: skip
    return published


def workflow(*actions, **fields):
    return WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": list(actions), **fields}
    )


async def test_a_status_that_is_not_retried_ends_at_once_and_says_why(outcomes):
    outcomes["a"] = Failed("status", "answered 404", status=404)
    (result,) = await attempt(workflow({"type": "log", "message": "a"}), retries_left=3)
    assert (result.execution_status, result.wake_at, result.retries_left) == ("failed", None, 3)
    assert result.reason == "action log-1 failed: answered 404; status 404 is not retried"


async def test_retry_after_moves_the_next_attempt(outcomes):
    outcomes["a"] = Failed("status", "answered 429", status=429, retry_after=90)
    (result,) = await attempt(workflow({"type": "log", "message": "a"}), retries_left=3)
    assert result.execution_status == "waiting"
    assert result.wake_at == result.finished_at + timedelta(seconds=90)
    assert result.retries_left == 2


async def test_an_action_with_attempts_of_its_own_counts_its_own_failures(outcomes):
    outcomes["b"] = Failed("timeout", "slow")
    definition = workflow(
        {"type": "log", "message": "a"}, {"type": "log", "message": "b", "retry": {"attempts": 3}}, retries=0
    )
    *_, result = await attempt(definition, retries_left=0)
    assert (result.execution_status, result.retries_left) == ("waiting", 0)
    *_, result = await attempt(definition, retries_left=0, failures={1: Failures(1, LONG_AGO)}, number=2)
    assert result.execution_status == "waiting"
    *_, result = await attempt(definition, retries_left=0, failures={1: Failures(2, LONG_AGO)}, number=3)
    assert result.execution_status == "failed"
    assert result.reason == "action log-2 failed: slow; its own 3 attempts are used up"


async def test_the_first_failure_is_the_first_attempt(outcomes):
    outcomes["a"] = Failed("timeout", "slow")
    for attempts, status in ((2, "waiting"), (1, "failed")):
        definition = workflow({"type": "log", "message": "a", "retry": {"attempts": attempts}}, retries=0)
        (result,) = await attempt(definition, retries_left=0)
        assert result.execution_status == status


async def test_the_budget_counts_from_the_first_failed_attempt(outcomes):
    outcomes["a"] = Failed("timeout", "slow")
    definition = workflow({"type": "log", "message": "a"}, retry={"budget": "1h"})
    (result,) = await attempt(definition, retries_left=3)
    assert result.execution_status == "waiting"
    (result,) = await attempt(definition, retries_left=2, failures={0: Failures(1, LONG_AGO)}, number=2)
    assert result.execution_status == "failed"
    assert "budget" in result.reason


@pytest.mark.parametrize(("budget", "status"), [("5s", "failed"), ("1h", "waiting")])
async def test_the_budget_counts_from_before_a_runner_was_lost(outcomes, budget, status):
    outcomes["a"] = Failed("timeout", "slow")
    began = now() - timedelta(seconds=60)
    asked = admit(
        Admission(
            execution_id="e", workflow_id="w", version=1, cause=Cause.MANUAL, created_at=began, retries_left=3,
            total_actions=1, shard=0, lock_key="w",
        )
    )  # fmt: skip
    running = replace(asked, status=Status.RUNNING, started_at=began, owner="r1")
    lost = apply(running, Reissued("e", "w", 2, now(), Restart.LOST))
    run = run_of(claim(lost, 2, "r2", now()))
    definition = workflow({"type": "log", "message": "a"}, retry={"budget": budget})
    (result,) = await attempt(definition, retries_left=run.retries_left, failures=run.failures)
    assert result.execution_status == status


@pytest.mark.parametrize("is_idempotent", [True, False])
async def test_an_action_that_overruns_its_time_may_have_been_done(monkeypatch, is_idempotent):
    """With retryUnsafe false, only what is idempotent is repeated when nobody knows whether it was done."""

    async def hang(action, context):
        await asyncio.Event().wait()

    definition = workflow({"type": "publish", "topic": "t", "timeout": "1s"}, retry={"retryUnsafe": False})
    monkeypatch.setattr("apps.runner.attempts.TIMEOUT_GRACE", -0.99)
    monkeypatch.setattr(registry.PublishAction, "is_idempotent", is_idempotent)
    monkeypatch.setitem(registry.KINDS, registry.PublishAction, hang)
    (result,) = await attempt(definition, retries_left=3)
    assert (result.error["class"], result.execution_status) == ("timeout", "waiting" if is_idempotent else "failed")
    assert is_idempotent or result.reason.endswith("it may have arrived, and retryUnsafe is false")
