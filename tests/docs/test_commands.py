"""Whoever follows a page from its top can run its commands: each variable that they use is set before."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SET = re.compile(r"^\$ (?:export )?([A-Z_]+)=", re.MULTILINE)
_READ_BY_SHELL = re.compile(r"\$\{?([A-Z_]+)")
_HEADING = re.compile(r"^[A-Z]{3,}(?: +[A-Z]{3,})+$", re.MULTILINE)
_READ_BY_PYTHON = re.compile(r"environ\[\"([A-Z_]+)\"\]")  # in a script, which is run after it is written


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_variable_is_set_before_it_is_used(page):
    known = set()
    for block in _BLOCK.findall(page.read_text()):
        for line in block.splitlines():
            assert set(_READ_BY_SHELL.findall(line)) <= known, line
            known |= set(_SET.findall(line))
        assert set(_READ_BY_PYTHON.findall(block)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_that_is_shown_has_the_headings_that_wf_prints(page):
    sources = "".join(path.read_text() for path in (ROOT / "apps" / "cli").glob("*.py"))
    printed = set(re.findall(r"\"[~>=]*([A-Z]{3,})\"", sources))
    for heading in _HEADING.findall("".join(_BLOCK.findall(page.read_text()))):
        assert set(heading.split()) <= printed, heading
