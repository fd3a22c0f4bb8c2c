import pytest

from docs.generate import HERE, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_reference_pages_are_up_to_date(name):
    assert (HERE / name).read_text() == PAGES[name](), "run `make docs`"


@pytest.mark.parametrize("name", PAGES)
def test_every_entry_says_what_it_is(name):
    rows = [line for line in PAGES[name]().splitlines() if line.startswith("| `")]
    assert rows
    assert not [row for row in rows if row.rstrip().endswith("|  |")]
