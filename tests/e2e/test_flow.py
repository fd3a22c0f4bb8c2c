"""Data between steps, conditions, handlers, delays and the further kinds, on the real stack."""

import asyncio
import json
import re
import signal

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.e2e.conftest import DEADLINE, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

QUICK = {"base": "1s", "cap": "1s", "jitter": "none"}


async def run(api, workflow_id, body=None):
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", body)
    assert status == 202, answer
    return await api.finished(answer["executionId"])


def steps(execution):
    return {action["actionId"]: action for action in execution["executedActions"]}


async def test_input_and_outputs_reach_later_steps_with_their_types(api, workflow_id):
    await api.create(
        workflow_id,
        [
            {"type": "set", "actionId": "calc", "values": {"double": "{{ input.n * 2 }}", "who": "Dear {{ input.name }}"}},
            {"type": "log", "message": "{{ actions.calc.output.who }}: {{ actions.calc.output.double }}"},
            {
                "type": "set",
                "actionId": "again",
                "values": {"list": "{{ [actions.calc.output.double, execution.attempt] }}"},
            },
        ],
        inputSchema={"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
    )
    execution = await run(api, workflow_id, {"input": {"n": 21, "name": "Ada"}})
    assert execution["status"] == "ok"
    assert execution["input"] == {"n": 21, "name": "Ada"}
    done = steps(execution)
    assert done["calc"]["output"] == {"double": 42, "who": "Dear Ada"}
    assert done["log-2"]["logs"] == ["Dear Ada: 42"]
    assert done["again"]["output"] == {"list": [42, 1]}


async def test_a_variable_reaches_the_receiver_and_what_is_set_when_a_step_begins_counts(api, target, workflow_id):
    name = re.sub(r"\W", "_", workflow_id)[-100:]
    action = {
        "type": "http-request",
        "actionId": "call",
        "method": "POST",
        "url": f"{{{{ vars.{name}.url }}}}/{workflow_id}",
        "query": {"limit": f"{{{{ vars.{name}.limit }}}}"},
    }
    body = {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": [action]}
    status, refused = await api.call("POST", "/workflows", body)
    assert (status, {error["field"] for error in refused["errors"]}) == (400, {"actions[0].url", "actions[0].query.limit"})
    await api.call("PUT", f"/vars/{name}", {"value": {"url": target.url, "limit": 5}})
    await api.create(workflow_id, [action], retries=0)
    done = steps(await run(api, workflow_id))["call"]
    assert done["output"]["request"]["url"] == f"{target.url}/{workflow_id}?limit=5", "it stands in the history"
    await api.call("DELETE", f"/vars/{name}")

    async def fails():
        execution = await run(api, workflow_id)
        return execution if execution["status"] == "failed" else None

    failed = await until(fails, "the runner has noticed that the variable is gone")
    assert steps(failed)["call"]["error"]["class"] == "variable"
    await api.call("PUT", f"/vars/{name}", {"value": {"url": target.url, "limit": 6}})
    _, again = await api.call("POST", f"/executions/{failed['executionId']}/retry")
    assert (await api.finished(again["executionId"]))["status"] == "ok", "what it takes up sees what is set now"
    asked = [request.query["limit"] for request in target.requests[workflow_id]]
    assert (asked[0], asked[-1]) == ("5", "6")


async def test_input_that_the_schema_refuses_is_told_by_its_place(api, producer, dead_letters, workflow_id):
    schema = {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "integer"}}}}
    await api.create(workflow_id, [{"type": "log", "message": "x"}], inputSchema=schema)
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"input": {"items": [1, "two"]}})
    assert status == 400
    assert [error["field"] for error in answer["errors"]] == ["input.items[1]"]
    value = json.dumps({"workflow_id": workflow_id, "input": {"items": ["two"]}}).encode()
    sent = await producer.send_and_wait("workflow.execution", value, key=workflow_id.encode())

    async def ours():
        while True:
            letter = json.loads((await dead_letters.getone()).value)
            if (letter["partition"], letter["offset"]) == (sent.partition, sent.offset):
                return letter

    assert "input.items[0]" in (await asyncio.wait_for(ours(), timeout=DEADLINE))["reason"]


async def test_a_record_brings_its_input(api, producer, workflow_id):
    schema = {"properties": {"region": {"default": "eu"}}}
    await api.create(
        workflow_id, [{"type": "log", "message": "{{ trigger.cause }} {{ input.n }} {{ input.region }}"}], inputSchema=schema
    )
    value = json.dumps({"workflow_id": workflow_id, "input": {"n": 7}}).encode()
    await producer.send_and_wait("workflow.execution", value, key=workflow_id.encode())

    async def ended():
        found = await api.executions(workflow_id)
        return found if found and found[0]["status"] == "ok" else None

    (listed,) = await until(ended, "the execution finishes")
    execution = await api.execution(listed["executionId"])
    assert steps(execution)["log-1"]["logs"] == ["event 7 eu"]


