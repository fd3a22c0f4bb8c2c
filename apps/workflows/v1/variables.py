"""``/vars``: set, read and deleted by name; what differs between the installations that one definition is for."""

from typing import Annotated, Any, ClassVar, Final

from aiohttp import web
from pydantic import AfterValidator, Field, JsonValue

from apps.operations import Answer, Operation
from apps.workflows import auditing, representations
from apps.workflows.answers.variables import VariableList, VariableShown
from apps.workflows.bodies import read_model
from apps.workflows.errors import BadRequest, UnknownVariable
from apps.workflows.v1.secrets import check_name
from apps.workflows.views import Resource
from domain.access import Scope
from domain.model import Model
from events.wire import json_bytes
from store.interfaces import Variable
from vault.variables import LARGEST_VALUE


def _checked(value: JsonValue) -> JsonValue:
    if value is None:
        raise ValueError("must not be null; delete the variable, or give it another value")
    if (size := len(json_bytes(value))) > LARGEST_VALUE:
        raise ValueError(f"takes {size} bytes of JSON, which are more than {LARGEST_VALUE}")
    return value


class VariableValue(Model):
    """A variable's value."""

    value: Annotated[JsonValue, AfterValidator(_checked)] = Field(
        description=f"Text or any other JSON but null, of {LARGEST_VALUE} bytes at most; templates see it as it is."
    )


class Variables(Resource):
    """The list."""

    view_name = "variables"
    view_path = "/vars"
    operations: ClassVar = {
        "get": Operation(
            "listVariables",
            "List the variables with their values",
            {200: Answer("All of them, by name.", VariableList)},
            tag="variables",
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return all of them."""
        return self.answer({"items": [_shown(variable) for variable in await self.app.store.variables.all()]})


class OneVariable(Resource):
    """One variable."""

    view_name = "variable"
    view_path = "/vars/{name}"
    operations: ClassVar = {
        "get": Operation(
            "getVariable",
            "Show a variable",
            {200: Answer("The variable.", VariableShown)},
            tag="variables",
            refusals=(BadRequest, UnknownVariable),
        ),
        "put": Operation(
            "setVariable",
            "Set a variable",
            {
                200: Answer("It was there and has a new value.", VariableShown),
                201: Answer("It is stored.", VariableShown),
            },
            tag="variables",
            scope=Scope.OPERATOR,
            description="Steps that begin a second later or more see the new value, also those of executions under way.",
            body=VariableValue,
            refusals=(BadRequest,),
        ),
        "delete": Operation(
            "deleteVariable",
            "Delete a variable",
            {204: Answer("It is gone.", content_type=None)},
            tag="variables",
            scope=Scope.OPERATOR,
            refusals=(BadRequest, UnknownVariable),
        ),
    }

    async def get(self, request: web.Request, name: str) -> web.Response:
        """Return the variable."""
        return self.answer(_shown(await self._find(name)))

    async def put(self, request: web.Request, name: str) -> web.Response:
        """Set the value."""
        check_name(name)
        body = await read_model(VariableValue, request, what="variable")
        variables = self.app.store.variables
        before = await variables.get(name)
        after = Variable(name, body.value, self.app.clock())
        created = await variables.put(after)
        auditing.note(request, _in_audit(before), _in_audit(after))
        return self.answer(_shown(after), status=201 if created else 200)

    async def delete(self, request: web.Request, name: str) -> web.Response:
        """Delete the variable; workflows that refer to it fail from then on."""
        before = await self._find(name)
        if not await self.app.store.variables.delete(name):
            raise UnknownVariable(name)
        auditing.note(request, _in_audit(before), None)
        return web.Response(status=204)

    async def _find(self, name: str) -> Variable:
        check_name(name)
        found = await self.app.store.variables.get(name)
        if found is None:
            raise UnknownVariable(name)
        return found


VIEWS: Final[tuple[Any, ...]] = (Variables, OneVariable)


def _shown(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "value": variable.value,
        "updatedAt": representations.instant(variable.updated_at),
    }


def _in_audit(variable: Variable | None) -> dict[str, Any] | None:
    return None if variable is None else {"value": variable.value}
