"""``trigger-workflow`` with the runner replaced by a function."""

import json
import uuid
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from pydantic import ValidationError

from actions import trigger_workflow
from actions.checking import Surroundings
from actions.dry_run import dry_run
from actions.registry import WorkflowDefinition, run_action
from actions.running import LONGEST_REASON, Awaiting, Child, ChildEnd, Context, NotTriggered, Resources, Succeeded
from apps.runner.attempts import LARGEST_EXECUTION
from domain.execution import Status
from domain.instants import read_written, written
from events.wire import json_bytes

EXECUTION = {"id": "e", "workflowId": "w", "version": 1, "attempt": 1, "createdAt": None, "dueAt": None, "status": "ok"}


def defined(**fields):
    action = {"type": "trigger-workflow", "workflowId": "other", **fields}
    return WorkflowDefinition.model_validate({"workflowId": "w", "trigger": {"type": "manual"}, "actions": [action]})


async def trigger(answer=Status.PENDING, data=None, **fields):
    """Render and run the action; return its outcome and what was asked for."""
    asked = []

    async def start(context, workflow_id, inputs, within, *, waits):
        assert not waits
        asked.append((workflow_id, inputs, within))
        if isinstance(answer, Exception):
            raise answer
        statuses = answer if isinstance(answer, list) else [answer] * len(inputs)
        return [Child(f"c{number}", status) for number, status in enumerate(statuses)]

    (step,) = defined(**fields).prepared
    seen = {"input": {}, "trigger": {}, "execution": {}, "actions": {}, "secrets": {}, **(data or {})}
    context = Context("e", "w", "start", attempt=1, epoch=1, resources=Resources(http=None, trigger=start))
    return await run_action(step.render(seen), context), asked


async def test_one_is_started_with_its_input():
    outcome, asked = await trigger(input={"a": "{{ input.n }}"}, data={"input": {"n": 7}}, timeout="2s")
    assert asked == [("other", [{"a": 7}], 2.0)]
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"workflowId": "other", "executionId": "c0", "status": "pending"}
    assert outcome.logs == ("other: triggered c0",)
    outcome, asked = await trigger(Status.QUEUED)
    assert asked == [("other", [{}], 60.0)]
    assert (outcome.output["status"], outcome.logs) == ("queued", ("other: queued c0",))


async def test_for_each_element_one_is_started_in_order():
    data = {"input": {"items": [1, None, {"b": "{{ 2 }}"}], "to": "third"}}
    outcome, asked = await trigger(
        [Status.PENDING, Status.OK, Status.QUEUED], data, workflowId="{{ input.to }}", input={"a": 1},
        forEach="{{ input['items'] }}",
    )  # fmt: skip
    inputs = [{"a": 1, "item": 1}, {"a": 1, "item": None}, {"a": 1, "item": {"b": "{{ 2 }}"}}]
    assert asked == [("third", inputs, 60.0)]
    assert outcome.output == {"workflowId": "third", "executionIds": ["c0", "c1", "c2"], "count": 3}
    assert outcome.logs == ("third: 3 triggered, 1 of them queued",)


async def test_the_whole_input_may_be_one_expression():
    _, asked = await trigger(input="{{ input }}", data={"input": {"a": 1}})
    assert asked[0][1] == [{"a": 1}]


@pytest.mark.parametrize("given", [[0] * 1000, "{{ range(1000) | list }}"])
async def test_a_thousand_are_not_too_many(given):
    outcome, _ = await trigger(forEach=given)
    assert outcome.output["count"] == 1000


@pytest.mark.parametrize("given", [[], "{{ [] }}"])
async def test_for_an_empty_list_nothing_is_started(given):
    outcome, asked = await trigger(forEach=given)
    assert asked[0][1] == []
    assert (outcome.output, outcome.logs) == (
        {"workflowId": "other", "executionIds": [], "count": 0},
        ("other: 0 triggered",),
    )


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("null", "{{ none }}", "forEach: must be a list"),
        ("an object", "{{ {'a': 1} }}", "forEach: must be a list"),
        ("a text", "a {{ [1] }}", "forEach: must be a list"),
        ("too long", "{{ range(1001) | list }}", "forEach: must hold at most 1,000 elements"),
    ],
)
async def test_what_is_no_list_once_it_is_rendered_starts_nothing(word, value, said):
    outcome, asked = await trigger(forEach=value)
    assert (outcome.error_class, asked) == ("bad-input", [])
    assert outcome.message.startswith(said)


