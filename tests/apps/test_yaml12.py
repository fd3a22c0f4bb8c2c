"""What is written as YAML is read back the same, here and by others, and shows what is there."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from apps.definition_text import documents
from apps.yaml12 import dump

TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=60)


def read(text: str) -> Any:
    ((document),) = documents("here", text, is_json=False)
    return document.value


@given(st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=3), max_size=3))
def test_it_is_read_back_the_same(value: dict[str, Any]) -> None:
    text = dump({"input": value})
    assert read(text) == {"input": value}
    assert yaml.safe_load(text) == {"input": value}


@pytest.mark.parametrize("turn", ["\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069"])
def test_what_would_turn_the_text_round_is_shown(turn: str) -> None:
    value = {f"a{turn}b": [f"{turn}x", f"of\nseveral {turn} lines\n"], "plain": "é ü"}
    text = dump(value)
    assert turn not in text
    assert text.count(f"\\u{ord(turn):04X}") == 3
    assert "plain: é ü\n" in text
    assert yaml.safe_load(text) == value
