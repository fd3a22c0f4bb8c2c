import base64
import json
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.redaction import Redactor

SECRETS = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40).filter(
    lambda value: len(value.strip()) >= 4 and "*" not in value and value == value.strip() and len(value.splitlines()) == 1
)


def knowing(*values):
    redactor = Redactor()
    redactor.know(values)
    return redactor


@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
def test_a_value_is_taken_out_however_it_is_written(value, before, after):
    redactor = knowing(value)
    writings = {
        "plain": value,
        "JSON": json.dumps(value)[1:-1],
        "JSON as it is": json.dumps(value, ensure_ascii=False)[1:-1],
        "URL": urllib.parse.quote(value, safe=""),
        "form": urllib.parse.quote_plus(value),
        "base64": base64.b64encode(value.encode()).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(value.encode()).decode().rstrip("="),
    }
    for writing in writings.values():
        assert writing not in redactor.text(f"{before}|{writing}|{after}") or writing in "***"


@given(SECRETS.filter(lambda value: len(value) >= 6), st.binary(max_size=9), st.binary(max_size=9))
def test_a_value_within_base64_is_taken_out(value, before, after):
    text = base64.b64encode(before + value.encode() + after).decode()
    shown = knowing(value).text(text)
    assert "***" in shown
    # What is left speaks of no more than the bytes around the value and a byte at each of its ends.
    assert len(shown.replace("***", "")) <= len(text) - (len(value.encode()) - 2) * 4 // 3 + 1


@pytest.mark.parametrize("cut", range(4, 20))
def test_a_text_cut_within_a_value_loses_its_end(cut):
    value = "abcd-efgh-ijkl-mnop-qrst"
    assert knowing(value).value(f"answer: {value[:cut]}") == "answer: ***"


def test_data_are_redacted_wherever_a_value_stands():
    data = {"a": ["x planted-1 y", {"planted-1": 5}], "n": 123456, "b": True, "none": None}
    assert knowing("planted-1", "123456").value(data) == {"a": ["x *** y", {"***": 5}], "n": "***", "b": True, "none": None}


def test_nothing_known_costs_nothing():
    data = {"a": 1}
    assert Redactor().value(data) is data
    assert knowing("abc").value(data) is data, "three characters would be found everywhere"


def test_each_line_of_a_value_is_recognised():
    assert knowing("-----BEGIN\nMIIEvQ1234\n-----END").text("key MIIEvQ1234") == "key ***"