@pytest.mark.parametrize(
    ("word", "fields", "said"),
    [
        ("no object", {"input": "{{ [1] }}"}, "input: must be an object"),
        ("null", {"input": "{{ none }}"}, "input: must be an object"),
        ("item", {"input": "{{ {'item': 1} }}", "forEach": [1]}, "forEach: makes item of each element, and input has"),
    ],
)
async def test_what_is_no_input_once_it_is_rendered_starts_nothing(word, fields, said):
    outcome, asked = await trigger(**fields)
    assert (outcome.error_class, asked) == ("bad-input", [])
    assert outcome.message.startswith(said)


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"workflowId": "no such"}, "workflowId", "must be 1 to 128 letters"),
        ({"input": [1]}, "input", "must be an object"),
        ({"input": None}, "input", "must be an object"),
        ({"input": "text"}, "input", "must be an object"),
        ({"forEach": {"a": 1}}, "forEach", "must be a list"),
        ({"forEach": None}, "forEach", "must be a list"),
        ({"forEach": [0] * 1001}, "forEach", "at most 1,000"),
        ({"forEach": [1], "input": {"item": 1}}, "forEach", "rename that one"),
        ({"forEach": "{{ input.items }}", "input": {"item": 1}}, "forEach", "rename that one"),
    ],
)
def test_what_can_never_be_started_is_refused_when_it_is_written(fields, field, said):
    with pytest.raises(ValidationError) as raised:
        defined(**fields)
    error, *_ = raised.value.errors()
    assert error["loc"][-1] == field
    assert said in error["msg"]


def test_a_definition_is_shown_as_it_was_written():
    definition = defined(input={"a": None}, forEach=["{{ input.x }}", None])
    for again in (
        WorkflowDefinition.model_validate(definition.to_wire()),
        WorkflowDefinition.from_document(definition.to_document()),
    ):
        assert again == definition
        assert (again.actions[0].input, again.actions[0].for_each) == ({"a": None}, ["{{ input.x }}", None])
    assert not WorkflowDefinition.from_document(defined().to_document()).actions[0].is_list


@pytest.mark.parametrize(
    ("error", "for_each", "expected"),
    [
        (NotTriggered("busy", "other is busy", done=12), [0] * 40, "12 of 40 triggered; other is busy; gave up after 1m"),
        (NotTriggered("busy", "other is busy"), None, "other is busy; gave up after 1m"),
        (NotTriggered("bad-input", "input.item: no", number=3), [0] * 40, "forEach[3]: input.item: no"),
        (NotTriggered("bad-input", "input.a: no", number=0), None, "input.a: no"),
    ],
)
async def test_what_is_in_the_way_is_told(error, for_each, expected):
    outcome, _ = await trigger(error, **({} if for_each is None else {"forEach": for_each}))
    assert (outcome.error_class, outcome.message) == (error.error_class, expected)
    assert not outcome.maybe_done


def test_a_dry_run_tells_what_would_be_started():
    found = dry_run(
        defined(input={"to": "{{ input.to }}"}, forEach="{{ range(5) | list }}"),
        given={"to": "Ada"},
        answers={},
        execution=EXECUTION,
        around=Surroundings(),
    )
    assert found["valid"]
    inputs = [{"to": "Ada", "item": number} for number in range(3)]
    assert found["steps"][0]["triggers"] == {"workflowId": "other", "count": 5, "inputs": inputs}


@pytest.mark.parametrize(
    ("value", "valid", "unknown"), [("{{ actions.list.output.json }}", True, ["forEach"]), ("{{ none }}", False, None)]
)
def test_a_dry_run_tells_what_is_not_known_or_no_list(value, valid, unknown):
    definition = WorkflowDefinition.model_validate(
        {
            "workflowId": "w",
            "trigger": {"type": "manual"},
            "actions": [
                {"type": "http-request", "actionId": "list", "method": "GET", "url": "https://example.org"},
                {"type": "trigger-workflow", "workflowId": "other", "forEach": value},
            ],
        }
    )
    found = dry_run(definition, given={}, answers={}, execution=EXECUTION, around=Surroundings())
    step = found["steps"][1]
    assert (found["valid"], step.get("unknown"), "triggers" in step) == (valid, unknown, False)
    if not valid:
        assert found["errors"] == [{"field": "actions[1].forEach", "message": step["error"].partition(": ")[2]}]


