"""What can keep the standalone stack from running. Every message is one line a user can act upon."""

from __future__ import annotations

from collections.abc import Sequence


class StandaloneError(Exception):
    """The standalone stack cannot run."""


class PortInUse(StandaloneError):
    """A port that the stack needs is taken."""

    def __init__(self, host: str, port: int, wanted_by: str, option: str) -> None:
        self.host, self.port, self.wanted_by, self.option = host, port, wanted_by, option
        super().__init__(
            f"port {port} on {host} is in use, and {wanted_by} needs it: stop what uses it or choose another with {option}"
        )


class PortGivenTwice(StandaloneError):
    """Two parts of the stack were told to use the same port."""

    def __init__(self, port: int, first: str, second: str) -> None:
        self.port = port
        super().__init__(f"port {port} is given to both {first} and {second}: choose another for one of them")


class ServersHalfGiven(StandaloneError):
    """One of two servers is named, the other is not."""

    def __init__(self, given: str, missing: str) -> None:
        super().__init__(f"{given} is set, but {missing} is not: set both to use servers that run already, or neither")


class DataDirInUse(StandaloneError):
    """Another stack runs on the same data directory."""

    def __init__(self, data_dir: object, pid: str) -> None:
        self.data_dir, self.pid = data_dir, pid
        holder = f" (process {pid})" if pid else ""
        super().__init__(f"another `wf up`{holder} uses {data_dir}: stop it or choose another directory with --data-dir")


class ExtraMissing(StandaloneError):
    """The optional packages of the standalone stack are not installed."""


class JarsUnavailable(StandaloneError):
    """Apache Kafka's jars could not be fetched."""


class ChildFailed(StandaloneError):
    """A child process died or hung before it was ready."""

    def __init__(self, name: str, reason: str, last_lines: Sequence[str] = ()) -> None:
        self.name, self.reason, self.last_lines = name, reason, list(last_lines)
        super().__init__(f"{name} {reason}")

    def __str__(self) -> str:
        if not self.last_lines:
            return f"{self.name} {self.reason}; it printed nothing"
        tail = "\n".join(f"    {line}" for line in self.last_lines)
        return f"{self.name} {self.reason}; its last lines were:\n{tail}"
