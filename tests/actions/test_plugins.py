"""Private kinds of actions."""

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

from actions import plugins
from domain.action import Action


class Fax(Action):
    """A kind of a plug-in."""

    type: Literal["fax"]


class OtherFax(Action):
    """Another one of the same type."""

    type: Literal["fax"]


class Loose(Action):
    """Could be of any type."""

    type: str


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
        ({"KINDS": {Loose: run}}, "acme_fax", "no Action with a literal type"),
        ({"KINDS": 3}, "acme_fax", "has no KINDS"),
        ({"KINDS": {Fax: None}}, "acme_fax", "registers Fax with None, which is no function"),
        ({"KINDS": {Fax: run, OtherFax: run}}, "acme_fax", "registers the type 'fax', which there is already"),
    ],
)
def test_an_unusable_module_is_named(monkeypatch: pytest.MonkeyPatch, content: Any, name: str, why: str) -> None:
    module(monkeypatch, **content)
    with pytest.raises(plugins.BadPlugin, match=f"ACTION_PLUGINS: {name} .*{why}"):
        plugins.load(name)


def test_the_type_of_a_kind_of_ours_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    module(monkeypatch, KINDS={Fax: run})
    with pytest.raises(plugins.BadPlugin, match="registers the type 'fax', which there is already"):
        plugins.load("acme_fax", [OtherFax])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("\nraise RuntimeError('no toner')", r"RuntimeError: no toner \(.*acme_paper.py, line 2\)"),
        ("import acme_ink", r"ModuleNotFoundError: No module named 'acme_ink' \(.*acme_paper.py, line 1\)"),
        ("def f(:", r"SyntaxError: .*\(acme_paper.py, line 1\)"),
    ],
)
def test_a_service_ends_with_one_line_where_a_module_is_broken(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "acme_paper.py").write_text(source)
    environment = {
        **os.environ,
        "ACTION_PLUGINS": "acme_paper",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "faust", "-A", "apps.runner.app", "worker"], env=environment, capture_output=True, text=True
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert re.fullmatch(f"error: ACTION_PLUGINS: acme_paper cannot be imported: {said}", line), line
