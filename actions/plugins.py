"""Private kinds of actions, registered without a change to this project.

``ACTION_PLUGINS=acme.fax,acme.sms`` names modules that every service can import. Each has a ``KINDS`` of its own, like
:mod:`actions.registry`: the model of an action (a subclass of :class:`domain.action.Action` with a literal ``type``) and the
async function that runs it. A module that cannot be used stops the service at its start, with the reason.
"""

import importlib
import traceback
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from actions.running import Context, Outcome
from domain.action import Action

Run = Callable[[Any, Context], Awaitable[Outcome]]


class PluginSettings(BaseSettings):
    """Read from the environment of every service; the API must know a kind as well as the runners that run it."""

    model_config = SettingsConfigDict(extra="ignore")

    action_plugins: str = Field(default="", description="Modules with private kinds of actions, comma-separated.")


class BadPlugin(SystemExit):
    """A module of ACTION_PLUGINS cannot be used. Ends the process with a message rather than a traceback."""

    def __init__(self, module: str, why: str) -> None:
        super().__init__(f"error: ACTION_PLUGINS: {module} {why}")
        self.module = module


def load(modules: str, others: Collection[type[Action]] = ()) -> dict[type[Action], Run]:
    """Return the kinds of ``modules`` (comma-separated), to be used beside ``others``.

    Raises:
        BadPlugin: names the module that cannot be imported, or has no usable ``KINDS``.
    """
    kinds: dict[type[Action], Run] = {}
    for name in filter(None, (each.strip() for each in modules.split(","))):
        try:
            module = importlib.import_module(name)
        except Exception as error:  # whatever a module may raise
            raise BadPlugin(name, f"cannot be imported: {_told(error)}") from error
        found = getattr(module, "KINDS", None)
        if not isinstance(found, dict):
            raise BadPlugin(name, "has no KINDS; define KINDS = {MyAction: run}")
        taken = {each for kind in [*others, *kinds] for each in _types(kind)}
        for kind, run in found.items():
            types = _types(kind)
            if not types:
                raise BadPlugin(name, f"registers {kind!r}, which is no Action with a literal type")
            if again := sorted(taken.intersection(types)):
                raise BadPlugin(name, f"registers the type {again[0]!r}, which there is already; give it another one")
            if not callable(run):
                raise BadPlugin(name, f"registers {kind.__name__} with {run!r}, which is no function that could run it")
            taken.update(types)
        kinds |= found
    return kinds


def _types(kind: object) -> Sequence[str]:
    """Return what ``kind`` is called in definitions; nothing where it is no kind of action."""
    if not (isinstance(kind, type) and issubclass(kind, Action)):
        return ()
    field = kind.model_fields.get("type")
    return get_args(field.annotation) if field is not None and get_origin(field.annotation) is Literal else ()


def _told(error: Exception) -> str:
    """Return what an import raised, and where: there will be no traceback."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):  # says where itself
        return said
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{said} ({last.filename}, line {last.lineno})" if "importlib" not in last.filename else said
