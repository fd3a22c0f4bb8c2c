from datetime import timedelta

import pytest

from domain.rates import BadRate, parse_rate


@pytest.mark.parametrize(
    ("text", "apart"),
    [
        ("1/s", timedelta(seconds=1)),
        ("20/s", timedelta(milliseconds=50)),
        ("30/m", timedelta(seconds=2)),
        ("1200/m", timedelta(milliseconds=50)),
        ("6/h", timedelta(minutes=10)),
    ],
)
def test_rates_are_read(text, apart):
    assert parse_rate(text) == apart


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("empty", ""),
        ("zero", "0/s"),
        ("negative", "-1/s"),
        ("fraction", "1.5/s"),
        ("no number", "/s"),
        ("no unit", "10"),
        ("unknown unit", "10/d"),
        ("space", "10 / s"),
        ("trailing newline", "1/s\n"),
        ("too high", "21/s"),
        ("too high per minute", "1201/m"),
        ("absurd", "99999/s"),
    ],
)
def test_bad_rates_are_refused_with_the_mend(word, text):
    with pytest.raises(BadRate, match=r"write"):
        parse_rate(text)
