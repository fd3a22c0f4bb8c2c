"""What users know executions by: a number of their own, of an order or a customer. Several may have the same one."""

from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

LONGEST_REFERENCE: Final = 128
REFERENCE_RULE: Final = (
    f"must be a text of 1 to {LONGEST_REFERENCE} characters without line breaks or others that are not printable,"
    " and without spaces at its ends"
)


def is_reference(value: object) -> bool:
    """Tell whether executions can be found by ``value``, as it is written."""
    return (
        isinstance(value, str) and 0 < len(value) <= LONGEST_REFERENCE and value.isprintable() and value == value.strip(" ")
    )


def _check(value: str) -> str:
    if not is_reference(value):
        raise ValueError(REFERENCE_RULE)
    return value


Reference = Annotated[
    str,
    AfterValidator(_check),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_REFERENCE, "examples": ["order-17"]}),
]
"""A field that holds a reference."""
