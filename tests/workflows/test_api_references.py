"""Finding executions by a number of the user's own, over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest

from apps.workflows.app import WorkflowsApp
from domain.execution import Ended, Status
from domain.reference import LONGEST_REFERENCE, REFERENCE_RULE
from tests.workflows.client import Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore
from tests.workflows.mounted import mounted


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
    ["", " ", " order-17", "order-17 ", "two\nlines", "a\ttab", "a\x00", "x" * (LONGEST_REFERENCE + 1), 17, ["a"]],
)
async def test_what_is_no_reference_is_refused_by_its_name(api: Client, store: MemoryStore, reference: Any) -> None:
    await api.create("a")
    answer = await api.send("POST", "/workflows/a/trigger", json={"reference": reference})
    assert answer.problem(400)["errors"] == [{"field": "reference", "message": REFERENCE_RULE}]
    assert not store.executions.documents


async def test_null_is_none_as_the_document_says(api: Client, requests: FakeTopic) -> None:
    """It was refused: must be an object."""
    await api.create("a")
    await trigger(api, "a", reference=None, input=None)
    _, request = requests.sent[-1]
    assert (request.reference, request.input) == (None, None)
    assert (await api.send("POST", "/workflows/a/trigger", json={"refrence": None})).fields() == ["refrence"]


async def test_nothing_is_listed_by_what_is_no_reference(api: Client) -> None:
    for query in ("", "%0A", "%20a", "x" * (LONGEST_REFERENCE + 1)):
        problem = (await api.get(f"/executions?reference={query}")).problem(400)
        assert problem["errors"] == [{"field": "reference", "message": REFERENCE_RULE}]


async def test_templates_see_it_in_a_dry_run(api: Client) -> None:
    await api.create("a", actions=[{"type": "log", "message": "sent {{ execution.reference }}"}])
    answer = await api.send("POST", "/workflows/a/dry-run", json={"reference": "order-17"})
    assert answer.body["steps"][0]["rendered"]["message"] == "sent order-17"


@pytest.mark.parametrize(
    ("template", "given", "reference"),
    [
        ("{{ input.order }}", {"order": 17}, "17"),
        ("{{ input.order }}", {"order": " o-17 "}, "o-17"),
        ("order-{{ input.body.data[0].id }}", {"body": {"data": [{"id": "x/7"}]}}, "order-x/7"),
        ("{{ input.order }}", {}, None),
        ("{{ input.order }}", {"order": None}, None),
        ("{{ input.order }}", {"order": True}, None),
        ("{{ input.order }}", {"order": ["17"]}, None),
        ("{{ input.order }}", {"order": "two\nlines"}, None),
        ("{{ input.order }}", {"order": "x" * (LONGEST_REFERENCE + 1)}, None),
        ("{{ input.order | default('x') | int / 0 }}", {}, None),
        ("{% for n in range(100000) %}{{ input.order }}{% endfor %}", {"order": "x"}, None),
    ],
)
async def test_a_definition_makes_it_of_the_input(
    api: Client, requests: FakeTopic, template: str, given: dict[str, Any], reference: str | None
) -> None:
    """Where it makes none the execution has none: a delivery is not to be lost over that."""
    await api.create("a", reference=template)
    told = (await api.send("POST", "/workflows/a/dry-run", json={"input": given})).body
    assert (told["reference"], told["valid"]) == (reference, True)
    execution_id = await trigger(api, "a", input=given)
    _, request = requests.sent[-1]
    assert request.reference == reference
    assert (await api.get(f"/executions/{execution_id}")).body["reference"] == reference


async def test_what_is_given_wins_over_what_the_definition_makes(api: Client) -> None:
    await api.create("a", reference="order-{{ input.order }}")
    execution_id = await trigger(api, "a", input={"order": 17}, reference="customer-9")
    assert await found(api, "order-17") == []
    assert await found(api, "customer-9") == [execution_id]


async def test_a_delivery_by_webhook_has_the_one_of_its_body(api: Client, app: WorkflowsApp, store: MemoryStore) -> None:
    app.secrets = mounted(HOOK="a-long-secret")
    await api.create(
        "a",
        reference="{{ input.body.order }}",
        overlap={"policy": "allow", "max": 9},
        webhook={"type": "token", "header": "X-Token", "tokenSecret": "HOOK"},
    )
    for body in ({"order": "order-17"}, {"ping": True}):
        sent = await api.send("POST", "/workflows/a/webhook", json=body, headers={"X-Token": "a-long-secret"})
        assert sent.status == 202, sent.body
    assert len(store.executions.documents) == 2
    assert len(await found(api, "order-17")) == 1


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"reference": "{{ execution.id }}"}, "'execution' is not known here; a reference is made of input alone"),
        ({"reference": "{{ secrets.TOKEN }}"}, "'secrets' is not known here; a reference is made of input alone"),
        ({"reference": "{{ order }}"}, "'order' is not known here; a reference is made of input alone"),
        ({"reference": "order"}, "must be a template of input, as in {{ input.order }}"),
        ({"reference": "{{ input.order "}, "is not a template that can be understood"),
        ({"reference": ""}, "at least 1 character"),
        ({"reference": 17}, "must be a string, not a number"),
        (
            {"reference": "{{ input.order }}", "trigger": {"type": "periodic", "interval": "1h"}},
            'means nothing to ticks, which give no input; leave it out, or set "allowManual": true',
        ),
    ],
)
async def test_a_definition_whose_reference_can_make_none_is_refused(
    api: Client, definition: dict[str, Any], message: str
) -> None:
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "x"}], **definition}
    (error,) = (await api.send("POST", "/workflows", json=body)).problem(400)["errors"]
    assert error["field"] == "reference"
    assert message in error["message"]
