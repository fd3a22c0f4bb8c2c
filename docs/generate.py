"""Writes the reference pages that are made from the code: ``make docs``. A test fails where they are out of date."""

import sys
from pathlib import Path

from pydantic_settings import BaseSettings

from actions.plugins import PluginSettings
from apps.runner.settings import RunnerSettings
from apps.scheduler.settings import SchedulerSettings
from apps.settings import ServiceSettings
from apps.standalone.settings import StandaloneSettings
from apps.workflows.settings import WorkflowsSettings
from docs.reference import api_page, cli_page, definition_page

HERE = Path(__file__).parent

# Read by the command line's options and by name, so no settings model lists them.
_FREE_VARIABLES = """\
| variable | default | meaning |
| --- | --- | --- |
| `WF_URL` | `http://127.0.0.1:8081` | Address of the service that `wf` asks. |
| `WF_TOKEN` |  | Token that `wf` shows. |
| `WF_PROFILE` |  | Entry of the configuration file that `wf` uses. |
| `WF_CONFIG` | the user's configuration directory | The configuration file of `wf`. |
| `WF_SECRET_<NAME>` |  | The secret `<NAME>`, for every service that reads secrets. |"""


def settings_page() -> str:
    """Return the reference of every setting."""
    own: dict[str, tuple[type[BaseSettings], type[BaseSettings]]] = {
        "All services": (ServiceSettings, ServiceSettings),
        "API (`apps.workflows`)": (WorkflowsSettings, ServiceSettings),
        "Scheduler (`apps.scheduler`)": (SchedulerSettings, ServiceSettings),
        "Runner (`apps.runner`)": (RunnerSettings, ServiceSettings),
        "Private kinds of actions": (PluginSettings, PluginSettings),
    }
    parts = [
        "# Settings",
        "Every setting is an environment variable. This page is made from the code (`make docs`).",
    ]
    for title, (model, base) in own.items():
        names = [name for name in model.model_fields if model is base or name not in base.model_fields]
        parts += [f"## {title}", _table(model, names)]
    parts += [
        "## Standalone stack (`wf up`)",
        "Some are also options of the command: `WF_KAFKA_PORT` is `--kafka-port`.",
        _table(StandaloneSettings, list(StandaloneSettings.model_fields)),
        "## Command line and secrets",
        _FREE_VARIABLES,
    ]
    return "\n\n".join(parts) + "\n"


def _table(model: type[BaseSettings], names: list[str]) -> str:
    prefix = str(model.model_config.get("env_prefix", ""))
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    for name in names:
        field = model.model_fields[name]
        default = "" if field.default_factory is not None or field.default is None else f"`{field.default}`"
        rows.append(f"| `{(prefix + name).upper()}` | {default} | {field.description or ''} |")
    return "\n".join(rows)


PAGES = {"settings.md": settings_page, "api.md": api_page, "cli.md": cli_page, "definition.md": definition_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page())
        sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
