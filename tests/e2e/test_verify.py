"""``wf verify`` and ``wf rebuild`` on the real stack."""

from dataclasses import replace

import pytest

from apps.cli.progress import Bars
from apps.database import store_of
from apps.projection import session
from apps.settings import ServiceSettings
from domain.execution import Status

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
