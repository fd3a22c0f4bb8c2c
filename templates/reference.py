"""The reference that a definition makes of an input, when an execution is admitted: whichever way it was asked for."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from domain.reference import is_reference
from templates.budget import budget
from templates.errors import TemplateError
from templates.template import Template

_UNITS: Final = 10_000  # a few milliseconds at most, in which a service does nothing else


def reference_of(source: str | None, given: Mapping[str, Any]) -> str | None:
    """Return what a template makes of an input.

    None where there is no template, or that is no reference: a delivery must not be lost because its order has no number.
    """
    if source is None:
        return None
    try:
        with budget(_UNITS):
            made = _known(source).render({"input": given})
    except TemplateError:
        return None
    text = str(made).strip() if type(made) in (str, int) else None
    return text if is_reference(text) else None


@lru_cache(maxsize=1000)
def _known(source: str) -> Template:
    return Template(source)
