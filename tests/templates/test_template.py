import json
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from templates.errors import BadTemplate, RenderError, TemplateError
from templates.fields import Fields
from templates.filters import FILTERS
from templates.template import Template
from tests.cost import cpu_seconds

DATA = {
    "input": {
        "n": 3,
        "name": "Ada",
        "list": [1, 2, {"a": "x"}],
        "o": {"a-b": 1},
        "items": [7],
        "none": None,
        "cut": {"text": "{", "jsonError": "only its first 8 bytes are kept (storeBody)"},
    },
    "trigger": {"cause": "manual"},
    "execution": {"id": "e"},
    "actions": {"get-it": {"status": "ok", "output": {"json": {"ready": True}, "text": "t"}}},
    "secrets": {},
}


def render(source):
    return Template(source).render(DATA)


@pytest.mark.parametrize(
    ("word", "source", "expected"),
    [
        ("number", "{{ input.n }}", 3),
        ("null", "{{ input.none }}", None),
        ("boolean", "{{ actions['get-it'].output.json.ready }}", True),
        ("list", "{{ input.list }}", [1, 2, {"a": "x"}]),
        ("field before method", "{{ input.items }}", [7]),
        ("method", "{{ input.o.keys() }}", ["a-b"]),
        ("method beside a field", "{{ input.items() | length }}", 7),
        ("method of a text", "{{ input.name.upper().lower() }}", "ada"),
        ("default of a method's name", "{{ input.o.items | default('-') }}", "-"),
        ("a method's name defined", "{{ input.o.get is defined }}", False),
        ("step from a method's name", "{{ input.o.values.x | default('-') }}", "-"),
        ("text around", "n={{ input.n }}", "n=3"),
        ("two make a text", "{{ input.n }}{{ input.n }}", "33"),
        ("JSON in a text", "<{{ input.o }}>", '<{"a-b":1}>'),
        ("null in a text", "<{{ input.none }}>", "<>"),
        ("true in a text", "<{{ true }}>", "<true>"),
        ("default", "{{ input.nope | default('-') }}", "-"),
        ("default of a chain", "{{ input.nope.deeper | default('-') }}", "-"),
        ("defined", "{{ input.nope is defined }}", False),
        ("loop", "{% for x in input.list %}{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}", "1,2,3"),
        ("loop", "{% for x in input.list %}{{ loop.index }};{% endfor %}", "1;2;3;"),
        ("condition", "{% if input.n > 2 %}many{% else %}few{% endif %}", "many"),
        (
            "parts",
            "{{ [input.name[1:], input.name[::-1], input.list[:2], input.list[-1:], 'abcdef'[4:1:-2]] }}",
            ["da", "adA", [1, 2], [{"a": "x"}], "ec"],
        ),
        ("part of all", "{{ input.name[:] }}", "Ada"),
        (
            "even, odd",
            "{{ [2 is even, 3 is even, 3 is odd, 2 is odd, 1.5 is even, 1.5 is odd, 9 is divisibleby(3)] }}",
            [True, False, True, False, False, False, True],
        ),
        ("concatenation", "{{ input.name ~ '-' ~ input.n }}", "Ada-3"),
        ("arithmetic", "{{ input.n * 2 + 1 }}", 7),
        ("filter", "{{ input.name | upper }}", "ADA"),
        ("items that are equal", "{{ input.list | select(2) }}", [2]),
        ("items that are not", "{{ input.list | reject(2) | length }}", 2),
        ("true items", "{{ [0, 1, '', 'a', none] | select }}", [1, "a"]),
        ("untrue items", "{{ [0, 1, '', 'a', none] | reject }}", [0, "", None]),
        ("an object that is equal", "{{ input.list | select({'a': 'x'}) }}", [{"a": "x"}]),
        ("slice", "{{ input.list[:2] }}", [1, 2]),
        ("to JSON and back", "{{ input.o | tojson | fromjson }}", {"a-b": 1}),
        ("line break kept", "{{ input.n }}\n", "3\n"),
        ("date", "{{ '2026-03-29T22:30:00Z' | date }}", "2026-03-29"),
        ("date elsewhere", "{{ '2026-03-29T22:30:00.000Z' | date(zone='Europe/Berlin') }}", "2026-03-30"),
        ("yesterday elsewhere", "{{ '2026-03-29T22:30:00Z' | date('%d.%m.', 'Europe/Berlin', days=-1) }}", "29.03."),
        ("a day of 23 hours", "{{ '2026-03-28T12:00:00Z' | date('%H:%M %z', 'Europe/Berlin', days=1) }}", "13:00 +0200"),
        ("hours over it", "{{ '2026-03-28T12:00:00Z' | date('%H:%M %z', 'Europe/Berlin', hours=24) }}", "14:00 +0200"),
        ("per cent", "{{ '2026-03-28T12:00:00Z' | date('%%%Y') }}", "%2026"),
        (
            "HMAC (RFC 4231, 2)",
            "{{ 'what do ya want for nothing?' | hmac_sha256('Jefe') }}",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "HMAC in base64",
            "{{ 'what do ya want for nothing?' | hmac_sha256('Jefe', 'base64') }}",
            "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
        ),
    ],
)
def test_what_templates_make(word, source, expected):
    assert render(source) == expected


