"""What a workflow would do with a given input: everything is rendered and checked, nothing is sent.

What an action would answer is not known, unless it is given (``answers``), or follows from the definition (``set``,
``fail``); a variable is not, unless its value is among the surroundings. A template that reads what is not known is left as
it is written, and named as such. Secrets are shown as asterisks. Where nothing is known to fail, the steps of ``onFailure``
are shown as for a failure that nobody knows yet; an action that is given as failed shows what comes of that.
"""

from collections.abc import Mapping
from typing import Any, Final

from actions.checking import Problem, Surroundings, problems
from actions.fail import FailAction
from actions.http.auth import OAuth2Auth
from actions.http_request import HttpRequestAction
from actions.registry import WorkflowDefinition
from actions.set import SetAction
from actions.steps import Step
from actions.trigger_workflow import TriggerWorkflowAction
from actions.wait_for_signal import WaitForSignalAction
from domain.action import Action
from domain.execution import FAILURES
from domain.inputs import BadInput, complete_input
from templates.errors import RenderError
from templates.fields import shown
from templates.reference import reference_of
from templates.template import Template
from vault.redaction import HIDDEN

SHOWN: Final = 3  # inputs of what a step would trigger
_STATUSES: Final = ("ok", "failed", "skipped", "unknown")


def bad_answers(definition: WorkflowDefinition, answers: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the answers that actions are taken to have given."""
    ids = [step.action_id or "" for step in definition.steps]
    found: list[Problem] = []
    for name, answer in answers.items():
        field = f"actions.{name[:100]}"
        if name not in ids:
            found.append((field, f"there is no such action; there are {', '.join(ids)}"))
        elif not isinstance(answer, dict):
            found.append((field, 'must be an object such as {"output": {…}}'))
        else:
            found += [(f"{field}.{key}", "must be an object") for key in ("output", "error") if not _is_object(answer, key)]
            if answer.get("status", "ok") not in _STATUSES:
                found.append((f"{field}.status", f"must be one of {', '.join(_STATUSES)}"))
    return found


def _is_object(answer: Mapping[str, Any], key: str) -> bool:
    return isinstance(answer.get(key, {}), dict)


def dry_run(
    definition: WorkflowDefinition,
    *,
    given: Mapping[str, Any],
    answers: Mapping[str, Mapping[str, Any]],
    execution: Mapping[str, Any],
    around: Surroundings,
) -> dict[str, Any]:
    """Return what would happen, step by step.

    ``answers`` holds, by action id, what actions are taken to have answered: ``{"status": …, "output": …}``. ``execution``
    is as in templates.
    """
    flaws = [{"field": field, "message": message} for field, message in problems(definition, around)]
    try:
        given = complete_input(given, definition.input_schema)
    except BadInput as error:
        flaws += [{"field": problem.path, "message": problem.message} for problem in error.problems]
    reference = execution.get("reference") or reference_of(definition.reference, given)
    course = _Course(given, answers, {**execution, "reference": reference}, around.variables)
    steps = []
    for index, step in enumerate(definition.prepared):
        name, position = definition.plan.list_of(index)
        shown_step = course.take(step, name)
        if "error" in shown_step:
            place, _, message = shown_step["error"].partition(": ")
            flaws.append({"field": f"{name}[{position}].{place}", "message": message})
        steps.append({"list": name, **shown_step})
    return {
        "workflowId": definition.workflow_id,
        "reference": reference,
        "valid": not flaws,
        "errors": flaws,
        "steps": steps,
    }


def _triggered(rendered: TriggerWorkflowAction) -> dict[str, Any]:
    try:
        inputs = rendered.inputs()
    except ValueError as error:
        raise RenderError(str(error)) from None
    return {"workflowId": rendered.workflow_id, "count": len(inputs), "inputs": inputs[:SHOWN]}


class _Course:
    """The course that the execution takes, as far as it is known."""

    def __init__(
        self,
        given: Mapping[str, Any],
        answers: Mapping[str, Mapping[str, Any]],
        execution: Mapping[str, Any],
        variables: Mapping[str, Any] | None,
    ) -> None:
        self.answers = answers
        self.failed = False  # for certain
        self.unknown: frozenset[str] = frozenset()  # what is not known of the execution
        self.data: dict[str, Any] = {
            "input": dict(given),
            "trigger": {"cause": "manual", "dueAt": None, "createdAt": execution.get("createdAt")},
            "execution": dict(execution),
            "actions": {},
            "vars": variables or {},
        }

    def take(self, step: Step, place: str) -> dict[str, Any]:
        """Return what becomes of the next step."""
        made: dict[str, Any] = {"actionId": step.action.action_id or "", "type": getattr(step.action, "type", "")}
        if place == "actions" and self.failed:
            return {**made, "result": "not reached"}
        if place != "actions" and not self.failed:
            # Only a failure leads here, and what fails then is not known; the steps of finally do not even know whether.
            self.unknown = frozenset({"failure"} if place == "onFailure" else {"failure", "status"})
            self.data["execution"] |= {"status": "failed"}
        try:
            return {**made, **self._run(step, place)}
        except RenderError as error:
            return {**made, "result": "error", "error": str(error)}

    def _run(self, step: Step, place: str) -> dict[str, Any]:
        action_id = step.action.action_id or ""
        seen = {**self.data, "secrets": dict.fromkeys(step.secrets, HIDDEN)}
        made: dict[str, Any] = {}
        if step.condition is not None:
            made["if"] = step.holds(seen) if self._is_known(step.condition) else None
            if made["if"] is False:
                self.data["actions"][action_id] = {"status": "skipped", "attempt": 1, "output": {}, "logs": []}
                return {**made, "result": "skipped"}
        open_places = [shown(path) for path, template in step.fields.places if not self._is_known(template)]
        rendered: Action = step.render(seen, only=self._is_known)
        made["rendered"] = {
            name: value for name, value in rendered.to_wire().items() if name not in ("actionId", "type", "if")
        }
        if open_places:
            made["unknown"] = open_places
        if isinstance(rendered, TriggerWorkflowAction) and not open_places:
            made["triggers"] = _triggered(rendered)
        auth = rendered.auth if isinstance(rendered, HttpRequestAction) else None
        if isinstance(auth, OAuth2Auth) and "auth.tokenUrl" not in open_places:
            made["tokenFrom"] = auth.shown_url
        answer = self._answer(action_id, rendered, certain=not open_places and made.get("if", True) is True)
        if answer is not None:
            self.data["actions"][action_id] = answer
            made["output"] = answer["output"]
            if answer["status"] in FAILURES and place == "actions" and not step.action.continue_on_error:
                self._fail(action_id, answer)
        return {**made, "result": "would wait" if isinstance(rendered, WaitForSignalAction) else "would run"}

    def _answer(self, action_id: str, rendered: Action, *, certain: bool) -> dict[str, Any] | None:
        if action_id in self.answers:
            return {"status": "ok", "attempt": 1, "output": {}, "logs": [], **self.answers[action_id]}
        if certain and isinstance(rendered, SetAction):
            return {"status": "ok", "attempt": 1, "output": dict(rendered.values), "logs": []}
        if certain and isinstance(rendered, FailAction):
            error = {"class": "fail", "message": rendered.message}
            return {"status": "failed", "attempt": 1, "output": {}, "logs": [], "error": error}
        return None

    def _fail(self, action_id: str, answer: Mapping[str, Any]) -> None:
        self.failed = True
        failure = {"actionId": action_id, "class": "", "message": "", **answer.get("error", {})}
        self.data["execution"] |= {"status": "failed", "failure": failure}

    def _is_known(self, template: Template) -> bool:
        """Tell whether everything that the template reads is known."""
        for root, *path in template.references:
            if root == "vars" and (not path or path[0] not in self.data["vars"]):
                return False
            if root == "actions" and (not path or path[0] not in self.data["actions"]):
                return False
            if root == "execution" and self.unknown and (not path or path[0] in self.unknown):
                return False
        return True
