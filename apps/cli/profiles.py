"""Which service ``wf`` talks to and as whom: ``--url`` and ``--token``, their variables, or a profile in a file.

The file is ``config.yaml`` in the user's configuration directory::

    profile: home                       # the one that is used without --profile
    profiles:
      home: {url: "http://127.0.0.1:8081"}
      production: {url: "https://workflows.example.org", tokenFile: ~/.secrets/wf}   # or token: wf_…

A profile's token is sent to the profile's address alone: whoever names another one with ``--url`` names its token as well.
"""

import os
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from apps.cli.errors import ExitCode, WfError

VARIABLE = "WF_CONFIG"


@dataclass(frozen=True)
class Caller:
    """What the options before the command say."""

    token: str = ""  # given by --token or WF_TOKEN: goes wherever the command goes
    profile_url: str = ""
    profile_token: str = ""
    is_named: bool = False  # by --profile, which wins over WF_URL; a default profile does not

    def token_for(self, url: str) -> str:
        """Return the token to send to ``url``; empty for none."""
        if self.token:
            return self.token
        return self.profile_token if url == self.profile_url else ""


def config_file() -> Path:
    """Return where the profiles are kept."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "workflow-automation" / "config.yaml"


def caller(token: str, profile: str, *, is_named: bool = False) -> Caller:
    """Return what was chosen; ``is_named`` tells whether the profile was given with the command.

    Raises:
        WfError: the file is not well formed, or has no such profile.
    """
    file = config_file()
    if not file.is_file():
        if profile:
            raise WfError(f"there is no profile {profile}: {file} does not exist", hint=_HINT, code=ExitCode.USAGE)
        return Caller(token=token)
    config = _read(file)
    name = profile or str(config.get("profile") or "")
    if not name:
        return Caller(token=token)
    profiles = config.get("profiles")
    found = profiles.get(name) if isinstance(profiles, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("url"), str):
        known = ", ".join(map(str, profiles)) if isinstance(profiles, dict) else "none"
        raise WfError(f"{file}: there is no profile {name} with a url; there is {known}", hint=_HINT, code=ExitCode.USAGE)
    url = found["url"].rstrip("/").removesuffix("/v1")
    return Caller(token=token, profile_url=url, profile_token=_token(file, found), is_named=is_named)


# A process runs one command for one caller; what the options before it said is kept for the client that it makes.
_chosen: ContextVar[Caller] = ContextVar("caller")


def choose(found: Caller) -> None:
    """Keep what was chosen for the command that follows."""
    _chosen.set(found)


def current() -> Caller:
    """Return what the command that is running was told."""
    return _chosen.get(Caller())


def defaults(group: Any, url: str) -> dict[str, Any]:
    """Return what makes ``url`` the default of ``--url`` in every command of ``group``."""
    made: dict[str, Any] = {}
    for name, command in group.commands.items():
        made[name] = defaults(command, url) if hasattr(command, "commands") else {"url": url}
    return made


_HINT = "As in: profiles: {production: {url: https://workflows.example.org, tokenFile: ~/.secrets/wf}}"


def _read(file: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise WfError(f"{file}{line} is not YAML: {error.problem}", hint=_HINT, code=ExitCode.USAGE) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise WfError(f"{file} cannot be read: {error}", hint=_HINT, code=ExitCode.USAGE) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise WfError(f"{file} is not a mapping", hint=_HINT, code=ExitCode.USAGE)
    return found


def _token(file: Path, found: dict[str, Any]) -> str:
    if found.get("tokenFile"):
        path = Path(str(found["tokenFile"])).expanduser()
        try:
            return (path if path.is_absolute() else file.parent / path).read_text().strip()
        except OSError as error:
            raise WfError(f"{path} cannot be read: {error.strerror}", hint=_HINT, code=ExitCode.USAGE) from None
    return str(found.get("token") or "")


def _checked_token(value: str) -> str:
    value = value.strip()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise typer.BadParameter("it holds blanks, or what is not ASCII: no token does; copy it again")
    return value


Token = typer.Option(
    "--token",
    callback=_checked_token,
    envvar="WF_TOKEN",
    metavar="TOKEN",
    show_default=False,
    help="Who asks: a token of `wf tokens create`.",
)
Profile = typer.Option(
    "--profile", envvar="WF_PROFILE", metavar="NAME", show_default=False, help="A service in the configuration file."
)
