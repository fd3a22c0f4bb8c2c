"""``wf apply`` and ``wf validate``."""

import json
from pathlib import Path

import pytest
from aiohttp import web

from tests.cli.wf_fake_api import FakeApi, problem, seconds_ago
from tests.cli.wf_process import Run

TWO = """\
workflowId: recurrent-workflow
trigger: {type: periodic, interval: 10s}
actions:
  - {type: http-request, url: https://example.org, method: GET}
---
workflowId: nightly
trigger:
  type: manual
actions:
  - type: log
    message: no
"""


async def test_apply_creates_then_leaves_alone_then_updates(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(TWO)

    first = await wf("apply", file)
    assert (first.code, first.out, first.err) == (0, "recurrent-workflow created\nnightly created\n", "")
    assert api.workflows["nightly"]["actions"][0]["message"] == "no"  # YAML 1.1 would read false

    second = await wf("apply", file)
    assert second.out == "recurrent-workflow unchanged (version 1)\nnightly unchanged (version 1)\n"
    assert not [asked for asked in api.requests if asked.startswith("PUT")]

    file.write_text(TWO.replace("10s", "20s"))
    third = await wf("apply", file, "--json")
    assert [(item["workflowId"], item["result"], item["version"]) for item in json.loads(third.out)] == [
        ("recurrent-workflow", "updated", 2),
        ("nightly", "unchanged", 1),
    ]


async def test_apply_reads_directories_and_standard_input(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    (tmp_path / "deep" / ".hidden").mkdir(parents=True)
    (tmp_path / "deep" / ".hidden" / "c.yaml").write_text("not: a definition")
    (tmp_path / "deep" / "b.json").write_text(
        '{\n\t"workflowId": "b", "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "\\ud83d\\ude00"}]}'
    )
    result = await wf("apply", tmp_path / "deep", "-", stdin=TWO)
    assert (result.code, sorted(api.workflows)) == (0, ["b", "nightly", "recurrent-workflow"])
    assert api.workflows["b"]["actions"][0]["message"] == "\N{GRINNING FACE}"


async def test_what_show_writes_can_be_applied(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    message = "1e3\n  no: 2026-01-31\n"
    api.add("tricky", actions=[{"actionId": "a", "type": "log", "message": message}, {"type": "log", "message": "1e3"}])
    shown = await wf("show", "tricky", "-o", "yaml")
    (tmp_path / "tricky.yaml").write_text(shown.out)
    result = await wf("apply", "tricky.yaml")
    assert result.out == "tricky unchanged (version 1)\n"
    assert "ignored what the service sets: version, createdAt" in result.err


async def test_one_flaw_keeps_everything_from_being_applied(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO.replace("interval: 10s", "interval: soon"))
    result = await wf("apply", "two.yaml")
    assert (result.code, result.out, api.requests) == (1, "", [])
    assert "nothing was applied" in result.err
    assert "two.yaml:2: trigger.interval: 'soon' is not a duration" in result.err


async def test_a_refusal_is_told_by_line_and_the_rest_is_applied(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    errors = [{"field": "actions[0].url", "message": "must be allowed"}]
    api.refusals["POST /workflows"] = problem(400, "bad-request", "Not valid", "The workflow is not valid.", errors=errors)
    (tmp_path / "two.yaml").write_text(TWO)
    result = await wf("apply", "two.yaml")
    assert (result.code, list(api.workflows)) == (1, ["nightly"])
    assert result.out == "recurrent-workflow failed\nnightly created\n"
    assert "two.yaml:4: actions[0].url: must be allowed" in result.err
    assert "1 of 2 workflows not applied" in result.err


async def test_what_is_missed_is_told_by_line_once_everything_is_applied(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    """A workflow may start one that is applied after it."""
    file = tmp_path / "two.yaml"
    file.write_text(TWO)
    field = "actions[0].url"
    api.missing["recurrent-workflow"] = {
        name: {"field": field, "message": f"workflow {name} does not exist"} for name in ("nightly", "absent")
    }
    said = f"warning: {file}:4: {field}: workflow absent does not exist\n"
    for words in ("created", "unchanged (version 1)"):
        result = await wf("apply", file)
        assert (result.code, result.out) == (0, f"recurrent-workflow {words}\nnightly {words}\n")
        assert result.err == said
    first, second = json.loads((await wf("apply", file, "--json")).out)
    assert ([each["field"] for each in first["warnings"]], "warnings" in second) == ([field], False)
    shown = await wf("show", "recurrent-workflow")
    assert (shown.code, shown.err) == (0, f"warning: {field}: workflow absent does not exist\n")


async def test_diff_names_what_the_service_would_refuse(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    fine = await wf("diff", "two.yaml")
    assert (fine.code, "refused" in fine.err) == (2, False)
    api.flaws = [{"field": "actions[0].url", "message": "variable HOST is not set", "line": 1}]
    result = await wf("diff", "two.yaml")
    assert (result.code, api.workflows) == (2, {})
    assert "two.yaml:4: actions[0].url: variable HOST is not set" in result.err
    found = json.loads((await wf("diff", "two.yaml", "--json")).out)
    assert found[0]["errors"] == [{**api.flaws[0], "line": 4}]


async def test_what_no_file_defines_is_archived_where_that_is_asked_for(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    for each in ("nightly", "recurrent-old", "other"):
        api.add(each)
    compared = await wf("diff", "two.yaml", "--prune", "--prefix", "recurrent-", "--json")
    found = [(item["workflowId"], item["result"]) for item in json.loads(compared.out)]
    assert (compared.code, found[-1]) == (2, ("recurrent-old", "archived"))
    assert {"--- recurrent-old (version 1)", "+++ /dev/null"} <= set(
        (await wf("diff", "two.yaml", "--prune")).out.splitlines()
    )

    unasked = await wf("apply", "two.yaml", "--prune")
    assert (unasked.code, len(api.workflows)) == (2, 3)
    assert "there is no terminal to ask on; add --yes" in unasked.err
    api.refusals["POST /workflows"] = problem(400, "bad-request", "Not valid", "The workflow is not valid.")
    refused = await wf("apply", "two.yaml", "--prune", "--yes")
    assert (refused.code, "Nothing was archived." in refused.err, "other" in api.workflows) == (1, True, True)

    assert (await wf("apply", "two.yaml", "--prefix", "recurrent-")).code == 2, "it limits nothing"
    pruned = await wf("apply", "two.yaml", "--prune", "--prefix", "recurrent-", "--yes")
    assert (pruned.code, pruned.out.splitlines()[-1]) == (0, "recurrent-old archived")
    assert sorted(api.workflows) == ["nightly", "other", "recurrent-workflow"]
    again = await wf("apply", "two.yaml", "--prune", "--yes", "--json")
    assert [item["result"] for item in json.loads(again.out)] == ["unchanged", "unchanged", "archived"]
    assert (await wf("apply", "two.yaml", "--prune")).code == 0, "nothing is left to ask for"


async def test_a_workflow_created_in_between_is_updated(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    api.add("nightly")
    api.refusals["GET /workflows/nightly"] = problem(404, "unknown-workflow", "Unknown", "There is none.")
    (tmp_path / "nightly.yaml").write_text(TWO.partition("---")[2])
    result = await wf("apply", "nightly.yaml")
    assert (result.code, result.out) == (0, "nightly updated to version 2\n")


async def test_without_validation_the_service_judges(api: FakeApi, wf: Run) -> None:
    newer = {"workflowId": "newer", "trigger": {"type": "tide"}, "actions": [{"type": "log", "message": ""}]}
    assert (await wf("apply", "-", stdin=json.dumps(newer))).code == 1
    result = await wf("apply", "-", "--no-validate", stdin=json.dumps(newer))
    assert (result.code, result.out) == (0, "newer created\n")


FLAWS = [
    ("unknown-field", "a.yaml", TWO + "retires: 3\n", "a.yaml:12: retires: is not known here"),
    ("missing-field", "a.yaml", TWO.replace("    message: no\n", ""), "a.yaml:10: actions[0].message: is required"),
    ("key-twice", "a.yaml", TWO + "actions: []\n", "a.yaml:12: the key 'actions' is given twice"),
    ("bad-indent", "a.yaml", "workflowId: a\n  trigger: b\n", "a.yaml:2: is not YAML at column"),
    ("id-twice", "a.yaml", f"{TWO}---\n{TWO.partition('---')[2]}", "'nightly' is defined in a.yaml:6 as well"),
    ("no-mapping", "a.yaml", "- workflowId: a\n", "a.yaml:1: is not a definition"),
    ("empty", "a.yaml", "---\n", "a.yaml: holds no definition"),
    ("number-as-key", "a.yaml", "workflowId: a\n1: b\n", "a.yaml:2: the key '1' is not text"),
    ("tag", "a.yaml", "workflowId: !!binary aGk=\n", "a.yaml:1: the tag binary means nothing here"),
    ("loop", "a.yaml", "workflowId: &a [*a]\n", "a.yaml:1: is nested deeper than 64 levels"),
    (
        "bomb",
        "a.yaml",
        "".join(f"{n}x: &x{n} [{', '.join([f'*x{n - 1}' if n else '1'] * 9)}]\n" for n in range(9)),
        "stands for more than",
    ),
    ("deep", "a.yaml", f"workflowId: {'[' * 5000}", "is n"),  # nested too deep, or not YAML: what the parser meets first
    ("json-broken", "a.json", '{\n"workflowId": }', "a.json:2: is not JSON at column 15"),
    ("json-key-twice", "a.json", '{"workflowId": "a", "workflowId": "b"}', "the key 'workflowId' is given twice"),
    ("json-nan", "a.json", '{\n"workflowId": NaN}', "a.json:2: workflowId: is not a number"),
    ("json-digits", "a.json", f'{{"workflowId": "a",\n"x": {"9" * 5000}}}', "a.json:2: x: does not fit into 64 bits"),
    ("digits", "a.yaml", f"workflowId: a\nx: -{'9' * 5000}\n", "a.yaml:2: x: does not fit into 64 bits"),
    ("json-deep", "a.json", f'{{"workflowId": "a", "x": {"[" * 64}{"]" * 64}}}', "is nested deeper than 64 levels"),
    ("json-line", "a.json", '{"workflowId": "a", "trigger": {"type": "manual"},\n"actions": []}', "a.json:2: actions: "),
    ("latin-1", "a.yaml", "workflowId: a\nname: \xe9\n".encode("latin-1"), "a.yaml:2: is not UTF-8"),
]


@pytest.mark.parametrize(("name", "text", "expected"), [row[1:] for row in FLAWS], ids=[row[0] for row in FLAWS])
def test_flaws_are_named_by_place(
    name: str, text: str | bytes, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.cli.definition_files import check, read

    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    documents, flaws = read([Path(name)])
    for document in documents:
        flaws += check(document)
    assert expected in "\n".join(map(str, flaws))


async def test_apply_breaks_no_id_in_two(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    name = "billing-" + "x" * 100
    (tmp_path / "long.yaml").write_text(TWO.replace("nightly", name))
    result = await wf("apply", "long.yaml")
    assert result.out == f"recurrent-workflow created\n{name} created\n"
    assert name in api.workflows


async def test_validate_needs_no_service(wf: Run, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    valid = await wf("validate", "two.yaml")
    assert (valid.code, valid.out) == (0, "valid: 2 workflows\n")

    (tmp_path / "two.yaml").write_text(TWO.replace("GET", "FETCH"))
    invalid = await wf("validate", "two.yaml")
    assert (invalid.code, invalid.out) == (1, "")
    assert "two.yaml:4: actions[0].method: must be 'GET'" in invalid.err

    as_json = await wf("validate", "two.yaml", "--json")
    (error,) = json.loads(as_json.out)["errors"]
    assert (as_json.code, error["file"], error["line"], error["field"]) == (1, "two.yaml", 4, "actions[0].method")


async def test_a_file_that_is_not_there(wf: Run) -> None:
    result = await wf("validate", "nowhere.yaml")
    assert (result.code, result.err) == (2, "error: cannot read nowhere.yaml: no such file or directory\nCheck the path.\n")


async def test_a_service_that_goes_away_says_how_far_it_came(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    api.refusals["GET /workflows/nightly"] = web.Response(status=502, text="bad gateway")
    (tmp_path / "two.yaml").write_text(TWO)
    result = await wf("apply", "two.yaml")
    assert (result.code, result.out) == (5, "recurrent-workflow created\n")
    assert "1 of 2 were sent before that" in result.err
    api.add("other")
    api.refusals["DELETE /workflows/other"] = web.Response(status=502, text="bad gateway")
    pruned = await wf("apply", "two.yaml", "--prune", "--yes")
    assert (pruned.code, "2 of 3 were sent before that" in pruned.err) == (5, True)


UNREADABLE = "version 1 of workflow b cannot be read here: run the same ACTION_PLUGINS in every service"


async def test_a_definition_that_the_service_cannot_read_says_why(api: FakeApi, wf: Run) -> None:
    api.add("b", unreadable=UNREADABLE)
    api.refusals["GET /workflows/b"] = problem(503, "definition-unreadable", "Definition cannot be read here", UNREADABLE)
    listed = await wf("list")
    assert listed.out.splitlines()[1].startswith("b ")
    assert UNREADABLE in " ".join(listed.err.split())
    shown = await wf("show", "b", columns=None)
    assert (shown.code, shown.err) == (1, f"error: {UNREADABLE}\n"), "to try again in a moment is no use"


async def test_so_says_one_of_its_versions(api: FakeApi, wf: Run) -> None:
    api.add("b")
    version = {"version": 1, "createdAt": seconds_ago(60), "archivedAt": None, "definition": None, "unreadable": UNREADABLE}
    newer = {**version, "version": 2, "definition": {"workflowId": "b"}}
    del newer["unreadable"]
    page = {"current": 2, "items": [newer, version], "nextCursor": None}
    api.refusals["GET /workflows/b/versions"] = web.json_response(page)
    told = " ".join((await wf("versions", "b")).out.split())
    assert "1 1m ago cannot be read here -" in told
    api.refusals["GET /workflows/b/versions"] = web.json_response(page)
    assert UNREADABLE in " ".join((await wf("versions", "b", "--diff")).out.split())


async def test_nothing_is_exported_where_the_service_cannot_read_all_of_it(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    """What is listed of such a workflow is less than its definition; a backup that lacks it must not look like one."""
    api.add("a")
    api.add("b", unreadable=UNREADABLE)
    refused = await wf("export", "-d", tmp_path / "defs")
    assert (refused.code, refused.out) == (1, "")
    assert "cannot export b: version 1 of workflow b cannot be read here" in refused.err
    assert not (tmp_path / "defs").exists()
