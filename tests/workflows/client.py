"""A client of the API, for tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
from aiohttp.test_utils import TestServer
from multidict import CIMultiDictProxy
from yarl import URL

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

    def __init__(self, session: aiohttp.ClientSession, server: TestServer) -> None:
        self.session = session
        self.server = server

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
            return Answer(response.status, response.headers, orjson.loads(raw) if raw else None)

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
