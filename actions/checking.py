"""What is wrong with a definition beyond its fields: templates, and what they refer to.

Known when the definition is written: what cannot be understood, names that no template has, actions that are not there or
come later, secrets and variables that are not set; and what is understood, but cannot be what its author means.
"""

import difflib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from actions.delay import DelayAction
from actions.publish import OWN_TOPIC, PublishAction
from actions.registry import WorkflowDefinition
from actions.running import ERROR_CLASSES
from actions.set import SetAction
from actions.steps import Step, named_secrets
from actions.trigger_workflow import TriggerWorkflowAction
from actions.wait_for_signal import WaitForSignalAction
from domain.action import Action
from domain.cron import overlong_step
from domain.durations import BadDuration, parse_duration
from domain.inputs import BadInput, InputSchema, complete_input
from domain.retry import Retry
from domain.topic import is_own
from domain.trigger import CronTrigger, ManualTrigger, Misfire, Trigger, allows_manual
from templates.errors import BadTemplate
from templates.fields import shown
from templates.template import ROOTS, Reference, Template, is_template

_TRIGGER = ("cause", "dueAt", "createdAt")
_EXECUTION = ("id", "workflowId", "version", "attempt", "createdAt", "dueAt", "reference", "status", "failure")
_ACTION = ("status", "attempt", "output", "logs", "error")

_NO_PLACE_FOR_SECRETS: Final[Mapping[type[Action], str]] = {
    SetAction: "later steps would see *** for secret {secret}; use it in the step that needs it",
    TriggerWorkflowAction: "secret {secret} would stand in the history of what is triggered, for all to read; use it in the"
    " step of that workflow that needs it",
}
COMPARED: Final = 100  # error classes of one definition: 15,000, as many as it can name, take 2 s

Problem = tuple[str, str]
"""A field as its author writes it, and what is wrong with it."""


@dataclass(frozen=True)
class Surroundings:
    """What is known of where a definition is to run."""

    secrets: Set[str] | None = None  # the names of those that are set; None: not known
    unusable: Mapping[str, str] = field(default_factory=dict)  # of others that are there: why they are not used
    variables: Mapping[str, Any] | None = None  # those that are set, with their values; None: not known
    own_topics: bool = True  # whether messages may go to the topics of this system


def problems(definition: WorkflowDefinition, around: Surroundings) -> list[Problem]:
    """Return what is wrong."""
    found: list[Problem] = []
    steps = definition.prepared
    for index, (place, step) in enumerate(_placed(definition)):
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
    found += unset(needs(definition), around)
    if definition.reference is not None:
        found += [("reference", message) for message in _wrong_reference(definition.reference)]
    if definition.trigger.type != "manual" and definition.input_schema is not None:
        try:
            complete_input({}, definition.input_schema)
        except BadInput as error:
            found.append(("inputSchema", f"a tick gives no input, which this refuses: {error}"))
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Needs:
    """What a definition needs to be there, by the field that names it, as far as that is known before it runs."""

    secrets: tuple[tuple[str, str], ...]
    variables: tuple[tuple[str, str], ...]
    workflows: tuple[tuple[str, str], ...]  # others than itself, which it starts


def needs(definition: WorkflowDefinition) -> Needs:
    """Return what a definition needs. Its templates are compiled for that, if they are not yet: see ``prepared``."""
    secrets, variables, workflows = [], [], []
    for place, step in _placed(definition):
        secrets += [(f"{place}.{shown(path)}", name) for path, name in (*step.secret_names(), *step.secret_fields())]
        variables += [(f"{place}.{shown(path)}", name) for path, name in step.variable_names()]
        action = step.action
        if isinstance(action, TriggerWorkflowAction) and not is_template(action.workflow_id):
            workflows.append((f"{place}.workflowId", action.workflow_id))
    if definition.webhook is not None:
        secrets += [(shown(path), name) for path, name in named_secrets(definition.webhook.to_wire(), ("webhook",))]
    others = (each for each in workflows if each[1] != definition.workflow_id)
    return Needs(*(tuple(dict.fromkeys(each)) for each in (secrets, variables, others)))


def unset(needed: Needs, around: Surroundings) -> list[Problem]:
    """Return the secrets and variables that are not to be had: those that a stored definition names may be gone since."""
    found: list[Problem] = []
    for place, secret in needed.secrets:
        found += _wrong_secret(place, secret, around)
    for place, variable in needed.variables:
        if around.variables is not None and variable not in around.variables:
            found.append((place, f"variable {variable} is not set; `wf vars set {variable}` sets it"))
    return found


def _placed(definition: WorkflowDefinition) -> Iterator[tuple[str, Step]]:
    """Yield each step with its place, as in actions[0]."""
    for index, step in enumerate(definition.prepared):
        yield definition.plan.place_of(index), step


def _wrong_reference(source: str) -> Iterator[str]:
    try:
        roots = {str(root) for root, *_ in Template(source).references}
    except BadTemplate as error:
        yield str(error)
        return
    for name in sorted(roots - {"input"}):
        yield f"{name!r} is not known here; a reference is made of input alone, as in {{{{ input.order }}}}"
    if not roots:
        yield "must be a template of input, as in {{ input.order }}"


def _wrong_secret(place: str, secret: str, around: Surroundings) -> list[Problem]:
    if is_template(secret):
        return [(place, "takes the name of a secret, no template: write TOKEN, not {{ secrets.TOKEN }}")]
    if around.secrets is None or secret in around.secrets:
        return []
    why = f"not set; `wf secrets set {secret}` sets it"
    if secret in around.unusable:
        why = f"not used: {around.unusable[secret]}"
    return [(place, f"secret {secret} is {why}")]


