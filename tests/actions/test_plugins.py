"""Private kinds of actions."""

import sys
from types import ModuleType
from typing import Any, Literal

import pytest

from actions import plugins
from domain.action import Action


class Fax(Action):
    """A kind of a plug-in."""

    type: Literal["fax"]


async def run(action: Fax, context: Any) -> Any:
    """Do nothing."""


def module(monkeypatch: pytest.MonkeyPatch, **content: Any) -> None:
    made = ModuleType("acme_fax")
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, "acme_fax", made)


def test_the_kinds_of_a_module_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, KINDS={Fax: run})
    assert plugins.load(" acme_fax ,") == {Fax: run}
    assert plugins.load("") == {}


@pytest.mark.parametrize(
    ("content", "name", "why"),
    [
        ({}, "acme_nothing", "cannot be imported"),
        ({}, "acme_fax", "has no KINDS"),
        ({"KINDS": {"fax": run}}, "acme_fax", "no Action"),
        ({"KINDS": {Action: run}}, "acme_fax", "no Action"),
    ],
)
def test_an_unusable_module_is_named(monkeypatch: pytest.MonkeyPatch, content: Any, name: str, why: str) -> None:
    module(monkeypatch, **content)
    with pytest.raises(plugins.BadPlugin, match=f"ACTION_PLUGINS: {name} .*{why}"):
        plugins.load(name)
