import base64
import gc
import html
import json
import re
import urllib.parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.excerpts import CUT, excerpt
from tests.cost import cpu_seconds
from vault.redaction import FORMER, HIDDEN, RUNS_HOLD, Redactor, is_recognisable

SECRETS = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40).filter(
    lambda value: len(value.strip()) >= 4 and "*" not in value and value == value.strip() and len(value.splitlines()) == 1
)


def knowing(*values):
    redactor = Redactor()
    redactor.know(values)
    return redactor


def writings(value):
    """Return how the software of this world writes ``value``."""
    raw = value.encode()
    as_json = json.dumps(value)[1:-1]
    return {
        "plain": value,
        "JSON": as_json,
        "JSON as it is": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON of PHP": as_json.replace("/", "\\/"),
        "JSON of Go": as_json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
        "JSON in JSON": json.dumps(as_json)[1:-1],
        "JSON in JSON in JSON": json.dumps(json.dumps(as_json)[1:-1])[1:-1],
        "JSON in HTML": html.escape(as_json),
        "JSON in a URL": urllib.parse.quote_plus(as_json),
        "URL in a URL": urllib.parse.quote(urllib.parse.quote(value, safe=""), safe=""),
        "JSON in capitals": "".join(f"\\u{ord(c):04X}" if 127 < ord(c) < 0xD800 else c for c in value),
        "repr": repr(value)[1:-1],
        "URL": urllib.parse.quote(value, safe=""),
        "path": urllib.parse.quote(value),
        "encodeURIComponent": urllib.parse.quote(value, safe="!'()*"),
        "form": urllib.parse.quote_plus(value),
        "small hexadecimal": "".join(chr(b) if b < 128 and re.match(r"\w", chr(b)) else f"%{b:02x}" for b in raw),
        "HTML": html.escape(value),
        "HTML without quotes": html.escape(value, quote=False),
        "HTML of Go": html.escape(value).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
        "XML": value.encode("ascii", "xmlcharrefreplace").decode(),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "JSON in base64": base64.b64encode(as_json.encode()).decode(),
        "base64 in a URL": urllib.parse.quote_plus(base64.b64encode(raw).decode()),
        "base64 in JSON of PHP": base64.b64encode(raw).decode().replace("/", "\\/"),
    }


@given(SECRETS, st.text(max_size=20), st.text(max_size=20))
@example("a&b<c>\"d'e/f\\g h+i=ß€😀", "", "")
@example("p%C3%9Fq&amp;r", "", "")
def test_a_value_is_taken_out_however_it_is_written(value, before, after):
    redactor = knowing(value)
    for way, writing in writings(value).items():
        for shown in (redactor.text(f"{before}|{writing}|{after}"), redactor.value({"a": [f"{before}|{writing}"]})["a"][0]):
            assert writing not in shown or writing in HIDDEN, way


@given(SECRETS, st.data())
def test_a_mixture_of_ways_is_recognised(value, data):
    ways = [
        lambda c: c,
        lambda c: urllib.parse.quote(c, safe=""),
        lambda c: json.dumps(c)[1:-1],
        html.escape,
    ]
    written = [data.draw(st.sampled_from(ways))(character) for character in value]
    assert knowing(value).text(f"<{''.join(written)}>") == f"<{HIDDEN}>"
    whole = data.draw(st.integers(4, len(value)))
    cut = "".join(written[:whole]) + "".join(written[whole:])[: data.draw(st.integers(0, 5))]
    # Where a value ends in "&", all of it is in what ends in "&a", cut out of "&amp;": the rest is of no value.
    rest = written[-1][1:] if written[-1].startswith(value[-1]) else ""
    assert knowing(value).cut(f"<{cut}") in {f"<{HIDDEN}{rest[:length]}" for length in range(len(rest) + 1)}


@given(SECRETS.filter(lambda value: len(value) >= 6), st.binary(max_size=9), st.binary(max_size=9))
def test_a_value_within_base64_is_taken_out(value, before, after):
    text = base64.b64encode(before + value.encode() + after).decode()
    shown = knowing(value).text(text)
    assert HIDDEN in shown
    # What is left speaks of no more than the bytes around the value and a byte at each of its ends.
    assert len(shown.replace(HIDDEN, "")) <= len(text) - (len(value.encode()) - 2) * 4 // 3 + 1


