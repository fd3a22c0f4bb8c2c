"""Every field of a request that is wrong, with the mend."""

from typing import Any

from pydantic import BaseModel, ValidationError

from actions.wording import told
from apps.workflows.errors import FieldError


def field_errors(error: ValidationError, data: Any, model: type[BaseModel] | None = None) -> list[FieldError]:
    """Return what ``error`` found in ``data``, field by field; with the ``model`` that it was to be, what was meant."""
    details = error.errors(include_url=False)
    # An element that is wrong does not count, so that its array seems too short as well: noise.
    broken = {detail["loc"][:length] for detail in details for length in range(1, len(detail["loc"]))}
    details = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in broken)]
    found = [told(detail, data, model) for detail in details]
    return [FieldError(field or "body", message) for field, message in found]
