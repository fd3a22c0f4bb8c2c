"""The base of everything a user writes: camelCase on the wire, unknown fields refused, immutable once read."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from typing_extensions import Self


class Model(BaseModel):
    """A part of a definition.

    On the HTTP API and in files its fields are camelCase; in MongoDB and in Python they are snake_case. Read what a user
    wrote with ``model_validate`` (camelCase alone), what was stored with :meth:`from_document`.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_alias=True, validate_by_name=False, extra="forbid", frozen=True
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON-ready camelCase form, without the fields that are not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def to_concise(self) -> dict[str, Any]:
        """Return the same without what is so by default: as somebody would write it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON-ready snake_case form that is stored."""
        return self.model_dump(mode="json", by_alias=False, exclude_none=True)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Self:
        """Read what :meth:`to_document` stored."""
        return cls.model_validate(document, by_alias=False, by_name=True)
