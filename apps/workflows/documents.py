"""The documents of the API: ``/openapi.json``, ``/asyncapi.json``, ``/schemas/workflow.json``, and ``/docs`` to read them.

``/docs`` is Swagger UI from an installed package: no other host is asked for anything, which its policy makes sure of.
"""

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Final

import orjson
from aiohttp import web
from pydantic.json_schema import models_json_schema

from actions.registry import WorkflowDefinition
from apps.operations import Answer, Operation
from apps.workflows import asyncapi, openapi
from apps.workflows.views import Resource

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_START: Final = """\
window.addEventListener("load", () => {
  SwaggerUIBundle({
    url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, withCredentials: true,
    docExpansion: "list", defaultModelsExpandDepth: 0,
    requestInterceptor: (request) => {
      const csrf = document.cookie.match(/(?:^|; )wf_csrf=([0-9a-f]+)/);
      if (csrf && request.method !== "GET") request.headers["X-CSRF-Token"] = csrf[1];
      return request;
    },
  });
});
"""
_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Workflow automation: API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<main id="swagger-ui"><p>The documents are <a href="/openapi.json">/openapi.json</a>,
<a href="/asyncapi.json">/asyncapi.json</a> and <a href="/schemas/workflow.json">/schemas/workflow.json</a>.</p></main>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
_TYPES: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}

EXAMPLES: Final[list[dict[str, Any]]] = [
    {
        "workflowId": "hello",
        "trigger": {"type": "manual"},
        "actions": [{"type": "log", "message": "hello"}],
    },
    {
        "workflowId": "nightly-report",
        "trigger": {"type": "periodic", "interval": "24h", "allowManual": True},
        "retries": 3,
        "backoff": {"base": "1s", "factor": 2, "cap": "5m", "jitter": "full"},
        "actions": [
            {"actionId": "begin", "type": "log", "message": "starting"},
            {
                "actionId": "report",
                "type": "http-request",
                "method": "POST",
                "url": "https://example.org/report",
                "headers": {"X-Team": "data"},
                "json": {"day": "today"},
                "timeout": "30s",
            },
        ],
    },
]


def definition_schema() -> dict[str, Any]:
    """Return the JSON Schema of a definition, for editors."""
    refs, definitions = models_json_schema([(WorkflowDefinition, "validation")], ref_template="#/$defs/{model}")
    schemas: dict[str, Any] = openapi.untitled(definitions["$defs"])
    root = schemas.pop(refs[WorkflowDefinition, "validation"]["$ref"].rpartition("/")[2])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "/schemas/workflow.json",
        "title": "Workflow definition",
        **root,
        "examples": EXAMPLES,
        "$defs": schemas,
    }


class Document(Resource):
    """A JSON document that does not change while the service runs."""

    def make(self) -> dict[str, Any]:
        """Return the document."""
        raise NotImplementedError

    @cached_property
    def _made(self) -> bytes:
        return orjson.dumps(self.make(), option=orjson.OPT_INDENT_2)

    async def get(self, request: web.Request) -> web.Response:
        """Return the document."""
        headers = {"Content-Type": "application/json", "Cache-Control": "no-cache"}
        return web.Response(body=self._made, headers=headers)


def _reads(name: str, summary: str) -> dict[str, Operation]:
    return {
        "get": Operation(name, summary, {200: Answer("The document.")}, tag="documents", uses_database=False),
    }


class OpenApi(Document):
    """The HTTP API."""

    view_name = "openapi"
    view_path = "/openapi.json"
    operations: ClassVar = _reads("readOpenApi", "This document")

    def make(self) -> dict[str, Any]:
        """Return the OpenAPI document of everything that this app serves."""
        return openapi.document(openapi.routes_of(self.app.web.views, "/v1"))


class AsyncApi(Document):
    """The event topics."""

    view_name = "asyncapi"
    view_path = "/asyncapi.json"
    operations: ClassVar = _reads("readAsyncApi", "The event topics as AsyncAPI")

    def make(self) -> dict[str, Any]:
        """Return the AsyncAPI document."""
        return asyncapi.document(self.app.settings.topic_retentions)


class DefinitionSchema(Document):
    """What a definition may hold."""

    view_name = "definition-schema"
    view_path = "/schemas/workflow.json"
    operations: ClassVar = _reads("readWorkflowSchema", "The JSON Schema of a definition, for editors")

    def make(self) -> dict[str, Any]:
        """Return the JSON Schema."""
        return definition_schema()


class Docs(Resource):
    """The page."""

    view_name = "docs"
    view_path = "/docs"
    operations: ClassVar = {
        "get": Operation(
            "readDocs",
            "This document as a page",
            {200: Answer("The page.", content_type="text/html")},
            tag="documents",
            uses_database=False,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return the page."""
        return web.Response(text=_PAGE, content_type="text/html", headers=_HEADERS)


class DocsAsset(Resource):
    """What the page loads."""

    view_name = "docs-asset"
    view_path = "/docs/{asset}"
    operations: ClassVar = {
        "get": Operation(
            "readDocsAsset",
            "A file that the page loads",
            {200: Answer("The file.", content_type="*/*")},
            tag="documents",
            uses_database=False,
            refusals=(web.HTTPNotFound,),
        )
    }

    async def get(self, request: web.Request, asset: str) -> web.StreamResponse:
        """Return a file of the page."""
        if asset == "start.js":
            return web.Response(text=_START, content_type="text/javascript", headers=_HEADERS)
        folder = _swagger_ui()
        if folder is None or asset not in _TYPES:
            raise web.HTTPNotFound
        return web.FileResponse(folder / asset, headers={**_HEADERS, "Content-Type": _TYPES[asset]})


def _swagger_ui() -> Path | None:
    """Return where the package keeps its files; it is looked up rather than imported: importing it would import Flask."""
    found = find_spec("flask_swagger_ui")
    places = list(found.submodule_search_locations or ()) if found else []
    return Path(places[0]) / "dist" if places else None


VIEWS: Final = (OpenApi, AsyncApi, DefinitionSchema, Docs, DocsAsset)


def install(app: Any) -> None:
    """Serve the documents; after every other route, which they describe."""
    for view in VIEWS:
        app.web.add_view(view)