@pytest.mark.parametrize(
    ("word", "source", "message"),
    [
        ("unknown name", "{{ nobody }}", "'nobody' is undefined"),
        ("unknown field", "{{ input.nme }}", "'nme' is undefined; there are"),
        ("unknown item", "{{ input.list[9] }}", "9 is undefined in a list of 3"),
        (
            "wrong kind",
            "{{ input.name + 1 }}",
            "+ does not work on a text and a number; write texts together with ~; | int and | float make a number of a text",
        ),
        ("texts subtracted", "{{ input.name - input.name }}", "- does not work on a text and a text"),
        (
            "compared",
            "{{ 5 >= input.name }}",
            ">= does not compare a number with a text; | int and | float make a number of",
        ),
        ("compared with nothing", "{{ input.name < none }}", "< does not compare a text with null"),
        ("objects compared", "{{ {} > {} }}", "> does not compare an object with an object"),
        ("in nothing", "{{ 'a' in none }}", "in looks into a text, a list or an object, not null"),
        ("a number in a text", "{{ 1 in input.name }}", "in looks for a text in a text, not for a number"),
        ("not called", "{{ input.o.keys }}", "'keys' is undefined; there are a-b"),
        ("not called, of a text", "{{ input.name.upper }}", "a text has no such field"),
        ("no method", "{{ input.o.nope() }}", "'nope' is undefined; there are a-b"),
        ("field called", "{{ input.list() }}", "a list cannot be called"),
        ("division", "{{ 1 / 0 }}", "division by zero"),
        ("no JSON", "{{ 'x' | fromjson }}", "is not JSON"),
        ("no number", "{{ 'x' | int }}", "is not a number"),
        ("infinite", "{{ 1e308 * 10 }}", "finite"),
        ("loop over a number", "{% for x in 3 %}{% endfor %}", "a loop runs over a list"),
        ("part from a text", "{{ input.list['1':] }}", "a bound of [:] must be a whole number, not a text"),
        ("part from what is not there", "{{ input.list[input.nope:] }}", "'nope' is undefined"),
        ("part without a step", "{{ input.list[::0] }}", "the step of [:] must not be 0"),
        ("null that is even", "{{ input.none is even }}", "must be a number, not null"),
        ("divisible by nothing", "{{ 4 is divisibleby(0) }}", "division by zero"),
        ("part of null", "{{ input.none[:10] }}", "[:] takes a part of a text or a list, not of null"),
        ("part of what is not there", "{{ input.nope[:10] }}", "'nope' is undefined"),
        (
            "JSON that was not kept",
            "{{ input.cut.json.a }}",
            "'json' is undefined: only its first 8 bytes are kept (storeBody)",
        ),
        ("date of null", "{{ input.none | date }}", "must be an instant such as 2026-01-31T12:00:00Z, not null"),
        ("date without a zone", "{{ '2026-01-31T12:00:00' | date }}", "must be an instant such as"),
        ("date's format", "{{ '2026-01-31T12:00:00Z' | date('%s') }}", "%s is not known in the format of date"),
        (
            "date's zone",
            "{{ '2026-01-31T12:00:00Z' | date(zone='../x') }}",
            "'../x' is not a time zone",
        ),
        ("date too far", "{{ '2026-01-31T12:00:00Z' | date(days=10**9) }}", "by at most 100000 days"),
        ("date's days", "{{ '2026-01-31T12:00:00Z' | date(days='1') }}", "days must be a whole number, not a text"),
        ("HMAC's encoding", "{{ 'x' | hmac_sha256('k', 'b32') }}", "must be 'hex' or 'base64'"),
    ],
)
def test_what_cannot_be_rendered_says_why(word, source, message):
    with pytest.raises(RenderError) as caught:
        render(source)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ input.x | nofilter }}", "there is no filter nofilter; there are abs, b64decode"),
        ("{{ input.x | selectattr('a', 'gt', 3) }}", "selectattr takes attribute, equals here: too many positional"),
        ("{{ input.x | select('equalto', 3) }}", "select takes equals here: too many positional"),
        ("{{ input.x | tojson(indent=2) }}", "tojson takes no arguments here: got an unexpected keyword argument 'indent'"),
        ("{{ input.x | hmac_sha256 }}", "hmac_sha256 takes key, encoding here: missing a required argument: 'key'"),
    ],
)
def test_what_a_filter_does_not_take_is_told_when_it_is_written(source, message):
    with pytest.raises(BadTemplate) as caught:
        Template(source)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "source",
    [
        "{{", "{{ a b }}", "{% if %}", "{{ x | nofilter }}", "{% for %}", "{{ 1 is notest }}", "{{ f() }}",
        "{{ 9" + "9" * 5000 + " }}",
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ 1" + "+1" * 5000 + " }}", "{{ '" + "a" * 70_000 + "' }}",
    ],
)  # fmt: skip
def test_what_is_no_template_is_told_when_it_is_written(source):
    with pytest.raises(BadTemplate):
        Template(source)


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ input['__class__'] }}",
    "{{ input | attr('__class__') }}",
    "{{ input | map(attribute='__class__') }}",
    "{{ [input] | map('__class__') }}",
    "{{ '{0.__class__}'.format(input) }}",
    "{{ '{0.__class__}'.format_map(input) }}",
    "{{ '%s' | format(input) }}",
    "{{ '%(a)s' % input }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ cycler('a') }}",
    "{{ joiner() }}",
    "{{ namespace(x=1) }}",
    "{{ dict(x=1) }}",
    "{{ lipsum() }}",
    "{{ lipsum.__globals__ }}",
    "{{ range.__init__ }}",
    "{{ range._function }}",
    "{{ input.keys._value }}",
    "{{ input.keys.__call__ }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ self['_TemplateReference__context'] }}",
    "{{ _context }}",
    "{{ context }}",
    "{{ environment }}",
    "{{ url_for.__globals__ }}",
    "{{ config }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] %}{{ loop._iterable }}{% endfor %}",
    "{% for x in [1] %}{{ loop['_iterable'] }}{% endfor %}",
    "{% for x in [1] %}{{ loop }}{% endfor %}",
    "{% set ns = namespace(a=1) %}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{% extends 'x' %}",
    "{% block b %}{% endblock %}",
    "{% call x() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{{ input.update({'n': 4}) }}",
    "{{ input.list.append(1) }}",
    "{{ input.pop('n') }}",
    "{{ (input.list | list)[0].real.__class__ }}",
    "{{ input | _each }}",
    "{{ input.get(*input.list) }}",
    "{{ ''.join(['a']) }}",
    "{{ ().__class__ }}",
    "{{ none.__class__ }}",
    "{{ nope.__class__ }}",
    "{{ nope._undefined_exception }}",
    "{{ nope['_undefined_exception'] }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_but_data_is_within_reach(source):
    before = json.dumps(DATA)
    with pytest.raises(TemplateError):
        render(source)
    assert json.dumps(DATA) == before


