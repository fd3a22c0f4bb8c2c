import re

import pytest
from pydantic_settings import BaseSettings

from actions.running import ERROR_CLASSES
from docs.generate import HERE, PAGES
from templates.filters import FILTERS


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_up_to_date(name):
    assert (HERE / name).read_text() == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("name", PAGES)
def test_every_entry_says_what_it_is(name):
    rows = [line for line in PAGES[name]().splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.rstrip().endswith("|  |")]


def test_every_filter_of_templates_is_named():
    page = (HERE / "actions.md").read_text()
    named = page[page.index("Filters: ") :].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", named)) == set(FILTERS) - {"count", "d"}, "short forms of length and default"


def test_every_settings_model_is_in_the_reference():
    import apps.runner.settings
    import apps.scheduler.settings
    import apps.standalone.settings
    import apps.workflows.settings  # noqa: F401 - defining the models is what the imports are for

    models, found = [BaseSettings], set()
    while models:
        models += (below := models.pop().__subclasses__())
        found |= {
            f"{model.model_config.get('env_prefix') or ''}{name}".upper()
            for model in below
            if model.__module__.startswith(("apps.", "actions."))
            for name in model.model_fields
        }
    page = PAGES["settings.md"]()
    assert not [name for name in sorted(found) if f"| `{name}` |" not in page]


def test_every_error_class_that_is_told_is_one_that_a_definition_is_checked_by():
    table = (HERE / "actions.md").read_text().partition("error class, which is what")[2].partition("\n## ")[0]
    told = set(re.findall(r"`([a-z][a-z-]+)`", table.partition("| --- |")[2]))
    assert told - set(ERROR_CLASSES) == {
        "publish",
        "wait-for-signal",
        "trigger-workflow",
        "expect",
    }  # kinds of actions and a field, in the same table
