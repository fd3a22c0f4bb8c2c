"""A duration in the field of an action, which may be a template until the action is run."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo

from domain.durations import parse_duration
from templates.template import is_open


def _checked(text: str, info: ValidationInfo) -> str:
    if not is_open(text, info):
        parse_duration(text)
    return text


OpenDuration = Annotated[str, Field(max_length=1000), AfterValidator(_checked)]
