"""How a command fails: one message that says what to do next, and an exit code for scripts."""

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """What ``wf`` tells scripts; stable."""

    OK = 0
    FAILED = 1
    USAGE = 2
    CONFLICT = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    NOT_ALLOWED = 6
    TIMEOUT = 124
    INTERRUPTED = 130


MEANINGS = {
    ExitCode.OK: "done; what was waited for succeeded",
    ExitCode.FAILED: "an execution failed, or the service refused what was asked",
    ExitCode.USAGE: "wrong options or arguments; of diff and verify: something differs",
    ExitCode.CONFLICT: "busy, not to be triggered by hand, or changed meanwhile",
    ExitCode.NOT_FOUND: "there is nothing of that id",
    ExitCode.UNREACHABLE: "the service cannot be reached, or cannot answer",
    ExitCode.NOT_ALLOWED: "no good token, or one that may not do this",
    ExitCode.TIMEOUT: "--timeout passed; what was waited for goes on",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C",
}


class WfError(Exception):
    """Ends a command: ``message`` says what is wrong, ``details`` where (one line each), ``hint`` what to do next."""

    def __init__(
        self, message: str, *, details: Sequence[str] = (), hint: str = "", code: ExitCode = ExitCode.FAILED
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.hint = hint
        self.code = code


class Unreachable(WfError):
    """The service cannot be reached, or is not in a state to answer; ``may_return``: it is worth waiting for."""

    def __init__(self, message: str, *, hint: str, may_return: bool = True) -> None:
        super().__init__(message, hint=hint, code=ExitCode.UNREACHABLE)
        self.may_return = may_return


class Interrupted(WfError):
    """Ctrl-C, where something is to be said about what goes on without us."""

    def __init__(self, hint: str) -> None:
        super().__init__("interrupted", hint=hint, code=ExitCode.INTERRUPTED)
