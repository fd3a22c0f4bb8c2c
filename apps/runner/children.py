"""Children: the executions that actions trigger (``trigger-workflow``).

Life cycle: what an earlier attempt has started is looked up by its ids, which derive from the execution, the action and a
number; so is what the execution had started that this one takes up, of which only what has failed is started anew; of what
is left, all inputs are checked before the first is admitted; then for each the workflow is read, and it is admitted under
its overlap policy and published, exactly as the API does it. Whoever does it again, another runner or a zombie, derives the
same ids, and is told that they are there. What was admitted and not published, the scheduler publishes.

Where an execution is ended that waits for what it has started, or is still starting it, that is ended as well: by whoever
reads that it has ended, and once more by the runner that was starting it, when it has been stopped. So it is where it is
cut short: by the runner that lets that step fail, before the handlers, and by the one that was at it.

Where the policy gives no place, the action waits for one (:mod:`apps.runner.places`): nothing is recorded as skipped, for
whoever has a list to work off wants all of it. It does not wait for what will not come (:mod:`apps.runner.circles`).
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

import structlog

from actions.running import Child, ChildEnd, Context, NotTriggered, idempotency_key
from actions.trigger_workflow import MOST, TriggerWorkflowAction
from apps.admission import Opened
from apps.cutting_short import cancel
from apps.runner.attempts import LARGEST_OUTPUT
from apps.runner.circles import Circles
from apps.runner.clock import now
from apps.runner.definitions import UnknownVersion
from apps.runner.patience import stubbornly
from apps.runner.startable import NotStartable, Startable, Starter
from apps.stored_definitions import UnreadableVersion
from apps.waking import have_ended
from domain.execution import Cause, Execution, Parent, Restart, Status
from domain.identifiers import triggered_execution_id
from domain.inputs import BadInput
from events.wire import json_bytes
from store.interfaces import AlreadyAdmitted, Locked

log = structlog.get_logger(__name__)

_ORIGINS: Final = 100  # executions, each of which takes up the one before, that are looked through
_READ_AT_ONCE: Final = 32  # executions, whose results may be large
# Bytes of an output that tells of executions, besides results and reasons: in all, and for the id and the status of each.
_NAMES: Final = 500
_NAMES_OF_EACH: Final = 60
_CUT_SHORT: Final = {
    Restart.TIMED_OUT: "has timed out",
    Restart.GIVEN_UP: "was given up",
    Restart.CANCELLED: "was cancelled",
}


@dataclass(frozen=True)
class _Asking:
    """An action that triggers a workflow."""

    context: Context
    workflow_id: str
    waits: bool  # for the end of what it starts
    until: float  # when it gives up waiting for places, in the loop's time
    above: Sequence[Parent]  # what waits for the end of its execution


class Children:
    """Triggers workflows on behalf of actions."""

    def __init__(self, starter: Starter) -> None:
        self.starter = starter
        self.executions = starter.executions
        self.circles = Circles(starter.executions, starter.definitions)
        self._cancelling: set[asyncio.Task[None]] = set()

    async def trigger(
        self, context: Context, workflow_id: str, inputs: Sequence[Mapping[str, Any]], within: float, *, waits: bool
    ) -> list[Child]:
        """Start the workflow once for each input; see :class:`actions.running.Trigger`."""
        try:
            return await self._trigger(context, workflow_id, inputs, within, waits)
        except asyncio.CancelledError:
            # Perhaps its execution has ended, and somebody has looked already what it had started until then.
            cancelling = asyncio.get_running_loop().create_task(self._cancel_started(context.execution_id))
            self._cancelling.add(cancelling)
            cancelling.add_done_callback(self._cancelling.discard)
            raise

    async def _trigger(
        self, context: Context, workflow_id: str, inputs: Sequence[Mapping[str, Any]], within: float, waits: bool
    ) -> list[Child]:
        loop = asyncio.get_running_loop()
        until = loop.time() + within
        ids = _ids(context.idempotency_key, range(len(inputs)), context.created_at)
        states = await stubbornly(lambda: self.executions.states(ids)) if ids else {}
        children = {execution_id: Child(execution_id, status) for execution_id, (_, status) in states.items()}
        left = [number for number, execution_id in enumerate(ids) if execution_id not in children]
        if left:
            complete = await self._check(workflow_id, {number: inputs[number] for number in left})
            for number, child in (await self._kept(context, workflow_id, complete)).items():
                ids[number] = child.execution_id
                children[child.execution_id] = child
                left.remove(number)
        if left:
            asking = _Asking(context, workflow_id, waits, until, await self.circles.above(context))
            for number in left:
                if number != left[0] and loop.time() >= until:
                    message = "a longer timeout lets it start more at once"
                    raise NotTriggered("timeout", message, done=len(children))
                try:
                    children[ids[number]] = await self._start(asking, ids[number], {number: inputs[number]})
                except NotTriggered as error:
                    error.done = len(children)
                    raise
        return [children[execution_id] for execution_id in ids]

    async def _kept(
        self, context: Context, workflow_id: str, inputs: Mapping[int, Mapping[str, Any]]
    ) -> Mapping[int, Child]:
        """Return what of these was triggered already, by the execution that this one takes up, and has not failed.

        Nor is anything kept for a handler, which is for the end of its own execution; or of another input, or workflow.
        """
        kept: dict[int, Child] = {}
        origin_id = context.takes_up
        for _ in range(_ORIGINS):
            left = {number: given for number, given in inputs.items() if number not in kept}
            if origin_id is None or not left:
                break
            origin = await stubbornly(partial(self.executions.get, origin_id))
            if origin is None or not await self._is_action(origin, context.action_id):
                break
            key = idempotency_key(origin.execution_id, context.action_id)
            kept |= await self._not_failed(workflow_id, key, origin.created_at, left)
            origin_id = origin.origin_id if origin.takes_up else None
        return kept

    async def _is_action(self, execution: Execution, action_id: str) -> bool:
        """Tell whether a step is one of the actions of an execution, rather than of its handlers."""
        try:
            definition = await stubbornly(lambda: self.starter.definitions.get(execution.workflow_id, execution.version))
        except (UnknownVersion, UnreadableVersion):
            return False
        return any(action.action_id == action_id for action in definition.actions)

    async def _not_failed(
        self, workflow_id: str, key: str, created_at: datetime, inputs: Mapping[int, Mapping[str, Any]]
    ) -> Mapping[int, Child]:
        """Return the executions of these inputs that were triggered under a key, and are open or have ended ok."""
        found: dict[int, Child] = {}
        by_id = dict(zip(_ids(key, inputs, created_at), inputs, strict=True))
        states = await stubbornly(lambda: self.executions.states([*by_id]))
        ids = [each for each, (_, status) in states.items() if status.is_open or status is Status.OK]
        async for each, child in self._read(ids):
            number = by_id[each]
            if child is not None and child.workflow_id == workflow_id and (child.input or {}) == inputs[number]:
                found[number] = Child(each, child.status, is_kept=True)
        return found

    async def _read(self, ids: Sequence[str]) -> AsyncIterator[tuple[str, Execution | None]]:
        """Yield executions in order, with None for those that are not there."""
        for start in range(0, len(ids), _READ_AT_ONCE):
            some = ids[start : start + _READ_AT_ONCE]
            found = await asyncio.gather(*(stubbornly(partial(self.executions.get, each)) for each in some))
            for each in zip(some, found, strict=True):
                yield each

    async def ends(self, ids: Sequence[str]) -> list[ChildEnd] | None:
        """Return how executions have ended; see :data:`actions.running.Ends`."""
        if not await stubbornly(lambda: have_ended(ids, self.executions)):
            return None
        ends: list[ChildEnd] = []
        room = LARGEST_OUTPUT - _NAMES - _NAMES_OF_EACH * len(ids)
        async for each, child in self._read(ids):
            end = _end_of(each, child)
            room -= 0 if room < 0 else len(json_bytes(end.result)) + len(json_bytes(end.told_reason))
            # What does not fit is not held either: a thousand of them are more than there is memory.
            ends.append(end if room >= 0 else replace(end, result=None))
        return ends if room >= 0 else [replace(end, result=None) for end in ends]

    async def cancel_awaited(self, parent_id: str) -> None:
        """Cancel what an execution that was ended was waiting for, or what it has started in order to wait for it.

        Where it was cut short, what its step waited for then.
        """
        parent = await stubbornly(lambda: self.executions.get(parent_id))
        if parent is None or (parent.status.is_open and parent.cut_short is None):
            return
        became = "was ended" if parent.cut_short is None else _CUT_SHORT[parent.cut_short.why]
        reason = f"execution {parent_id}, which waited for it, {became}"
        ids = [] if parent.cut_short is None else [*await self._awaited_at(parent, parent.cut_short.index)]
        if not parent.status.is_open:
            ids += await self._awaited_by(parent)
        for start in range(0, len(ids), _READ_AT_ONCE):
            await asyncio.gather(*(self._cancel(each, reason) for each in ids[start : start + _READ_AT_ONCE]))

    async def _cancel_started(self, parent_id: str) -> None:
        await self.starter.settle()
        await self.cancel_awaited(parent_id)

    async def _awaited_by(self, parent: Execution) -> Sequence[str]:
        """Return what an execution that has ended was waiting for at its end, or would have."""
        last = parent.last_outcome
        if last is not None and last.awaited is not None:
            return last.awaited.execution_ids
        if last is not None and last.finished_at == parent.finished_at:
            return ()  # it has ended by that: what it had started may go on
        return await self._awaited_at(parent, parent.resume_index)

    async def _awaited_at(self, parent: Execution, index: int) -> Sequence[str]:
        """Return what a step of an execution has waited for, or would have."""
        waits = (each.awaited for each in reversed(parent.ordered_results) if each.index == index)
        if (awaited := next(filter(None, waits), None)) is not None:
            return awaited.execution_ids
        try:
            definition = await stubbornly(lambda: self.starter.definitions.get(parent.workflow_id, parent.version))
        except (UnknownVersion, UnreadableVersion):
            return ()
        step = next(iter(definition.steps[index:]), None)
        if not isinstance(step, TriggerWorkflowAction) or step.wait_for_end is None:
            return ()
        started: list[str] = []
        for start in range(0, MOST, _READ_AT_ONCE):
            numbers = range(start, start + _READ_AT_ONCE)
            ids = _ids(idempotency_key(parent.execution_id, step.action_id or ""), numbers, parent.created_at)
            states = await stubbornly(partial(self.executions.states, ids))
            if not states and not parent.takes_up:
                break  # they are started in order, where none is kept
            started += [each for each in ids if each in states]
        return started

    async def _cancel(self, execution_id: str, reason: str) -> None:
        found = await stubbornly(lambda: cancel(self.executions, self.starter.workflows, execution_id, reason, now()))
        if found is None:
            return
        if found.status is Status.PENDING:
            await self.starter.hand_out(found)
        elif not found.status.is_open:
            await self.starter.tell_ended(found)
            await stubbornly(lambda: self.executions.told([execution_id]))

    async def _check(self, workflow_id: str, inputs: Mapping[int, Mapping[str, Any]]) -> Mapping[int, Mapping[str, Any]]:
        """Check that the workflow can be started with each of the inputs, and return them with their defaults.

        Raises:
            NotTriggered: with one of them it cannot.
        """
        target = await self._find(workflow_id)
        complete: dict[int, Mapping[str, Any]] = {}
        for number, given in inputs.items():
            complete[number] = _complete(target, number, given)
            await asyncio.sleep(0)  # a thousand large ones take longer than everybody else is to wait
        return complete

    async def _find(self, workflow_id: str) -> Startable:
        try:
            return await self.starter.find(workflow_id)
        except NotStartable as error:
            raise NotTriggered("not-startable", str(error)) from None
        except UnreadableVersion as error:
            raise NotTriggered("internal", str(error)) from None

    async def _start(self, asking: _Asking, execution_id: str, numbered: Mapping[int, Mapping[str, Any]]) -> Child:
        """Start one, whose input is ``numbered``; under what the workflow is by then, for waiting may take long."""
        ((number, given),) = numbered.items()
        context, workflow_id = asking.context, asking.workflow_id
        parent = Parent(context.execution_id, context.workflow_id, context.action_id)

        async def ask() -> Child | Locked:
            target = await self._find(workflow_id)
            complete = _complete(target, number, given)
            circle = await self.circles.find(target, context, asking.above)
            if circle is not None and (asking.waits or not circle.queues):
                raise NotTriggered("circle", circle.told(waits=asking.waits))
            asked = partial(target.admission, execution_id, Cause.WORKFLOW, complete, triggered_by=parent)
            # It is not broken off in between: whoever looks what was started must find it.
            answer = await self.starter.unbroken(self.starter.admit(target, asked))
            if isinstance(answer, Opened):
                return Child(execution_id, answer.execution.status)
            if isinstance(answer, AlreadyAdmitted):
                found = await stubbornly(lambda: self.executions.get(execution_id))
                log.info("child was admitted before", execution_id=execution_id)
                return Child(execution_id, Status.PENDING if found is None else found.status)
            if circle is not None and not circle.above:  # the line behind itself is full
                raise NotTriggered("circle", circle.told(waits=asking.waits))
            if asyncio.get_running_loop().time() >= asking.until:
                holder = f"execution {answer.execution_id} is open" if answer.execution_id else "others come first"
                raise NotTriggered("busy", f"workflow {workflow_id} is busy: {holder}{target.limit}")
            return answer

        return await self.starter.places.take(workflow_id, ask, until=asking.until)


def _complete(target: Startable, number: int, given: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        return target.complete(given)
    except BadInput as error:
        raise NotTriggered("bad-input", str(error), number=number) from None


def _ids(key: str, numbers: Iterable[int], created_at: datetime) -> list[str]:
    return [triggered_execution_id(key, number, created_at) for number in numbers]


def _end_of(execution_id: str, found: Execution | None) -> ChildEnd:
    if found is None:
        return ChildEnd(execution_id, "gone", "it has been removed")
    done = (each for each in reversed(found.ordered_results) if each.index < found.total_actions and each.status == "ok")
    last = next(done, None)
    return ChildEnd(execution_id, found.status.shown, found.reason, dict((last and last.output) or {}))
