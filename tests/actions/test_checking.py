import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actions.checking import COMPARED, Surroundings, problems, slips
from actions.dry_run import dry_run
from actions.registry import WorkflowDefinition
from templates.errors import RenderError
from vault.values import TOO_SHORT

AROUND = Surroundings(secrets=frozenset({"TOKEN"}), variables={"HOST": "h"}, own_topics=False)


def defined(*actions, **more):
    return WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": list(actions), **more}
    )


def say(message, **more):
    return {"type": "log", "message": message, **more}


@pytest.mark.parametrize(
    ("word", "message", "expected"),
    [
        (
            "fine",
            "{{ input.x }} {{ execution.id }} {{ trigger.cause }} {{ actions.first.output.a }} {{ secrets.TOKEN }}",
            "",
        ),
        ("root", "{{ inputs.x }}", "'inputs' is not known here; templates know input"),
        ("action alone", "{{ first.output.a }}", "'first' is not known here; an action is written actions.first"),
        ("action", "{{ actions.frist.output }}", "there is no action 'frist' before this one; there are first, with-dash"),
        ("itself", "{{ actions['log-3'].output }}", "comes later or is this one"),
        ("dash", "{{ actions.with-dash.output }}", "actions['with-dash']"),
        ("field of an action", "{{ actions.first.outptu }}", "an action has no 'outptu'"),
        ("name of set", "{{ actions.first.output.b }}", "sets no 'b'; it sets a"),
        ("execution", "{{ execution.ID }}", "execution has no 'ID'"),
        ("trigger", "{{ trigger.type }}", "trigger has no 'type'"),
        ("secret", "{{ secrets.OTHER }}", "secret OTHER is not set"),
        ("computed secret", "{{ secrets[input.x] }}", "named one by one"),
        ("all secrets", "{{ secrets }}", "named one by one"),
        ("variable that is set", "{{ vars.HOST.name }}", ""),
        ("variable", "{{ vars.OTHER | default('x') }}", "variable OTHER is not set; `wf vars set OTHER` sets it"),
        ("computed variable", "{{ vars[input.x] }}", "variables must be named one by one"),
        ("all variables", "{{ vars }}", "variables must be named one by one"),
        ("own name of a variable", "{% set vars = {'OTHER': 1} %}{{ vars.OTHER }}", ""),
        ("syntax", "{{ 1 + }}", "can be understood"),
        ("filter", "{{ 1 | shout }}", "there is no filter shout; there are abs"),
        ("own names", "{% set a = 1 %}{% for b in [a] %}{{ b }}{{ loop.index }}{% endfor %}", ""),
    ],
)
def test_templates_are_checked_when_they_are_written(word, message, expected):
    first = {"type": "set", "actionId": "first", "values": {"a": 1}}
    found = problems(defined(first, say("x", actionId="with-dash"), say(message)), AROUND)
    if not expected:
        assert found == []
    else:
        assert {field for field, _ in found} == {"actions[2].message"}
        assert any(expected in problem for _, problem in found), found


@pytest.mark.parametrize(
    ("written", "around", "said"),
    [
        ("OTHER", AROUND, "secret OTHER is not set"),
        ("{{ secrets.TOKEN }}", AROUND, "write TOKEN, not {{ secrets.TOKEN }}"),
        ("{{ secrets.TOKEN }}", Surroundings(), "takes the name of a secret, no template"),
    ],
)
def test_the_secret_of_a_client_is_named_and_set(written, around, said):
    auth = {"type": "oauth2", "tokenUrl": "http://x/token", "clientId": "c", "form": {"someSecret": "NOBODYS"}}
    action = {"type": "http-request", "url": "http://x", "method": "GET"}
    assert problems(defined(action | {"auth": auth | {"clientSecret": "TOKEN"}}), AROUND) == []
    ((field, message),) = problems(defined(action | {"auth": auth | {"clientSecret": written}}), around)
    assert (field, said in message) == ("actions[0].auth.clientSecret", True)


def test_without_knowing_the_secrets_none_is_missed():
    assert problems(defined(say("{{ secrets.OTHER }}")), Surroundings()) == []


