"""Finding executions by a number of the user's own, over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest

from domain.execution import Ended, Status
from domain.reference import LONGEST_REFERENCE, REFERENCE_RULE
from tests.workflows.client import Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore


async def trigger(api: Client, workflow_id: str, **body: Any) -> str:
    answer = await api.send("POST", f"/workflows/{workflow_id}/trigger", json=body)
    assert answer.status == 202, answer.body
    return answer.body["executionId"]


async def found(api: Client, reference: str, more: str = "") -> list[str]:
    page = (await api.get(f"/executions?reference={quote(reference, safe='')}{more}")).body
    assert {each["reference"] for each in page["items"]} <= {reference}
    return [each["executionId"] for each in page["items"]]


@pytest.mark.parametrize("reference", ["order-17", "17", "Ärger & Söhne / 7 ⚡", "x" * LONGEST_REFERENCE])
async def test_an_execution_is_found_by_what_it_was_triggered_with(api: Client, requests: FakeTopic, reference: str) -> None:
    await api.create("a")
    execution_id = await trigger(api, "a", reference=reference)
    _, request = requests.sent[-1]
    assert request.reference == reference
    assert (await api.get(f"/executions/{execution_id}")).body["reference"] == reference
    assert await found(api, reference) == [execution_id]
    assert await found(api, reference, "&workflowId=a&status=pending") == [execution_id]
    assert await found(api, reference, "&status=failed") == []
    assert await found(api, f"{reference[:-1]}y") == []


async def test_several_may_have_the_same_one(api: Client, clock: Clock) -> None:
    for workflow_id in ("a", "b", "c"):
        await api.create(workflow_id)
    first = await trigger(api, "a", reference="order-17", input={"n": 1})
    clock.move(1)
    second = await trigger(api, "b", reference="order-17")
    await trigger(api, "c", reference="order-170")
    assert await found(api, "order-17") == [second, first]
    page = (await api.get("/executions?reference=order-17&limit=1")).body
    assert [each["executionId"] for each in page["items"]] == [second]
    assert await found(api, "order-17", f"&cursor={page['nextCursor']}") == [first]


@pytest.mark.parametrize("how", ["retry", "run-again"])
async def test_what_is_repeated_keeps_it(api: Client, store: MemoryStore, clock: Clock, how: str) -> None:
    await api.create("a")
    origin = await trigger(api, "a", reference="order-17")
    store.executions.apply(Ended(origin, "a", Status.CANCELLED, "asked for", START))
    clock.move(1)
    again = (await api.send("POST", f"/executions/{origin}/{how}")).body["executionId"]
    assert await found(api, "order-17") == [again, origin]


@pytest.mark.parametrize(
    "reference",
    ["", " ", " order-17", "order-17 ", "two\nlines", "a\ttab", "a\x00", "x" * (LONGEST_REFERENCE + 1), 17, None, ["a"]],
)
async def test_what_is_no_reference_is_refused_by_its_name(api: Client, store: MemoryStore, reference: Any) -> None:
    await api.create("a")
    answer = await api.send("POST", "/workflows/a/trigger", json={"reference": reference})
    assert answer.problem(400)["errors"] == [{"field": "reference", "message": REFERENCE_RULE}]
    assert not store.executions.documents


async def test_nothing_is_listed_by_what_is_no_reference(api: Client) -> None:
    for query in ("", "%0A", "%20a", "x" * (LONGEST_REFERENCE + 1)):
        problem = (await api.get(f"/executions?reference={query}")).problem(400)
        assert problem["errors"] == [{"field": "reference", "message": REFERENCE_RULE}]


async def test_templates_see_it_in_a_dry_run(api: Client) -> None:
    await api.create("a", actions=[{"type": "log", "message": "sent {{ execution.reference }}"}])
    answer = await api.send("POST", "/workflows/a/dry-run", json={"reference": "order-17"})
    assert answer.body["steps"][0]["rendered"]["message"] == "sent order-17"
