"""A client of the API, for tests. Every answer that it gets must be one that is documented, in each of its members."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import aiohttp
import jsonschema_rs
import orjson
from aiohttp.test_utils import TestServer
from multidict import CIMultiDictProxy
from pydantic import BaseModel
from yarl import URL

from apps.operations import operation_of
from apps.workflows import openapi
from apps.workflows.answers.problems import Problem
from apps.workflows.app import WorkflowsApp
from apps.workflows.app import app as workflows_app


def canonical(app: WorkflowsApp, path: str) -> str:
    """Return the path of the route, as in /workflows/{workflow_id}, that a request goes to."""
    found = [resource for resource in app.web.web_app.router.resources() if resource._match(path) is not None]
    # One without a variable wins.
    return min((resource.canonical for resource in found), key=lambda each: "{" in each, default="")


class Documented:
    """What ``/openapi.json`` says of answers; every app has the same."""

    def __init__(self) -> None:
        workflows_app.web.init_server()
        self.document = openapi.document(openapi.routes_of(workflows_app.web.views, "/v1"))
        self.statuses = {
            operation["operationId"]: set(operation["responses"])
            for methods in self.document["paths"].values()
            for operation in methods.values()
        }
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def check(self, model: type[BaseModel], body: Any) -> None:
        """Fail where an answer is not as documented."""
        # Strictly, unlike the published schema: a member that is not declared is a gap in the documents.
        model.model_validate(body)
        name = model.__name__
        if name not in self._validators:
            schema = {"$ref": f"#/components/schemas/{name}", "components": self.document["components"]}
            self._validators[name] = jsonschema_rs.Draft202012Validator(schema)
        self._validators[name].validate(body)


@cache
def documented() -> Documented:
    """Return what is documented, made once."""
    return Documented()


LOG = {"type": "log", "message": "hello"}


@dataclass
class Answer:
    """What a client got."""

    status: int
    headers: CIMultiDictProxy[str]
    body: Any

    def problem(self, status: int) -> dict[str, Any]:
        """Return the body of a well-formed problem."""
        assert self.status == status, self.body
        assert self.headers["Content-Type"] == "application/problem+json"
        assert {"type", "title", "status", "detail"} <= self.body.keys()
        assert self.body["status"] in (status, "workflow in progress")
        return self.body

    def fields(self, status: int = 400) -> list[str]:
        """Return the fields that a problem names."""
        return [error["field"] for error in self.problem(status)["errors"]]


class Client:
    """Speaks HTTP to the API."""

    def __init__(self, session: aiohttp.ClientSession, server: TestServer, app: WorkflowsApp) -> None:
        self.session = session
        self.server = server
        self.app = app

    async def send(
        self, method: str, path: str, *, data: Any = None, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if json is not None:
            data, headers = orjson.dumps(json), {"Content-Type": "application/json", **(headers or {})}
        url = URL(str(self.server.make_url("/")).rstrip("/") + path, encoded=True)
        async with self.session.request(
            method, url, data=data, headers=headers, skip_auto_headers=["Content-Type"]
        ) as response:
            raw = await response.read()
            answer = Answer(response.status, response.headers, orjson.loads(raw) if raw else None)
        self._check_documented(method, url.path, answer)
        return answer

    def _check_documented(self, method: str, path: str, answer: Answer) -> None:
        view = self.app.web.views.get(canonical(self.app, path))
        operation = operation_of(view, method)
        if operation is None or not isinstance(answer.body, dict) or answer.status == 500:  # a defect, which none documents
            return
        assert str(answer.status) in documented().statuses[operation.id], (
            f"{operation.id} answers {answer.status}: {answer.body}"
        )
        found = operation.answers.get(answer.status)
        model = Problem if found is None else found.model
        if model is not None:
            documented().check(model, answer.body)

    async def get(self, path: str) -> Answer:
        return await self.send("GET", path)

    async def create(self, workflow_id: str, **more: Any) -> dict[str, Any]:
        body = {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": [LOG], **more}
        answer = await self.send("POST", "/workflows", json=body)
        assert answer.status == 201, answer.body
        return answer.body

    async def trigger(self, workflow_id: str) -> str:
        answer = await self.send("POST", f"/workflows/{workflow_id}/trigger")
        assert answer.status == 202, answer.body
        return answer.body["executionId"]
