"""``wf vars``: plain values, set and read back."""

import asyncio
import json
import os
import pty
from pathlib import Path

import pytest

from apps.cli.errors import ExitCode
from tests.cli.wf_fake_api import FakeApi
from tests.cli.wf_process import COMMAND, Run, environment


@pytest.mark.parametrize(
    ("arguments", "given", "kept", "shown"),
    [
        (["https://staging.example.org"], "", "https://staging.example.org", "https://staging.example.org\n"),
        (["12"], "", "12", "12\n"),
        ([], "two\nlines\n", "two\nlines", "two\nlines\n"),
        ([""], "", "", "\n"),
        (["--json-value", "12"], "", 12, "12\n"),
        (["--json-value"], '{"regions": ["eu", "süd"]}', {"regions": ["eu", "süd"]}, '{"regions": ["eu", "süd"]}\n'),
    ],
)
async def test_a_value_is_set_and_read_back(api: FakeApi, wf: Run, arguments: list, given: str, kept: object, shown: str):
    result = await wf("vars", "set", "A", *arguments, stdin=given)
    assert (result.code, result.out, result.err) == (0, "A is set\n", "")
    assert (api.variables["A"]["value"], api.requests) == (kept, ["PUT /vars/A"])
    assert (await wf("vars", "get", "A")).out == shown
    assert json.loads((await wf("vars", "get", "A", "--json")).out)["value"] == kept


async def test_a_terminal_is_sent_no_control_characters_and_a_program_all(api: FakeApi, wf: Run) -> None:
    """Whoever may set a variable must not move the cursor of those who look at it, nor turn their text round."""
    odd = "a\x1b[2J\x9b31m\u202eb"
    await wf("vars", "set", "A", stdin=odd)
    assert (await wf("vars", "get", "A")).out == f"{odd}\n"
    assert "\\u009b31m\\u202eb" in (await wf("vars", "get", "A", "--json")).out
    master, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "vars", "get", "A", stdin=asyncio.subprocess.DEVNULL, stdout=terminal, env=environment(api.url)
    )
    assert await process.wait() == 0
    os.close(terminal)
    assert os.read(master, 1000) == b"a\\x1b[2J\\x9b31m\\u202eb\r\n"
    os.close(master)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["set", "1 bad", "x"], "'1 bad' is no name; it must be 1 to 128 letters"),
        (["set", "A", "--json-value", "{no"], "the value is not JSON"),
        (["set", "A", "--json-value", '{"a": 1, "a": 2}'], "the key 'a' is given twice"),
    ],
)
async def test_what_cannot_be_is_told_at_once(api: FakeApi, wf: Run, arguments: list[str], said: str) -> None:
    result = await wf("vars", *arguments)
    assert (result.code, api.requests) == (ExitCode.USAGE, [])
    assert said in result.err


async def test_what_a_file_says_is_set_where_it_differs(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    file = tmp_path / "staging.json"
    file.write_text('{"HOST": "https://staging.example.org", "LIMITS": {"rows": 1}, "ON": true}')
    await wf("vars", "set", "HOST", "https://staging.example.org")
    await wf("vars", "set", "ON", "--json-value", "1")
    await wf("vars", "set", "OTHER", "stays")
    result = await wf("vars", "apply", file)
    assert (result.code, result.out) == (0, "HOST unchanged\nLIMITS is set\nON is set\n")
    values = {name: found["value"] for name, found in api.variables.items()}
    assert values == {"HOST": "https://staging.example.org", "LIMITS": {"rows": 1}, "ON": True, "OTHER": "stays"}
    exported = await wf("vars", "export")
    assert (exported.code, json.loads(exported.out)) == (0, values)
    file.write_text('{"HOST": "https://example.org", "NEW": 1, "ON": true}')
    shown = await wf("vars", "apply", file, "--dry-run")
    was = 'it is "https://staging.example.org"'
    assert shown.out == f'HOST would be "https://example.org"; {was}\nNEW would be 1; it is not there\nON unchanged\n'
    assert {name: found["value"] for name, found in api.variables.items()} == values
    file.write_text('{"FINE": 1, "1 bad": 2}')
    refused = await wf("vars", "apply", file)
    assert (refused.code, "'1 bad' is no name" in refused.err, "FINE" in api.variables) == (ExitCode.USAGE, True, False)


async def test_an_exported_value_turns_no_text_round(api: FakeApi, wf: Run) -> None:
    await wf("vars", "set", "NOTE", "a\u202eb\u009bc")
    exported = await wf("vars", "export")
    assert "a\\u202eb\\u009bc" in exported.out
    assert json.loads(exported.out) == {"NOTE": "a\u202eb\u009bc"}


async def test_they_are_listed_with_their_values(api: FakeApi, wf: Run) -> None:
    empty = await wf("vars", "list")
    assert (empty.code, empty.out) == (0, "There are no variables.\n")
    assert "wf vars set NAME VALUE" in empty.err
    await wf("vars", "set", "HOST", stdin="example.org\nof two lines\n")
    await wf("vars", "set", "LONG", "--json-value", json.dumps(["x" * 200]))
    result = await wf("vars", "list", columns=200)
    first, second = [line.split() for line in result.out.splitlines()[1:]]
    assert first[:5] == ["HOST", "example.org", "of", "two", "lines"], "each has one line, for whoever reads it in a pipe"
    assert second[1].startswith('["xxx') and second[1].endswith("x…")
    assert [item["name"] for item in json.loads((await wf("vars", "list", "--json")).out)] == ["HOST", "LONG"]


async def test_what_is_not_there(api: FakeApi, wf: Run) -> None:
    await wf("vars", "set", "OLD", "x")
    assert (await wf("vars", "delete", "OLD")).out == "OLD is deleted\n"
    for command in ("get", "delete"):
        again = await wf("vars", command, "OLD")
        assert again.code == ExitCode.NOT_FOUND
        assert "there is no variable OLD" in again.err
