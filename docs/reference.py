"""The reference pages beside the settings.

The API from its OpenAPI document, ``wf`` from its commands, the fields of a definition from their JSON Schema.
"""

import io
import json
from typing import Any

from rich.text import Text


def api_page() -> str:
    """Return the reference of the HTTP API."""
    from apps.workflows.app import app
    from apps.workflows.openapi import document, routes_of

    app.web.init_server()
    found = document(routes_of(app.web.views, "/v1"))
    parts = [
        "# HTTP API",
        "Made from the code (`make docs`). A running service has the same as `/openapi.json`, and as a page at `/docs`; the "
        "event topics are at `/asyncapi.json`, the schema of a definition at `/schemas/workflow.json`.",
        found["info"]["description"].strip(),
    ]
    for tag in (each["name"] for each in found["tags"]):
        rows = ["| | | scope | answers |", "| --- | --- | --- | --- |"]
        for path, methods in found["paths"].items():
            for method, operation in methods.items():
                if tag in operation["tags"]:
                    query = ", ".join(each["name"] for each in operation["parameters"] if each["in"] == "query")
                    shown = operation["summary"] + (f" ({query})" if query else "")
                    answers = ", ".join(operation["responses"])
                    rows.append(f"| `{method.upper()} {path}` | {shown} | {operation['x-scope']} | {answers} |")
        parts += [f"## {tag.capitalize()}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def definition_page() -> str:
    """Return the reference of what a definition may hold."""
    from apps.workflows.documents import definition_schema

    schema = definition_schema()
    parts = [
        "# Fields of a definition",
        "Made from the code (`make docs`). Editors take the same from `/schemas/workflow.json`: in YAML, a first line "
        "`# yaml-language-server: $schema=http://127.0.0.1:8081/schemas/workflow.json` does.",
        "## Workflow",
        _fields(schema, schema),
    ]
    for name, part in sorted(schema["$defs"].items()):
        if part.get("properties"):
            parts += [f"## {name}", _cell(part.get("description", "")), _fields(part, schema)]
    return "\n\n".join(parts) + "\n"


def _fields(part: dict[str, Any], root: dict[str, Any]) -> str:
    required = part.get("required", ())
    rows = ["| field | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in part["properties"].items():
        default = "required" if name in required else _default(field)
        meaning = field.get("description") or _described(field, root)
        rows.append(f"| `{name}` | {_type(field)} | {default} | {_cell(meaning)} |")
    return "\n".join(rows)


def _default(field: dict[str, Any]) -> str:
    value = field.get("default")
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return "any JSON value" if name == "JsonValue" else f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in field:
            return " or ".join(_type(each) for each in field[several] if each.get("type") != "null")
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{each}`" for each in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type", "any JSON value"))


def _described(field: dict[str, Any], root: dict[str, Any]) -> str:
    name = str(field.get("$ref", "")).rpartition("/")[2]
    found = root["$defs"].get(name, {}).get("description", "")
    return str(found) or ("What kind it is." if "const" in field else "See its type.")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def cli_page() -> str:
    """Return the reference of ``wf``."""
    import typer.main

    from apps.cli import up
    from apps.cli.main import app

    root: Any = typer.main.get_command(app)
    root.commands["up"] = typer.main.get_command(up.app)  # wf reads its options when it is asked for alone
    parts = [
        "# wf",
        "Made from the code (`make docs`). Before the command: `--token` (`WF_TOKEN`) and `--profile` (`WF_PROFILE`, from "
        "`~/.config/workflow-automation/config.yaml`). `wf --install-completion` teaches the shell to complete commands.",
        *_commands("wf", root),
    ]
    return "\n\n".join(parts) + "\n"


def _commands(prefix: str, group: Any) -> list[str]:
    parts = []
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            parts += _commands(f"{prefix} {name}", command)
            continue
        rows = ["| option | meaning |", "| --- | --- |"]
        for parameter in command.params:
            if parameter.name != "help" and not getattr(parameter, "hidden", False):
                shown = ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.metavar
                rows.append(f"| `{shown or parameter.name}` | {_cell(getattr(parameter, 'help', '') or '')} |")
        parts += [f"## {prefix} {name}", _plain(command.help or "")]
        if len(rows) > 2:
            parts.append("\n".join(rows))
        examples = [line.strip() for line in _plain(command.epilog or "").splitlines() if line.startswith("  wf ")]
        if examples:
            parts.append("```sh\n" + "\n".join(examples) + "\n```")
    return parts


def _plain(text: str) -> str:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=10_000, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(Text.from_markup(text), soft_wrap=True)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()).strip("\n")