async def test_conditions_skip_and_errors_that_do_not_count(api, target, workflow_id):
    await api.create(
        workflow_id,
        [
            {"type": "fail", "actionId": "shaky", "message": "no luck", "continueOnError": True},
            {
                "type": "log",
                "actionId": "told",
                "if": "actions.shaky.status == 'failed'",
                "message": "{{ actions.shaky.error.message }}",
            },
            {"type": "log", "actionId": "not-told", "if": "actions.shaky.status == 'ok'", "message": "never"},
            {"type": "http-request", "if": "{{ false }}", "url": f"{target.url}/{workflow_id}", "method": "POST"},
        ],
    )
    execution = await run(api, workflow_id)
    assert (execution["status"], execution["reason"]) == ("ok", None)
    assert {name: step["status"] for name, step in steps(execution).items()} == {
        "shaky": "failed",
        "told": "ok",
        "not-told": "skipped",
        "http-request-4": "skipped",
    }
    assert steps(execution)["told"]["logs"] == ["no luck"]
    assert target.count(workflow_id) == 0


async def test_a_failure_runs_its_handlers_and_the_end_in_any_case(api, target, workflow_id):
    handlers = {
        "onFailure": [
            {
                "type": "log",
                "actionId": "alarm",
                "message": "{{ execution.failure.actionId }}: {{ execution.failure.message }}",
            },
            {"type": "fail", "message": "the alarm is broken"},
            {"type": "log", "actionId": "after", "message": "still here"},
        ],
        "finally": [{"type": "log", "actionId": "bye", "message": "{{ execution.status }}"}],
    }
    broken = {"type": "http-request", "actionId": "call", "url": f"{target.url}/{workflow_id}?fail=99", "method": "GET"}
    never = {"type": "log", "actionId": "never", "message": "x"}
    await api.create(workflow_id, [broken, never], retries=1, backoff=QUICK, **handlers)
    execution = await run(api, workflow_id)
    assert execution["status"] == "failed"
    assert "call failed" in execution["reason"]
    assert execution["attempt"] == 2
    done = [(action["actionId"], action["status"], action["attempt"]) for action in execution["executedActions"]]
    assert done == [
        ("call", "failed", 1),
        ("call", "failed", 2),
        ("alarm", "ok", 2),
        ("on-failure-fail-2", "failed", 2),
        ("after", "ok", 2),
        ("bye", "ok", 2),
    ]
    assert steps(execution)["alarm"]["logs"][0].startswith("call: ")
    assert steps(execution)["bye"]["logs"] == ["failed"]


async def test_the_end_runs_after_success_without_the_handlers(api, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "log", "message": "x"}],
        onFailure=[{"type": "log", "message": "never"}],
        **{"finally": [{"type": "log", "actionId": "bye", "message": "{{ execution.status }}"}]},
    )
    execution = await run(api, workflow_id)
    assert execution["status"] == "ok"
    assert [action["actionId"] for action in execution["executedActions"]] == ["log-1", "bye"]
    assert steps(execution)["bye"]["logs"] == ["ok"]


async def test_a_template_that_cannot_be_rendered_fails_at_once_and_says_where(api, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "{{ input.nobody }}"}], retries=3)
    execution = await run(api, workflow_id, {"input": {"somebody": 1}})
    assert (execution["status"], execution["attempt"]) == ("failed", 1)
    (action,) = execution["executedActions"]
    assert action["error"] == {
        "class": "template",
        "message": "message: 'nobody' is undefined; there are somebody",
        "notRetried": "errors of class template are not retried",
    }


async def test_a_delay_releases_the_runner_and_survives_its_death(stack, api, workflow_id):
    await api.create(
        workflow_id,
        [
            {"type": "set", "actionId": "before", "values": {"n": 1}},
            {"type": "delay", "actionId": "wait", "duration": "{{ input.wait }}"},
            {
                "type": "log",
                "actionId": "after",
                "message": "{{ actions.before.output.n }} after {{ actions.wait.output.until }}",
            },
        ],
    )
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"input": {"wait": "4s"}})
    assert status == 202

    async def waiting():
        execution = await api.execution(answer["executionId"])
        return execution if execution["nextAttemptAt"] else None

    execution = await until(waiting, "the execution waits")
    assert execution["status"] == "pending"
    # What waits is in nobody's memory.
    stack.children["runner"].kill(signal.SIGKILL)
    execution = await api.finished(answer["executionId"])
    assert (execution["status"], execution["attempt"]) == ("ok", 1)
    done = steps(execution)
    assert done["after"]["logs"] == [f"1 after {done['wait']['output']['until']}"]
    assert done["after"]["startedAt"] >= done["wait"]["output"]["until"]


