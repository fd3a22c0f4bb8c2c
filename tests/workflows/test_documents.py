"""The documents of the API say what it does."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from asyncapi3.models import AsyncAPI3
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from actions.registry import WorkflowDefinition
from apps.operations import operation_of
from apps.workflows import representations
from apps.workflows.answers.dry_run import DryStep
from apps.workflows.answers.executions import ExecutionInFull
from apps.workflows.answers.problems import Problem
from apps.workflows.answers.system import SystemShown
from apps.workflows.answers.workflows import WorkflowInFull
from apps.workflows.app import WorkflowsApp
from domain.definition import ADDED_WHEN_SHOWN
from domain.execution import CARRIED, FAILURES, ActionOutcome, Admission, Cause, admit
from events.topics import ALL
from store.interfaces import Heartbeat
from tests.workflows.client import LOG, Client
from tests.workflows.clock import START
from tests.workflows.memory import MemoryStore

EXECUTION = admit(
    Admission(
        execution_id="01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f", workflow_id="w", version=1, cause=Cause.MANUAL,
        created_at=START, retries_left=0, total_actions=1, shard=0, lock_key="w",
    )
)  # fmt: skip

OF_FAUST = {"/", "/ui/{digest}/{path}"}  # and the dashboard: pages, not an interface


@pytest.fixture
async def openapi(api: Client) -> dict[str, Any]:
    return (await api.get("/openapi.json")).body


async def test_openapi_is_valid(openapi: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(openapi).validate()


def test_every_route_is_declared(app: WorkflowsApp) -> None:
    undeclared = [
        f"{route.method} {route.resource.canonical}"
        for route in app.web.web_app.router.routes()
        if route.resource is not None
        and route.resource.canonical not in OF_FAUST
        and operation_of(app.web.views[route.resource.canonical], route.method) is None
    ]
    assert not undeclared, "add them to the `operations` of their views"


def test_nothing_is_declared_that_is_not_served(app: WorkflowsApp) -> None:
    for path, view in app.web.views.items():
        served = {method.lower() for method in view.get_methods()}
        assert set(getattr(view, "operations", {})) <= served, path


async def test_every_declared_route_is_in_openapi_once(app: WorkflowsApp, openapi: dict[str, Any]) -> None:
    documented = [operation["operationId"] for methods in openapi["paths"].values() for operation in methods.values()]
    declared = {operation.id for view in app.web.views.values() for operation in getattr(view, "operations", {}).values()}
    assert sorted(documented) == sorted(declared)


def models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Yield the model of an answer and those of its parts."""
    yield model
    for info in model.model_fields.values():
        yield from (each for part in parts(info.annotation) for each in models(part))


def parts(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from parts(argument)


def test_an_answer_is_documented_in_each_of_its_members(app: WorkflowsApp) -> None:
    shown = {
        part
        for view in app.web.views.values()
        for operation in getattr(view, "operations", {}).values()
        for answer in operation.answers.values()
        if answer.model is not None
        for part in models(answer.model)
    }
    assert len(shown) > 30
    assert {part.model_config.get("extra") for part in shown} == {"forbid"}, "tests hold answers against them (client.py)"
    undescribed = [operation for operation in (Problem, *shown) if not operation.__doc__]
    assert not undescribed


async def test_every_representation_has_the_shape_that_is_documented(api: Client, store: MemoryStore) -> None:
    """Whatever the tests ask for is held against its model (client.py); here is what they seldom meet."""
    await api.create("a", retries=2, overlap={"policy": "allow", "max": 2}, inputSchema={"type": "object"})
    await api.create("b", trigger={"type": "periodic", "interval": "1h"}, actions=[LOG, {**LOG, "retry": {"attempts": 2}}])
    started = (await api.send("POST", "/workflows/a/trigger", json={"input": {"n": 1}})).body["executionId"]
    assert (await api.get(f"/executions/{started}")).body["input"] == {"n": 1}
    (item, _) = (await api.get("/workflows?recent=3")).body["items"]
    assert item["recentExecutions"][0]["executionId"] == started
    assert (await api.get("/workflows/a/versions")).body["current"] == 1
    assert (await api.get("/workflows/a/versions/1")).body["definition"]["retries"] == 2
    assert (await api.send("POST", "/workflows/validate", json={"workflowId": "a"})).body["valid"] is False
    steps = [
        {**LOG, "if": "input.n > 0"},
        {**LOG, "message": "{{ actions['log-1'].output }}"},
        {**LOG, "message": "{{ input.x.y }}"},
    ]
    await api.create("c", actions=steps, onFailure=[LOG], **{"finally": [LOG, {"type": "wait-for-signal"}]})
    results = set()
    for answered in ({}, {"log-1": {"output": {"z": 1}}}, {"log-1": {"status": "failed"}}):
        for n in (0, 1):
            body = {"input": {"n": n}, "actions": answered}
            dry_run = (await api.send("POST", "/workflows/c/dry-run", json=body)).body
            results |= {step["result"] for step in dry_run["steps"]}
    assert results == set(get_args(DryStep.model_fields["result"].annotation))
    assert (await api.get("/system")).body["kafka"] == "unreachable"
    for number, (trigger, more) in enumerate(SHORT_AND_LONG):
        await api.create(f"form-{number}", trigger=trigger, **more)


SHORT_AND_LONG: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "cron", "expression": "@daily"}, {"overlap": "queue"}),
    (
        {"type": "cron", "expression": ["0 3 * * *", "0 4 * * *"], "timezone": "Europe/Berlin"},
        {"overlap": {"policy": "allow"}},
    ),
    ({"type": "once", "at": "2030-01-01T00:00:00Z", "misfire": "all"}, {}),
    ({"type": "periodic", "interval": "1h", "misfire": {"policy": "all", "max": 7}}, {"retry": {"attempts": 2}}),
]


