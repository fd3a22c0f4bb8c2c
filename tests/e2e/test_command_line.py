"""``wf`` against the running stack: differences, export, doctor, logs, tokens, profiles."""

import json

import pytest
import pytest_asyncio

from tests.cli.wf_process import environment
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def wf(stack, processes, tmp_path):
    async def run(*args, url=stack.api_url, code=0, errors=False, stdin="", **variables):
        connections = {"KAFKA_BOOTSTRAP": stack.kafka_bootstrap, "MONGODB_URL": stack.mongodb_url}
        own = {"WF_CONFIG": str(tmp_path / "config.yaml"), **connections, **variables}
        env = {**environment(url, 200), **own}
        if not url:
            del env["WF_URL"]
        result = await processes.run(*args, cwd=tmp_path, env=env, stdin=stdin)
        assert result.code == code, result.out + result.err
        return result.err if errors else result.out

    return run


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def guarded(stack):
    """One more API on the same data, which asks for tokens."""
    worker = await stack.add_worker("workflows", environment={"AUTH": "tokens"})
    yield worker.url
    await stack.remove_worker(worker.name)


async def test_what_is_exported_makes_no_difference(wf, api, workflow_id, tmp_path):
    await api.create(workflow_id, [{"type": "log", "message": "one: yes\nno"}], retries=1)
    await wf("export", workflow_id, "--directory", "defs")
    file = tmp_path / "defs" / f"{workflow_id}.yaml"
    before = file.stat().st_mtime_ns
    await wf("export", workflow_id, "--directory", "defs")
    assert file.stat().st_mtime_ns == before
    await wf("diff", "defs")
    assert "unchanged" in await wf("apply", "defs")
    file.write_text(file.read_text().replace("retries: 1", "retries: 2"))
    changed = await wf("diff", "defs", code=2)
    assert "-retries: 1" in changed
    assert "+retries: 2" in changed


async def test_what_is_shown_can_be_edited_and_applied(wf, api, workflow_id, tmp_path):
    await api.create(workflow_id, [{"type": "log", "message": "one"}], trigger={"type": "periodic", "interval": "1h"})
    await api.call("POST", f"/workflows/{workflow_id}/pause")
    file = tmp_path / "shown.yaml"
    file.write_text(await wf("show", workflow_id, "-o", "yaml"))
    assert "unchanged" in await wf("apply", "shown.yaml")
    file.write_text(file.read_text().replace("message: one", "message: two"))
    assert "updated to version 2" in await wf("apply", "shown.yaml")
    assert "+    message: two" in await wf("versions", workflow_id, "--diff")
    await wf("rollback", workflow_id, "1")
    assert "message: one" in await wf("show", workflow_id, "-o", "yaml")


async def test_a_failed_execution_is_taken_up_and_run_again(wf, api, workflow_id, target):
    url = f"{target.url}/{workflow_id}?fail=1"
    await api.create(
        workflow_id, [{"type": "log", "message": "once"}, {"type": "http-request", "url": url, "method": "GET"}], retries=0
    )
    origin = json.loads(await wf("trigger", workflow_id, "--wait", "--json", code=1))["executionId"]
    taken_up = json.loads(await wf("retry", origin, "--wait", "--json"))
    assert (taken_up["status"], taken_up["originId"]) == ("ok", origin)
    assert [each["attempt"] for each in taken_up["executedActions"]] == [0, 1]
    again = json.loads(await wf("run-again", origin, "--wait", "--json"))
    assert [each["attempt"] for each in again["executedActions"]] == [1, 1]
    assert "has no failed action" in await wf("retry", taken_up["executionId"], code=3, errors=True)


async def test_doctor_finds_a_sound_system_sound(wf):
    findings = json.loads(await wf("doctor", "--json"))
    assert [finding for finding in findings if finding["result"] != "ok"] == []
    looked_at = {finding["what"] for finding in findings}
    assert {"service", "kafka", "mongodb", "indexes", "clock", "version", "topic workflow.execution"} <= looked_at


async def test_doctor_says_how_to_mend(wf):
    findings = json.loads(await wf("doctor", "--json", code=1, KAFKA_BOOTSTRAP="127.0.0.1:1"))
    (failed,) = [finding for finding in findings if finding["result"] == "failed"]
    assert failed["what"] == "kafka"
    assert "KAFKA_BOOTSTRAP" in failed["mend"]


async def test_logs_follow_to_the_end(wf, api, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "first"}, {"type": "log", "message": "second"}])
    shown = await wf("trigger", workflow_id, "--follow")
    assert shown.index("first") < shown.index("second")
    (execution,) = await api.executions(workflow_id)
    assert await wf("logs", "-f", execution["executionId"]) == shown


async def test_an_execution_shows_the_action_that_runs(wf, api, target, workflow_id):
    call = {"type": "http-request", "actionId": "call", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}
    await api.create(
        workflow_id, [{"type": "log", "message": "first"}, call], **{"finally": [{"type": "log", "message": "end"}]}
    )
    execution_id = await api.trigger(workflow_id)

    async def is_told():
        return "At         action 2 of 2: call\n" in await wf("execution", execution_id)

    await until(is_told, "what runs is shown")
    target.release.set()
    await api.finished(execution_id)
    shown = await wf("execution", execution_id)
    assert "action 2 of 2: call" not in shown
    assert shown.endswith("\n2 of 2 actions succeeded.\n")