def slips(definition: WorkflowDefinition) -> list[Problem]:
    """Return what has no effect, or another one than its author can mean.

    For whoever writes a definition: one that was stored with such a thing runs, and is valid.
    """
    found: list[Problem] = []
    overlap = definition.overlap
    if overlap.max is not None and overlap.policy not in ("queue", "allow"):
        found.append(("overlap.max", f"means nothing to {overlap.policy}; leave it out, or choose queue or allow"))
    found += slips_of_trigger(definition.trigger)
    if definition.input_schema is not None:
        found += _wrong_defaults(definition.input_schema)
    if definition.reference is not None and not allows_manual(definition.trigger):
        found.append(("reference", 'means nothing to ticks, which give no input; leave it out, or set "allowManual": true'))
    for index, action in enumerate(definition.steps):
        place = definition.plan.place_of(index)
        if isinstance(action, DelayAction) and _outlasts_its_timeout(action):
            found.append((f"{place}.timeout", f"does not end a delay, and is shorter than {action.duration}; leave it out"))
        if isinstance(action, WaitForSignalAction) and action.timeout != Action().timeout:
            found.append((f"{place}.timeout", f"does not end the wait for a signal; write within: {action.timeout} instead"))
        if isinstance(action, TriggerWorkflowAction):
            found += [(f"{place}.workflowId", wrong) for wrong in _wrong_with_itself(definition, action)]
        if (why := _NO_PLACE_FOR_SECRETS.get(type(action))) is not None:
            written = definition.prepared[index].secrets_written()
            found += [(f"{place}.{shown(path)}", why.format(secret=name)) for path, name in written]
    for place, word in islice(_private_errors(definition), COMPARED):
        extends = any(word.startswith(f"{known}-") for known in ERROR_CLASSES)
        near = difflib.get_close_matches(word, ERROR_CLASSES, n=1, cutoff=0.9 if extends else 0.8)
        if near:
            found.append((place, f"{word} is no error class that is known; did you mean {near[0]}?"))
    return found


def _wrong_defaults(schema: Mapping[str, Any]) -> Iterator[Problem]:
    for path, message in InputSchema(schema).wrong_defaults():
        yield shown(("inputSchema", *path)), message


def slips_of_trigger(trigger: Trigger) -> list[Problem]:
    """Return what of a trigger has no effect, or another one than its author can mean."""
    found: list[Problem] = []
    # What is so by default may have been added when the workflow was shown; so it is with the timeout of a delay.
    if not isinstance(trigger, ManualTrigger) and trigger.misfire.policy != "all" and trigger.misfire.max != Misfire().max:
        found.append(("trigger.misfire.max", f"means nothing to {trigger.misfire.policy}; leave it out, or choose all"))
    if isinstance(trigger, CronTrigger):
        found += [("trigger.expression", wrong) for wrong in map(overlong_step, trigger.expression) if wrong]
    return found


def _private_errors(definition: WorkflowDefinition) -> Iterator[tuple[str, str]]:
    """Yield the error classes to be retried that nothing built in has, with their places."""
    retries: list[tuple[str, Retry | None]] = [("retry", definition.retry)]
    for index, action in enumerate(definition.steps):
        retries.append((f"{definition.plan.place_of(index)}.retry", action.retry))
    for place, retry in retries:
        for index, word in enumerate(retry.on.errors if retry is not None and retry.on is not None else ()):
            if word not in ERROR_CLASSES:
                yield f"{place}.on.errors[{index}]", word


def _outlasts_its_timeout(action: DelayAction) -> bool:
    if action.duration is None or action.timeout == Action().timeout:
        return False
    try:
        return parse_duration(action.timeout) < parse_duration(action.duration)
    except BadDuration:  # a template
        return False


def _wrong_with_itself(definition: WorkflowDefinition, action: TriggerWorkflowAction) -> Iterator[str]:
    """Yield why a workflow can never trigger itself, where it is to."""
    if action.workflow_id != definition.workflow_id:
        return
    if not allows_manual(definition.trigger):
        yield 'is this workflow, which runs on schedule alone; set "allowManual": true in its trigger'
    if definition.overlap.policy == "cancel-running":
        yield "is this workflow, which would cancel itself (overlap policy cancel-running); choose queue or allow"
    elif definition.overlap.policy == "queue" and action.wait_for_end is not None:
        yield "is this workflow, whose next execution waits for the end of this one; choose allow, or leave out waitForEnd"
    elif definition.overlap.policy != "queue" and definition.overlap.bound == 1:
        yield "is this workflow, which would wait for its own end; choose queue, or allow with a max above 1"


def _wrong(reference: Reference, earlier: dict[str, Step], later: Set[str | None]) -> str:
    root, *path = reference
    if root not in ROOTS:
        return _unknown_root(str(root), (*earlier, *(name for name in later if name)))
    if root == "secrets" and (not path or not isinstance(path[0], str)):
        return "secrets must be named one by one, as in secrets.API_TOKEN"
    if root == "vars" and (not path or not isinstance(path[0], str)):
        return "variables must be named one by one, as in vars.BASE_URL"
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
    if name in ids:
        return f"{name!r} is not known here; an action is written actions.{name}"
    if any(name in known.split("-") for known in ids):
        return f"{name!r} is not known here; an id with a dash is written actions['{name}-…']"
    return f"{name!r} is not known here; templates know {', '.join(ROOTS)}"