LONG = "{% for a in range(9000) %}{{ a ~ 'x' }}{% endfor %}"  # about as much as a step may do
BOMBS = [
    "{{ 'a' * 10**9 }}",
    "{{ [0] * 10**9 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 2 ** 64 ** 64 }}",
    "{{ range(10**12) }}",
    "{{ range(-10**30, 10**30) }}",
    "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}x{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in range(10000) if a > 20000 %}{% endfor %}" * 100,
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a ~ a %}" * 60 + "{{ a }}",
    "{% set a = 'xxxxxxxxxx' %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = a + a %}" * 60 + "{{ a }}",
    "{% set a = [1] %}" + "{% set a = [a, a, a, a] %}" * 60 + "{{ a == a }}",
    "{% set a = {'x': 1} %}" + "{% set a = {'x': a, 'y': a, 'z': a} %}" * 60 + "{{ a }}",
    "{% set a = 'x' %}" + "{% set a = a | replace('x', 'xxxxxxxxxx') %}" * 60 + "{{ a }}",
    "{% set a = 'x' %}" + "{% set a = [a, a] | join(a) %}" * 60 + "{{ a }}",
    "{{ ('x' | replace('', 'y')) * 2 }}",
    "{{ range(10000) | join('x' * 10) }}",
    "{{ (range(10000) | join('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx')) | replace('x', 'yyyyyyyyyyyyyyyyyyyyy') }}",
    "{{ '%999999d' is even }}",  # a format to Python, which makes a text as long as that number says
    "{{ '%999999d' is odd }}",
    "{{ '%999999d' is divisibleby(7) }}",
    "{% set a = range(9999) | join('.') %}{{ range(2000) | selectattr(a ~ a ~ a ~ a) | length }}",
    "{% set a = range(9999) | join('.') %}{{ range(2000) | rejectattr(a ~ a ~ a ~ a, 1) | length }}",
    "{% set a = range(9999) | join('x') %}{% for i in range(9999) %}{% set b = a[::-1] %}{% endfor %}",
    "{% set a = range(9999) %}{% for i in a %}{% set b = a[1:] %}{% endfor %}",
    "{% set a = range(9999) | join('x') %}{% for i in range(9999) %}{% set b = a.upper() %}{% endfor %}",
    "{{ 'x' | trim(INPUT) }}".replace("INPUT", repr("".join(map(chr, range(256, 1256))))),
]


