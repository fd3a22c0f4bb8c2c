"""``wf verify`` and ``wf rebuild`` on the real stack."""

import json
from dataclasses import replace
from urllib.parse import urlencode

import pytest

from apps.cli.progress import Bars
from apps.database import store_of
from apps.projection import session
from apps.settings import ServiceSettings
from domain.execution import Status
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_tampered_document_is_found_and_rebuilt(stack, api, target, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?fail=1", "method": "GET"}],
        backoff={"base": "1s", "cap": "1s"},
    )
    execution_id = await api.trigger(workflow_id)
    assert (await api.finished(execution_id))["attempt"] == 2
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    where = session.Target(settings, workflow_id)
    report = await session.verify(where, Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (1, 0, 0)

    store = store_of(settings)
    stored = await store.executions.get(execution_id)
    await store.executions.replace_all([replace(stored, status=Status.FAILED, attempt=7, results={})])
    report = await session.verify(where, Bars(), keep=10)
    (finding,) = report.findings
    assert {difference.field for difference in finding.differences} == {"status", "attempt", "results.1_0", "results.2_0"}

    report, done = await session.verify_and_rebuild(where, Bars(), keep=10, force=False)
    assert (done.written, done.left) == (1, 0)
    assert await store.executions.get(execution_id) == stored
    await store.stop()


async def test_what_takes_up_a_failed_execution_is_told_by_the_log_with_its_origin(stack, api, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "log", "message": "once"}, {"type": "http-request", "url": "http://127.0.0.1:1/", "method": "GET"}],
        retries=0,
    )
    failed = [await api.trigger(workflow_id)]
    await api.finished(failed[0])
    for _ in range(2):  # a retry of a retry takes over what the first one had done
        status, answer = await api.call("POST", f"/executions/{failed[-1]}/retry")
        assert status == 202, answer
        failed.append(answer["executionId"])
        await api.finished(failed[-1])
    status, answer = await api.call("POST", f"/executions/{failed[0]}/run-again")
    assert status == 202, answer
    failed.append(answer["executionId"])
    await api.finished(failed[-1])
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    where = session.Target(settings, workflow_id)
    report = await session.verify(where, Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (4, 0, 0), report.findings

    store = store_of(settings)
    stored = await store.executions.get(failed[2])
    assert list(stored.results) == ["0_0", "1_1"]
    await store.executions.replace_all([replace(stored, results={"1_1": stored.results["1_1"]})])
    report, done = await session.verify_and_rebuild(where, Bars(), keep=10, force=False)
    assert [difference.field for difference in report.findings[0].differences] == ["results.0_0"]
    assert done.written == 1
    assert await store.executions.get(failed[2]) == stored
    await store.stop()


async def test_every_sort_of_life_is_told_by_the_log(stack, api, target, producer, workflow_id):
    """Retried, cancelled, skipped, queued, delayed, taken up where it failed, run again: the documents are what was said."""

    def http(key, **query):
        return {"type": "http-request", "url": f"{target.url}/{key}?{urlencode(query)}", "method": "GET"}

    async def ended(name):
        executions = await api.executions(name)
        return (
            executions
            if executions and all(e["status"] not in ("pending", "running", "queued") for e in executions)
            else None
        )

    taken_up, queued, delayed, cancelled, skipped = (
        f"{workflow_id}-{name}" for name in ("taken-up", "queued", "delayed", "cancelled", "skipped")
    )
    log = {"type": "log", "message": "hello"}
    await api.create(taken_up, [log, http(taken_up, fail=2), log], retries=0)
    origin = await api.trigger(taken_up)
    assert (await api.finished(origin))["status"] == "failed"
    for way, status in (("retry", "failed"), ("retry", "ok"), ("run-again", "ok")):
        code, answer = await api.call("POST", f"/executions/{origin}/{way}")
        assert code == 202, answer
        assert (await api.finished(answer["executionId"]))["status"] == status
        origin = answer["executionId"] if status == "failed" else origin

    await api.create(queued, [http(queued, hold=1)], overlap={"policy": "queue", "max": 5})
    held = [await api.trigger(queued) for _ in range(4)]
    code, answer = await api.call("POST", f"/executions/{held[2]}/cancel")
    assert (code, answer["status"]) == (200, "cancelled")
    bye = {"type": "log", "actionId": "bye", "message": "{{ execution.status }}: {{ execution.failure.message }}"}
    await api.create(cancelled, [http(cancelled, hold=1)], onFailure=[log], **{"finally": [bye]})
    running = await api.trigger(cancelled)

    async def sent():
        return target.count(cancelled)

    await until(sent, "it runs")
    assert (await api.call("POST", f"/executions/{running}/cancel", {"reason": "wrong month"}))[0] == 200
    found = await api.finished(running)
    assert (found["status"], found["reason"]) == ("cancelled", "wrong month")
    held_up, tidied_up = found["executedActions"]
    assert (held_up["status"], held_up["error"]["class"], tidied_up["actionId"]) == ("failed", "cancelled", "bye")
    assert tidied_up["logs"][0].startswith("cancelled: wrong month")
    await api.create(skipped, [http(skipped, hold=1)])
    await api.trigger(skipped)
    await producer.send_and_wait("workflow.execution", json.dumps({"workflow_id": skipped}).encode(), key=skipped.encode())

    async def turned_down():
        return [e for e in await api.executions(skipped) if e["status"] == "skipped"]

    await until(turned_down, "the second one is skipped")
    await api.create(delayed, [log, {"type": "delay", "duration": "1s"}, log])
    await api.trigger(delayed)
    target.release.set()
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    for name, count in ((taken_up, 4), (queued, 4), (delayed, 1), (cancelled, 1), (skipped, 2)):
        assert len(await until(lambda name=name: ended(name), f"{name} ends")) == count
        report = await session.verify(session.Target(settings, name), Bars(), keep=10)
        assert (name, report.clean, report.uncovered, report.findings) == (name, count, 0, [])
