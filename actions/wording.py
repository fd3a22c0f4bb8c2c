"""What pydantic found wrong, said in the words of whoever wrote it.

A path such as ``("actions", 0, "http-request", "url")`` becomes ``actions[0].url``: the tag by which a union was resolved
is no field. A message says how the field must be, not which check of which library failed.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from actions.http.auth import KEY_ID_PATTERN, USERNAME_PATTERN
from actions.http.bodies import CONTENT_TYPE_PATTERN
from actions.http.tls import FILE_PATTERN
from actions.set import NAME_PATTERN
from actions.spelling import example, meant_field, meant_kind
from domain.access import TOKEN_NAME_PATTERN
from domain.definition import ADDED_WHEN_SHOWN
from domain.excerpts import excerpt
from domain.identifiers import (
    ACTION_ID_PATTERN,
    ACTION_ID_RULE,
    EXECUTION_ID_PATTERN,
    EXECUTION_ID_RULE,
    WORKFLOW_ID_PATTERN,
    WORKFLOW_ID_RULE,
)
from domain.instants import INSTANT_RULE
from domain.retry import ERROR_CLASS_PATTERN
from domain.webhook import FIELD_PATTERN, PREFIX_PATTERN

LONGEST_MESSAGE: Final = 300
LONGEST_FIELD: Final = 200

RULES: Final = {  # by pattern
    WORKFLOW_ID_PATTERN: WORKFLOW_ID_RULE,
    EXECUTION_ID_PATTERN: EXECUTION_ID_RULE,
    ACTION_ID_PATTERN: ACTION_ID_RULE,
    NAME_PATTERN: "is no name: write up to 64 letters, digits or '_', the first no digit",
    ERROR_CLASS_PATTERN: 'must be an error class in lower case, as in "timeout", or "*" for any',
    USERNAME_PATTERN: "must hold no ':' and no line break",
    KEY_ID_PATTERN: "must be printable ASCII without blanks",
    CONTENT_TYPE_PATTERN: 'must be a content type in printable ASCII, as in "text/csv"',
    TOKEN_NAME_PATTERN: "must hold no line break and no other control character",
    PREFIX_PATTERN: "must be printable ASCII",
    FIELD_PATTERN: "must be a field of the body, as in update_id or event.id",
    FILE_PATTERN: "must be the name of a file in HTTP_TLS_DIR, without a path: letters, digits, '.', '-' or '_'",
}

_SET_BY_THE_SERVICE: Final = ADDED_WHEN_SHOWN | {"trigger.status"}

_WHOLE_NUMBER = "must be a whole number, not {kind}"
_NUMBER = "must be a number, not {kind}"
_ARRAY = "must be an array, not {kind}"
_OBJECT = "must be an object, not {kind}"
_MESSAGES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not known here; remove it or check its spelling",
    "union_tag_not_found": "is required",
    "union_tag_invalid": "must be {choices}, not {shown}",
    "literal_error": "must be {expected}, not {shown}",
    "string_type": "must be a string, not {kind}",
    "string_pattern_mismatch": "must match {pattern}",
    "string_too_long": "must be at most {max_length} characters long",
    "string_too_short": "must be at least {min_length} characters long",
    "int_type": _WHOLE_NUMBER,
    "int_parsing": "must be a whole number, not {shown}",
    "int_parsing_size": "must be a smaller number",
    "int_from_float": "must be a whole number",
    "float_type": _NUMBER,
    "float_parsing": "must be a number, not {shown}",
    "bool_type": "must be true or false, not {kind}",
    "bool_parsing": "must be true or false, not {shown}",
    "greater_than": "must be more than {gt:.12g}",
    "greater_than_equal": "must be {ge:.12g} or more",
    "less_than_equal": "must be {le:.12g} or less",
    "too_short": "must hold at least {min_length}",
    "too_long": "must hold at most {max_length}",
    "tuple_type": _ARRAY,
    "list_type": _ARRAY,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "datetime_type": INSTANT_RULE,
    "datetime_parsing": INSTANT_RULE,
    "datetime_from_date_parsing": INSTANT_RULE,
    "datetime_object_invalid": INSTANT_RULE,
    "timezone_aware": INSTANT_RULE,
    "value_error": "{error}",
}

_KINDS: Final = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}


def all_told(error: ValidationError, data: Any, model: type[BaseModel] | None = None) -> list[tuple[str, str]]:
    """Return each field of ``data`` that is wrong, empty for all of it, and how it must be; see :func:`told`."""
    details = error.errors(include_url=False)
    # An element that is wrong does not count, so that its array seems too short as well: noise.
    broken = {detail["loc"][:length] for detail in details for length in range(1, len(detail["loc"]))}
    details = [detail for detail in details if not (detail["type"] == "too_short" and detail["loc"] in broken)]
    return [told(detail, data, model) for detail in details]


def told(detail: ErrorDetails, data: Any, model: type[BaseModel] | None = None) -> tuple[str, str]:
    """Return the field of ``data`` that is wrong, empty for all of it, and how it must be.

    With the ``model`` that it was to be, also what may have been meant.
    """
    # A rule that spans several fields names the one to mend itself.
    field = detail.get("ctx", {}).get("field") or _field(detail["loc"], data)
    message = _message(detail, field)
    if message == _MESSAGES["extra_forbidden"]:
        meant = meant_field(model, detail["loc"]) if model else None
        message = f"is not known here; did you mean {meant}?" if meant else message
    if detail["type"].startswith("union_tag_"):
        field = f"{field}.type"
    return excerpt(field, LONGEST_FIELD), excerpt(message + _mend(detail, field, model), LONGEST_MESSAGE)


def _field(loc: Sequence[str | int], data: Any) -> str:
    """Return the path to a field, following ``loc`` through ``data`` to tell fields from union tags."""
    path = ""
    value = data
    previous: str | int | None = None
    for part in loc:
        in_union = previous in ("trigger", "auth", "webhook") or isinstance(previous, int)
        previous = part
        if in_union and isinstance(value, dict) and value.get("type") == part:
            continue
        if part == "[key]" and not isinstance(value, dict | list):
            continue  # pydantic's word for: not the value, its name is wrong
        if isinstance(part, int):
            path += f"[{part}]"
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            path += f".{part}" if path else part
            value = value.get(part) if isinstance(value, dict) else None
    return path


def _message(detail: ErrorDetails, field: str) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "extra_forbidden" and field in _SET_BY_THE_SERVICE:
        return "is set by the service; leave it out"
    if kind == "string_pattern_mismatch" and context["pattern"] in RULES:
        return RULES[context["pattern"]]
    if kind == "union_tag_invalid" and isinstance(value, dict):
        value = value["type"]
    template = _MESSAGES.get("int_parsing" if kind == "int_type" and isinstance(value, float) else kind)
    if template is None:
        return detail["msg"][:1].lower() + detail["msg"][1:]
    return template.format(
        kind="null" if value is None else _KINDS.get(type(value), "this"),
        shown=excerpt(json.dumps(value) if value is None or isinstance(value, bool) else repr(value), 40),
        choices=" or ".join(context.get("expected_tags", "").split(", ")),
        **context,
    )


def _mend(detail: ErrorDetails, field: str, model: type[BaseModel] | None) -> str:
    """Return what to write instead, where that can be told."""
    kind, value, hint = detail["type"], detail["input"], None
    if kind == "union_tag_invalid":
        hint = meant_kind(value.get("type"), detail["ctx"]["expected_tags"].replace("'", "").split(", "))
    elif field == "trigger" and isinstance(value, str):
        hint = "write for example {type: manual}"
    elif model is not None and kind == "string_type" and isinstance(value, dict | list) and field.endswith("].body"):
        hint = "did you mean json?"
    elif model is not None and kind == "string_type" and isinstance(value, int | float):
        shown = example(model, detail["loc"])
        hint = f"write for example {shown}" if shown else None
    return f"; {hint}" if hint else ""
