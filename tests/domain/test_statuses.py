import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain.statuses import Statuses, includes

READ = TypeAdapter(tuple[Statuses, ...])


@pytest.mark.parametrize(
    ("word", "written", "inside", "outside"),
    [
        ("one", (404,), {404}, {403, 405}),
        ("one as text", ("404",), {404}, {403, 405}),
        ("class", ("5xx",), {500, 599}, {499, 600}),
        ("range", ("200-204",), {200, 204}, {199, 205}),
        ("several", (200, "4xx"), {200, 400}, {201, 500}),
        ("none", (), set(), {200, 500}),
    ],
)
def test_a_set_holds_what_it_says(word, written, inside, outside):
    assert READ.validate_python(list(written)) == written
    assert all(includes(written, status) for status in inside)
    assert not any(includes(written, status) for status in outside)


@pytest.mark.parametrize("written", [0, 99, 600, -1, True, 4.5, "6xx", "20-30", "299-200", "200 - 204", "", "٢٠٠", None])
def test_nonsense_is_refused_with_the_mend(written):
    with pytest.raises(ValidationError):
        READ.validate_python([written])


@given(st.text(max_size=10))
def test_any_text_is_read_or_refused(text):
    try:
        READ.validate_python([text])
    except ValidationError:
        return
    assert any(includes((text,), status) for status in range(100, 600))
