"""Private kinds of actions, registered without a change to this project.

``ACTION_PLUGINS=acme.fax,acme.sms`` names modules that every service can import. Each has a ``KINDS`` of its own, like
:mod:`actions.registry`: the model of an action (a subclass of :class:`domain.action.Action` with a literal ``type``) and the
async function that runs it. A module that cannot be used stops the service at its start, with the reason.
"""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from actions.running import Context, Outcome
from domain.action import Action

Run = Callable[[Any, Context], Awaitable[Outcome]]


class PluginSettings(BaseSettings):
    """Read from the environment of every service; the API must know a kind as well as the runners that run it."""

    model_config = SettingsConfigDict(extra="ignore")

    action_plugins: str = Field(default="", description="Modules with private kinds of actions, comma-separated.")


class BadPlugin(Exception):
    """A module of ACTION_PLUGINS cannot be used."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(f"ACTION_PLUGINS: {module} {why}")
        self.module = module


def load(modules: str) -> dict[type[Action], Run]:
    """Return the kinds of ``modules`` (comma-separated).

    Raises:
        BadPlugin: names the module that cannot be imported, or has no usable ``KINDS``.
    """
    kinds: dict[type[Action], Run] = {}
    for name in filter(None, (each.strip() for each in modules.split(","))):
        try:
            found = importlib.import_module(name).KINDS
        except ImportError as error:
            raise BadPlugin(name, f"cannot be imported: {error}") from error
        except AttributeError:
            raise BadPlugin(name, "has no KINDS; define KINDS = {MyAction: run}") from None
        for kind in found:
            if not (isinstance(kind, type) and issubclass(kind, Action) and "type" in kind.model_fields):
                raise BadPlugin(name, f"registers {kind!r}, which is no Action with a literal type")
        kinds |= found
    return kinds
