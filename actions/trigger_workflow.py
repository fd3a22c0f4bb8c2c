"""``trigger-workflow``: starts another workflow, once or once for each element of a list, and may wait for its end.

The runner admits what is started like everything else (:mod:`apps.runner.children`), under ids that derive from the
execution and the action: done again, it finds what it has started before. While the overlap policy gives no place it waits
for one, as long as its ``timeout`` allows; nothing is recorded as skipped.

With ``waitForEnd`` the execution waits in the database without a runner, as within a delay, until everything that was
started has ended. The runner that writes the end of a child wakes its parent (:mod:`apps.waking`), and the action, run once
more in the same attempt, looks what has become of them. Should a crash keep a runner from that, the action goes on by itself
after a while, looks, and waits on.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo, WithJsonSchema

from actions.running import Awaiting, Child, ChildEnd, Context, Failed, NotTriggered, Outcome, Succeeded
from domain.action import Action
from domain.durations import Duration, parse_duration
from domain.execution import Status
from domain.identifiers import WORKFLOW_ID_RULE, is_workflow_id
from domain.instants import instant, read_written, written
from templates.template import RENDERED, is_open

MOST: Final = 1_000
_TOLD: Final = 3  # of those that did not succeed
# After how long it looks again what nobody has told it: at first, and then.
_FIRST_LOOK: Final = timedelta(seconds=30)
_NEXT_LOOK: Final = timedelta(minutes=5)
# Of the time that it has waited. Each look is kept, with all the ids: at a fixed interval, those of a few days would fill
# the execution's document.
_LATER_LOOK: Final = 10
ITEM: Final = "item"
_NO_LIST: Final = 'must be a list, or one expression that makes one, as in "{{ actions.list.output.json.items }}"'
_TOO_LONG: Final = f"must hold at most {MOST:,} elements; trigger a workflow that does it for a part of them"
_NO_OBJECT: Final = 'must be an object, or one expression that makes one, as in "{{ input }}"'
_ITEM_TWICE: Final = f"makes {ITEM} of each element, and input has a field of that name as well; rename that one"


def _workflow(text: str, info: ValidationInfo) -> str:
    if not is_open(text, info) and not is_workflow_id(text):
        raise ValueError(WORKFLOW_ID_RULE)
    return text


def _object(value: JsonValue, info: ValidationInfo) -> JsonValue:
    # What was rendered is checked when it is run, for that is no mistake in a template.
    if info.context is not RENDERED and not isinstance(value, dict) and not _is_template(value, info):
        raise ValueError(_NO_OBJECT)
    return value


def _list(value: JsonValue, info: ValidationInfo) -> JsonValue:
    if info.context is RENDERED:
        return value
    given = info.data.get("input")
    if isinstance(given, dict) and ITEM in given:
        raise ValueError(_ITEM_TWICE)
    if not _is_template(value, info):
        _check_list(value)
    return value


def _is_template(value: JsonValue, info: ValidationInfo) -> bool:
    return isinstance(value, str) and is_open(value, info)


def _check_list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise ValueError(_NO_LIST)
    if len(value) > MOST:
        raise ValueError(_TOO_LONG)
    return value


def _of(kind: str, **more: Any) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [{"type": kind, **more}, {"type": "string"}]})


def _without_default(schema: dict[str, Any]) -> None:
    """Leave out that it is null when it is not given: null cannot be written."""
    del schema["default"]


class TriggerWorkflowAction(Action):
    """Starts another workflow, once or for each element of a list."""

    type: Literal["trigger-workflow"]
    workflow_id: Annotated[str, Field(max_length=1000), AfterValidator(_workflow)] = Field(
        description="Must be manual, or have allowManual, when it is started; its current version runs."
    )
    input: Annotated[JsonValue, AfterValidator(_object), _of("object")] = Field(
        default=None, json_schema_extra=_without_default, description="What its templates see as input."
    )
    for_each: Annotated[JsonValue, AfterValidator(_list), _of("array", maxItems=MOST, items={})] = Field(
        default=None,
        json_schema_extra=_without_default,
        description=f"It is started once for each element, in order, with that as input.{ITEM}; at most {MOST:,} of them.",
    )

    wait_for_end: Duration | None = Field(
        default=None,
        description="Wait until all that was started has ended, so long at most: the step fails where it has not, or where "
        "any of it did not succeed.",
    )

    @property
    def is_list(self) -> bool:
        """Whether it is started for each element of a list, be that null by now."""
        return "for_each" in self.model_fields_set

    def inputs(self) -> list[dict[str, JsonValue]]:
        """Return the input of each execution to be started, of an action that was rendered.

        Raises:
            ValueError: it has none; the message names the field.
        """
        given: JsonValue = {} if "input" not in self.model_fields_set else self.input
        if not isinstance(given, dict):
            raise ValueError(f"input: {_NO_OBJECT}")
        if not self.is_list:
            return [given]
        try:
            elements = _check_list(self.for_each)
        except ValueError as error:
            raise ValueError(f"forEach: {error}") from None
        if ITEM in given:
            raise ValueError(f"forEach: {_ITEM_TWICE}")
        return [{**given, ITEM: element} for element in elements]


async def run(action: TriggerWorkflowAction, context: Context) -> Outcome:
    """Start them, and look what has become of them where that is waited for."""
    if context.waited is not None:
        return await _wait(action, context, context.waited)
    if context.resources.trigger is None:
        return Failed("internal", "this runner cannot trigger workflows")
    try:
        inputs = action.inputs()
    except ValueError as error:
        return Failed("bad-input", str(error))
    within = parse_duration(action.timeout).total_seconds()
    try:
        waits = action.wait_for_end is not None
        children = await context.resources.trigger(context, action.workflow_id, inputs, within, waits=waits)
    except NotTriggered as error:
        where = f"forEach[{error.number}]: " if action.is_list and error.number is not None else ""
        done = f"{error.done} of {len(inputs)} triggered; " if error.done else ""
        patience = f"; gave up after {action.timeout}" if error.error_class in ("busy", "timeout") else ""
        return Failed(error.error_class, f"{done}{where}{error}{patience}")
    ids = [child.execution_id for child in children]
    if action.wait_for_end is not None:
        now = instant(datetime.now(timezone.utc))
        until = now + parse_duration(action.wait_for_end)
        kept = sum(child.is_kept for child in children)
        return await _wait(action, context, {"executionIds": ids, "since": written(now), "until": written(until)}, kept)
    if action.is_list:
        output = {"workflowId": action.workflow_id, "executionIds": ids, "count": len(ids)}
        return Succeeded(logs=(f"{action.workflow_id}: {_counted(children)}",), output=output)
    (child,) = children
    verb = "kept" if child.is_kept else "queued" if child.status is Status.QUEUED else "triggered"
    return Succeeded(
        logs=(f"{action.workflow_id}: {verb} {child.execution_id}",),
        output={"workflowId": action.workflow_id, "executionId": child.execution_id, "status": child.status.shown},
    )


async def _wait(action: TriggerWorkflowAction, context: Context, waited: Mapping[str, Any], kept: int = 0) -> Outcome:
    """Answer what has become of what was started, or wait on; ``kept`` of it was found when it was to be started."""
    if context.resources.ends is None:
        return Failed("internal", "this runner cannot look after other executions")
    ids = list(waited["executionIds"])
    ends = await context.resources.ends(ids)
    if ends is not None:
        return _ended(action, ends)
    now, since, until = instant(datetime.now(timezone.utc)), read_written(waited["since"]), read_written(waited["until"])
    if now >= until:
        output = {"workflowId": action.workflow_id, "executionIds": ids}
        return Failed("not-ended", f"not all has ended within {action.wait_for_end}", output=output)
    look = max(min((now - since) / 2, _NEXT_LOOK), (now - since) / _LATER_LOOK, _FIRST_LOOK)
    what = f"the end of {ids[0]}" if len(ids) == 1 else f"the end of {len(ids)} executions"
    return Awaiting(
        min(until, instant(now + look)),
        logs=(f"{action.workflow_id}: waits for {what} until {waited['until']}{_kept(kept)}",),
        output={"workflowId": action.workflow_id, **waited},
    )


def _ended(action: TriggerWorkflowAction, ends: Sequence[ChildEnd]) -> Outcome:
    ids, statuses = [end.execution_id for end in ends], [end.status for end in ends]
    reasons = [end.told_reason for end in ends]
    results = [dict(end.result) for end in ends if end.result is not None]
    is_too_large = len(results) < len(ends)
    output: dict[str, Any] = {"workflowId": action.workflow_id}
    if action.is_list:
        output |= {"executionIds": ids, "count": len(ids), "statuses": statuses, "reasons": reasons}
        output |= {} if is_too_large else {"results": results}
    else:
        output |= {"executionId": ids[0], "status": statuses[0], "reason": reasons[0]}
        output |= {} if is_too_large else {"result": results[0]}
    bad = [end for end in ends if end.status != Status.OK.value]
    if not bad and is_too_large:
        message = f"{len(ends)} ended ok, but their results do not fit into an output; end {action.workflow_id} with less"
        return Failed("too-large", message, output=output)
    if not bad:
        return Succeeded(logs=(f"{action.workflow_id}: {len(ends)} ended ok",), output=output)
    told = "; ".join(f"{end.execution_id} {end.status}" + (f": {end.reason}" if end.reason else "") for end in bad[:_TOLD])
    more = f"; and {len(bad) - _TOLD} more" if len(bad) > _TOLD else ""
    return Failed("child-failed", f"{len(bad)} of {len(ends)} did not succeed: {told}{more}", output=output)


def _counted(children: list[Child]) -> str:
    queued = sum(child.status is Status.QUEUED for child in children)
    some = f", {queued} of them queued" if queued else ""
    return f"{len(children)} triggered{some}{_kept(sum(child.is_kept for child in children))}"


def _kept(count: int) -> str:
    return f", {count} of them kept: the execution that this one takes up had triggered them" if count else ""