def test_a_secret_that_is_too_short_is_told_from_one_that_is_not_set():
    ((field, message),) = problems(defined(say("{{ secrets.PIN }}")), Surroundings(frozenset(), {"PIN": TOO_SHORT}))
    assert field == "actions[0].message"
    assert message.startswith("secret PIN is not used: its value has fewer than 4 characters")


@pytest.mark.parametrize("allowed", [True, False])
def test_a_topic_of_the_system_is_told_when_it_is_written(allowed):
    definition = defined(
        {"type": "publish", "topic": "orders"}, onFailure=[{"type": "publish", "topic": "workflow.execution"}]
    )
    found = problems(definition, Surroundings(own_topics=allowed))
    told = ("onFailure[0].topic", "topic workflow.execution belongs to this system; publish to one of your own")
    assert found == ([] if allowed else [told])


# Jinja2 takes 14 s for the first of them.
@pytest.mark.parametrize(
    ("word", "values", "place"),
    [
        ("few long ones", {f"v{number}": "{{1}}" * 13_000 + str(number) for number in range(15)}, "v0"),
        ("many short ones", {"v": [f"{{{{{number}}}}}" for number in range(90_000)]}, "v[652]"),
        ("in names", {"v": {f"{{{{{number}}}}}": 1 for number in range(90_000)}}, "v"),
        ("many that are wrong", {"v": [f"{{{{({number}" for number in range(90_000)]}, "v[652]"),
        ("comments", {f"v{number}": "{{1}}" + "{##}" * 16_000 + str(number) for number in range(15)}, "v0"),
        ("nested", {"v": "{% for a in input.a %}" * 100 + "{{ a }}" + "{% endfor %}" * 100}, "v"),
    ],
)
def test_templates_that_would_take_long_to_compile_are_refused_at_once(word, values, place):
    """They would hold up whoever else is served, and keep a runner's heartbeats back."""
    definition = defined({"type": "set", "values": values})
    field, message = problems(definition, AROUND)[-1]
    assert field == f"actions[0].values.{place}"
    assert message.startswith(
        "is beyond the 15000 parts (names, values, operators, braces; each template counts for 20 more)"
    )
    assert message.endswith("make them fewer or simpler, or split the workflow")


def test_all_templates_of_a_definition_share_its_parts():
    def assign(text):
        return {"type": "set", "values": {"v": text}}

    many = "{{ input.x }}" * 1000
    conditional = {**say("{{ input.x }}"), "if": "input.x > 3"}
    assert problems(defined(assign(many), assign(many), say("plain"), conditional), AROUND) == []
    ((field, _),) = problems(defined(assign(many), assign(many), say("plain"), conditional, assign(many)), AROUND)
    assert field == "actions[4].values.v"
    conditional["if"] = "+".join(["input.x"] * 1240)
    (field, *_), *_ = problems(defined(assign(many), assign(many), conditional), AROUND)
    assert field == "actions[2].if"
    repeated = {"type": "set", "values": {f"v{number}": many for number in range(90)}}
    assert problems(defined(repeated), AROUND) == [], "what a step repeats is compiled once"


PERIODIC = {"type": "periodic", "interval": "1m"}