async def test_a_message_is_published(stack, api, workflow_id):
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(workflow_id, 1, 1)])
    await admin.close()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=stack.kafka_bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    consumer.assign([TopicPartition(workflow_id, 0)])
    message = {
        "type": "publish",
        "topic": workflow_id,
        "key": "{{ input.n }}",
        "headers": {"x": "{{ input.n }}"},
        "value": {"n": "{{ input.n }}"},
    }
    await api.create(workflow_id, [{"actionId": "say", **message}])
    execution = await run(api, workflow_id, {"input": {"n": 5}})
    assert execution["status"] == "ok", execution
    record = await asyncio.wait_for(consumer.getone(), 30)
    await consumer.stop()
    assert (record.key, json.loads(record.value)) == (b"5", {"n": 5})
    assert dict(record.headers) == {"Idempotency-Key": f"{execution['executionId']}:say".encode(), "x": b"5"}
    assert steps(execution)["say"]["output"] == {"topic": workflow_id, "partition": 0, "offset": 0}


async def test_the_topics_of_this_system_are_refused(api, workflow_id):
    await api.create(workflow_id, [{"type": "publish", "topic": "{{ input.topic }}", "value": {}}])
    execution = await run(api, workflow_id, {"input": {"topic": "workflow.execution"}})
    assert execution["status"] == "failed"
    assert execution["executedActions"][0]["error"]["class"] == "refused"


@pytest.mark.parametrize(
    ("word", "actions", "more", "field"),
    [
        ("syntax", [{"type": "log", "message": "{{ input. }}"}], {}, "actions[0].message"),
        ("unknown name", [{"type": "log", "message": "{{ inptu.x }}"}], {}, "actions[0].message"),
        ("unknown action", [{"type": "log", "message": "{{ actions.nope.output }}"}], {}, "actions[0].message"),
        (
            "later action",
            [{"type": "log", "message": "{{ actions.b.output }}"}, {"type": "set", "actionId": "b", "values": {"x": 1}}],
            {},
            "actions[0].message",
        ),
        ("unknown secret", [{"type": "log", "message": "{{ secrets.NOT_SET_ANYWHERE }}"}], {}, "actions[0].message"),
        ("in a body", [{"type": "publish", "topic": "t", "value": {"a": [1, "{{ nope }}"]}}], {}, "actions[0].value.a[1]"),
        ("condition", [{"type": "log", "message": "x", "if": "input.x >"}], {}, "actions[0].if"),
        (
            "handler",
            [{"type": "log", "message": "x"}],
            {"onFailure": [{"type": "log", "message": "{{ nope }}"}]},
            "onFailure[0].message",
        ),
        ("schema", [{"type": "log", "message": "x"}], {"inputSchema": {"type": "nope"}}, "inputSchema"),
        (
            "tick without input",
            [{"type": "log", "message": "x"}],
            {"inputSchema": {"required": ["a"]}, "trigger": {"type": "periodic", "interval": "1h"}},
            "inputSchema",
        ),
        ("own topic", [{"type": "publish", "topic": "workflow.execution"}], {}, "actions[0].topic"),
        ("delay at the end", [{"type": "delay", "duration": "1s"}], {}, "actions[0]"),
        ("no duration", [{"type": "delay", "duration": "soon"}, {"type": "log", "message": "x"}], {}, "actions[0].duration"),
    ],
)
async def test_what_can_be_known_is_told_when_a_workflow_is_created(api, workflow_id, word, actions, more, field):
    body = {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": actions, **more}
    status, answer = await api.call("POST", "/workflows", body)
    assert status == 400, answer
    assert field in [error["field"] for error in answer["errors"]], answer


async def test_a_dry_run_renders_everything_and_sends_nothing(api, target, workflow_id):
    await api.create(
        workflow_id,
        [
            {"type": "set", "actionId": "who", "values": {"name": "{{ input.name | upper }}"}},
            {
                "type": "http-request",
                "actionId": "call",
                "url": f"{target.url}/{workflow_id}",
                "method": "POST",
                "json": {"to": "{{ actions.who.output.name }}"},
            },
            {"type": "log", "actionId": "known", "message": "{{ actions.call.output.json.id }}"},
            {"type": "log", "actionId": "skipped", "if": "input.name == 'Bob'", "message": "x"},
        ],
    )
    path = f"/workflows/{workflow_id}/dry-run"
    status, answer = await api.call("POST", path, {"input": {"name": "Ada"}})
    assert (status, answer["valid"]) == (200, True)
    found = {step["actionId"]: step for step in answer["steps"]}
    assert found["call"]["rendered"]["json"] == {"to": "ADA"}
    assert found["known"]["unknown"] == ["message"]
    assert found["skipped"]["result"] == "skipped"
    _, answer = await api.call(
        "POST", path, {"input": {"name": "Ada"}, "actions": {"call": {"output": {"json": {"id": 9}}}}}
    )
    assert {step["actionId"]: step for step in answer["steps"]}["known"]["rendered"]["message"] == "9"
    _, answer = await api.call("POST", path, {"input": {}})
    assert answer["valid"] is False
    assert "'name' is undefined" in answer["errors"][0]["message"]
    assert target.count(workflow_id) == 0
    assert await api.executions(workflow_id) == []
