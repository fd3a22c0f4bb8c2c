"""The documents of the API say what it does."""

import re
from typing import Any

import pytest
from asyncapi3.models import AsyncAPI3
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from actions.registry import WorkflowDefinition
from apps.operations import operation_of
from apps.workflows import answers
from apps.workflows.app import WorkflowsApp
from events.topics import ALL
from tests.workflows.client import LOG, Client
from tests.workflows.memory import MemoryStore

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


async def test_what_is_answered_has_the_shape_that_is_documented(api: Client, store: MemoryStore) -> None:
    # Strictly, unlike the published schema: a member that is not declared is a gap in the documents.
    await api.create("a", retries=2)
    await api.create("b", trigger={"type": "periodic", "interval": "1h"}, actions=[LOG, LOG])
    execution_id = await api.trigger("a")
    for path, model in {
        "/workflows/a": answers.WorkflowInFull,
        "/workflows/b": answers.WorkflowInFull,
        "/workflows": answers.WorkflowPage,
        "/executions": answers.ExecutionPage,
        f"/executions/{execution_id}": answers.ExecutionInFull,
        "/executions/nothing": answers.Problem,
        "/workflows?limit=x": answers.Problem,
    }.items():
        model.model_validate((await api.get(path)).body)
    answers.Problem.model_validate((await api.send("POST", "/workflows/a/trigger")).body)


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