async def test_what_is_cancelled_runs_its_finally_or_ends_at_once(wf, api, target, workflow_id):
    held = {"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}
    await api.create(workflow_id, [held], **{"finally": [{**held, "actionId": "tidy"}]})
    execution_id = await api.trigger(workflow_id)

    def requested(times):
        async def there():
            return target.count(workflow_id) == times

        return until(there, f"{times} requests are under way")

    async def is_running():
        return (await api.execution(execution_id))["status"] == "running"

    await requested(1)
    await until(is_running, "that is recorded")
    said = await wf("cancel", execution_id, "--reason", "wrong month")
    assert said == f"Cancelling {execution_id} of {workflow_id}: its finally runs first (--now ends it).\n"
    await requested(2)

    async def is_told():
        shown = " ".join((await wf("execution", execution_id)).split())
        assert "cancelled its actions were ended, this one under way for" in shown
        return "cancelled: wrong month; whether it was done is not known" in shown

    await until(is_told, "the step that it was at is shown as failed")
    assert await wf("cancel", execution_id, "--now") == f"Cancelled {execution_id} of {workflow_id}.\n"
    assert (await api.execution(execution_id))["status"] == "cancelled"
    target.release.set()


async def test_the_first_token_opens_the_door_for_the_others(wf, guarded, tmp_path, workflow_id):
    await wf("list", url=guarded, code=6)
    admin = (await wf("tokens", "create", "root", "--scope", "admin", "--bootstrap")).split()[0]
    operator = json.loads(
        await wf("--token", admin, "tokens", "create", "ci", "--scope", "operator", "--expires", "1h", "--json", url=guarded)
    )
    definition = {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "x"}]}
    (tmp_path / "a.json").write_text(json.dumps(definition))
    await wf("apply", "a.json", url=guarded, WF_TOKEN=operator["token"])
    await wf("tokens", "list", url=guarded, code=6, WF_TOKEN=operator["token"])
    listed = await wf("tokens", "list", url=guarded, WF_TOKEN=admin)
    assert operator["token"] not in listed
    audited = json.loads(
        await wf("audit", "--path", f"/workflows/{workflow_id}", "--who", "ci", "--json", url=guarded, WF_TOKEN=admin)
    )
    assert [entry["operation"] for entry in audited] == ["createWorkflow"]

    (tmp_path / "token").write_text(operator["token"])
    (tmp_path / "config.yaml").write_text(f"profiles:\n  guarded: {{url: '{guarded}', tokenFile: {tmp_path / 'token'}}}\n")
    assert workflow_id in await wf("--profile", "guarded", "show", workflow_id, url="")
    # Its token goes to its address alone.
    elsewhere = guarded.replace("127.0.0.1", "localhost")
    await wf("--profile", "guarded", "show", workflow_id, "--url", elsewhere, url="", code=6)

    await wf("tokens", "revoke", operator["tokenId"], url=guarded, WF_TOKEN=admin)


async def test_the_command_completes(wf):
    script = await wf("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "complete" in script


async def test_a_secret_is_set_used_listed_and_deleted(wf, api, workflow_id, tmp_path):
    name = f"S_{workflow_id.replace('-', '_')}"
    definition = {
        "workflowId": workflow_id,
        "trigger": {"type": "manual"},
        "actions": [{"type": "log", "message": f"{{{{ secrets.{name} }}}} has {{{{ secrets.{name} | length }}}}"}],
    }
    (tmp_path / "w.json").write_text(json.dumps(definition))
    # Nobody has set it yet, so nothing refers to it.
    await wf("apply", "w.json", code=1)
    assert await wf("secrets", "set", name, stdin="swordfish\n") == f"{name} is set\n"
    await wf("apply", "w.json")
    assert "*** has 9" in await wf("trigger", workflow_id, "--wait")
    assert name in await wf("secrets", "list")
    assert "swordfish" not in await wf("secrets", "list", "--json")
    await wf("secrets", "delete", name)
    assert name not in await wf("secrets", "list")

    async def is_unknown():
        return (await api.finished(await api.trigger(workflow_id)))["status"] == "failed"

    await until(is_unknown, "the runner has read the secrets once more")
    assert "secret" in await wf("trigger", workflow_id, "--wait", code=1)


async def test_a_dry_run_of_a_file_and_of_what_is_stored_say_the_same(wf, api, target, workflow_id, tmp_path):
    definition = {
        "workflowId": workflow_id,
        "trigger": {"type": "manual"},
        "actions": [
            {"type": "set", "actionId": "who", "values": {"name": "{{ input.name | upper }}"}},
            {
                "type": "http-request",
                "actionId": "call",
                "url": f"{target.url}/{workflow_id}",
                "method": "POST",
                "json": {"to": "{{ actions.who.output.name }}"},
            },
            {"type": "log", "message": "{{ actions.call.output.json.id }}"},
        ],
        "onFailure": [{"type": "log", "message": "{{ execution.failure.message }}"}],
    }
    (tmp_path / "w.json").write_text(json.dumps(definition))
    of_file = json.loads(await wf("dry-run", "w.json", "--input", '{"name": "Ada"}', "--json"))
    await wf("apply", "w.json")
    _, of_stored = await api.call("POST", f"/workflows/{workflow_id}/dry-run", {"input": {"name": "Ada"}})
    assert of_file == of_stored
    assert of_file["steps"][1]["rendered"]["json"] == {"to": "ADA"}
    assert target.count(workflow_id) == 0
    assert await api.executions(workflow_id) == []
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/dry-run", {"actions": {"nobody": {}}})
    assert (status, answer["errors"][0]["field"]) == (400, "actions.nobody")
