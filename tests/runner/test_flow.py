"""What a run publishes: templates, conditions, handlers, delays, redaction."""

import asyncio
from dataclasses import replace
from datetime import datetime, timezone
from unittest.mock import AsyncMock

import pytest

from actions.http.connections import Connections, HttpSettings
from actions.registry import WorkflowDefinition
from actions.running import Resources
from apps.runner.attempts import run_attempt
from apps.runner.isolation import Isolation
from apps.runner.run import Run
from events.folding import result_transition
from store.interfaces import StoreUnavailable
from vault.interfaces import UnknownSecret
from vault.redaction import Redactor
from vault.variables import Variables

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


class Secrets:
    def __init__(self, **values):
        self.values = values
        self.redactor = Redactor()
        self.redactor.know(values.values())

    async def get(self, name):
        if name not in self.values:
            raise UnknownSecret(name)
        return self.values[name]


@pytest.fixture
async def resources():
    connections = Connections(HttpSettings(allow_hosts=("127.0.0.1",)))
    yield Resources(http=connections, secrets=Secrets(KEY="s3cret-value"))
    await connections.close()


async def ran(resources, actions, *, given=None, outcomes=(), resume_index=0, retries=0, in_doubt=frozenset(), **more):
    definition = WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": actions, "retries": retries, **more}
    )
    run = Run(
        "e",
        "w",
        1,
        1,
        1,
        retries,
        resume_index,
        cause="manual",
        created_at=T0,
        input=given or {},
        outcomes=tuple(outcomes),
        in_doubt=in_doubt,
    )
    results = []

    async def publish(workflow_id, result):
        results.append(result)

    attempt = run_attempt(
        run, definition, runner="r", resources=resources, publish=publish, intend=None,
        abandon=None, isolation=Isolation(after=9, limit=1),
    )  # fmt: skip
    await asyncio.wait_for(attempt, 30)
    return results


async def test_what_resumes_sees_the_outputs_of_what_is_finished(resources):
    actions = [
        {"type": "set", "actionId": "a", "values": {"x": 1}},
        {"type": "delay", "actionId": "d", "duration": "1h"},
        {"type": "log", "actionId": "b", "message": "{{ actions.a.output.x }} {{ actions.d.status }}"},
    ]
    first = await ran(resources, actions)
    assert [(result.action_id, result.status, result.execution_status) for result in first] == [
        ("a", "ok", "running"),
        ("d", "ok", "waiting"),
    ]
    assert first[-1].wake_at is not None
    outcomes = [result_transition(result).outcome for result in first]
    (last,) = await ran(resources, actions, outcomes=outcomes, resume_index=outcomes[-1].resume_index)
    assert (last.logs, last.execution_status) == (["1 ok"], "ok")


async def test_what_resumes_in_a_handler_knows_what_failed(resources):
    actions = [{"type": "fail", "actionId": "a", "message": "why"}]
    more = {
        "onFailure": [
            {"type": "delay", "duration": "1h"},
            {"type": "log", "actionId": "b", "message": "{{ execution.failure.message }}"},
        ]
    }
    first = await ran(resources, actions, **more)
    assert [result.execution_status for result in first] == ["running", "waiting"]
    outcomes = [result_transition(result).outcome for result in first]
    (last,) = await ran(resources, actions, outcomes=outcomes, resume_index=outcomes[-1].resume_index, **more)
    reason = "action a failed: why; no retries were asked for"
    assert (last.logs, last.execution_status, last.reason) == (["why"], "failed", reason)


@pytest.mark.parametrize("name", ["onFailure", "finally"])
async def test_a_handler_keeps_why_the_action_was_not_retried(resources, name):
    actions = [{"type": "fail", "actionId": "a", "message": "broken"}]
    more = {name: [{"type": "log", "message": "{{ execution.failure }}"}, {"type": "fail", "message": "that as well"}]}
    first, told, last = await ran(resources, actions, retries=3, **more)
    assert first.error["notRetried"] == "errors of class fail are not retried"
    assert "notRetried" not in told.logs[0], "templates see what is documented"
    assert last.reason == "action a failed: broken; errors of class fail are not retried"


async def test_a_handler_keeps_that_the_outcome_is_in_doubt(resources):
    action = {"type": "http-request", "actionId": "a", "url": "http://127.0.0.1:1/", "method": "POST", "onUnknown": "fail"}
    last = (await ran(resources, [action], in_doubt=frozenset({0}), **{"finally": [{"type": "log", "message": "x"}]}))[-1]
    assert last.reason.startswith("action a is in doubt: its runner died")


