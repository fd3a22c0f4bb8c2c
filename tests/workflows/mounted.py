"""Secrets of the environment alone."""

from typing import Any

from vault.keys import KeySource
from vault.redaction import Redactor
from vault.values import Values


def mounted(**found: str) -> Values:
    """Return the values of secrets, of which none is stored."""

    async def nothing() -> list[Any]:
        return []

    environment = {f"WF_SECRET_{name}": value for name, value in found.items()}
    return Values(environment=environment, directory=None, keys=KeySource(None, None), stored=nothing, redactor=Redactor())
