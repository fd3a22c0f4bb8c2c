"""What steps ask for secrets and variables, and what answers where there are none."""

from typing import Any, Protocol

from vault.redaction import Redactor


class UnknownSecret(LookupError):
    """No source has a secret of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"secret {name} is not there; set it with `wf secrets set {name}`")
        self.name = name


class UnusableSecret(UnknownSecret):
    """There is a secret of that name, whose value cannot be read, or could not be kept secret."""

    def __init__(self, name: str, why: str) -> None:
        LookupError.__init__(self, f"secret {name} is not used: {why}")
        self.name = name


class SecretValues(Protocol):
    """What actions ask for secrets."""

    @property
    def redactor(self) -> Redactor:
        """What keeps values out of results."""

    async def get(self, name: str) -> str:
        """Return the value of a secret. Raises UnknownSecret."""


class NoSecrets:
    """Knows no secret."""

    redactor = Redactor()

    async def get(self, name: str) -> str:
        """Return the value of a secret. Raises UnknownSecret."""
        raise UnknownSecret(name)


class UnknownVariable(LookupError):
    """There is no variable of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"variable {name} is not there; set it with `wf vars set {name}`")
        self.name = name


class VariableValues(Protocol):
    """What steps ask for variables."""

    async def get(self, name: str) -> Any:
        """Return the value of a variable. Raises UnknownVariable."""


class NoVariables:
    """Knows no variable."""

    async def get(self, name: str) -> Any:
        """Return the value of a variable. Raises UnknownVariable."""
        raise UnknownVariable(name)
