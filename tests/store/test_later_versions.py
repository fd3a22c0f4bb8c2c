"""What a later version has written, as where services of both run side by side or one went back: MongoDB alone."""

import pytest

from domain.execution import Ended, Restart, Restarted, Status, admit
from store.execution_documents import live_document
from store.interfaces import ExecutionFilter, Locked
from tests.store.test_executions import ALL, admission, at, finished

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_an_execution_with_words_and_fields_of_a_later_version_is_read_beside_others_and_keeps_its_words(real):
    asked, bystander = admission(), admission("bystander", seconds=1)
    await real.executions.admit(bystander)
    restarted = {"at": at(3), "why": "postponed", "attempt": 1, "index": 0, "by": "somebody"}
    await real.executions._live.insert_one(
        {
            **live_document(admit(asked)),
            "cause": "telegram",
            "restarts": [restarted],
            "awaited": {"action_id": "a", "until": at(9), "quorum": 2},
            "triggered_by": {"execution_id": "e", "workflow_id": "p", "action_id": "call", "item": 4},
        }
    )
    assert await real.executions.admit(admission(seconds=2)) == Locked(asked.execution_id, Status.PENDING)
    listed = await real.executions.list(ExecutionFilter(), before=None, limit=10)
    assert [each.execution_id for each in listed] == [bystander.execution_id, asked.execution_id]
    assert len(await real.executions.unclaimed(at(5), ALL, 10)) == 2
    handed = await real.executions.reissue(asked.execution_id, 1, at(6), Restart.UNCLAIMED)
    assert handed == await real.executions.get(asked.execution_id)
    assert handed.cause.value == "telegram"
    assert [each.why.value for each in handed.restarts] == ["postponed", "unclaimed"]
    assert handed.restarts[1] == Restarted(at(6), Restart.UNCLAIMED, 1, 0)


async def test_an_execution_whose_status_is_not_known_here_is_left_alone_beside_others_until_somebody_cancels_it(real):
    asked, bystander = admission(), admission("bystander", seconds=1)
    await real.executions.admit(bystander)
    # In the order of stages it stands between what has ended and what is pending.
    stored = {**live_document(admit(asked)), "status": "frozen", "stage": "frozen", "epoch": 2}
    await real.executions._live.insert_one(stored)
    assert await real.executions.admit(admission(seconds=2)) == Locked(asked.execution_id, Status("frozen"))
    listed = await real.executions.list(ExecutionFilter(), before=None, limit=10)
    assert [each.status.value for each in listed] == ["pending", "frozen"]
    assert [each.workflow_id for each in await real.executions.unclaimed(at(5), ALL, 10)] == ["bystander"]
    assert await real.executions.reissue(asked.execution_id, 2, at(6), Restart.UNCLAIMED) is None
    await real.executions.project([finished(asked, epoch=2), finished(bystander)])
    assert await real.executions._live.find_one({"_id": asked.execution_id}) == stored
    assert (await real.executions.get(bystander.execution_id)).status is not Status.PENDING
    ended = await real.executions.end(Ended(asked.execution_id, asked.workflow_id, Status.CANCELLED, "asked to", at(7)))
    assert ended.status is Status.CANCELLED
    assert await real.executions.holder(asked.workflow_id) is None
