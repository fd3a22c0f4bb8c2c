"""What a workflow would do with a given input: everything is rendered and checked, nothing is sent.

What an action would answer is not known, unless it is given (``actions``), or follows from the definition (``set``). A
template that reads what is not known is left as it is written, and named as such. Secrets are shown as asterisks.
"""

from collections.abc import Mapping, Set
from typing import Any

from actions.checking import problems
from actions.registry import WorkflowDefinition
from actions.set import SetAction
from actions.steps import Step
from domain.action import Action
from domain.inputs import BadInput
from templates.errors import RenderError
from templates.fields import shown
from templates.template import Template
from vault.redaction import HIDDEN


def dry_run(
    definition: WorkflowDefinition,
    *,
    given: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    execution: Mapping[str, Any],
    secrets: Set[str] | None,
    unusable: Set[str] = frozenset(),
) -> dict[str, Any]:
    """Return what would happen, step by step.

    ``known`` holds, by action id, what actions are taken to have answered: ``{"status": …, "output": …}``. ``execution`` is
    as in templates, ``secrets`` and ``unusable`` as in :func:`actions.checking.problems`.
    """
    flaws = [{"field": field, "message": message} for field, message in problems(definition, secrets, unusable)]
    try:
        definition.check_input(given)
    except BadInput as error:
        flaws += [{"field": problem.path, "message": problem.message} for problem in error.problems]
    data: dict[str, Any] = {
        "input": dict(given),
        "trigger": {"cause": "manual", "dueAt": None, "createdAt": execution.get("createdAt")},
        "execution": dict(execution),
        "actions": {},
    }
    steps = []
    for index, step in enumerate(definition.prepared):
        name, position = definition.plan.list_of(index)
        shown_step = _step(step, data, known)
        if "error" in shown_step:
            place, _, message = shown_step["error"].partition(": ")
            flaws.append({"field": f"{name}[{position}].{place}", "message": message})
        steps.append({"list": name, **shown_step})
    return {"workflowId": definition.workflow_id, "valid": not flaws, "errors": flaws, "steps": steps}


def _step(step: Step, data: dict[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    action = step.action
    action_id = action.action_id or ""
    seen = {**data, "secrets": dict.fromkeys(step.secrets, HIDDEN)}
    made: dict[str, Any] = {"actionId": action_id, "type": getattr(action, "type", "")}
    try:
        if step.condition is not None:
            if not _is_known(step.condition, data):
                made["if"] = None
            else:
                made["if"] = step.holds(seen)
                if not made["if"]:
                    data["actions"][action_id] = {"status": "skipped", "attempt": 1, "output": {}, "logs": []}
                    return {**made, "result": "skipped"}
        open_places = [shown(path) for path, template in step.fields.places if not _is_known(template, data)]
        rendered: Action = step.render(seen, only=lambda template: _is_known(template, data))
    except RenderError as error:
        return {**made, "result": "error", "error": str(error)}
    made["rendered"] = {name: value for name, value in rendered.to_wire().items() if name not in ("actionId", "type", "if")}
    if open_places:
        made["unknown"] = open_places
    answer: dict[str, Any] | None = None
    if action_id in known:
        answer = {"status": "ok", "attempt": 1, "output": {}, "logs": [], **known[action_id]}
    elif isinstance(rendered, SetAction) and not open_places and made.get("if", True) is True:
        answer = {"status": "ok", "attempt": 1, "output": dict(rendered.values), "logs": []}
    if answer is not None:
        data["actions"][action_id] = answer
        made["output"] = answer["output"]
    return {**made, "result": "would run"}


def _is_known(template: Template, data: Mapping[str, Any]) -> bool:
    """Tell whether everything that the template reads of actions is known."""
    return all(
        len(reference) > 1 and reference[1] in data["actions"]
        for reference in template.references
        if reference[0] == "actions"
    )