@pytest.mark.parametrize("cut", range(4, 20))
def test_a_text_cut_within_a_value_loses_its_end(cut):
    value = "abcd-efgh-ijkl-mnop-qrst"
    assert knowing(value).value(f"answer: {value[:cut]}") == "answer: ***"
    assert knowing(value).value(f"answer: {value[:cut]}...") == "answer: ***"


@given(SECRETS.filter(lambda value: len(value) > 8), st.data())
def test_a_text_shortened_within_a_value_loses_its_beginning(value, data):
    shortened = excerpt(f"is {value}", data.draw(st.integers(8, len(value) + 2)))
    assert shortened.endswith(CUT)
    told = knowing(value).value([f"{shortened}, not 'x'; {shortened}"])
    assert told == [f"is {HIDDEN}{CUT}, not 'x'; is {HIDDEN}{CUT}"]


@pytest.mark.parametrize("way", writings("w"))
def test_what_is_cut_within_an_escape_is_recognised(way):
    value = 'a"b&c/dßef gh'
    writing = writings(value)[way]
    for end in range(len(writing) - 8, len(writing)):
        assert knowing(value).cut(f"x {writing[:end]}").rstrip("=%3Dd") == "x ***"


def test_data_are_redacted_wherever_a_value_stands():
    data = {"a": ["x planted-1 y", {"planted-1": 5}], "n": 123456, "b": True, "none": None}
    assert knowing("planted-1", "123456").value(data) == {"a": ["x *** y", {"***": 5}], "n": "***", "b": True, "none": None}


def test_data_that_are_whole_keep_the_words_that_a_value_begins_with():
    redactor = knowing("Bearer planted-1", "status-planted-2")
    answer = {"status": 200, "token_type": "Bearer", "text": "of class status", "echo": "Bearer planted-1"}
    assert redactor.data(answer) == {**answer, "echo": "***"}
    assert redactor.data({"cut": "Bearer pla… is refused"}) == {"cut": "***… is refused"}
    assert redactor.value({"status": "Bearer pla"}) == {"status": "***"}, "a name is never cut"


def test_data_that_JSON_writes_otherwise_are_searched_as_well():
    redactor = knowing('a"b\\c\nd', "half")
    assert redactor.value(['<a\\"b\\\\c\\nd>']) == ["<***>"], "escaped once more"
    assert redactor.value(["half \ud800"]) == ["*** \ud800"]
    assert redactor.value([2**70, "half"]) == [2**70, "***"]


def test_what_holds_no_value_is_handed_on_as_it_is():
    data = {"a": 1, "b": ["text"]}
    assert Redactor().value(data) is data
    assert knowing("planted").value(data) is data


def test_each_line_of_a_value_is_recognised():
    key = "-----BEGIN\nMIIEvQ1234\n-----END"
    assert knowing(key).text("key MIIEvQ1234") == "key ***"
    assert knowing(key).text(json.dumps(key)) == '"***"'
    assert "MIIEvQ" not in str(base64.b64decode(knowing(key).text(base64.b64encode(key.encode()).decode()) + "==="))


def test_of_two_values_at_one_place_the_longer_is_taken_out():
    assert knowing("abcd", "abcdefgh").text("abcdefgh") == "***"
    redactor = knowing("abcd")
    redactor.know(["efgh"])
    assert redactor.text("abcd efgh") == "*** ***", "what was known stays known"


