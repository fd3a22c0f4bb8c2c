"""``wf secrets``: values go in by standard input or a prompt, and never come out."""

import asyncio
import json
import os
import pty
import termios

import pytest

from apps.cli.errors import ExitCode
from tests.cli.wf_fake_api import FakeApi, problem, seconds_ago
from tests.cli.wf_process import COMMAND, Run, environment
from vault.keys import KeyRing


@pytest.mark.parametrize(
    ("word", "given", "kept"),
    [
        ("as it is", "s3cret value", "s3cret value"),
        ("of echo", "s3cret\n", "s3cret"),
        ("of a file", "-----BEGIN\nabc\n-----END\n", "-----BEGIN\nabc\n-----END"),
        ("blanks kept", "  s3cret \n\n", "  s3cret \n"),
    ],
)
async def test_a_value_is_read_from_standard_input(api: FakeApi, wf: Run, word: str, given: str, kept: str) -> None:
    result = await wf("secrets", "set", "API_TOKEN", stdin=given)
    assert (result.code, result.out, result.err) == (0, "API_TOKEN is set\n", "")
    assert api.secrets["API_TOKEN"]["value"] == kept
    assert api.requests == ["PUT /secrets/API_TOKEN"]


async def test_no_value_sets_nothing(api: FakeApi, wf: Run) -> None:
    result = await wf("secrets", "set", "API_TOKEN", stdin="")
    assert (result.code, api.requests) == (ExitCode.FAILED, [])
    assert "no value for API_TOKEN" in result.err
    assert "wf secrets set API_TOKEN < file" in result.err


@pytest.mark.parametrize("command", ["set", "delete"])
async def test_a_name_that_is_none_is_told_at_once(api: FakeApi, wf: Run, command: str) -> None:
    result = await wf("secrets", command, "1 bad", stdin="value")
    assert (result.code, api.requests) == (ExitCode.USAGE, [])
    assert "'1 bad' is no name; it must be 1 to 128 letters" in result.err


async def test_a_value_is_no_argument(api: FakeApi, wf: Run) -> None:
    """It would stand in the history of the shell, and in the list of processes."""
    result = await wf("secrets", "set", "API_TOKEN", "s3cret")
    assert (result.code, api.requests) == (ExitCode.USAGE, [])


async def test_what_the_service_refuses_is_told_without_the_value(api: FakeApi, wf: Run) -> None:
    errors = [{"field": "value", "message": "cannot be stored: its value has fewer than 4 characters"}]
    api.refusals["PUT /secrets/PIN"] = problem(400, "bad-request", "Not valid", "The secret is not valid.", errors=errors)
    result = await wf("secrets", "set", "PIN", stdin="xyz")
    assert result.code == ExitCode.FAILED
    assert "value: cannot be stored: its value has fewer than 4 characters" in result.err
    assert "xyz" not in result.out + result.err


async def test_names_are_listed_and_values_are_not(api: FakeApi, wf: Run) -> None:
    empty = await wf("secrets", "list")
    assert (empty.code, empty.out) == (0, "There are no secrets.\n")
    assert "wf secrets set NAME" in empty.err
    await wf("secrets", "set", "STORED", stdin="s3cret")
    api.secrets["MOUNTED"] = {"name": "MOUNTED", "source": "mounted"}
    api.secrets["SHORT"] = {"name": "SHORT", "source": "mounted", "problem": "its value has fewer than 4 characters"}
    result = await wf("secrets", "list", columns=200)
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [
        ["STORED", "stored"],
        ["MOUNTED", "mounted"],
        ["SHORT", "mounted"],
    ]
    assert result.err == "SHORT is not used: its value has fewer than 4 characters\n"
    listed = json.loads((await wf("secrets", "list", "--json")).out)
    assert [item["name"] for item in listed] == ["STORED", "MOUNTED", "SHORT"]
    assert "s3cret" not in result.out + json.dumps(listed)


async def test_delete(api: FakeApi, wf: Run) -> None:
    api.secrets["OLD"] = {"name": "OLD"}
    assert (await wf("secrets", "delete", "OLD")).out == "OLD is deleted\n"
    assert api.secrets == {}
    again = await wf("secrets", "delete", "OLD")
    assert again.code == ExitCode.NOT_FOUND
    assert "there is no stored secret OLD" in again.err


async def test_rotation_names_what_could_not_be_encrypted_anew(api: FakeApi, wf: Run) -> None:
    api.secrets["A"] = {"name": "A", "keyId": "k1"}
    result = await wf("secrets", "rotate")
    assert (result.code, result.out) == (0, "key k2: 1 secrets encrypted anew\n")
    api.secrets["B"] = {"name": "B", "keyId": "lost"}
    result = await wf("secrets", "rotate")
    assert result.code == ExitCode.FAILED
    assert "secret B was encrypted with key lost" in result.err
    assert "back into the key file" in result.err


async def test_a_key_is_made_without_a_service(wf: Run) -> None:
    first, second = await wf("secrets", "key"), await wf("secrets", "key")
    assert first.code == 0
    assert KeyRing.parse(first.out, "test").primary != KeyRing.parse(second.out, "test").primary


async def test_a_secret_is_asked_for_twice_and_not_shown(api: FakeApi) -> None:
    master, terminal = pty.openpty()
    settings = termios.tcgetattr(terminal)
    settings[3] |= termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, settings)
    process = await asyncio.create_subprocess_exec(
        *COMMAND, "secrets", "set", "API_TOKEN",
        stdin=terminal, stdout=asyncio.subprocess.PIPE, stderr=terminal, env=environment(api.url), start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = bytearray()
    asked = {b"Value of API_TOKEN: ": asyncio.Event(), b"Repeat for confirmation: ": asyncio.Event()}

    def read() -> None:
        try:
            shown.extend(os.read(master, 1000))
        except OSError:  # the other end is closed
            asyncio.get_running_loop().remove_reader(master)
        for prompt, event in asked.items():
            if prompt in shown:
                event.set()

    asyncio.get_running_loop().add_reader(master, read)
    for event in asked.values():
        await asyncio.wait_for(event.wait(), 60)
        os.write(master, b"typed s3cret\n")
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    asyncio.get_running_loop().remove_reader(master)
    os.close(master)
    assert (process.returncode, out) == (0, b"API_TOKEN is set\n")
    assert api.secrets["API_TOKEN"]["value"] == "typed s3cret"
    assert b"typed" not in shown


async def test_the_age_of_a_secret_is_its_last_change(api: FakeApi, wf: Run) -> None:
    api.secrets["A"] = {"name": "A", "source": "stored", "keyId": "k1", "updatedAt": seconds_ago(3 * 86400 + 60)}
    assert "k1" in (await wf("secrets", "list", columns=200)).out
