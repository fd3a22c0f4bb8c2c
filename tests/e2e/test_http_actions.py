"""HTTP actions and their retries on the real stack."""

import json

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_an_action_did_is_kept_with_its_execution(api, target, workflow_id):
    url = f"{target.url}/{workflow_id}"
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{url}?token=hidden", "method": "POST", "json": {"a": 1}, "storeBody": 5}],
    )
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "ok"
    (action,) = execution["executedActions"]
    output = action["output"]
    assert output["request"]["url"] == f"{url}?token=***"
    assert (output["status"], output["text"], output["body"]["truncated"]) == (200, "hello", True)
    assert output["timings"]["total"] >= output["timings"]["firstByte"] > 0
    assert "hidden" not in json.dumps(execution)
    request = target.requests[workflow_id][0]
    assert request.headers["traceparent"].split("-")[1] == execution["executionId"].replace("-", "")


async def test_a_status_that_retries_cannot_mend_ends_at_once(api, target, workflow_id):
    created = await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}/none", "method": "GET"}],
        retry={"attempts": 5, "initial": "1s", "cap": "2s", "jitter": "none"},
    )
    assert created["retrySchedule"]["longestWaits"] == [1, 2, 2, 2]
    assert created["retries"] == 4
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["attempt"], execution["retriesLeft"]) == ("failed", 1, 4)
    assert execution["reason"].endswith("status 404 is not retried")


async def test_an_action_with_attempts_of_its_own_leaves_the_others_theirs(api, target, workflow_id):
    created = await api.create(
        workflow_id,
        [
            {
                "actionId": "flaky",
                "type": "http-request",
                "url": f"{target.url}/{workflow_id}?fail=2",
                "method": "GET",
                "retry": {"attempts": 3},
            }
        ],
        retries=0,
        backoff={"base": "1s", "cap": "1s", "jitter": "none"},
    )
    assert created["retrySchedule"]["longestWaits"] == []
    assert created["retrySchedule"]["actions"]["flaky"]["longestWaits"] == [1, 1]
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["attempt"], target.count(workflow_id)) == ("ok", 3, 3)


async def test_what_is_not_public_is_refused_and_not_tried_again(api, workflow_id):
    await api.create(
        workflow_id, [{"type": "http-request", "url": "http://169.254.169.254/latest/meta-data/", "method": "GET"}]
    )
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["attempt"]) == ("failed", 1)
    assert execution["executedActions"][0]["error"]["class"] == "blocked-address"
    assert "HTTP_ALLOW_HOSTS" in execution["reason"]