@pytest.mark.parametrize(("trigger", "more"), SHORT_AND_LONG)
async def test_the_schema_for_editors_takes_short_and_long_forms(api: Client, trigger: Any, more: Any) -> None:
    schema = (await api.get("/schemas/workflow.json")).body
    Draft202012Validator(schema).validate({"workflowId": "a", "trigger": trigger, "actions": [LOG], **more})


@pytest.mark.parametrize("status", ["ok", "failed", "skipped", "unknown", "waiting"])
@pytest.mark.parametrize("attempt", [CARRIED, 1])
def test_the_outcome_of_an_action_is_documented(status: str, attempt: int) -> None:
    error = {"class": "timeout", "message": "none within 30 s"} if status in FAILURES else None
    outcome = ActionOutcome(
        "call", 0, attempt, status, START, START, logs=("a",), error=error, output={"b": [1]}, continued=error is not None
    )
    shown = representations.execution_in_full(replace(EXECUTION, input={"n": 1}, results={outcome.key: outcome}), None)
    ExecutionInFull.model_validate(shown)


def test_the_state_of_the_system_is_documented(app: WorkflowsApp) -> None:
    info = {"host": "vm", "pid": 7, "started_at": START}
    kafka = {
        "consumers": {"runner": {"state": "Stable", "members": [{"id": "a", "host": "b"}], "lag": {"t": 1}}},
        "deadLetters": 1,
    }
    runners = app.system.runners([Heartbeat("vm-7", 1, info), Heartbeat("vm-8", 1, {})])
    found = {"now": representations.instant(START), "database": "ok", "kafka": "ok", **kafka, "runners": runners}
    SystemShown.model_validate({**found, "scheduler": {"latenessSeconds": 0.1}})


async def test_the_schema_of_a_definition_takes_its_examples_and_refuses_nonsense(api: Client) -> None:
    schema = (await api.get("/schemas/workflow.json")).body
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert schema["examples"]
    for example in schema["examples"]:
        validator.validate(example)
        WorkflowDefinition.model_validate(example)
    assert not validator.is_valid({"workflowId": "a b", "trigger": {"type": "manual"}, "actions": [LOG]})
    assert not validator.is_valid({"workflowId": "a", "trigger": {"type": "manual"}, "actions": []})
    assert not validator.is_valid({"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG], "retry": 3})


async def test_asyncapi_is_valid_and_knows_every_topic(api: Client) -> None:
    document = (await api.get("/asyncapi.json")).body
    AsyncAPI3.model_validate(document)
    assert {channel["address"] for channel in document["channels"].values()} == {topic.name for topic in ALL}
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_the_page_loads_nothing_from_elsewhere(api: Client) -> None:
    async with api.session.get(api.server.make_url("/docs")) as response:
        page, policy = await response.text(), response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "<script>" not in page
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert all(each.startswith("/") for each in loaded)
    for each in loaded:
        async with api.session.get(api.server.make_url(each)) as response:
            assert response.status == 200, each
    async with api.session.get(api.server.make_url("/docs/VERSION")) as response:
        assert response.status == 404


def test_what_the_service_adds_to_a_definition_is_known_to_whoever_reads_one() -> None:
    written, shown = ({info.alias for info in model.model_fields.values()} for model in (WorkflowDefinition, WorkflowInFull))
    assert shown - written == ADDED_WHEN_SHOWN
