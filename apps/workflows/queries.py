"""Query parameters as pydantic models, so that an unknown or wrong parameter is answered by its name."""

from typing import ClassVar, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from apps.workflows.errors import BadRequest, FieldError
from apps.workflows.field_errors import field_errors
from domain.model import Model


class Query(Model):
    """What an address may ask for."""

    REPEATABLE: ClassVar[frozenset[str]] = frozenset()  # parameters that may be given several times, joined by commas


class Page(Query):
    """What every list takes; each adds its cursor and filters."""

    limit: int = Field(default=50, ge=1, le=500, description="Most items in one answer.")


Q = TypeVar("Q", bound=Query)


def read_query(model: type[Q], request: web.Request) -> Q:
    """Return the query parameters.

    Raises:
        BadRequest: names each parameter that is unknown, wrong, or given twice.
    """
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in given:
            given[name] = value
        elif name in model.REPEATABLE:
            given[name] += f",{value}"
        else:
            raise BadRequest("A query parameter is not valid.", [FieldError(name[:100], "is given twice; keep one of them")])
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise BadRequest("A query parameter is not valid.", field_errors(error, given)) from None
