"""A stand-in for the HTTP API, in memory: just enough to answer what ``wf`` asks."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from importlib.metadata import version
from typing import Any

from aiohttp import web

Json = dict[str, Any]


def seconds_ago(seconds: float, now: datetime | None = None) -> str:
    """Return an instant as the API writes it; a negative number is in the future."""
    at = (now or datetime.now(timezone.utc)) - timedelta(seconds=seconds)
    return f"{at.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def execution_id(number: int) -> str:
    """Return a well-formed id."""
    return f"01985a3e-7c1b-7d2e-8f00-{number:012x}"


def outcome(action_id: str, status: str, attempt: int = 1, **more: Any) -> Json:
    """Return what one attempt of an action did."""
    now = datetime.now(timezone.utc)  # of two, the time between them would show in how long it took
    times = {"startedAt": seconds_ago(4.5, now), "finishedAt": seconds_ago(4, now)}
    return {"actionId": action_id, "index": 0, "status": status, "logs": [], "attempt": attempt, **times, **more}


def execution(number: int, workflow_id: str, status: str, **more: Any) -> Json:
    """Return an execution."""
    is_open = status in ("queued", "pending", "running")
    return {
        "executionId": execution_id(number),
        "workflowId": workflow_id,
        "version": 1,
        "cause": "manual",
        "status": status,
        "createdAt": seconds_ago(200),
        "startedAt": None if status == "pending" else seconds_ago(199),
        "finishedAt": None if is_open else seconds_ago(197.8),
        "dueAt": None,
        "attempt": 1,
        "retriesLeft": 3,
        "nextAttemptAt": None,
        "resumedAt": None,
        "lastFailedAction": None,
        "reason": None,
        "totalActions": 1,
        "currentStep": {"list": "actions", "position": 1, "actionId": "log-1"} if is_open else None,
        "executedActions": [],
        **more,
    }


class FakeApi:
    """Its state is public: tests arrange it, and look at what was asked."""

    def __init__(self) -> None:
        self.workflows: dict[str, Json] = {}
        self.executions: dict[str, Json] = {}
        self.occurrences: dict[str, Json] = {}
        self.backfills: list[Json] = []  # newest first
        self.bodies: list[Json] = []  # of the backfills that were asked for
        self.flaws: list[Json] = []  # of every definition that is to be validated
        self.missing: dict[str, dict[str, Json]] = {}  # of what a workflow is warned while others are not there: by both ids
        self.signals: list[Json] = []  # that were sent
        self.to_run = 3  # ticks that a backfill would run
        self.secrets: dict[str, Json] = {}  # as they are listed, and their value
        self.variables: dict[str, Json] = {}  # as they are shown
        self.requests: list[str] = []
        self.refusals: dict[str, web.Response] = {}  # by "METHOD /path", instead of the answer
        self.started = "workflow triggered"  # what is said of what was started
        self.keys: dict[str, Json] = {}  # what was answered to each Idempotency-Key
        self.lost = 0  # how many answers do not arrive
        self.states: list[Json] = []  # what a started execution is, question by question; the last one stays
        self.outages = 0  # how many questions about an execution are answered 503
        self.system: Json = {"consumers": None, "scheduler": None, "deadLetters": None}
        self.url = ""

    def add(self, workflow_id: str, trigger: Json | None = None, **more: Any) -> Json:
        """Store a workflow."""
        actions = [{"actionId": "log-1", "type": "log", "message": "hello"}]
        self.workflows[workflow_id] = {
            "workflowId": workflow_id,
            "trigger": {**(trigger or {"type": "manual"}), "status": "idle"},
            "actions": actions,
            "retries": 3,
            "backoff": {"base": "1s", "factor": 2.0, "cap": "5m", "jitter": "full"},
            "version": 1,
            "createdAt": seconds_ago(86400 * 3),
            "updatedAt": seconds_ago(3700),
            "nextRun": None,
            "lastExecution": None,
            **more,
        }
        return self.workflows[workflow_id]

    def app(self) -> web.Application:
        """Return the routes."""

        @web.middleware
        async def note(request: web.Request, handler: Callable[..., Any]) -> web.StreamResponse:
            asked = f"{request.method} {request.path.removeprefix('/v1')}"
            self.requests.append(asked)
            refusal = self.refusals.pop(asked, None)
            return refusal if refusal is not None else await handler(request)

        async def name(request: web.Request, response: web.StreamResponse) -> None:
            response.headers["X-Request-Id"] = "r"

        app = web.Application(middlewares=[note])
        app.on_response_prepare.append(name)
        app.add_routes(
            [
                web.get("/v1/workflows", self._list(lambda: self.workflows, "workflowId")),
                web.post("/v1/workflows", self._create),
                web.post("/v1/workflows/validate", self._validate),
                web.get("/v1/workflows/{id}", self._show),
                web.put("/v1/workflows/{id}", self._replace),
                web.delete("/v1/workflows/{id}", self._delete),
                web.post("/v1/workflows/{id}/trigger", self._trigger),
                web.post("/v1/workflows/{id}/pause", self._show),
                web.post("/v1/workflows/{id}/resume", self._show),
                web.get("/v1/workflows/{id}/occurrences", self._list(lambda: self.occurrences, "dueAt")),
                web.get("/v1/schedules/upcoming", self._upcoming),
                web.post("/v1/workflows/{id}/backfill", self._backfill),
                web.get("/v1/workflows/{id}/backfills", self._backfills),
                web.get("/v1/workflows/{id}/backfills/{backfill}", self._one_backfill),
                web.post("/v1/workflows/{id}/backfills/{backfill}/cancel", self._cancel_backfill),
                web.get("/v1/executions", self._list(lambda: self.executions, "executionId")),
                web.get("/v1/executions/{id}", self._execution),
                web.post("/v1/executions/{id}/retry", self._repeat),
                web.post("/v1/executions/{id}/run-again", self._repeat),
                web.post("/v1/executions/{id}/signals/{name}", self._signal),
                web.get("/v1/workflows/{id}/versions", self._versions),
                web.get("/v1/workflows/{id}/versions/{version}", self._version),
                web.post("/v1/workflows/{id}/rollback", self._roll_back),
                web.get("/v1/system", self._fixed(lambda: self.system)),
                web.get("/ready", self._fixed(lambda: {"status": "ok", "checks": {}})),
                web.get("/session", self._fixed(lambda: {"name": "anonymous", "scope": "admin"})),
                web.get("/openapi.json", self._fixed(lambda: {"info": {"version": version("workflow-automation")}})),
                web.get("/v1/secrets", self._secrets),
                web.put("/v1/secrets/{name}", self._set_secret),
                web.delete("/v1/secrets/{name}", self._delete_secret),
                web.post("/v1/secrets-rotation", self._rotate),
                web.get("/v1/vars", self._variables),
                web.get("/v1/vars/{name}", self._variable),
                web.put("/v1/vars/{name}", self._set_variable),
                web.delete("/v1/vars/{name}", self._delete_variable),
            ]
        )
        return app

    async def _signal(self, request: web.Request) -> web.Response:
        found = self.executions.get(request.match_info["id"])
        if found is None:
            return problem(404, "unknown-execution", "Unknown execution", "None.")
        name, body = request.match_info["name"], await request.json() if request.body_exists else {}
        self.signals.append({"name": name, **body})
        goes_on = (found.get("waitingFor") or {}).get("signal") == name
        return web.json_response({"status": "signal accepted", "signal": name, "goesOn": goes_on}, status=202)

    def _fixed(self, value: Callable[[], Json]) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(value())

        return answer

    def _list(self, kept: Callable[[], dict[str, Json]], key: str) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.Response:
            limit, cursor = int(request.query["limit"]), request.query.get("cursor", "")
            wanted = {name: request.query[name] for name in ("workflowId", "status", "reference") if name in request.query}
            found = sorted(
                (
                    item
                    for item in kept().values()
                    if item[key] > cursor
                    and item.get("workflowId", "").startswith(request.query.get("prefix", ""))
                    and request.query.get("from", "") <= item.get("createdAt", "") < request.query.get("to", "9")
                    and ("archivedAt" in item) == ("archived" in request.query)
                    and all(item.get(name) in values.split(",") for name, values in wanted.items())
                ),
                key=lambda item: item[key],
            )
            page = found[:limit]
            return web.json_response({"items": page, "nextCursor": page[-1][key] if len(found) > limit else None})

        return answer

    async def _upcoming(self, request: web.Request) -> web.Response:
        until = request.query.get("to", "9999").replace("+00:00", "Z")
        found = sorted(
            (item["nextRun"], name, item["trigger"]) for name, item in self.workflows.items() if item.get("nextRun")
        )
        page = [
            {"workflowId": name, "dueAt": due, "trigger": trigger, "timezone": trigger.get("timezone", "UTC")}
            for due, name, trigger in found
            if due < until
        ]
        return web.json_response({"items": page[: int(request.query["limit"])], "nextCursor": None})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["workflowId"] in self.workflows:
            return problem(409, "workflow-exists", "Workflow exists", f"Workflow {body['workflowId']} exists.")
        self.add(body["workflowId"])
        return self._store(body, 201, 1)

    async def _validate(self, request: web.Request) -> web.Response:
        return web.json_response({"valid": not self.flaws, "errors": self.flaws})

    async def _replace(self, request: web.Request) -> web.Response:
        body = await request.json()
        return self._store(body, 200, self.workflows[request.match_info["id"]]["version"] + 1)

    def _store(self, body: Json, status: int, version: int) -> web.Response:
        """Keep a definition as the API does: with the ids of its actions and the defaults filled in."""
        named = enumerate(body["actions"], start=1)
        actions = [{"actionId": f"{action['type']}-{position}", **action} for position, action in named]
        stored = self.workflows[body["workflowId"]]
        stored.update({**body, "actions": actions, "version": version})
        stored["trigger"] = {**body["trigger"], "status": "idle"}
        return web.json_response(self._in_full(stored), status=status)

    def _in_full(self, stored: Json) -> Json:
        missed = (absent for absent in self.missing.get(stored["workflowId"], {}) if absent not in self.workflows)
        return {**stored, "warnings": [self.missing[stored["workflowId"]][absent] for absent in missed]}

    async def _show(self, request: web.Request) -> web.Response:
        found = self.workflows.get(request.match_info["id"])
        return web.json_response(self._in_full(found)) if found else unknown("workflow")

    async def _delete(self, request: web.Request) -> web.Response:
        if self.workflows.pop(request.match_info["id"], None) is None:
            return unknown("workflow")
        return web.Response(status=204)

    async def _trigger(self, request: web.Request) -> web.Response:
        workflow_id = request.match_info["id"]
        if workflow_id not in self.workflows:
            return unknown("workflow")
        given = await request.json() if request.can_read_body else {}
        return self._start(request, workflow_id, **({"reference": given["reference"]} if "reference" in given else {}))

    async def _repeat(self, request: web.Request) -> web.Response:
        origin = self.executions.get(request.match_info["id"])
        if origin is None:
            return unknown("execution")
        return self._start(request, origin["workflowId"], originId=origin["executionId"])

    def _start(self, request: web.Request, workflow_id: str, **more: Any) -> web.Response:
        key = request.headers["Idempotency-Key"]
        if key not in self.keys:
            started = execution(len(self.executions) + 1, workflow_id, "pending", **more)
            self.executions[started["executionId"]] = started
            self.keys[key] = {"status": self.started, "executionId": started["executionId"], **more}
        if self.lost:
            self.lost -= 1
            assert request.transport is not None
            request.transport.close()
        return web.json_response(self.keys[key], status=202)

    async def _versions(self, request: web.Request) -> web.Response:
        found = self.workflows.get(request.match_info["id"])
        if found is None:
            return unknown("workflow")
        numbers = range(found["version"], 0, -1)
        items = [self._as_version(found, number) for number in numbers][: int(request.query["limit"])]
        return web.json_response({"current": found["version"], "items": items, "nextCursor": None})

    async def _version(self, request: web.Request) -> web.Response:
        found = self.workflows.get(request.match_info["id"])
        number = int(request.match_info["version"])
        if found is None or number > found["version"]:
            return unknown("workflow" if found is None else "version")
        return web.json_response(self._as_version(found, number))

    async def _roll_back(self, request: web.Request) -> web.Response:
        found = self.workflows.get(request.match_info["id"])
        if found is None or (await request.json())["version"] > found["version"]:
            return unknown("workflow" if found is None else "version")
        found["version"] += 1
        return web.json_response(found)

    def _as_version(self, found: Json, number: int) -> Json:
        """Return a version; the fake remembers none, so that each says its own number."""
        definition = {name: found[name] for name in ("workflowId", "trigger", "actions")} | {"retries": number}
        return {"version": number, "createdAt": seconds_ago(60), "archivedAt": None, "definition": definition}

    async def _secrets(self, request: web.Request) -> web.Response:
        hidden = [{name: text for name, text in secret.items() if name != "value"} for secret in self.secrets.values()]
        return web.json_response({"items": hidden})

    async def _set_secret(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        is_new = name not in self.secrets
        kept = {"name": name, "source": "stored", "keyId": "k1", "updatedAt": seconds_ago(1)}
        self.secrets[name] = {**kept, "value": body["value"]}
        return web.json_response(kept, status=201 if is_new else 200)

    async def _delete_secret(self, request: web.Request) -> web.Response:
        return web.Response(status=204) if self.secrets.pop(request.match_info["name"], None) else unknown("secret")

    async def _rotate(self, request: web.Request) -> web.Response:
        lost = [name for name, secret in self.secrets.items() if secret["keyId"] == "lost"]
        failed = [{"name": name, "message": f"secret {name} was encrypted with key lost"} for name in lost]
        rotated = [name for name in self.secrets if name not in lost]
        return web.json_response({"keyId": "k2", "rotated": rotated, "failed": failed})

    async def _variables(self, request: web.Request) -> web.Response:
        return web.json_response({"items": list(self.variables.values())})

    async def _variable(self, request: web.Request) -> web.Response:
        found = self.variables.get(request.match_info["name"])
        return unknown("variable") if found is None else web.json_response(found)

    async def _set_variable(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        is_new = name not in self.variables
        self.variables[name] = {"name": name, "value": body["value"], "updatedAt": seconds_ago(1)}
        return web.json_response(self.variables[name], status=201 if is_new else 200)

    async def _delete_variable(self, request: web.Request) -> web.Response:
        gone = self.variables.pop(request.match_info["name"], None)
        return unknown("variable") if gone is None else web.Response(status=204)

    async def _backfill(self, request: web.Request) -> web.Response:
        workflow_id = request.match_info["id"]
        if workflow_id not in self.workflows:
            return unknown("workflow")
        body = await request.json()
        self.bodies.append(body)
        common = {"workflowId": workflow_id, "from": body["from"], "to": body.get("to", seconds_ago(0)), "ticks": 24}
        if body["dryRun"] or not self.to_run:
            ticks = [{"dueAt": seconds_ago(60 - n), "localTime": f"2026-01-01T0{n}:00:00+01:00"} for n in range(self.to_run)]
            plan = {**common, "alreadyRun": 24 - self.to_run, "toRun": self.to_run, "firstTicks": ticks, "lastTicks": []}
            more = {"rate": body["rate"], "atOnce": body["atOnce"], "shortestSeconds": 75, "runningBackfillId": None}
            return web.json_response({**plan, **more, "timezone": "Europe/Berlin"})
        counts = {"alreadyRun": 0, "started": 0, "ok": 0, "failed": 0, "finishedAt": None, "reason": None}
        found = {**common, "backfillId": execution_id(900), "status": "running", **counts}
        self.backfills.insert(0, found)
        return web.json_response(found, status=202)

    async def _backfills(self, request: web.Request) -> web.Response:
        if request.match_info["id"] not in self.workflows:
            return unknown("workflow")
        return web.json_response({"items": self.backfills, "nextCursor": None})

    async def _one_backfill(self, request: web.Request) -> web.Response:
        found = next(each for each in self.backfills if each["backfillId"] == request.match_info["backfill"])
        if self.states:
            found.update(self.states.pop(0))
        return web.json_response(found)

    async def _cancel_backfill(self, request: web.Request) -> web.Response:
        found = next(each for each in self.backfills if each["backfillId"] == request.match_info["backfill"])
        found.update({"status": "cancelled", **(await request.json())})
        return web.json_response(found)

    async def _execution(self, request: web.Request) -> web.Response:
        found = self.executions.get(request.match_info["id"])
        if found is None:
            return unknown("execution")
        if self.outages:
            self.outages -= 1
            return problem(503, "database-unavailable", "Database unavailable", "The database cannot be reached.")
        if self.states:
            found.update(self.states[0])
            if len(self.states) > 1:
                self.states.pop(0)
        return web.json_response(found)


def problem(status: int, kind: str, title: str, detail: str, **more: Any) -> web.Response:
    """Return an error as RFC 9457 has it."""
    members = {"type": f"urn:problem-type:{kind}", "title": title, "status": status, "detail": detail, **more}
    return web.json_response(members, status=status, content_type="application/problem+json")


def unknown(what: str) -> web.Response:
    """Return the answer where there is nothing of that id."""
    return problem(404, f"unknown-{what}", f"Unknown {what}", f"There is no such {what}.")
