"""Every definition that a page shows is one that the service takes."""

import re
from pathlib import Path

import pytest

from apps.cli.definition_files import check
from apps.definition_text import documents

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^```(?:yaml|json)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = {
    f"{page.relative_to(ROOT)}-{number}": block
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for number, block in enumerate(_BLOCK.findall(page.read_text()))
    if "workflowId" in block
}


@pytest.mark.parametrize("name", SHOWN)
def test_a_definition_that_is_shown_is_valid(name: str) -> None:
    found = list(documents(name, SHOWN[name], is_json=False))
    assert found
    assert [str(flaw) for document in found for flaw in check(document)] == []
