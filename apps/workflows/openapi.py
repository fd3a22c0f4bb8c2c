"""``/openapi.json``: made of what each view declares (:mod:`apps.operations`), and of the models that check requests."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, cast

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from apps import access
from apps.operations import Answer, Operation
from apps.workflows import errors, problems
from apps.workflows.answers.problems import Problem
from domain.access import Scope
from domain.identifiers import EXECUTION_ID_PATTERN, EXECUTION_ID_RULE, WORKFLOW_ID_PATTERN, WORKFLOW_ID_RULE
from store.interfaces import StoreUnavailable

Schema = dict[str, Any]

_REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"\{(\w+)[^}]*\}")

# What may stand in an address; a name that is not here is text.
_IN_PATH: Final[Mapping[str, Schema]] = {
    "workflow_id": {"description": f"Id of the workflow; {WORKFLOW_ID_RULE}.", "pattern": WORKFLOW_ID_PATTERN},
    "execution_id": {"description": f"Id of the execution; {EXECUTION_ID_RULE}.", "pattern": EXECUTION_ID_PATTERN},
    "backfill_id": {"description": "Id of the backfill.", "pattern": EXECUTION_ID_PATTERN},
    "token_id": {"description": "Id of the token: the part after wf_.", "pattern": "^[0-9a-f]{16}$"},
    "version": {"description": "Number of the version, from 1.", "pattern": "^[1-9][0-9]{0,8}$"},
    "name": {
        "description": "Name of the secret, variable or signal.",
        "pattern": "^[A-Za-z_0-9][A-Za-z0-9_-]{0,127}$",
    },
    "letter_id": {"description": "Partition and offset of the dead letter.", "pattern": "^[0-9]{1,4}-[0-9]{1,18}$"},
    "asset": {"description": "Name of the file."},
}

_DESCRIPTION: Final = """\
Defines workflows, runs them, and tells what happened.

Every address under `/v1` also stands without that prefix, as long as version 1 is the newest. Errors are
`application/problem+json` (RFC 9457) and name each field that is wrong. Lists are read page by page: give `nextCursor`
as `cursor`. Every answer carries `X-Request-Id`; the service's log names the same id.