async def wait(ends, waited=None, **fields):
    """Run an action that waits for what it starts; ``ends`` is how that has ended, None: not yet."""
    asked = []

    async def start(context, workflow_id, inputs, within, *, waits):
        assert waits
        asked.append(workflow_id)
        return [Child(f"c{number}", Status.PENDING) for number in range(len(inputs))]

    async def look(ids):
        return None if ends is None else [ends[execution_id] for execution_id in ids]

    (step,) = defined(waitForEnd="2h", **fields).prepared
    resources = Resources(http=None, trigger=start, ends=look)
    context = Context("e", "w", "start", attempt=1, epoch=1, resources=resources, waited=waited)
    outcome = await run_action(step.render({"input": {}, "actions": {}}), context)
    return outcome, asked


def ended(number, status="ok", reason=None, **result):
    return ChildEnd(f"c{number}", status, reason, result)


def written_ago(**ago):
    return written(datetime.now(timezone.utc) - timedelta(**ago))


async def test_what_was_started_is_waited_for_without_a_runner():
    outcome, asked = await wait(None, forEach=[1, 2])
    assert isinstance(outcome, Awaiting)
    assert asked == ["other"]
    since, until = read_written(outcome.output["since"]), read_written(outcome.output["until"])
    assert until - since == timedelta(hours=2)
    assert outcome.output | {"since": "", "until": ""} == {
        "workflowId": "other", "executionIds": ["c0", "c1"], "since": "", "until": "",
    }  # fmt: skip
    assert outcome.logs == (f"other: waits for the end of 2 executions until {outcome.output['until']}",)
    look = outcome.until - timedelta(seconds=30)
    assert since <= look <= datetime.now(timezone.utc), "it looks again by itself"


@pytest.mark.parametrize(
    ("ago", "looks_after"),
    [({"seconds": 50}, 30), ({"minutes": 3}, 90), ({"minutes": 40}, 300), ({"days": 7}, 60_480)],
    ids=["soon", "later", "later still", "at last"],
)
async def test_the_longer_it_waits_the_seldomer_it_looks(ago, looks_after):
    waited = {"executionIds": ["c0"], "since": written_ago(**ago), "until": written_ago(days=-1)}
    outcome, asked = await wait(None, waited)
    assert asked == [], "what was started is not started again, whatever is still known of it"
    wait_for = (outcome.until - datetime.now(timezone.utc)).total_seconds()
    assert looks_after - 5 < wait_for < looks_after + 5
    assert outcome.output == {"workflowId": "other", **waited}
    assert "waits for the end of c0 until" in outcome.logs[0]


async def test_the_looks_of_a_year_at_a_long_list_do_not_fill_the_document(monkeypatch):
    """At one every five minutes, it failed as too large after a day."""
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    clock = SimpleNamespace(now=lambda _: began)
    monkeypatch.setattr(trigger_workflow, "datetime", clock)
    ids = [str(uuid.UUID(int=number)) for number in range(1000)]
    waited = {"executionIds": ids, "since": written(began), "until": written(began + timedelta(days=366))}
    size = 0
    while began < datetime(2027, 1, 1, tzinfo=timezone.utc):
        outcome, _ = await wait(None, waited)
        size += len(json.dumps(outcome.output))
        began = outcome.until
    assert size < LARGEST_EXECUTION / 2


async def test_it_looks_a_last_time_when_its_time_is_over():
    waited = {"executionIds": ["c0"], "since": written_ago(hours=2), "until": written_ago(seconds=-9)}
    outcome, _ = await wait(None, waited)
    assert outcome.until == read_written(waited["until"])
    waited["until"] = written_ago(seconds=1)
    outcome, _ = await wait(None, waited)
    assert (outcome.error_class, outcome.message) == ("not-ended", "not all has ended within 2h")
    assert outcome.output == {"workflowId": "other", "executionIds": ["c0"]}
    outcome, _ = await wait({"c0": ended(0)}, waited)
    assert isinstance(outcome, Succeeded)