class TestSecretsThatAreSetAnewAgainAndAgain:
    @pytest.fixture
    def clock(self):
        return iter(range(10**9)).__next__  # a second from one look to the next

    def test_the_last_former_values_are_known_and_the_oldest_are_not(self, clock):
        redactor = Redactor(clock)
        for number in range(FORMER + 10):
            redactor.know(["steady-value", f"token-{number}-"], are_all=True)
        assert redactor.text("token-0- token-1-") == "*** ***", "a run may still hold it"
        for _ in range(int(RUNS_HOLD)):
            redactor.know(["steady-value", f"token-{FORMER + 9}-"], are_all=True)
        assert redactor.text("token-8-, token-9-, steady-value, token-209-") == "token-8-, ***, ***, ***"
        assert len(redactor.values) == FORMER + 2

    def test_what_is_gone_all_at_once_is_known_until_no_run_holds_it(self, clock):
        redactor = Redactor(clock)
        many = [f"token-{number}-" for number in range(FORMER + 10)]
        redactor.know(many, are_all=True)
        redactor.know([], are_all=True)
        assert redactor.text(" ".join(many)) == " ".join([HIDDEN] * len(many))

    def test_no_expressions_of_earlier_values_stay_in_memory(self):
        redactor = Redactor()
        for number in range(20):
            redactor.know([f"tracked-{number}-value"], are_all=True)
        made = type(redactor._patterns[0])
        alive = [each for each in gc.get_objects() if type(each) is made and "tracked" in str(each.pattern)]
        assert len(alive) == len(redactor._patterns)


@pytest.mark.parametrize(("value", "recognisable"), [("abc", False), ("abcd", True), ("  ab  ", False), ("a\nb\nc", True)])
def test_what_is_too_short_is_no_secret(value, recognisable):
    assert is_recognisable(value) is recognisable
    assert (HIDDEN in knowing(value).text(f"<{value}>")) is recognisable


@pytest.mark.parametrize(
    "text", ["pin={}&", "{}", "pin_{}", "({})", "é{}ß", "{} {}_{},{}", '{"pin":{},"q":"{}"}', "\ud800{}"]
)
def test_a_short_value_is_taken_out_where_it_stands_alone(text):
    assert knowing("1234").text(text.replace("{}", "1234")) == text.replace("{}", HIDDEN)


@pytest.mark.parametrize("text", ["912345", "x1234", "1234x", "20123456", "91234", '{"n":12345}', "%3D91234", "id\\n12345"])
def test_a_short_value_within_a_word_or_a_number_is_something_else(text):
    redactor = knowing("1234")
    assert (redactor.text(text), redactor.cut(text), redactor.value([text, 12345])) == (text, text, [text, 12345])


@pytest.mark.parametrize("before", ["=", "&", '"', "\\", "/", " ", "\n", "\t", "\x1f", "ß", "\ue000", "😀", "\U000e0001"])
def test_what_an_escape_means_is_not_a_part_of_a_number(before):
    for way, writing in writings(before).items():
        if "base64" not in way:
            assert knowing("1234").text(f"{writing}1234{writing}") == f"{writing}***{writing}", way


def test_a_short_value_is_taken_out_of_coloured_logs_and_of_base64():
    assert knowing("1234").text("pin=\x1b[35m1234\x1b[0m") == "pin=\x1b[35m***\x1b[0m"
    assert HIDDEN in knowing("1234").text(base64.b64encode(b"anna:1234").decode())


def test_a_text_cut_within_a_short_value_that_stands_alone_loses_its_end():
    redactor = knowing("123456")
    assert [redactor.cut(text) for text in ("pin 12345", "pin%2012345", "no 912345")] == [
        "pin ***",
        "pin%20***",
        "no 912345",
    ]


def test_a_short_value_does_not_hide_the_beginning_of_a_long_one():
    assert knowing("1234", "2345-abcdef").text("12345-abcdef") == "1***"
    assert knowing("1234", "34-abcdefgh").text("=1234-abcdefgh") == "=12***"


@pytest.mark.parametrize("value", ["12345678", "pa-1", "ab_c"])
def test_a_value_that_is_hardly_in_another_word_is_taken_out_anywhere(value):
    assert knowing(value).text(f"9{value}5") == "9***5"


def test_many_secrets_and_a_text_that_nearly_holds_each_of_them():
    secrets = [f"https://hooks.example/{number:05}" * 2 for number in range(200)]
    one, many = knowing(secrets[0]), knowing(*secrets)
    text = "https://hooks.example/" * 10_000
    assert many.value({"a": text}) == {"a": text[: text.rindex("https")] + HIDDEN}
    assert cpu_seconds(lambda: many.value({"a": text})) < 50 * cpu_seconds(lambda: one.value({"a": text})), "not in one pass"
