"""Whom a request trusts and as whom it appears: a certificate authority and a client certificate of its own.

PEM comes from a secret, or from a file in the directory that the operator names in ``HTTP_TLS_DIR``: a workflow must not be
able to name any file of the runner.
"""

from typing import Annotated, Final

from pydantic import Field, model_validator
from typing_extensions import Self

from domain.model import Model
from domain.names import SecretName

FILE_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9._-]*$"

FileName = Annotated[str, Field(max_length=200, pattern=FILE_PATTERN, description="A file in HTTP_TLS_DIR.")]


class Tls(Model):
    """Instead of the well-known certificate authorities, and beside them a client certificate."""

    ca_secret: SecretName | None = None
    ca_file: FileName | None = None
    certificate_secret: SecretName | None = None
    certificate_file: FileName | None = None
    key_secret: SecretName | None = None
    key_file: FileName | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for what in ("ca", "certificate", "key"):
            if getattr(self, f"{what}_secret") is not None and getattr(self, f"{what}_file") is not None:
                raise ValueError(f"{what}Secret and {what}File are both given; keep one of them")
        if (self.key_secret or self.key_file) and not (self.certificate_secret or self.certificate_file):
            raise ValueError("a key without a certificate; give certificateSecret or certificateFile as well")
        return self

    def without_certificate(self) -> Self:
        """Return the same without the client certificate."""
        names = ("certificate_secret", "certificate_file", "key_secret", "key_file")
        return self.model_copy(update=dict.fromkeys(names))