@pytest.mark.parametrize(
    ("word", "more", "field", "said"),
    [
        (
            "a default of input",
            {"inputSchema": {"properties": {"region": {"type": "string", "default": 5}}}},
            "inputSchema.properties.region.default",
            '5 is not of type "string"',
        ),
        ("error class", {"retry": {"on": {"errors": ["dns", "timout"]}}}, "retry.on.errors[1]", "did you mean timeout?"),
        (
            "error class of a handler",
            {"onFailure": [say("x", retry={"on": {"errors": ["timeout-conect"]}})]},
            "onFailure[0].retry.on.errors[0]",
            "did you mean timeout-connect?",
        ),
        ("max of skip", {"overlap": {"policy": "skip", "max": 3}}, "overlap.max", "means nothing to skip"),
        (
            "max of last",
            {"trigger": PERIODIC | {"misfire": {"policy": "last", "max": 5}}},
            "trigger.misfire.max",
            "means nothing to last",
        ),
        (
            "step of cron",
            {"trigger": {"type": "cron", "expression": ["0 3 * * *", "*/90 * * * *"]}},
            "trigger.expression",
            "write a step of 60 or less, or a periodic trigger",
        ),
        (
            "timeout of a delay",
            {"actions": [{"type": "delay", "duration": "1h", "timeout": "10s"}, say("x")]},
            "actions[0].timeout",
            "leave it out",
        ),
        (
            "timeout of a wait for a signal",
            {"actions": [{"type": "wait-for-signal", "timeout": "2h"}]},
            "actions[0].timeout",
            "write within: 2h instead",
        ),
        (
            "a secret for later",
            {"actions": [{"type": "set", "values": {"a": 1, "b": [{"c": "{{ secrets.TOKEN }}"}]}}]},
            "actions[0].values.b[0].c",
            "later steps would see *** for secret TOKEN; use it in the step that needs it",
        ),
        (
            "a secret in base64 for later",
            {"actions": [{"type": "set", "values": {"a": "Basic {{ ('me:' ~ secrets['TOKEN']) | b64encode }}"}}]},
            "actions[0].values.a",
            "use it in the step that needs it",
        ),
        (
            "a secret for another workflow",
            {"actions": [{"type": "trigger-workflow", "workflowId": "other", "input": {"a": ["{{ secrets.TOKEN }}"]}}]},
            "actions[0].input.a[0]",
            "use it in the step of that workflow that needs it",
        ),
        (
            "secrets for another workflow",
            {"actions": [{"type": "trigger-workflow", "workflowId": "other", "forEach": "{{ [secrets.TOKEN] }}"}]},
            "actions[0].forEach",
            "would stand in the history of what is triggered",
        ),
        (
            "to wait for itself",
            {"actions": [{"type": "trigger-workflow", "workflowId": "w"}]},
            "actions[0].workflowId",
            "would wait for its own end; choose queue",
        ),
        (
            "to wait for itself in its only place",
            {"overlap": {"policy": "allow", "max": 1}, "actions": [{"type": "trigger-workflow", "workflowId": "w"}]},
            "actions[0].workflowId",
            "would wait for its own end",
        ),
        (
            "to wait for what waits for it",
            {"overlap": "queue", "actions": [{"type": "trigger-workflow", "workflowId": "w", "waitForEnd": "1h"}]},
            "actions[0].workflowId",
            "waits for the end of this one; choose allow, or leave out waitForEnd",
        ),
        (
            "to cancel itself",
            {"overlap": "cancel-running", "actions": [{"type": "trigger-workflow", "workflowId": "w"}]},
            "actions[0].workflowId",
            "would cancel itself",
        ),
        (
            "to trigger itself beside its schedule",
            {"trigger": PERIODIC, "overlap": "queue", "finally": [{"type": "trigger-workflow", "workflowId": "w"}]},
            "finally[0].workflowId",
            'set "allowManual": true in its trigger',
        ),
        (
            "a secret for later, by a name",
            {"onFailure": [{"type": "set", "values": {"a": "{% set k = secrets.TOKEN %}{{ k }}"}}]},
            "onFailure[0].values.a",
            "use it in the step that needs it",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_to_its_author_and_runs_where_it_was_stored(word, more, field, said):
    definition = defined(**{"actions": [say("x")], **more})
    ((where, message),) = slips(definition)
    assert where == field
    assert said in message
    stored = WorkflowDefinition.from_document(definition.to_document())
    assert problems(stored, AROUND) == []


def test_of_as_many_error_classes_as_can_be_named_a_part_is_looked_at():
    """All of them take 2 s, in which nobody else is served."""
    wrong = say("x", retry={"on": {"errors": ["timout"] * 50}})
    assert len(slips(defined(*[wrong] * 100))) == COMPARED


@pytest.mark.parametrize(
    ("word", "more"),
    [
        (
            "classes of plug-ins",
            {"retry": {"on": {"errors": ["*", "fax-busy", "timeout-db", "internal-fax", "unknown-outcome"]}}},
        ),
        ("max of queue", {"overlap": {"policy": "queue", "max": 3}}),
        ("max of all", {"trigger": PERIODIC | {"misfire": {"policy": "all", "max": 5}}}),
        ("max as it is shown", {"trigger": PERIODIC | {"misfire": {"policy": "last", "window": "5m"}}}),
        ("timeout as it is shown", {"actions": [{"type": "delay", "duration": "1h"}, say("x")]}),
        ("timeout of a wait as it is shown", {"actions": [{"type": "wait-for-signal"}]}),
        ("delay by a template", {"actions": [{"type": "delay", "duration": "{{ input.x }}", "timeout": "2s"}, say("x")]}),
        ("what is made of a secret", {"actions": [{"type": "set", "values": {"a": "{{ (secrets.TOKEN ~ 1) | sha256 }}"}}]}),
        ("what is in a secret", {"actions": [{"type": "set", "values": {"a": "{{ (secrets.TOKEN | fromjson).user }}"}}]}),
        (
            "what a secret tells",
            {"actions": [{"type": "set", "values": {"a": "{{ 1 if secrets.TOKEN == input.x else 2 }}"}}]},
        ),
        ("when a secret tells", {"actions": [{"type": "set", "if": "secrets.TOKEN", "values": {"a": 1}}]}),
        (
            "triggering itself",
            {
                "overlap": {"policy": "queue"},
                "actions": [{"type": "trigger-workflow", "workflowId": "w", "if": "secrets.TOKEN == input.x"}],
            },
        ),
        (
            "triggering one that is not there, with names like those of secrets",
            {"actions": [{"type": "trigger-workflow", "workflowId": "other", "input": {"keySecret": "NOBODYS"}}]},
        ),
        ("delay until", {"actions": [{"type": "delay", "until": "2030-01-01T00:00:00Z", "timeout": "2s"}, say("x")]}),
    ],
)
def test_what_was_shown_or_can_be_meant_is_no_slip(word, more):
    definition = defined(**{"actions": [say("x")], **more})
    assert slips(WorkflowDefinition.model_validate(definition.to_wire())) == []
    assert problems(definition, AROUND) == []


def test_handlers_see_all_actions():
    definition = defined(
        say("x", actionId="a"),
        onFailure=[say("{{ actions.a.status }}", actionId="b")],
        **{"finally": [say("{{ actions.b.status }}")]},
    )
    assert problems(definition, AROUND) == []


def test_ids_are_unique_over_all_lists():
    with pytest.raises(ValidationError, match="used twice"):
        defined(say("x", actionId="a"), onFailure=[say("x", actionId="a")])


DATA = {
    "input": {"n": 3, "url": "https://example.org", "bad": "no url"},
    "trigger": {},
    "execution": {},
    "actions": {},
    "secrets": {},
}


def test_a_rendered_action_is_as_if_it_had_been_written_so():
    step = defined(
        {
            "type": "http-request",
            "url": "{{ input.url }}",
            "method": "POST",
            "headers": {"N": "{{ input.n }}"},
            "json": {"n": "{{ input.n }}", "null": None},
        }
    ).prepared[0]
    action = step.render(DATA)
    assert (action.url, action.headers, action.json_body) == ("https://example.org", {"N": "3"}, {"n": 3, "null": None})


def test_a_file_that_an_earlier_step_has_read_is_sent_on():
    send = {"type": "http-request", "url": "http://x", "method": "POST"}
    step = defined({**send, "multipart": [{"name": "f", "base64": "{{ input.file }}"}]}).prepared[0]
    (part,) = step.render({**DATA, "input": {"file": "AAH/"}}).multipart
    assert part.render().endswith(b"\r\n\r\n\0\1\xff")


def test_a_body_that_is_rendered_to_null_is_there():
    fields = {"type": "http-request", "url": "https://example.org", "method": "POST"}
    with_null, without = defined(fields | {"json": "{{ none }}"}, fields).prepared
    assert (with_null.render(DATA).has_json, without.render(DATA).has_json) == (True, False)


def test_what_a_field_does_not_take_is_told_by_its_name():
    with pytest.raises(RenderError, match=r"url: 'no url' is not a URL"):
        defined({"type": "http-request", "url": "{{ input.bad }}", "method": "GET"}).prepared[0].render(DATA)
    with pytest.raises(RenderError, match=r"headers"):
        defined({"type": "http-request", "url": "http://x", "method": "GET", "headers": {"A": "{{ 'a\\nb' }}"}}).prepared[
            0
        ].render(DATA)


@pytest.mark.parametrize(
    ("word", "action", "rendered", "said"),
    [
        ("header", {"headers": {"A": "{{ input.x }}"}}, "{{\r\nInjected: 1", "headers: the value of A holds a line break"),
        ("header name", {"headers": {"{{ input.x }}": "1"}}, "{{ x }}: 1", "headers: '{{ x }}: 1' is not a header name"),
        ("url", {"url": "{{ input.x }}"}, "file:///{{", "url: 'file:///{{' is not a URL"),
        ("topic", {"type": "publish", "topic": "{{ input.x }}"}, "{{ t }}", "topic: must be a topic"),
        ("duration", {"type": "delay", "duration": "{{ input.x }}"}, "{{ 1 }}", "duration: '{{ 1 }}' is not a duration"),
        ("instant", {"type": "delay", "until": "{{ input.x }}"}, "{% 1 %}", "until: '{% 1 %}' is not an instant"),
        (
            "bytes",
            {"method": "POST", "multipart": [{"name": "f", "base64": "{{ input.x }}"}]},
            "{{ no",
            "multipart[0].base64: is not base64",
        ),
        ("null", {"url": "{{ input.x }}"}, None, "url: must be a string, not null"),
        ("long text", {"url": "{{ input.x }}"}, "x" * 9000, "url: must be at most 8192 characters long"),
        (
            "user",
            {"auth": {"type": "basic", "username": "{{ input.x }}", "passwordSecret": "P"}},
            "a:b",
            "auth.username: must hold no ':'",
        ),
    ],
)
def test_what_was_rendered_is_checked_even_where_it_looks_like_a_template(word, action, rendered, said):
    fields = {"type": "http-request", "url": "http://x", "method": "GET"} if action.get("type") is None else {}
    step = defined({**fields, **action}, say("after")).prepared[0]
    with pytest.raises(RenderError, match=re.escape(said)):
        step.render({**DATA, "input": {"x": rendered}})


def test_a_template_may_hold_what_its_result_may_not():
    """Line breaks and blanks of a template are not those of the header that it makes."""
    step = defined(
        {"type": "http-request", "url": "http://x", "method": "GET", "headers": {"X-{{ input.n }}": "{{ 'a'\n ~ 'b' }}"}}
    ).prepared[0]
    assert step.render(DATA).headers == {"X-3": "ab"}


def test_an_action_without_templates_is_not_touched():
    step = defined(say("plain")).prepared[0]
    assert step.is_plain
    assert step.render({}) is step.action


STRINGS = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["{{ input.a }}", "{{ actions.a.output }}", "{{ secrets.TOKEN }}", "{{", "{% if %}", "{{ 1/0 }}", "x{{ input }}y"]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)
NAMES = [
    "type",
    "actionId",
    "message",
    "level",
    "values",
    "topic",
    "key",
    "value",
    "headers",
    "duration",
    "until",
    "if",
    "url",
    "method",
    "json",
    "continueOnError",
    "signal",
    "within",
    "payloadSchema",
]
ACTIONS = st.builds(
    lambda kind, fields: {**fields, "type": kind},
    st.sampled_from(["log", "set", "fail", "publish", "delay", "http-request", "wait-for-signal"]),
    st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=5),
)
SOUND = st.one_of(
    st.builds(say, STRINGS),
    st.builds(lambda value: {"type": "set", "values": {"v": value}}, VALUES),
    st.builds(lambda value, key: {"type": "publish", "topic": "t", "value": value, "key": key}, VALUES, STRINGS),
    st.builds(lambda text, condition: {"type": "fail", "message": text, "if": condition}, STRINGS, STRINGS),
)


@given(
    st.lists(ACTIONS | SOUND, min_size=1, max_size=4),
    st.dictionaries(st.sampled_from(["onFailure", "finally"]), st.lists(SOUND, max_size=2)),
    st.dictionaries(st.sampled_from(["a", "b"]), VALUES, max_size=2),
)
@settings(max_examples=300, deadline=None)
def test_any_definition_is_refused_or_dry_runs(actions, lists, given_input):
    try:
        definition = defined(*actions, **lists)
    except ValidationError:
        return
    execution = {
        "id": "e",
        "workflowId": "w",
        "version": 1,
        "attempt": 1,
        "createdAt": "",
        "dueAt": None,
        "status": "ok",
        "failure": None,
    }
    found = dry_run(definition, given=given_input, answers={}, execution=execution, around=AROUND)
    assert found["valid"] == (not found["errors"])
    json.dumps(found)
    if not problems(definition, AROUND):
        assert all(step.problems == [] for step in definition.prepared)
