"""What a running action is given and what it answers."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from actions.http.connections import Connections
from domain.retry import Failure


class UnknownSecret(Exception):
    """A secret of this name is not kept."""

    def __init__(self, name: str) -> None:
        super().__init__(f"unknown secret {name!r}; set it, or mend the name in the workflow")
        self.name = name


async def no_secrets(name: str) -> str:
    """Know no secret.

    Raises:
        UnknownSecret: always.
    """
    raise UnknownSecret(name)


@dataclass(frozen=True)
class Resources:
    """What the runner shares among all executions."""

    http: Connections
    secret: Callable[[str], Awaitable[str]] = no_secrets  # raises UnknownSecret


@dataclass(frozen=True)
class Context:
    """Where an action runs."""

    execution_id: str
    workflow_id: str
    action_id: str
    attempt: int  # from 1
    epoch: int
    resources: Resources

    async def secret(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            UnknownSecret: there is none of this name.
        """
        return await self.resources.secret(name)

    @property
    def idempotency_key(self) -> str:
        """Stable over attempts, so that a receiver can tell a repetition."""
        return f"{self.execution_id}:{self.action_id}"


@dataclass(frozen=True)
class Succeeded:
    """The action did its work."""

    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None


@dataclass(frozen=True)
class Failed:
    """The action did not do its work; ``error_class`` is a stable name, ``message`` is for people."""

    error_class: str
    message: str
    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None
    status: int | None = None  # of the response, where there was one
    retry_after: float | None = None  # seconds that the receiver asked to wait
    maybe_done: bool = False  # it is not idempotent and may have reached the receiver
    error: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", {"class": self.error_class, "message": self.message})

    @property
    def failure(self) -> Failure:
        """What the retry decision needs to know."""
        return Failure(self.error_class, self.status, self.retry_after, self.maybe_done)


Outcome = Succeeded | Failed
