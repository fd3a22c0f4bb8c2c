"""Schemathesis against the running service: nothing that it tries makes a 5xx, or an answer that is not documented."""

import asyncio
import sys

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


async def every_workflow(api):
    found, cursor = [], ""
    while cursor is not None:
        _, page = await api.call("GET", f"/workflows?limit=500{cursor and f'&cursor={cursor}'}")
        found += [item["workflowId"] for item in page["items"]]
        cursor = page["nextCursor"]
    return set(found)


async def test_no_answer_is_undocumented(stack, api, tmp_path):
    before = await every_workflow(api)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "run",
        f"{stack.api_url}/openapi.json",
        f"--checks={CHECKS}",
        "--phases=examples,fuzzing",
        "--max-examples=5",
        "--generation-deterministic",
        "--suppress-health-check=all",
        "--exclude-path=/docs/{asset}",
        "--exclude-path=/v1/events/stream",  # it has no end: each try would take as long as it is waited for
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 300)
    text = "\n".join(line[:200] for line in output.decode().splitlines())
    assert process.returncode == 0, text[text.find("= FAILURES") :][:6000]
    # What it created must not tick into the tests that follow.
    for workflow_id in await every_workflow(api) - before:
        await api.call("DELETE", f"/workflows/{workflow_id}")
