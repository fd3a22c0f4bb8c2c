"""What is wrong with a definition beyond its fields: templates, and what they refer to.

Known when the definition is written: what cannot be understood, names that no template has, actions that are not there or
come later, secrets that are not set.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from actions.publish import OWN_TOPIC, PublishAction, is_own
from actions.registry import WorkflowDefinition
from actions.set import SetAction
from actions.steps import Step
from domain.inputs import BadInput
from templates.fields import shown
from templates.template import ROOTS, Reference

_TRIGGER = ("cause", "dueAt", "createdAt")
_EXECUTION = ("id", "workflowId", "version", "attempt", "createdAt", "dueAt", "status", "failure")
_ACTION = ("status", "attempt", "output", "logs", "error")

Problem = tuple[str, str]
"""A field as its author writes it, and what is wrong with it."""


@dataclass(frozen=True)
class Surroundings:
    """What is known of where a definition is to run."""

    secrets: Set[str] | None = None  # the names of those that are set; None: not known
    unusable: Mapping[str, str] = field(default_factory=dict)  # of others that are there: why they are not used
    own_topics: bool = True  # whether messages may go to the topics of this system


def problems(definition: WorkflowDefinition, around: Surroundings) -> list[Problem]:
    """Return what is wrong."""
    found: list[Problem] = []
    steps = definition.prepared
    for index, step in enumerate(steps):
        name, position = definition.plan.list_of(index)
        place = f"{name}[{position}]"
        found += [(f"{place}.{shown(path)}", message) for path, message in step.problems]
        earlier = {before.action.action_id or "": before for before in steps[:index]}
        later = {after.action.action_id for after in steps[index:]}
        for path, template in step.templates():
            for reference in sorted(template.references, key=str):
                message = _wrong(reference, earlier, later)
                if message:
                    found.append((f"{place}.{shown(path)}", message))
        action = step.action
        if isinstance(action, PublishAction) and is_own(action.topic) and not around.own_topics:
            found.append((f"{place}.topic", OWN_TOPIC.format(topic=action.topic)))
        if around.secrets is not None:
            for path, secret in (*step.secret_names(), *step.secret_fields()):
                if secret not in around.secrets:
                    why = f"not set; `wf secrets set {secret}` sets it"
                    if secret in around.unusable:
                        why = f"not used: {around.unusable[secret]}"
                    found.append((f"{place}.{shown(path)}", f"secret {secret} is {why}"))
    if definition.trigger.type != "manual" and definition.input_schema is not None:
        try:
            definition.check_input({})
        except BadInput as error:
            found.append(("inputSchema", f"a tick gives no input, which this refuses: {error}"))
    return list(dict.fromkeys(found))


def uses_secrets(definition: WorkflowDefinition) -> bool:
    """Tell whether any step refers to a secret."""
    return any(True for step in definition.prepared for _ in (*step.secret_names(), *step.secret_fields()))


def _wrong(reference: Reference, earlier: dict[str, Step], later: Set[str | None]) -> str:
    root, *path = reference
    if root not in ROOTS:
        return _unknown_root(str(root), (*earlier, *(name for name in later if name)))
    if root == "secrets" and (not path or not isinstance(path[0], str)):
        return "secrets must be named one by one, as in secrets.API_TOKEN"
    if not path:
        return ""
    first = path[0]
    if root == "trigger" and first not in _TRIGGER:
        return f"trigger has no {first!r}; it has {', '.join(_TRIGGER)}"
    if root == "execution" and first not in _EXECUTION:
        return f"execution has no {first!r}; it has {', '.join(_EXECUTION)}"
    return _wrong_action(path, earlier, later) if root == "actions" and isinstance(first, str) else ""


def _wrong_action(path: list[str | int], earlier: dict[str, Step], later: Set[str | None]) -> str:
    name = str(path[0])
    if name in later:
        return f"action {name!r} comes later or is this one; only what ran before is known"
    if name not in earlier:
        dashed = next((known for known in (*earlier, *later) if known and known.split("-")[0] == name), None)
        if dashed is not None:
            return f"there is no action {name!r}; an id with a dash is written actions['{dashed}']"
        return f"there is no action {name!r} before this one" + (f"; there are {', '.join(earlier)}" if earlier else "")
    if len(path) > 1 and path[1] not in _ACTION:
        return f"an action has no {path[1]!r}; it has {', '.join(_ACTION)}"
    action = earlier[name].action
    if isinstance(action, SetAction) and len(path) > 2 and path[1] == "output" and path[2] not in action.values:
        return f"action {name!r} sets no {path[2]!r}; it sets {', '.join(action.values)}"
    return ""


def _unknown_root(name: str, ids: tuple[str, ...]) -> str:
    if any(name in known.split("-") for known in ids):
        return f"{name!r} is not known here; an id with a dash is written actions['{name}-…']"
    return f"{name!r} is not known here; templates know {', '.join(ROOTS)}"
