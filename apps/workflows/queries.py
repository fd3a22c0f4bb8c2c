"""Query parameters as pydantic models, so that an unknown or wrong parameter is answered by its name."""

from dataclasses import replace
from typing import ClassVar, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from apps.workflows.errors import BadRequest, FieldError
from apps.workflows.field_errors import field_errors
from domain.instants import INSTANT_RULE
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
        raise BadRequest(
            "A query parameter is not valid.", [_as_address(each) for each in field_errors(error, given)]
        ) from None


def _as_address(error: FieldError) -> FieldError:
    # A + that is not encoded arrives as a blank, which nobody sees in what they have sent.
    return (
        replace(error, message=f"{INSTANT_RULE}; in an address write + as %2B") if error.message == INSTANT_RULE else error
    )