async def test_secrets_are_used_and_not_told(resources):
    results = await ran(
        resources,
        [
            {"type": "set", "actionId": "a", "values": {"long": "{{ secrets.KEY | length }}", "key": "{{ secrets.KEY }}"}},
            {"type": "fail", "actionId": "b", "message": "no {{ secrets.KEY }}"},
        ],
    )
    assert results[0].output == {"long": 12, "key": "***"}
    assert (results[1].error, results[1].reason) == (
        {"class": "fail", "message": "no ***", "notRetried": "no retries were asked for"},
        "action b failed: no ***; no retries were asked for",
    )


async def test_a_secret_that_is_gone_fails_the_step(resources):
    (result,) = await ran(resources, [{"type": "log", "message": "{{ secrets.GONE }}"}], retries=3)
    assert (result.error["class"], result.execution_status) == ("secret", "failed")


async def test_secrets_that_cannot_be_read_are_asked_for_again_later(resources):
    resources.secrets.get = AsyncMock(side_effect=StoreUnavailable("away"))
    (result,) = await ran(resources, [{"type": "log", "message": "{{ secrets.KEY }}"}], retries=3)
    assert (result.error["message"], result.execution_status) == ("secrets and variables cannot be read: away", "waiting")


async def test_variables_are_used_as_they_are_when_the_step_is_run(resources):
    stored = {"LIMITS": {"rows": [10, 20]}, "HOST": "staging {{ input.x }}"}

    async def values():
        return dict(stored)

    resources = replace(resources, variables=Variables(values))
    actions = [
        {"type": "set", "actionId": "a", "values": {"rows": "{{ vars.LIMITS.rows }}", "text": "to {{ vars.HOST }}"}},
        {"type": "log", "actionId": "b", "message": "{{ actions.a.output.rows | last }} {{ vars.LATER }}"},
    ]
    done, failed = await ran(resources, actions, retries=3)
    assert done.output == {"rows": [10, 20], "text": "to staging {{ input.x }}"}, "a value is no template"
    assert (failed.error["class"], failed.execution_status) == ("variable", "failed")
    assert failed.error["message"] == "variable LATER is not there; set it with `wf vars set LATER`"
    stored.update(LATER="seen", LIMITS={"rows": [30]})
    outcomes = [result_transition(done).outcome]
    (last,) = await ran(resources, actions, outcomes=outcomes, resume_index=1)
    assert last.logs == ["20 seen"], "what is done keeps what it was done with"


async def test_secrets_are_not_told_by_logs_either(resources):
    (result,) = await ran(resources, [{"type": "log", "message": "it is {{ secrets.KEY }}"}])
    assert result.logs == ["it is ***"]


async def test_a_template_that_cannot_be_rendered_fails_the_step(resources):
    (result,) = await ran(resources, [{"type": "log", "message": "{{ 1 / input.zero }}"}], given={"zero": 0}, retries=3)
    assert (result.error["class"], result.execution_status) == ("template", "failed")


async def test_a_workflow_whose_last_steps_are_skipped_ends(resources):
    results = await ran(
        resources, [{"type": "log", "message": "x"}, {"type": "log", "message": "y", "if": "input.go"}], given={"go": False}
    )
    assert [(result.status, result.execution_status) for result in results] == [("ok", "running"), ("skipped", "ok")]
    assert results[1].logs == ["skipped: input.go does not hold"]


async def test_an_error_that_does_not_count_is_retried_before_it_is_passed_over(resources):
    actions = [
        {"type": "http-request", "url": "http://127.0.0.1:1/", "method": "GET", "continueOnError": True},
        {"type": "log", "message": "x"},
    ]
    (result,) = await ran(resources, actions, retries=1)
    assert (result.execution_status, result.continued) == ("waiting", None)
    results = await ran(resources, actions, retries=0)
    assert [(result.status, result.continued, result.execution_status, result.reason) for result in results] == [
        ("failed", True, "running", None),
        ("ok", None, "ok", None),
    ]


async def test_output_that_is_too_large_to_be_recorded_fails_the_step(resources):
    action = {
        "type": "set",
        "values": {"a": "{{ range(9000) | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx') }}"},
    }
    (result,) = await ran(resources, [action])
    assert result.error["class"] == "too-large"


async def test_what_later_steps_see_keeps_the_words_that_a_secret_begins_with(resources):
    resources.secrets.redactor.know(["Bearer planted", "fail-safe"])
    actions = [
        {"type": "set", "actionId": "answer", "values": {"kind": "Bearer", "echo": "{{ secrets.KEY }}"}},
        {"type": "log", "if": "actions.answer.output.kind == 'Bearer'", "message": "{{ actions.answer.output.echo }} it is"},
        {"type": "fail", "message": "Bearer pla"},
    ]
    results = await ran(resources, actions)
    assert results[0].output == {"kind": "Bearer", "echo": "***"}
    assert results[1].logs == ["*** it is"]
    error = {"class": "fail", "message": "***", "notRetried": "no retries were asked for"}
    assert results[2].error == error, "a class is a word that others decide by"