@pytest.fixture(scope="module")
def longest():
    """What a template that stays within its bounds may cost."""
    return 30 * cpu_seconds(lambda: render(LONG))


@pytest.mark.parametrize("source", BOMBS)
def test_bombs_end_with_an_error_soon(source, longest):
    def explode():
        with pytest.raises(TemplateError):
            render(source)

    assert cpu_seconds(explode) < longest, "not bounded"


def test_what_is_not_there_is_not_looked_for_in_all_that_is():
    """Only whoever is told of it is told what there is instead."""
    source = Template("{% for i in range(2000) %}{{ input.nope | default(1) }}{% endfor %}")
    large = {str(number): number for number in range(20_000)}

    def cost(given):
        return cpu_seconds(lambda: source.render({**DATA, "input": given}))

    assert cost(large) < 10 * max(cost({}), 0.01)


NAMES = st.sampled_from(["input", "input.n", "input.list", "input.name", "input.o", "actions", "x", "loop", "none", "range"])
LEAVES = st.one_of(
    NAMES, st.integers(-5, 10**20).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["''", "'a'", "[]", "{}", "'%'", "__class__", "self"]),
)  # fmt: skip


def _combined(inner):
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", " in ", " and "]), inner)
        .map("".join),
        st.tuples(inner, st.sampled_from(sorted(FILTERS))).map(" | ".join),
        st.tuples(inner, st.sampled_from(["n", "__class__", "items()", "format(1)", "upper()", "x"])).map(".".join),
        st.tuples(inner, inner).map(lambda pair: f"{pair[0]}[{pair[1]}]"),
        st.tuples(inner, inner).map(lambda pair: f"[{pair[0]}, {pair[1]}]"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} if {pair[1]} else {pair[0]})"),
        st.tuples(inner, inner).map(lambda pair: f"range({pair[0]}, {pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) | replace({pair[1]}, {pair[0]})"),
    )  # fmt: skip