Every POST takes an `Idempotency-Key`, but for those of tokens and logins and those that change nothing: repeated with the
same key and body within a day, it is done once and answered the same.
"""


def document(routes: Iterable[tuple[str, str, Operation]]) -> Schema:
    """Return the OpenAPI document of routes, each a method, a path and what is declared of it."""
    routes = sorted(routes, key=lambda route: (route[1], route[0]))
    models: dict[type[BaseModel], None] = {Problem: None}
    for _, _, operation in routes:
        for model in (operation.query, operation.body, *(answer.model for answer in operation.answers.values())):
            if model is not None:
                models[model] = None
    names, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    refs = {model: names[model, "validation"] for model in models}
    schemas: Schema = untitled(definitions.get("$defs", {}))
    queries = {
        operation.query: schemas[refs[operation.query]["$ref"].rpartition("/")[2]]
        for _, _, operation in routes
        if operation.query is not None
    }
    for query in queries:
        schemas.pop(refs[query]["$ref"].rpartition("/")[2], None)
    paths: dict[str, Schema] = {}
    for method, path, operation in routes:
        shown, parameters = _path(path)
        paths.setdefault(shown, {})[method.lower()] = _operation(
            method,
            operation,
            [*parameters, *_query(queries[operation.query] if operation.query else {}), *_headers(method, operation)],
            refs,
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Workflow automation",
            "version": service_version(),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This service."}],
        "tags": [{"name": tag} for tag in sorted({operation.tag for _, _, operation in routes})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token made by `wf tokens create`."},
                "session": {"type": "apiKey", "in": "cookie", "name": "wf_session", "description": "Set by POST /login."},
            },
        },
    }


def _operation(method: str, operation: Operation, parameters: list[Schema], refs: Mapping[Any, Schema]) -> Schema:
    made: Schema = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [operation.tag],
        "x-scope": operation.scope.value,
        "parameters": parameters,
        "responses": {
            **{str(status): _answer(answer, refs) for status, answer in operation.answers.items()},
            **_refusals(method, operation, refs),
        },
    }
    if operation.description:
        made["description"] = operation.description
    if operation.scope is Scope.PUBLIC:
        made["security"] = []
    else:
        made["security"] = [{}, {"token": []}, {"session": []}]
    if operation.body is not None:
        content: Schema = {"schema": refs[operation.body]}
        if operation.example is not None:
            content["example"] = operation.example
        made["requestBody"] = {"required": operation.body_is_required, "content": {"application/json": content}}
    return made


def _path(path: str) -> tuple[str, list[Schema]]:
    """Return a path with camelCase names in it, and its parameters."""
    parameters = []

    def replace(match: re.Match[str]) -> str:
        name = _camel(match[1])
        known = dict(_IN_PATH.get(match[1], {}))
        description = known.pop("description", "")
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": description,
                "schema": {"type": "string", **known},
            }
        )
        return f"{{{name}}}"

    return _PARAMETER.sub(replace, path), parameters


def _query(schema: Schema) -> Iterable[Schema]:
    for name, found in schema.get("properties", {}).items():
        shown = dict(found)
        description = shown.pop("description", "")
        if shown.get("default", 0) is None:
            del shown["default"]
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "description": description,
            "schema": _without_null(shown),
        }


def _headers(method: str, operation: Operation) -> Iterable[Schema]:
    if method == "POST" and operation.takes_key:
        yield _header(
            "Idempotency-Key",
            "Makes a repetition of this request harmless; a new key (such as a UUID) for each new intent.",
            minLength=1,
            maxLength=255,
            pattern="^[!-~]+$",
        )
    if operation.is_conditional:
        yield _header(
            "If-Match", "The ETag as it was read; 412 where somebody has changed the workflow since.", examples=['"3"']
        )
        yield _header(
            "If-None-Match", "412 where the workflow is at this version; *: where it is there at all.", examples=["*"]
        )


def _header(name: str, description: str, **schema: Any) -> Schema:
    """Return a header that may be left out."""
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _answer(answer: Answer, refs: Mapping[Any, Schema]) -> Schema:
    made: Schema = {"description": answer.description}
    if answer.content_type is not None:
        made["content"] = {answer.content_type: {"schema": refs[answer.model]} if answer.model is not None else {}}
    if answer.headers:
        made["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in answer.headers.items()
        }
    return made


def _refusals(method: str, operation: Operation, refs: Mapping[Any, Schema]) -> Schema:
    """Return the problems of an operation by status, each with the kinds that it may be."""
    refusals = list(operation.refusals)
    if not operation.lets_parameters_be:
        refusals.append(errors.BadRequest)
    if operation.body is not None or method in ("POST", "PUT", "PATCH"):
        refusals += [errors.BadRequest, errors.BodyTooLarge, errors.NotJson, errors.UnknownEncoding]
    if operation.is_conditional:
        refusals.append(errors.PreconditionFailed)
    if method == "POST" and operation.takes_key:
        refusals += [errors.KeyInUse, errors.KeyReused]
    if operation.scope is not Scope.PUBLIC:
        refusals += [access.NotAuthenticated, access.NotAllowed]
    if operation.uses_database or operation.scope is not Scope.PUBLIC:  # whose token is it?
        refusals.append(StoreUnavailable)
    by_status: dict[int, dict[str, None]] = {}
    for refusal in refusals:
        kind = problems.KINDS[refusal]
        by_status.setdefault(kind.status, {})[kind.name] = None
    return {
        str(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(names)}.",
            "content": {problems.CONTENT_TYPE: {"schema": refs[Problem]}},
        }
        for status, names in sorted(by_status.items())
    }


def untitled(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of field names; they say nothing."""
    if isinstance(schema, list):
        return [untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: untitled(each) for name, each in value.items()} if key == "properties" else untitled(value)
        for key, value in schema.items()
        if not (key == "title" and isinstance(value, str))
    }


def _without_null(schema: Schema) -> Schema:
    """Return the schema of a parameter: one that is not given is left out, never null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**rest, **choices[0]}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def service_version() -> str:
    """Return the version of what is installed."""
    try:
        return version("workflow-automation")
    except PackageNotFoundError:
        return "0"


def routes_of(views: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str, Operation]]:
    """Return what the views at these paths declare; what also stands under ``prefix``, by that address alone."""
    aliases = {path[len(prefix) :] for path in views if path.startswith(f"{prefix}/")}
    for path, view in views.items():
        if path not in aliases:
            for method, operation in cast("Mapping[str, Operation]", getattr(view, "operations", {})).items():
                yield method.upper(), path, operation
