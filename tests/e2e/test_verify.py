"""``wf verify`` and ``wf rebuild`` on the real stack."""

from dataclasses import replace

import pytest

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from domain.execution import Status
from store.client import MongoStore

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

    store = MongoStore(stack.mongodb_url, "workflows")
    stored = await store.executions.get(execution_id)
    await store.executions.replace_all([replace(stored, status=Status.FAILED, attempt=7, results={})])
    report = await session.verify(where, Bars(), keep=10)
    (finding,) = report.findings
    assert {difference.field for difference in finding.differences} == {"status", "attempt", "results.1_0", "results.2_0"}

    report, done = await session.verify_and_rebuild(where, Bars(), keep=10, force=False)
    assert (done.written, done.left) == (1, 0)
    assert await store.executions.get(execution_id) == stored
    await store.stop()
