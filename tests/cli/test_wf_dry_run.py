"""``wf dry-run FILE``: needs no service, and reaches none."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml

from apps.cli.errors import ExitCode
from tests.cli.wf_process import Run

DEFINITION = """\
workflowId: greet
trigger: {type: manual}
inputSchema: {type: object, required: [name], properties: {name: {type: string}}}
actions:
  - {actionId: who, type: set, values: {name: "{{ input.name | upper }}"}}
  - actionId: call
    type: http-request
    url: URL
    method: POST
    query: {by: "{{ input.by | default(none) }}"}
    json: {to: "{{ actions.who.output.name }}", attempt: "{{ execution.attempt }}"}
    headers: {X-Key: "{{ secrets.TOKEN }}"}
  - {actionId: told, type: log, message: "{{ actions.call.output.json.id }}"}
  - {actionId: bob, type: log, if: "input.name == 'Bob'", message: x}
onFailure:
  - {actionId: alarm, type: log, message: "{{ execution.failure.message }}"}
finally:
  - {actionId: bye, type: log, message: "{{ execution.status }} {{ input.name }}"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "greet.yaml"
    file.write_text(DEFINITION.replace("URL", "http://127.0.0.1:1/x"))
    return file


async def steps(wf: Run, *args: object, stdin: str = "") -> dict:
    result = await wf("dry-run", *args, "--json", stdin=stdin)
    assert result.code == 0, result.err
    return {step["actionId"]: step for step in json.loads(result.out)["steps"]}


async def test_where_a_token_would_come_from_is_told_and_none_is_fetched(wf: Run) -> None:
    definition = """\
workflowId: with-token
trigger: {type: manual}
actions:
  - type: http-request
    method: GET
    url: http://127.0.0.1:1/
    auth: {type: oauth2, tokenUrl: "http://127.0.0.1:1/token?code=x", clientId: c, clientSecret: the-secret}
  - {type: http-request, actionId: where, method: GET, url: "http://127.0.0.1:1/"}
  - type: http-request
    method: GET
    url: http://127.0.0.1:1/
    auth: {type: oauth2, tokenUrl: "{{ actions.where.output.text }}", clientId: c, clientSecret: the-secret}
"""
    result = await wf("dry-run", "-", stdin=definition)
    assert result.code == 0, result.err
    told = " ".join(result.out.split())
    assert "would get a token from http://127.0.0.1:1/token?code=***, unless its runner has one" in told
    assert told.count("would get a token") == 1, "of the other one nothing is known"


async def test_what_would_be_started_is_counted(wf: Run, tmp_path: Path) -> None:
    definition = """\
workflowId: all
trigger: {type: manual}
actions:
  - {type: trigger-workflow, workflowId: greet, input: {by: "{{ input.by }}"}, forEach: [Ada, Bob]}
  - {type: trigger-workflow, workflowId: greet}
  - {type: trigger-workflow, workflowId: greet, forEach: []}
"""
    result = await wf("dry-run", "-", "--input", '{"by": "me"}', stdin=definition)
    assert result.code == 0, result.err
    told = [line.strip() for line in result.out.splitlines() if "would start" in line]
    assert told == [
        'would start greet 2 times; the first input: {"by": "me", "item": "Ada"}',
        "would start greet once; the first input: {}",
        "would start greet 0 times",
    ]


async def test_everything_is_rendered_as_far_as_it_is_known(wf: Run, file: Path) -> None:
    found = await steps(wf, file, "--input", '{"name": "Ada"}')
    assert found["call"]["rendered"]["json"] == {"to": "ADA", "attempt": 1}
    assert found["call"]["rendered"]["headers"] == {"X-Key": "***"}
    assert found["call"]["rendered"]["query"] == {"by": None}
    assert (found["told"]["rendered"]["message"], found["told"]["unknown"]) == (
        "{{ actions.call.output.json.id }}",
        ["message"],
    )
    assert found["bob"]["result"] == "skipped"
    # Nothing is known to fail: what a handler would say of it is not known either, and no error.
    assert (found["alarm"]["result"], found["alarm"]["unknown"]) == ("would run", ["message"])
    assert found["bye"]["unknown"] == ["message"]


async def test_what_an_action_is_taken_to_have_answered_is_used(wf: Run, file: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.json").write_text('{"call": {"output": {"json": {"id": 7}}}}')
    found = await steps(wf, file, "--input", '{"name": "Ada"}', "--actions", f"@{tmp_path / 'answers.json'}")
    assert found["told"]["rendered"]["message"] == "7"


async def test_a_step_would_wait_for_its_signal_and_is_taken_to_have_been_told(wf: Run) -> None:
    definition = """\
workflowId: order
trigger: {type: manual}
actions:
  - {type: wait-for-signal, actionId: approve, signal: approved, within: 2d}
  - {type: log, actionId: told, message: "by {{ actions.approve.output.payload.by }}"}
"""
    answers = '{"approve": {"output": {"payload": {"by": "Ada"}}}}'
    found = await steps(wf, "-", "--actions", answers, stdin=definition)
    assert (found["approve"]["result"], found["approve"]["rendered"]["signal"]) == ("would wait", "approved")
    assert found["told"]["rendered"]["message"] == "by Ada"


async def test_a_failure_that_is_assumed_leads_to_the_handlers(wf: Run, file: Path) -> None:
    answers = '{"call": {"status": "failed", "error": {"class": "status", "message": "answered 500"}}}'
    found = await steps(wf, file, "--input", '{"name": "Ada"}', "--actions", answers)
    assert [found[name]["result"] for name in ("told", "bob")] == ["not reached", "not reached"]
    assert found["alarm"]["rendered"]["message"] == "answered 500"
    assert found["bye"]["rendered"]["message"] == "failed Ada"


async def test_a_fail_step_fails(wf: Run) -> None:
    definition = {
        "workflowId": "w",
        "trigger": {"type": "manual"},
        "actions": [
            {"type": "fail", "actionId": "stop", "if": "input.stop", "message": "as {{ input.why }}"},
            {"type": "log", "actionId": "after", "message": "x"},
        ],
        "onFailure": [{"type": "log", "actionId": "alarm", "message": "{{ execution.failure.message }}"}],
    }
    found = await steps(wf, "-", "--input", '{"stop": true, "why": "told"}', stdin=json.dumps(definition))
    assert (found["after"]["result"], found["alarm"]["rendered"]["message"]) == ("not reached", "as told")
    found = await steps(wf, "-", "--input", '{"stop": false}', stdin=json.dumps(definition))
    assert (found["stop"]["result"], found["after"]["result"]) == ("skipped", "would run")


async def test_nothing_is_sent(wf: Run, tmp_path: Path) -> None:
    connected = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.append(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        file = tmp_path / "greet.yaml"
        file.write_text(DEFINITION.replace("URL", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await steps(wf, file, "--input", '{"name": "Ada"}')
    assert connected == []


async def test_for_people_it_is_written_step_by_step(wf: Run, file: Path) -> None:
    result = await wf("dry-run", file, "--input", '{"name": "Ada"}')
    assert result.code == 0
    assert "call: would run\n" in result.out
    assert "  not known before it runs: message\n" in result.out
    assert "bob: skipped\n" in result.out
    assert "alarm (onFailure): would run\n" in result.out
    as_yaml = await wf("dry-run", file, "--input", '{"name": "Ada"}', "--output", "yaml")
    assert yaml.safe_load(as_yaml.out)["valid"] is True


async def test_what_would_not_run_is_told_by_field(wf: Run, file: Path) -> None:
    result = await wf("dry-run", file, "--input", "{}")
    assert result.code == ExitCode.FAILED
    assert 'input: "name" is a required property' in result.err
    assert "actions[0].values.name: 'name' is undefined" in result.err
    assert "actions[3].if: 'name' is undefined" in result.err
    assert "finally[0].message: 'name' is undefined" not in result.err, "it reads what is not known either"


@pytest.mark.parametrize(
    ("word", "definition", "args", "code", "said"),
    [
        ("broken template", DEFINITION.replace("input.name | upper", "input. |"), (), ExitCode.FAILED, "values.name"),
        ("no definition", "a: 1", (), ExitCode.FAILED, "workflowId"),
        ("two", f"{DEFINITION}---\n{DEFINITION.replace('greet', 'b')}", (), ExitCode.FAILED, "holds 2 definitions"),
        ("input", DEFINITION, ("--input", "{oops"), ExitCode.USAGE, "--input is not JSON"),
        ("key twice", DEFINITION, ("--input", '{"a": 1, "a": 2}'), ExitCode.USAGE, "the key 'a' is given twice"),
        ("input", DEFINITION, ("--input", "[1]"), ExitCode.USAGE, "--input must be a JSON object"),
        ("input", DEFINITION, ("--input", "@nowhere"), ExitCode.USAGE, "cannot read nowhere"),
        ("unknown action", DEFINITION, ("--actions", '{"no": {}}'), ExitCode.USAGE, "actions.no: there is no such action"),
        ("no answer", DEFINITION, ("--actions", '{"call": 3}'), ExitCode.USAGE, "actions.call: must be an object"),
        ("output", DEFINITION, ("--actions", '{"call": {"output": 1}}'), ExitCode.USAGE, "actions.call.output: must be"),
        ("status", DEFINITION, ("--actions", '{"call": {"status": "bad"}}'), ExitCode.USAGE, "must be one of ok, failed"),
    ],
)
async def test_what_is_wrong_is_told(
    wf: Run, tmp_path: Path, word: str, definition: str, args: tuple[str, ...], code: ExitCode, said: str
) -> None:
    (tmp_path / "greet.yaml").write_text(definition.replace("URL", "http://x"))
    result = await wf("dry-run", "greet.yaml", *args)
    assert result.code == code, result.out
    assert said in result.err


async def test_by_what_the_execution_would_be_found_is_told(wf: Run, tmp_path: Path) -> None:
    file = tmp_path / "ship.yaml"
    file.write_text(
        "workflowId: ship\ntrigger: {type: manual}\nreference: order-{{ input.order }}\n"
        "actions: [{type: log, message: '{{ execution.reference }}'}]\n"
    )
    told = (await wf("dry-run", file, "--input", '{"order": 17}')).out
    assert "reference: order-17" in told
    assert '"message": "order-17"' in told
    assert "reference: none, of this input" in (await wf("dry-run", file)).out


async def test_variables_are_known_where_they_are_given(wf: Run, tmp_path: Path) -> None:
    definition = """\
workflowId: elsewhere
trigger: {type: manual}
actions:
  - {actionId: call, type: http-request, method: GET, url: "{{ vars.HOST }}/x", if: "vars.LIMITS.rows > 3"}
"""
    given = tmp_path / "staging.json"
    given.write_text('{"HOST": "https://staging.example.org", "LIMITS": {"rows": 4}}')
    unknown = (await steps(wf, "-", stdin=definition))["call"]
    assert (unknown["if"], unknown["unknown"], unknown["rendered"]["url"]) == (None, ["url"], "{{ vars.HOST }}/x")
    known = (await steps(wf, "-", "--vars", f"@{given}", stdin=definition))["call"]
    assert (known["if"], known["rendered"]["url"]) == (True, "https://staging.example.org/x")
    missing = await wf("dry-run", "-", "--vars", '{"HOST": "https://staging.example.org"}', stdin=definition)
    assert missing.code == ExitCode.FAILED
    assert "actions[0].if: variable LIMITS is not set" in missing.err
