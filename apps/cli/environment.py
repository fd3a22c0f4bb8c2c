"""The services' settings, for the commands that ask Kafka and the database themselves."""

from typing import TYPE_CHECKING, Any

from apps.cli.errors import ExitCode, WfError

if TYPE_CHECKING:
    from apps.settings import ServiceSettings


def service_settings(**given: Any) -> "ServiceSettings":
    """Return the settings of this environment, ``given`` ones (None: not given) instead of it.

    Raises:
        WfError: some are wrong.
    """
    from pydantic import ValidationError

    from apps.settings import ServiceSettings, complaints

    try:
        return ServiceSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise WfError(
            "settings in the environment are wrong",
            details=list(complaints(error)),
            hint="Correct them there; docs/settings.md lists every setting.",
            code=ExitCode.USAGE,
        ) from None


def said(error: Exception) -> str:
    """Return what a driver said, without the timeouts and topologies that it adds: they help nobody here."""
    return str(error).partition(" (configured timeouts")[0]