async def test_it_answers_with_what_came_of_it():
    outcome, _ = await wait({"c0": ended(0, total=3)})
    assert outcome == Succeeded(
        logs=("other: 1 ended ok",),
        output={"workflowId": "other", "executionId": "c0", "status": "ok", "reason": None, "result": {"total": 3}},
    )
    waited = {"executionIds": ["c0", "c1"], "since": written_ago(hours=1), "until": written_ago(hours=-1)}
    outcome, _ = await wait({"c0": ended(0, a=1), "c1": ended(1)}, waited, forEach=[1, 2])
    assert outcome.output == {
        "workflowId": "other", "executionIds": ["c0", "c1"], "count": 2, "statuses": ["ok", "ok"],
        "reasons": [None, None], "results": [{"a": 1}, {}],
    }  # fmt: skip
    outcome, _ = await wait({}, forEach=[])
    assert outcome.output == {
        "workflowId": "other", "executionIds": [], "count": 0, "statuses": [], "reasons": [], "results": [],
    }  # fmt: skip


async def test_what_did_not_succeed_fails_it_and_is_told():
    outcome, _ = await wait({"c0": ended(0, "failed", "action a failed: no")})
    assert (outcome.error_class, outcome.message) == (
        "child-failed", "1 of 1 did not succeed: c0 failed: action a failed: no",
    )  # fmt: skip
    assert outcome.output == {
        "workflowId": "other", "executionId": "c0", "status": "failed", "reason": "action a failed: no", "result": {},
    }  # fmt: skip
    ends = {f"c{number}": ended(number, "cancelled" if number else "ok") for number in range(6)}
    outcome, _ = await wait(ends, forEach=list(range(4)))
    assert outcome.message == "3 of 4 did not succeed: c1 cancelled; c2 cancelled; c3 cancelled"
    outcome, _ = await wait(ends, forEach=list(range(6)))
    assert outcome.message == "5 of 6 did not succeed: c1 cancelled; c2 cancelled; c3 cancelled; and 2 more"
    assert outcome.output["statuses"] == ["ok", *["cancelled"] * 5]


async def test_the_output_tells_why_each_did_not_succeed():
    """The message names three; a summary of what failed in a list had no reasons for the others."""
    why = ["a failed: no", "cancelled by hand", None, "c failed: 404", "d failed: 500"]
    ends = {f"c{number}": ended(number, "failed" if reason else "ok", reason) for number, reason in enumerate(why)}
    outcome, _ = await wait(ends, forEach=list(range(5)))
    assert outcome.output["reasons"] == why


@pytest.mark.parametrize(("letter", "length"), [("x", 300), ("ж", 50), ("字", 50), ("🙂", 50), ("\x01", 50)])
async def test_the_reasons_of_the_longest_list_fit_into_its_output(letter, length):
    ends = {f"c{number}": ChildEnd(f"c{number}", "cancelled", letter * 5_000, None) for number in range(1_000)}
    outcome, _ = await wait(ends, forEach=list(range(1_000)))
    assert outcome.error_class == "child-failed"
    reasons = outcome.output["reasons"]
    assert set(reasons) == {letter * (length - 1) + "…"}
    assert len(json_bytes(reasons)) <= 1_000 * (LONGEST_REASON + 5) + 1


@pytest.mark.parametrize(("status", "error_class"), [("ok", "too-large"), ("failed", "child-failed")])
async def test_where_the_results_are_too_large_it_is_told_what_has_become_of_them_all_the_same(status, error_class):
    """The execution had waited for hours, and did not even know any more whom it had waited for."""
    ends = {f"c{number}": ChildEnd(f"c{number}", status, None, None) for number in range(2)}
    outcome, _ = await wait(ends, forEach=[1, 2])
    assert outcome.error_class == error_class
    assert outcome.output == {
        "workflowId": "other", "executionIds": ["c0", "c1"], "count": 2, "statuses": [status] * 2, "reasons": [None] * 2,
    }  # fmt: skip
    outcome, _ = await wait(ends)
    assert outcome.output == {"workflowId": "other", "executionId": "c0", "status": status, "reason": None}
