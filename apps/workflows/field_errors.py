"""Every field of a request that is wrong, with the mend."""

from typing import Any

from pydantic import BaseModel, ValidationError

from actions.wording import all_told
from apps.workflows.errors import FieldError


def field_errors(error: ValidationError, data: Any, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return what ``error`` found in ``data``, field by field; with the ``model`` that it was to be, what was meant."""
    return [FieldError(field or "body", message) for field, message in all_told(error, data, model)]