EXPRESSIONS = st.recursive(LEAVES, _combined, max_leaves=12)


@given(EXPRESSIONS, st.booleans())
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_expression_gives_json_or_an_error(expression, alone):
    source = f"{{{{ {expression} }}}}" if alone else f"{{% for x in input.list %}}{{{{ {expression} }}}}{{% endfor %}}"
    try:
        made = render(source)
    except TemplateError as error:
        assert str(error)
    else:
        json.dumps(made, allow_nan=False)


@given(st.text(alphabet="{}%#|.[]()'\"_ abcinputforendset=~*+-0123456789\n", max_size=60))
@settings(max_examples=400, deadline=None)
def test_any_text_is_rendered_or_refused(source):
    try:
        Fields([source]).render(DATA)
    except TemplateError as error:
        assert str(error)


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text()


@given(st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_value_passes_through_unchanged(value):
    assert Template("{{ input.v }}").render({"input": {"v": value}}) == value


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("input.n > 2", True),
        ("{{ input.n > 5 }}", False),
        ("input.none", False),
        ("input.list", True),
        ("not input.list", False),
        ("input.o.items is defined", False),
    ],
)
def test_conditions(source, holds):
    assert Template(source, condition=True).holds(DATA) is holds


@pytest.mark.parametrize("source", ["", "a{{ b }}", "1 }}x{{ 2", "{% if a %}{% endif %}", "a b"])
def test_what_is_no_condition(source):
    with pytest.raises(BadTemplate):
        Template(source, condition=True)


def test_fields_are_rendered_wherever_they_are_and_errors_name_the_place():
    fields = Fields({"a": "{{ input.n }}", "b": ["{{ input.name }}!", {"{{ input.name }}": "x"}], "c": "plain"})
    assert fields.render(DATA) == {"a": 3, "b": ["Ada!", {"Ada": "x"}], "c": "plain"}
    with pytest.raises(RenderError, match=r"^json\.items\[1\]\.name: 'q' is undefined"):
        Fields({"json": {"items": [1, {"name": "{{ input.q }}"}]}}).render(DATA)
    assert [problem.path for problem in Fields({"x": ["{{ ("]}).problems] == [("x", 0)]


def test_all_templates_of_a_step_share_one_budget():
    """Each of them stays within it; together they would hold the runner up for a minute."""

    def render_many():
        with pytest.raises(RenderError, match=r"^v\d+: the template does too much"):
            Fields({f"v{number}": f"{LONG}{number}" for number in range(500)}).render(DATA)

    assert len(Fields([LONG]).render(DATA)[0]) > 9000
    assert cpu_seconds(render_many) < 100 * cpu_seconds(lambda: Fields([LONG]).render(DATA)), "not bounded"
    assert Fields([LONG]).render(DATA), "the next step has a budget of its own"


def test_references_tell_what_is_read():
    template = Template(
        "{{ actions['a'].output.x }}{% for i in input.list %}{{ i.q }}{{ secrets.K }}{% endfor %}{{ other }}"
    )
    assert template.references == {("actions", "a", "output", "x"), ("input", "list"), ("secrets", "K"), ("other",)}


def calls_to_compile(source):
    """Return how many calls of functions it takes to make a template."""
    calls = 0

    def count(frame, event, argument):
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        Template(source)
    finally:
        sys.setprofile(None)
    return calls


def test_lists_within_lists_are_compiled_as_fast_as_one():
    """Each level must not go through all that is in it once more."""
    flat, deep = (calls_to_compile("{{" + "[" * depth + "input.x," * 1000 + "]" * depth + "}}") for depth in (1, 50))
    assert deep < 2 * flat
